"""The sums over the samples of a log window under each rule: in one pass where that is compiled, else by numpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.losses import RULES, DrawnSamples, EpochSlots, sample_losses, sums_of
from paddle_epoch_guard.ledger.sample_shares import UNIFORM, Float64Array, Int64Array, TracedDraws

try:
    from paddle_epoch_guard.ledger import _sums
except ImportError:  # not built, for lack of a C compiler: numpy computes the same, more slowly
    _sums = None  # type: ignore[assignment]

COMPILED = _sums is not None
"""Whether compiled code adds up the samples of a window."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The samples that one rank draws in a window, in order."""

    slot: Int64Array
    """``[n]``: the slot of each one's data epoch."""
    time: Int64Array
    """``[n]``: when it is drawn, as of an exposure."""
    steps: Int64Array
    """``[k, 2]``: the steps, counted from the window's first, and how many of the samples each draws."""


def window_sums(
    losses: tuple[npt.NDArray[Any], list[int]], micro_batch: int, drawn: Drawn, slots: EpochSlots, traced: TracedDraws
) -> Float64Array:
    """Sums over samples under each rule. With and without the compiled code they are the same to the last bit.

    Args:
        losses: float32 ``[n, 4]`` and the sizes of microbatches, as `sample_losses` takes them.
        micro_batch: b, likewise.
        drawn: the samples.
        slots: of all data epochs.
        traced: tells how often the tokens of each had been drawn before.

    Returns:
        float64 ``[rules, slots.width]``: see :func:`~paddle_epoch_guard.ledger.losses.sums_of`.

    Raises:
        ValueError: the arrays do not fit each other.
    """
    if _sums is None:
        return summed_by_numpy(losses, micro_batch, drawn, slots, traced)
    rows, sizes = losses
    out = np.zeros((len(RULES), slots.width))
    _sums.add_up(
        (rows, np.array(sizes, dtype=np.int64), drawn.slot, drawn.time, drawn.steps, slots.starts, micro_batch),
        (
            *(traced.time, traced.level, traced.recency, traced.jumps, traced.share, traced.levels_between),
            *(1 - UNIFORM, traced.complete),
        ),
        out,
    )
    return out


def summed_by_numpy(
    losses: tuple[npt.NDArray[Any], list[int]], micro_batch: int, drawn: Drawn, slots: EpochSlots, traced: TracedDraws
) -> Float64Array:
    """As :func:`window_sums`, without the compiled code."""
    rows, sizes = losses[0].astype(np.float64), losses[1]
    samples = DrawnSamples(drawn.slot, np.repeat(*drawn.steps.T), traced.shares_at(drawn.time))
    sums: list[Float64Array] = []
    for rule in range(len(RULES)):
        if rule and np.array_equal(rows[:, 1 + rule], rows[:, rule]):  # no label is ignored: the usual case
            sums.append(sums[-1])
            continue
        sums.append(sums_of(*sample_losses(rows, sizes, micro_batch, rule), samples, slots))
    return np.array(sums)
