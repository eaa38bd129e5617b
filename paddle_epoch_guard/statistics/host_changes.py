"""Changes of the learning rate, or of the batch, near a change point: other causes of a jump."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.epochs import LossWindow

Floats = npt.NDArray[np.float64]
Setting = Literal["learning_rate", "batch"]

_STEP = 0.05  # of the largest rate: a change from one window to the next, beyond the schedule's usual one
_KINK = 0.10  # of the largest rate: what a change of slope adds up to over half of the windows
_FEWEST = 4  # windows
_SAME_BATCH = 0.2  # share of windows with another batch; skipped steps make some


@dataclass(frozen=True)
class HostChange:
    """A setting of the host that changes within the fitted range."""

    setting: Setting
    step: int
    """The first step of the window in which it changes, or from which its slope does."""
    before: float
    """Its value before that; a batch in samples per step."""
    after: float
    """Its value at the end of the fitted range."""


def host_changes(windows: Sequence[LossWindow]) -> tuple[HostChange, ...]:
    """The changes of learning rate and batch among some windows, in order; a smooth schedule is no change."""
    if len(windows) < _FEWEST:
        return ()
    changes = []
    rates = [window.learning_rate for window in windows]
    known = np.array([np.nan if rate is None else rate for rate in rates], dtype=np.float64)
    if np.isfinite(known).all() and known.max() > 0:
        at = _break_of(known / known.max())
        if at is not None:
            changes.append(HostChange("learning_rate", windows[at].first_step, float(known[at - 1]), float(known[-1])))
    batches = np.array([window.samples / window.steps for window in windows])
    others = np.flatnonzero(np.abs(batches / batches[0] - 1) > 0.01)
    if len(others) > _SAME_BATCH * len(batches):
        at = int(others[0])
        changes.append(HostChange("batch", windows[at].first_step, float(batches[0]), float(np.median(batches[at:]))))
    return tuple(changes)


def _break_of(rates: Floats) -> int | None:
    """Where a schedule steps, or changes its slope; None if it does neither.

    Args:
        rates: relative to the largest, [n].
    """
    changes = np.diff(rates)
    jumps = np.abs(changes - np.median(changes))
    if jumps.max() > _STEP:
        return int(np.argmax(jumps)) + 1
    reach = max(len(rates) // 8, 1)
    places = np.arange(reach, len(rates) - reach)
    before, after = rates[places] - rates[places - reach], rates[places + reach] - rates[places]
    kinks = np.abs(after - before) / reach * (len(rates) / 2)
    return int(places[np.argmax(kinks)]) if len(kinks) and kinks.max() > _KINK else None
