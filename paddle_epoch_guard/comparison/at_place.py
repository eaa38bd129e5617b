"""A run at the place that is compared."""

import math
from dataclasses import dataclass

import numpy as np

from paddle_epoch_guard.comparison.alignment import Place
from paddle_epoch_guard.comparison.run import Run


@dataclass(frozen=True)
class RunAtPlace:
    """Means of a run over the compared part; NaN where unknown."""

    first_step: int
    last_step: int
    loss: float
    """Mean training loss, nats per token."""
    fresh: float
    """Of its fresh samples."""
    fresh_share: float
    """Share of samples known to be drawn for the first time; NaN if losses by sample are unknown."""
    exposure: float
    evaluation: float
    """The latest evaluation up to its end."""
    evaluation_step: int | None


def at_place(run: Run, place: Place) -> RunAtPlace:
    """A run at the place, over all log windows whose middle lies in it."""
    middle = (run.windows["tokens_before"] + run.windows["tokens"]) / 2
    inside = place.holds(middle)
    windows = run.windows[inside]
    samples = float(windows["samples"].sum())
    fresh_samples = float(run.fresh.samples[inside].sum())
    knows_fresh = bool(np.isfinite(windows["fresh_samples"]).any())
    evaluations = run.evaluations[run.evaluations["tokens"] <= place.stop]

    def mean(name: str) -> float:
        known = windows[np.isfinite(windows[name])]  # a window whose loss is lost has none
        return float(known["samples"] @ known[name]) / float(known["samples"].sum()) if len(known) else math.nan

    return RunAtPlace(
        int(windows["first_step"][0]) if len(windows) else 0,
        int(windows["step"][-1]) if len(windows) else 0,
        mean("loss"),
        float(run.fresh.loss[inside].sum()) / fresh_samples if fresh_samples else math.nan,
        fresh_samples / samples if samples and knows_fresh else math.nan,
        mean("exposure"),
        float(evaluations["loss"][-1]) if len(evaluations) else math.nan,
        int(evaluations["step"][-1]) if len(evaluations) else None,
    )
