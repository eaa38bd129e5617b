"""The losses of the samples of each log window, attributed by position and added up over all ranks."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard import host
from paddle_epoch_guard.ledger import Exposure, IndexEpochs
from paddle_epoch_guard.ledger.losses import (
    RULES,
    EpochPlaces,
    Float64Array,
    WindowLosses,
    agrees,
    sample_losses,
    sums_of,
    window_of,
)


class LossCollector:
    """Collects on every rank, and adds up at the end of each log window. All ranks decide alike.

    Args:
        model: the trainer's model.
        source: says from which data epoch a position's sample comes.
        rank: the data rank of this process.
        ranks: data ranks of the run.
    """

    def __init__(self, model: Any, source: IndexEpochs, rank: int, ranks: int) -> None:
        self.source = source
        self.exposure: Exposure | None = None
        self._rank = rank
        self._ranks = ranks
        self._rule = 0
        self._places = EpochPlaces(source.index.epochs)
        self._speaks = False
        self._hook: host.TokenLosses | None
        try:
            self._hook = host.TokenLosses(model)
        except Exception:  # a model like no other; the ranks go on to agree that there are no losses to be had
            self._hook = None

    def agree(self) -> str | None:
        """Whether the losses of all samples can be had. Collective; it closes the collector where not.

        Returns:
            None; or why not.
        """
        # A process without hooks would not take part in what follows: then none does.
        gathered = host.gather_numbers([self._rank, -1 if self._hook is None else self._hook.layers > 0])
        with_layer = [rank for rank, has_layer in gathered.tolist() if has_layer > 0]
        # Processes of one data rank (under tensor parallelism) draw the same samples: the first of them adds them in.
        self._speaks = self._first_of(gathered) == host.process()
        if len(set(with_layer)) == self._ranks and (gathered[:, 1] >= 0).all():
            return None
        self.close()
        return "the model has no unreduced token-loss layer, as PaddleNLP's criterions have it"

    def _first_of(self, gathered: npt.NDArray[np.int64]) -> int | None:
        """The first process that has the token losses of this data rank."""
        found = np.flatnonzero((gathered[:, 0] == self._rank) & (gathered[:, 1] > 0))
        return int(found[0]) if found.size else None

    @property
    def is_open(self) -> bool:
        """Whether losses are collected, on all ranks alike."""
        return self._hook is not None

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._hook is not None:
            self._hook.close()
        self._hook = None

    def window(self, first_step: int, last_step: int, logged: float) -> tuple[WindowLosses | None, str | None]:
        """The losses of the samples of a window. Collective; it closes the collector where they cannot be had.

        Args:
            first_step: the first step of the window.
            last_step: its last step.
            logged: the trainer's loss of the window.

        Returns:
            The sums over all ranks, and None; or None and why they cannot be had.
        """
        fault = None
        sums = np.zeros(len(RULES) * (3 * self._places.count + 4))
        try:
            found = self._sums(first_step, last_step)
            if self._speaks:
                sums = found
        except Exception as cause:
            fault = f"{type(cause).__name__}: {cause}"
        added = host.add_up(np.append(sums, fault is not None))
        losses, why = (None, self._fault(fault)) if added[-1] else self._chosen(added[:-1], logged)
        if why is not None:
            self.close()
        return losses, why

    def _fault(self, fault: str | None) -> str | None:
        """What the first rank that has one says of its fault. Collective."""
        ranks = host.gather_numbers([fault is not None])[:, 0]
        return host.told_by(int(np.argmax(ranks)), fault)

    def _sums(self, first_step: int, last_step: int) -> Float64Array:
        """Under each rule, one after the other; nothing but zeros where this rank has no token-loss layer."""
        assert self._hook is not None
        schedule = self.source.schedule
        rows, sizes = self._hook.take()
        steps = [step for step in range(first_step, last_step + 1) if schedule.trains(step)]
        if not self._hook.layers or not steps:
            return np.zeros(len(RULES) * (3 * self._places.count + 4))
        positions = [schedule.positions(step, self._rank) for step in steps]
        drawn = np.concatenate(positions)
        if len(rows) != len(drawn):
            raise ValueError(
                f"{len(rows)} sample losses in {len(sizes)} microbatches, where {len(drawn)} samples were drawn"
            )
        place = self._places.of(*self.source.index.locate(self.source.positions.base(drawn)))
        fresh, known = np.zeros(len(drawn)), np.zeros(len(drawn), dtype=bool)
        if self.exposure is not None:
            found = [self.exposure.of_positions(step, each) for step, each in zip(steps, positions, strict=True)]
            fresh, known = (np.concatenate(each) for each in zip(*found, strict=True))
        micro_batch = schedule.pieces[-1].micro_batch
        return np.concatenate(
            [
                sums_of(*sample_losses(rows, sizes, micro_batch, rule), place, self._places, fresh, known)
                for rule in range(len(RULES))
            ]
        )

    def _chosen(self, added: Float64Array, logged: float) -> tuple[WindowLosses | None, str | None]:
        """The window under the rule in force; or why there is none."""
        by_rule = added.reshape(len(RULES), -1)
        first = window_of(by_rule[self._rule], self._places)
        if not math.isfinite(logged) or not first.by_epoch:
            return None, None  # the trainer logs 0 where all steps were skipped
        for rule in (self._rule, *(rule for rule in range(len(RULES)) if rule != self._rule)):
            window = first if rule == self._rule else window_of(by_rule[rule], self._places)
            if agrees(window, logged):
                self._rule = rule
                return window, None
        return None, (
            f"the mean of the tokens' losses, {first.mean:.6g}, is not the loss that the trainer logs, {logged:.6g}, "
            "which holds something else as well"
        )
