"""Numbers as texts, and as JSON has them."""

import math

UNKNOWN = "\u2013"
"""Stands for a number that is not known."""


def finite(value: float | None) -> float | None:
    """A number as JSON allows it: NaN and infinities become None."""
    return value if value is not None and math.isfinite(value) else None


def number_text(value: float, digits: int = 3) -> str:
    """A number; a dash for NaN."""
    return UNKNOWN if math.isnan(value) else f"{value:.{digits}f}"
