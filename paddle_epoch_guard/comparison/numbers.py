"""Numbers as texts."""

import math

UNKNOWN = "\u2013"
"""Stands for a number that is not known."""


def number_text(value: float, digits: int = 3) -> str:
    """A number; a dash for NaN."""
    return UNKNOWN if math.isnan(value) else f"{value:.{digits}f}"
