"""The tests on real curves, at cuts where nothing is known to happen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diagnosis import peers
from diagnosis.curves import Floats, noise_of, windows_at
from diagnosis.rows_of_tests import (
    LENGTHS,
    POINTS,
    SIZES,
    covers,
    detected,
    generator,
    jumps_of,
    misses,
    percent,
)
from diagnosis.tables import Cells, Group, Setting, row
from paddle_epoch_guard.statistics.discontinuity import SIGNIFICANT
from paddle_epoch_guard.statistics.gap import PAST, find_gaps

CUTS = 120
"""Cuts of a run, at most; they may overlap."""
SETTLED = 300
"""Steps before the first cut."""
FIRST_INTERVALS = 2
"""Evaluation intervals that are left out: the loss still falls steeply."""
EARLIER = PAST // 4
"""Earlier intervals that tell the drift; fewer than the guard may use, so that short runs have cuts too."""
FEWEST = 30
"""Cuts that a row needs."""
QUIET = 0.07
"""Standard deviation of a step's loss, nats, below which a run is "quiet": it logs the mean of the whole batch."""


def _runs(setting: Setting, of: str = "all") -> Iterator[dict[str, Floats]]:
    assert setting.real is not None
    files = sorted(Path(setting.real).glob("*.npz"))
    if not files:
        raise SystemExit(f"no .npz file in {setting.real}")
    for file in files:
        with np.load(file) as arrays:
            run = dict(arrays)
        if of == "all" or (of == "quiet") == (noise_of(_middle(run), 1)[0] < QUIET):
            yield run


def _middle(run: dict[str, Floats]) -> Floats:
    loss = run["loss"]
    return loss[int(0.35 * len(loss)) : int(0.75 * len(loss))].astype(np.float64)


def noise(setting: Setting, of: str) -> Cells:
    """The noise of the runs: standard deviation and lag-1 autocorrelation of means over L steps."""
    figures = [[noise_of(_middle(run), length) for length in LENGTHS] for run in _runs(setting, of)]
    cells: dict[str, Any] = {"runs": of, "number": len(figures)}
    if not figures:
        return cells
    middle = np.median(figures, axis=0)
    for length, (sd, lag) in zip(LENGTHS, middle, strict=True):
        cells[f"L = {length}"] = f"{sd:.4f} ({lag:+.2f})"
    return cells


def jumps(setting: Setting, of: str, length: int, points: int) -> Cells:
    """False alarms, coverage and power."""
    rng = generator(setting, "real", length, points)
    parts, runs = [], 0
    for run in _runs(setting, of):
        loss = run["loss"].astype(np.float64)
        means = loss[: len(loss) // length * length].reshape(-1, length).mean(axis=-1)
        first, last = max(points, -(-SETTLED // length)), len(means) - points
        if last > first:
            cuts = rng.integers(first, last, min(CUTS, last - first))
            parts += [means[cut - points : cut + points] for cut in cuts]
            runs += 1
    cells: dict[str, Any] = {"runs": of, "L": length, "points": points, "number": runs, "cuts": len(parts)}
    if len(parts) < FEWEST:
        return cells
    losses = np.array(parts)
    nothing = jumps_of(losses, length)
    cells |= {"size": percent(nothing.p < SIGNIFICANT), "false alarms": percent(nothing.significant)}
    cells["coverage"] = percent(covers(nothing, 0.0))
    cells["detectable"] = f"{np.median(nothing.detectable):.3f}"
    after = windows_at(points, length) > 0
    for size in SIZES:
        cells[f"-{size:g}"] = percent(detected(jumps_of(losses - size * after, length)))
    return cells | peers.shares(setting, rng.permutation(losses), length)


def gaps(setting: Setting, of: str, intervals: int) -> Cells:
    """The gap test: size, coverage and power."""
    series, earlier, runs = [], [], 0
    for run in _runs(setting, of):
        gap = _gaps_of(run)[FIRST_INTERVALS:]
        cuts = range(intervals + EARLIER, len(gap) - intervals + 1)
        series += [gap[cut - intervals : cut + intervals] for cut in cuts]
        earlier += [gap[cut - intervals - EARLIER : cut - intervals] for cut in cuts]
        runs += bool(cuts)
    cells: dict[str, Any] = {"runs": of, "intervals": intervals, "number": runs, "cuts": len(series)}
    if len(series) < FEWEST:
        return cells
    values, past = np.array(series), np.array(earlier)
    level, after = np.full(len(values), 3.3), np.arange(2 * intervals) >= intervals
    nothing = find_gaps(values, level, past)
    cells |= {"size": percent(nothing.p < SIGNIFICANT), "false alarms": percent(nothing.significant)}
    cells["coverage"] = percent(covers(nothing, 0.0))
    for size in SIZES[:3]:
        cells[f"-{size:g}"] = percent(detected(find_gaps(values - size * after, level, past)))
    return cells


def _gaps_of(run: dict[str, Floats]) -> Floats:
    """The gap of each evaluation interval, oldest first."""
    loss, first = run["loss"].astype(np.float64), int(run["first"])
    steps, values = run["val_steps"], run["val"]
    gaps = []
    for start, end, before, after in zip(steps, steps[1:], values, values[1:], strict=False):
        part = loss[max(start - first, 0) + 1 : end - first + 1]
        if len(part) >= 10:
            gaps.append(part.mean() - (before + after) / 2)
    return np.array(gaps)


GROUPS = {
    "noise": Group(
        "Noise of the real runs: median standard deviation of means over L steps in nats, and lag-1 autocorrelation",
        [row(noise, of) for of in ("all", "quiet", "others")],
    ),
    "jumps": Group(
        "Real runs, cuts where nothing is known to happen: in %, and power at falls of so many nats",
        [row(jumps, of, length, points) for of in ("all", "quiet") for length in LENGTHS for points in POINTS],
        misses,
    ),
    "gaps": Group(
        "Real runs, the gap test: in %, and power at falls of so many nats",
        [row(gaps, of, intervals) for of in ("all", "quiet") for intervals in (3, 4, 6)],
        misses,
    ),
}
