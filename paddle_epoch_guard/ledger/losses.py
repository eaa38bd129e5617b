"""Whose loss is it: the losses of the samples of a log window, added up by data epoch, and by fresh and repeated."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.sources import EpochKey

Float64Array = npt.NDArray[np.float64]

RULES = ("tokens with a loss", "tokens with a label", "all tokens")
"""Which tokens a criterion takes the mean over: PaddleNLP's leave out those whose loss is 0, others those whose label
is ignored, or none. The rule in force is the one under which the mean equals the loss that the trainer logs."""
_AGREES = 2e-3
"""Relative; in float32 the two agree to 1e-6. A loss that holds more than the tokens' differs by more."""


@dataclass
class Weighted:
    """A sum of losses, and of the weights they carry."""

    weight: float = 0.0
    """In samples: those of a microbatch share its size among them by their tokens."""
    loss_sum: float = 0.0
    """Nats per token, times weight."""

    @property
    def mean(self) -> float:
        """The mean loss; not a number where nothing has been added."""
        return self.loss_sum / self.weight if self.weight else math.nan

    def add(self, other: "Weighted") -> None:
        """Adds what another sum holds."""
        self.weight += other.weight
        self.loss_sum += other.loss_sum


def total(parts: Iterable[Weighted]) -> Weighted:
    """Several sums, together."""
    found = Weighted()
    for part in parts:
        found.add(part)
    return found


@dataclass
class WindowLosses:
    """The losses of the samples of one log window, over all ranks."""

    by_epoch: dict[EpochKey, Weighted] = field(default_factory=dict)
    fresh: Weighted = field(default_factory=Weighted)
    """Of samples, or shares of samples, that were never drawn before."""
    repeat: Weighted = field(default_factory=Weighted)

    @property
    def mean(self) -> float:
        """The mean over all samples; not a number where there is none."""
        return total(self.by_epoch.values()).mean


def sample_losses(
    microbatches: Sequence[npt.NDArray[Any]], micro_batch: int, rule: int
) -> tuple[Float64Array, Float64Array]:
    """The mean loss of each sample, and the weight with which it counts.

    A criterion takes the mean over a microbatch's tokens, and the trainer the mean over microbatches. So the weights
    of a microbatch's samples are in the ratio of their tokens, and sum to the microbatch's size, whatever is masked.

    Args:
        microbatches: ``[samples, 4]`` each: sum of token losses, and token counts under each of :data:`RULES`.
        micro_batch: b; an incomplete last microbatch counts as much as a full one, for the trainer as well.
        rule: which of :data:`RULES`.

    Returns:
        Two arrays ``[samples of all microbatches]``: nats per token, and samples.
    """
    losses, weights = [], []
    for rows in microbatches:
        tokens = rows[:, 1 + rule]
        total = float(tokens.sum())
        # Where every token is masked, the criterion's loss is zero, and the trainer counts it.
        shares = tokens / total if total else np.full(len(rows), 1 / max(len(rows), 1))
        weights.append(micro_batch * shares)
        losses.append(rows[:, 0] / np.maximum(tokens, 1))
    if not losses:
        return np.empty(0), np.empty(0)
    return np.concatenate(losses), np.concatenate(weights)


def add_up(
    losses: Float64Array,
    weights: Float64Array,
    datasets: npt.NDArray[np.int64],
    epochs: npt.NDArray[np.int64],
    fresh: Float64Array,
    known: npt.NDArray[np.bool_],
) -> WindowLosses:
    """Adds the samples of a window up.

    Args:
        losses: ``[n]``, nats per token.
        weights: ``[n]``.
        datasets: ``[n]``, from 0.
        epochs: ``[n]``, the data epoch of each sample, from 1.
        fresh: ``[n]``, the share of each sample that was never drawn before.
        known: ``[n]``, whether that share is known.
    """
    found = WindowLosses()
    stride = int(epochs.max(initial=0)) + 1
    codes, place = np.unique(datasets * stride + epochs, return_inverse=True)
    weight, loss_sum = (np.bincount(place, each, minlength=len(codes)) for each in (weights, weights * losses))
    for code, one_weight, one_sum in zip(codes.tolist(), weight.tolist(), loss_sum.tolist(), strict=True):
        found.by_epoch[EpochKey(*divmod(code, stride))] = Weighted(one_weight, one_sum)
    for into, share in ((found.fresh, fresh), (found.repeat, 1.0 - fresh)):
        counted = np.where(known, share * weights, 0.0)
        into.add(Weighted(float(counted.sum()), float((counted * losses).sum())))
    return found


def merge(parts: Sequence[WindowLosses]) -> WindowLosses:
    """The sums of several ranks, together."""
    found = WindowLosses(fresh=total(part.fresh for part in parts), repeat=total(part.repeat for part in parts))
    for part in parts:
        for key, one in part.by_epoch.items():
            found.by_epoch.setdefault(key, Weighted()).add(one)
    return found


def rule_in_force(candidates: Mapping[int, WindowLosses], logged: float) -> int | None:
    """The first rule under which the mean of the samples' losses is the loss that the trainer logged.

    Args:
        candidates: the window under each rule that is still possible, the one in force so far first.
        logged: the trainer's loss of the window.

    Returns:
        The rule; None where the trainer's loss holds something else than these tokens.
    """
    for rule, window in candidates.items():
        if abs(window.mean - logged) <= _AGREES * max(abs(logged), 1e-3):
            return rule
    return None
