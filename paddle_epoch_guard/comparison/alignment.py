"""Brings the log windows of two runs together, by the tokens that each had drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.comparison.run import Floats, Run
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.language import tr

Ints = npt.NDArray[np.int64]

SHARE = 0.1
"""Of what two runs have in common, the last part is compared by default."""
FEWEST = 30
"""Windows that the default place holds, where there are as many."""
_AFTER_CHANGE = 12  # windows behind a change point from which the place stays on its side


@dataclass(frozen=True)
class Place:
    """The part of the runs that is compared."""

    first_step: int
    """In steps of the first run."""
    last_step: int
    start: int
    """Tokens drawn before it."""
    stop: int
    """Tokens drawn up to its end."""
    changed: int = 0
    """Tokens drawn before the last change of the order in any of the runs, if that lies before the place."""

    def holds(self, middle: Floats) -> npt.NDArray[np.bool_]:
        """Whether windows or bins with these middles, in tokens drawn, lie in it."""
        return (middle > self.start) & (middle < self.stop)


@dataclass(frozen=True, eq=False)
class Bins:
    """Windows of a run, merged to the bins that it shares with another one."""

    loss: Floats
    """``[bins]``: mean training loss, nats per token."""
    fresh_samples: Floats
    """``[bins, datasets]``"""
    fresh_loss: Floats
    """``[bins, datasets]``: summed up."""
    drawn: Floats
    """``[bins, datasets]``: samples."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Two runs on common bins."""

    edges: tuple[Ints, Ints]
    """Tokens drawn before and after each bin, ``[bins]`` each."""
    one: Bins
    other: Bins

    @property
    def middle(self) -> Floats:
        """``[bins]``: in tokens drawn."""
        start, stop = self.edges
        return (start + stop) / 2


def place_of(runs: Sequence[Run], at: int | None = None, last: int | None = None) -> Place:
    """The part of several runs to compare: the last that all of them have reached.

    By default a tenth of what they have in common, but at least :data:`FEWEST` log windows of each, and nothing from
    before the last change of the order in any of them.

    Args:
        runs: two or more.
        at: the step of the first run at which it ends; the last that all have reached by default.
        last: its length in steps of the first run.

    Raises:
        ReportError: the runs have no steps in common, or there is nothing at that place.
    """
    start, stop = _common(runs)
    windows = runs[0].windows
    if at is not None:
        stop = _tokens_at(runs[0], at, start, stop)
    if last is None:
        begin = _default_start(runs, start, stop)
    else:
        within = windows[windows["tokens"] <= stop]
        begin = min(within["tokens_before"][within["first_step"] > within["step"][-1] - last], default=stop)
    begin = max(int(begin), start)
    inside = windows[(windows["tokens_before"] >= begin) & (windows["tokens"] <= stop)]
    if not len(inside):
        raise ReportError(
            tr("{run}: no log window lies in the steps to compare. Compare more steps: --last", run=runs[0].name)
        )
    begin = int(inside["tokens_before"][0])
    changed = max((tokens for tokens in _changes(runs) if tokens <= begin), default=0)
    return Place(int(inside["first_step"][0]), int(inside["step"][-1]), begin, stop, changed)


def _common(runs: Sequence[Run]) -> tuple[int, int]:
    """The tokens between which all runs have losses."""
    for run in runs:
        if not len(run.windows):
            raise ReportError(
                tr("{run}: no training loss in its record. Compare it once it has logged one", run=run.name)
            )
    start = max(int(run.windows["tokens_before"][0]) for run in runs)
    stop = min(int(run.windows["tokens"][-1]) for run in runs)
    if start >= stop:
        ranges = tr("; ").join(
            tr(
                "{run} has steps {first:,} to {last:,} ({start:,} to {stop:,} tokens drawn)",
                run=run.name,
                first=int(run.windows["first_step"][0]),
                last=int(run.windows["step"][-1]),
                start=int(run.windows["tokens_before"][0]),
                stop=int(run.windows["tokens"][-1]),
            )
            for run in runs
        )
        raise ReportError(
            tr("the runs do not overlap: {ranges}. Compare runs that drew as many tokens", ranges=ranges)
        )
    return start, stop


def _tokens_at(run: Run, at: int, start: int, stop: int) -> int:
    """Tokens that a run has drawn at the end of the window in which a step lies."""
    windows = run.windows[(run.windows["tokens"] > start) & (run.windows["tokens"] <= stop)]
    if not len(windows) or not windows["first_step"][0] <= at <= windows["step"][-1]:
        if not len(windows):
            raise ReportError(
                tr(
                    "--at {at}: the runs have no whole log window of {run} in common. Name other runs",
                    at=at,
                    run=run.name,
                )
            )
        raise ReportError(
            tr(
                "--at {at}: the runs have steps {first:,} to {last:,} of {run} in common. Name one of these",
                at=at,
                first=int(windows["first_step"][0]),
                last=int(windows["step"][-1]),
                run=run.name,
            )
        )
    return int(windows["tokens"][np.searchsorted(windows["step"], at)])


def _default_start(runs: Sequence[Run], start: int, stop: int) -> int:
    """Where the default place begins, in tokens."""
    begin = stop - SHARE * (stop - start)
    begin = min(begin, *(_start_of_last(run, start, stop, FEWEST) for run in runs))
    changed = max((tokens for tokens in _changes(runs) if tokens < stop), default=0)
    if begin < changed and all(_windows_in(run, changed, stop) >= _AFTER_CHANGE for run in runs):
        begin = changed
    return int(begin)


def _changes(runs: Sequence[Run]) -> list[int]:
    """The changes of the order in all runs, in tokens drawn before the first step behind each."""
    return [_tokens_before_step(run, change.first_after) for run in runs for change in run.changes]


def _start_of_last(run: Run, start: int, stop: int, count: int) -> int:
    """Tokens drawn before the last so many windows of a run."""
    inside = run.windows[(run.windows["tokens_before"] >= start) & (run.windows["tokens"] <= stop)]
    return int(inside["tokens_before"][-min(count, len(inside))]) if len(inside) else start


def _windows_in(run: Run, start: int, stop: int) -> int:
    return int(((run.windows["tokens_before"] >= start) & (run.windows["tokens"] <= stop)).sum())


def _tokens_before_step(run: Run, step: int) -> int:
    """Tokens drawn before the window in which a step lies; those of the whole run if it lies beyond."""
    at = int(np.searchsorted(run.windows["step"], step))
    return int(run.windows["tokens_before"][at] if at < len(run.windows) else run.windows["tokens"][-1])


def aligned(one: Run, other: Run, paired: bool) -> Aligned:
    """Two runs on common bins, with all that both have logged.

    Args:
        one: its windows are the bins, if they are longer than the other run's.
        other: the other run.
        paired: whether both draw the same samples, so that a bin must hold the same steps of both. Otherwise each
            window goes to the bin in which its middle lies.
    """
    first, second = one.windows, other.windows
    if paired:
        edges = np.intersect1d(_edges_of(first), _edges_of(second))
    else:
        edges = _edges_of(first) if _typical(first) >= _typical(second) else _edges_of(second)
    starts, stops = edges[:-1], edges[1:]
    which = [_bin_of(run.windows, edges, paired) for run in (one, other)]
    bins = [_merged(run, bin_of, len(starts)) for run, bin_of in zip((one, other), which, strict=True)]
    known = np.isfinite(bins[0].loss) & np.isfinite(bins[1].loss)
    if paired:
        known &= _tiled(one, which[0], stops - starts) & _tiled(other, which[1], stops - starts)
    kept = [
        Bins(each.loss[known], each.fresh_samples[known], each.fresh_loss[known], each.drawn[known]) for each in bins
    ]
    return Aligned((starts[known], stops[known]), kept[0], kept[1])


def _edges_of(windows: npt.NDArray[np.void]) -> Ints:
    edges: Ints = np.union1d(windows["tokens_before"], windows["tokens"])
    return edges


def _typical(windows: npt.NDArray[np.void]) -> float:
    return float(np.median(windows["tokens"] - windows["tokens_before"]))


def _bin_of(windows: npt.NDArray[np.void], edges: Ints, paired: bool) -> Ints:
    """The bin of each window, ``[windows]``; -1 without one."""
    middle = (windows["tokens_before"] + windows["tokens"]) / 2
    bin_of: Ints = np.searchsorted(edges, middle, side="right") - 1
    outside = (bin_of < 0) | (bin_of >= len(edges) - 1)
    if paired:
        inner = np.clip(bin_of, 0, max(len(edges) - 2, 0))
        outside |= (windows["tokens_before"] < edges[inner]) | (windows["tokens"] > edges[inner + 1])
    bin_of[outside] = -1
    return bin_of


def _merged(run: Run, bin_of: Ints, bins: int) -> Bins:
    """Sums of a run's windows in each bin."""
    inside = bin_of >= 0
    windows, at = run.windows[inside], bin_of[inside]
    weight = windows["samples"].astype(np.float64)
    total = np.bincount(at, weight, bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = np.bincount(at, weight * windows["loss"], bins) / total

    def summed(values: Floats) -> Floats:
        columns = [np.bincount(at, values[inside, number], bins) for number in range(values.shape[1])]
        return np.stack(columns, axis=1)

    return Bins(loss, summed(run.fresh.samples), summed(run.fresh.loss), summed(run.fresh.drawn))


def _tiled(run: Run, bin_of: Ints, lengths: Ints) -> npt.NDArray[np.bool_]:
    """Whether a run's windows fill each bin without a gap."""
    inside = bin_of >= 0
    tokens = run.windows["tokens"][inside] - run.windows["tokens_before"][inside]
    filled = np.bincount(bin_of[inside], tokens, len(lengths))
    tiled: npt.NDArray[np.bool_] = np.abs(filled - lengths) < 0.5
    return tiled


def aligned_evaluations(one: Run, other: Run) -> tuple[Floats, Floats]:
    """The difference of two runs' evaluation losses at equal tokens.

    Where they evaluate at other places, the run with more evaluations is interpolated at those of the other one.

    Returns:
        ``[n]`` tokens drawn, and ``[n]`` loss of the first run minus that of the second, nats per token.
    """
    few, many = (one, other) if len(one.evaluations) <= len(other.evaluations) else (other, one)
    tokens = few.evaluations["tokens"].astype(np.float64)
    at, found = many.evaluations["tokens"].astype(np.float64), many.evaluations["loss"]
    if not len(at):
        return np.empty(0), np.empty(0)
    inside = (tokens >= at[0]) & (tokens <= at[-1])
    difference = few.evaluations["loss"][inside] - np.interp(tokens[inside], at, found)
    return tokens[inside], difference if few is one else -difference
