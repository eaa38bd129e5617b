"""The losses of the samples of a log window, summed by data epoch, by exposure level, and by recency."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.contrast import MOMENTS, Contrast, moments_of
from paddle_epoch_guard.ledger.sample_shares import LEVELS, RECENCIES, SampleShares
from paddle_epoch_guard.ledger.sources import EpochKey

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

RULES = ("tokens with a loss", "tokens with a label", "all tokens")
"""The tokens that a criterion averages: PaddleNLP's leave out tokens whose loss is 0; others leave out ignored labels,
or nothing. The rule that applies is the one whose mean equals the loss that the trainer logs."""
_AGREES = 2e-3
"""Relative; in float32 the two agree to 1e-6. A loss with other terms differs by more."""
_POWERS = 3  # of each sum by exposure or recency: weight, loss times weight, squared loss times weight


@dataclass
class Weighted:
    """A weighted sum of losses, and the sum of the weights."""

    weight: float = 0.0
    """In samples: the size of a microbatch is divided among its samples by their tokens."""
    loss_sum: float = 0.0
    """Nats per token, times weight."""

    @property
    def mean(self) -> float:
        """The mean loss; NaN for an empty sum."""
        return self.loss_sum / self.weight if self.weight else math.nan

    def add(self, other: "Weighted") -> None:
        """Adds another sum."""
        self.weight += other.weight
        self.loss_sum += other.loss_sum


def standard_error(loss: Weighted, squares: float | None) -> float | None:
    """The standard error of a mean loss, from the scatter of its samples; None if that is unknown.

    Shares of samples count as so many whole ones, which makes the error a little too large.

    Args:
        loss: of the samples.
        squares: their squared losses, times weight; None if unknown.
    """
    if squares is None or not loss.weight > 1:
        return None
    return math.sqrt(max(squares / loss.weight - loss.mean**2, 0.0) / (loss.weight - 1))


def total(parts: Iterable[Weighted]) -> Weighted:
    """The total of several sums."""
    whole = Weighted()
    for part in parts:
        whole.add(part)
    return whole


class LossSums(NamedTuple):
    """Sums over samples, or shares of samples."""

    weight: float
    """In samples."""
    loss_sum: float
    """Nats per token, times weight."""
    squares: float
    """Squared losses, times weight: for the error of their mean."""


@dataclass
class WindowLosses:
    """The losses of the samples of one log window, over all ranks."""

    by_epoch: dict[EpochKey, Weighted] = field(default_factory=dict)
    fresh: Weighted = field(default_factory=Weighted)
    """Of samples, or shares of samples, drawn for the first time."""
    repeat: Weighted = field(default_factory=Weighted)
    counts: dict[EpochKey, int] = field(default_factory=dict)
    """The number of samples of each epoch."""
    fresh_squares: float = 0.0
    """Squared losses of fresh samples, times weight: for the error of their mean."""
    repeat_squares: float = 0.0
    contrast: Contrast = field(default_factory=Contrast)
    """Repeated samples against fresh ones of the same dataset."""
    by_exposure: dict[tuple[int, int], LossSums] = field(default_factory=dict)
    """By dataset and exposure level, without empty sums; see
    :class:`~paddle_epoch_guard.ledger.exposure.SampleShares`."""
    by_recency: dict[int, LossSums] = field(default_factory=dict)
    """Of repeated samples that hold a traced token, by the steps since the last draw; likewise."""
    wholly_fresh: dict[int, LossSums] = field(default_factory=dict)
    """Of samples none of whose tokens had been drawn before, by dataset; likewise."""

    @property
    def mean(self) -> float:
        """The mean over all samples; NaN without samples."""
        return total(self.by_epoch.values()).mean


def sample_losses(
    rows: npt.NDArray[Any], sizes: Sequence[int], micro_batch: int, rule: int
) -> tuple[Float64Array, Float64Array]:
    """The mean loss of each sample, and its weight.

    A criterion takes the mean over a microbatch's tokens, and the trainer the mean over microbatches. So the weights
    of a microbatch's samples are in the ratio of their tokens, and sum to the microbatch's size, whatever is masked.

    Args:
        rows: ``[n, 4]``: sum of token losses, and token counts under each of :data:`RULES`.
        sizes: samples of each microbatch; they sum to n.
        micro_batch: b; an incomplete last microbatch counts as much as a full one, as it does for the trainer.
        rule: which of :data:`RULES`.

    Returns:
        Two arrays ``[n]``: nats per token, and samples.
    """
    tokens = rows[:, 1 + rule]
    count = np.asarray(sizes, dtype=np.int64)
    microbatch = np.repeat(np.arange(len(count)), count)
    total = np.bincount(microbatch, tokens, len(count))[microbatch]
    # If every token is masked, the criterion's loss is zero, and the trainer counts it.
    shares = np.where(total > 0, tokens / np.where(total > 0, total, 1.0), 1 / count[microbatch])
    losses: Float64Array = rows[:, 0] / np.maximum(tokens, 1)
    weights: Float64Array = np.asarray(micro_batch * shares, dtype=np.float64)
    return losses, weights


class EpochSlots:
    """A slot in an array for each data epoch of each dataset, so that the sums of many ranks can be added up.

    Args:
        epochs: the number of data epochs of each dataset.
        datasets: the number of datasets, where all that is known of their epochs is how many they have together.
    """

    def __init__(self, epochs: Sequence[int], datasets: int | None = None) -> None:
        self.starts: Int64Array = np.cumsum([0, *epochs], dtype=np.int64)
        """``[datasets + 1]``: the first slot of each dataset, and the number of slots."""
        self._starts: list[int] = self.starts.tolist()
        self.count = int(self.starts[-1])
        self.datasets = len(epochs) if datasets is None else datasets

    @property
    def width(self) -> int:
        """The length of the array that :func:`sums_of` returns."""
        return 3 * self.count + _POWERS * (self.datasets * (LEVELS + 1) + RECENCIES) + self.datasets * MOMENTS

    def split(self, sums: Float64Array) -> tuple[Float64Array, ...]:
        """The parts of that array.

        Args:
            sums: ``[width]``.

        Returns:
            ``[3, count]``: samples, weight, and loss times weight of each data epoch. ``[3, datasets, LEVELS]``:
            weight, loss times weight, and squared loss times weight by dataset and exposure level.
            ``[3, RECENCIES]``: the same of repeated samples by recency. ``[3, datasets]``: the same of wholly fresh
            samples. ``[datasets, MOMENTS]``: see :func:`~paddle_epoch_guard.ledger.contrast.moments_of`.
        """
        sizes = 3 * self.count, _POWERS * self.datasets * LEVELS, _POWERS * RECENCIES, _POWERS * self.datasets
        ends = itertools.accumulate(sizes, initial=0)
        epochs, levels, recencies, fresh, moments = (
            sums[start:stop] for start, stop in itertools.pairwise((*ends, len(sums)))
        )
        return (
            epochs.reshape(3, self.count),
            levels.reshape(_POWERS, self.datasets, LEVELS),
            recencies.reshape(_POWERS, RECENCIES),
            fresh.reshape(_POWERS, self.datasets),
            moments.reshape(self.datasets, MOMENTS),
        )

    def of(self, datasets: Int64Array, epochs: Int64Array) -> Int64Array:
        """The slot of each sample, ``[n]``, from its dataset (from 0) and its data epoch (from 1)."""
        return self.starts[datasets] + epochs - 1

    def dataset_of(self, slot: Int64Array) -> Int64Array:
        """The dataset of each slot, ``[n]``."""
        return np.searchsorted(self.starts, slot, side="right") - 1

    def key(self, slot: int) -> EpochKey:
        """The data epoch of a slot."""
        dataset = bisect_right(self._starts, slot) - 1
        return EpochKey(dataset, slot - self._starts[dataset] + 1)


@dataclass(frozen=True, eq=False)
class DrawnSamples:
    """What is known of the samples of a window, whatever their losses."""

    slot: Int64Array
    """``[n]``: the slot of each one's data epoch."""
    step: Int64Array
    """``[n]``: the step that draws it, counted from the window's first."""
    shares: SampleShares
    """How often and how long before the tokens of each had been drawn."""


def sums_of(losses: Float64Array, weights: Float64Array, drawn: DrawnSamples, slots: EpochSlots) -> Float64Array:
    """Sums over the samples of a window, as an array whose length does not depend on the samples.

    Args:
        losses: ``[n]``, nats per token.
        weights: ``[n]``.
        drawn: the samples.
        slots: of all data epochs.

    Returns:
        float64 ``[slots.width]``, see :meth:`EpochSlots.split`. The sums over several ranks are the element-wise sums
        of theirs.
    """
    slot, shares = drawn.slot, drawn.shares
    weighted = weights * losses
    counts = np.bincount(slot, minlength=slots.count)
    by_epoch = [np.bincount(slot, values, slots.count) for values in (weights, weighted)]
    dataset = slots.dataset_of(slot)
    by_exposure = _divided(weights, losses, shares.by_exposure, dataset * LEVELS, slots.datasets * LEVELS)
    by_recency = _divided(weights, losses, shares.by_recency, np.zeros_like(dataset), RECENCIES)
    fresh = _divided(weights, losses, shares.wholly_fresh[:, None].astype(np.float64), dataset, slots.datasets)
    compared = np.where(shares.known, weights, 0.0)
    moments = moments_of(dataset, slots.datasets, losses, compared, 1.0 - shares.fresh, drawn.step)
    return np.concatenate(
        (counts, *by_epoch, by_exposure.ravel(), by_recency.ravel(), fresh.ravel(), moments.ravel()), dtype=np.float64
    )


def _divided(
    weights: Float64Array, losses: Float64Array, shares: Float64Array, first_cell: Int64Array, cells: int
) -> Float64Array:
    """Sums of weights, weighted losses and weighted squared losses in cells, ``[3, cells]``.

    Args:
        weights: ``[n]``.
        losses: ``[n]``.
        shares: ``[n, k]``: of each sample in k cells.
        first_cell: ``[n]``: the number of the first of these.
        cells: how many there are.
    """
    in_part = np.flatnonzero(shares > 0)  # most samples have one share
    sample, column = np.divmod(in_part, shares.shape[1])
    cell, loss = first_cell[sample] + column, losses[sample]
    weight = weights[sample] * shares.ravel()[in_part]
    weighted = weight * loss
    sums = [np.bincount(cell, values, cells) for values in (weight, weighted, weighted * loss)]
    return np.array(sums, dtype=np.float64)


class SummedWindow(NamedTuple):
    """The sums over the samples of a window under the rule in force: what :func:`window_of` takes."""

    sums: Float64Array
    slots: EpochSlots


def window_of(sums: Float64Array, slots: EpochSlots) -> WindowLosses:
    """The losses of a window, from the result of :func:`sums_of`."""
    (counts, weights, losses), levels, recencies, wholly_fresh, moments = slots.split(sums)
    (*fresh, fresh_squares), (*repeat, repeat_squares) = (
        levels[:, :, which].sum(axis=(1, 2)).tolist() for which in (slice(1), slice(1, None))
    )
    drawn = np.flatnonzero(counts)
    keys = [slots.key(slot) for slot in drawn.tolist()]
    return WindowLosses(
        by_epoch=dict(zip(keys, map(Weighted, weights[drawn].tolist(), losses[drawn].tolist()), strict=True)),
        fresh=Weighted(*fresh),
        repeat=Weighted(*repeat),
        counts=dict(zip(keys, map(round, counts[drawn].tolist()), strict=True)),
        fresh_squares=fresh_squares,
        repeat_squares=repeat_squares,
        contrast=Contrast.of(moments),
        by_exposure={divmod(cell, LEVELS): sums for cell, sums in _not_empty(levels.reshape(_POWERS, -1))},
        by_recency=dict(_not_empty(recencies)),
        wholly_fresh=dict(_not_empty(wholly_fresh)),
    )


def _not_empty(cells: Float64Array) -> Iterator[tuple[int, LossSums]]:
    """The cells ``[3, n]`` that hold samples: the number of each, and its sums."""
    numbers = np.flatnonzero(cells[0] > 0)
    return zip(numbers.tolist(), map(LossSums._make, cells[:, numbers].T.tolist()), strict=True)


@dataclass(frozen=True)
class WindowSums:
    """The sums of a window, of one rank or of all."""

    rows: Float64Array
    """``[rules, slots.width]``: :func:`sums_of` under each of :data:`RULES`."""
    surplus: float = 0.0
    """Microbatches drawn, divided by those that the trainer's mean counts; only one rank adds it."""
    faults: float = 0.0
    """Ranks on which something failed."""
    disturbed: float = 0.0
    """Ranks on which the model was run on other samples, too."""

    @classmethod
    def nothing(cls, slots: EpochSlots) -> "WindowSums":
        """The sums of a rank without samples."""
        return cls(np.zeros((len(RULES), slots.width)))

    def pack(self) -> Float64Array:
        """All of it as one vector, to be added up over ranks."""
        return np.append(self.rows, [self.surplus, self.faults, self.disturbed])

    @classmethod
    def unpack(cls, numbers: Float64Array, slots: EpochSlots) -> "WindowSums":
        """The reverse of :meth:`pack`."""
        return cls(numbers[:-3].reshape(len(RULES), slots.width), *numbers[-3:].tolist())


def mean_of(sums: Float64Array, slots: EpochSlots) -> float | None:
    """The mean over all samples, from the result of :func:`sums_of`; None without samples."""
    counts, weights, losses = sums[: 3 * slots.count].reshape(3, slots.count)
    if not counts.any():
        return None
    weight = float(weights.sum())
    return float(losses.sum()) / weight if weight else math.nan


def agrees(mean: float | None, logged: float) -> bool:
    """Whether the mean of the samples' losses is the loss that the trainer logged.

    Args:
        mean: under one of :data:`RULES`; None without samples.
        logged: the trainer's loss of the window, which may include other terms.
    """
    return mean is not None and abs(mean - logged) <= _AGREES * max(abs(logged), 1e-3)
