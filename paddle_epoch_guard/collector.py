"""The losses of the samples of each log window, attributed by position and added up over all ranks."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from paddle_epoch_guard import host
from paddle_epoch_guard.ledger import Exposure, IndexEpochs
from paddle_epoch_guard.ledger.losses import RULES, WindowLosses, add_up, merge, rule_in_force, sample_losses


@dataclass(frozen=True)
class _Share:
    """What a rank has to show at the end of a window."""

    rank: int
    """The data rank: ranks of one number draw the same samples."""
    windows: tuple[WindowLosses, ...] | None
    """Under each rule; None where this rank has no token-loss layer."""
    fault: str = ""


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
        self._fault = ""
        """What failed on this rank; the others are told with the next window, and all give up together."""
        self._hook: host.TokenLosses | None
        try:
            self._hook = host.TokenLosses(model)
        except Exception as cause:  # a model like no other; the ranks go on to agree that no losses are to be had
            self._hook, self._fault = None, _said(cause)

    def agree(self) -> str | None:
        """Whether the losses of all samples can be had. Collective; it closes the collector where not.

        Returns:
            None; or why not.
        """
        gathered = host.gather((self._rank, self._hook.layers if self._hook else 0, self._fault))
        with_layer = {rank for rank, layers, _ in gathered if layers}
        if len(with_layer) == self._ranks:
            return None
        self.close()
        faults: list[str] = [fault for _, _, fault in gathered if fault]
        if faults:
            return faults[0]
        return "the model has no unreduced token-loss layer, as PaddleNLP's criterions have it"

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
        told = self._fault
        try:
            share = _Share(self._rank, None if told else self._sums(first_step, last_step), told)
        except Exception as cause:
            share = _Share(self._rank, None, _said(cause))
        try:
            shares: list[_Share] = host.gather(share)
        except Exception as cause:
            self.close()
            return None, _said(cause)
        faults = [one.fault for one in shares if one.fault]
        if faults:
            self.close()
            return None, None if told else faults[0]
        try:
            found, why = self._merge(shares, logged)
        except Exception as cause:
            self._fault = _said(cause)
            return None, self._fault
        if why is not None:
            self.close()
        return found, why

    def _sums(self, first_step: int, last_step: int) -> tuple[WindowLosses, ...] | None:
        assert self._hook is not None
        if not self._hook.layers:
            return None
        microbatches = self._hook.take()
        schedule = self.source.schedule
        steps = [step for step in range(first_step, last_step + 1) if schedule.trains(step)]
        if not steps:
            return tuple(WindowLosses() for _ in RULES)
        positions = [schedule.positions(step, self._rank) for step in steps]
        drawn = np.concatenate(positions)
        if sum(len(rows) for rows in microbatches) != len(drawn):
            raise ValueError(
                f"{sum(len(rows) for rows in microbatches)} sample losses in {len(microbatches)} microbatches, where "
                f"{len(drawn)} samples were drawn"
            )
        datasets, epochs = self.source.index.locate(self.source.positions.base(drawn))
        fresh, known = np.zeros(len(drawn)), np.zeros(len(drawn), dtype=bool)
        if self.exposure is not None:
            found = [self.exposure.of_positions(step, each) for step, each in zip(steps, positions, strict=True)]
            fresh, known = (np.concatenate(each) for each in zip(*found, strict=True))
        micro_batch = schedule.pieces[-1].micro_batch
        return tuple(
            add_up(*sample_losses(microbatches, micro_batch, rule), datasets, epochs, fresh, known)
            for rule in range(len(RULES))
        )

    def _merge(self, shares: list[_Share], logged: float) -> tuple[WindowLosses | None, str | None]:
        by_rank = {share.rank: share.windows for share in shares if share.windows is not None}
        if len(by_rank) < self._ranks:
            return None, f"{self._ranks - len(by_rank)} data ranks have no token-loss layer"
        order = [self._rule, *(rule for rule in range(len(RULES)) if rule != self._rule)]
        together = {rule: merge([windows[rule] for windows in by_rank.values()]) for rule in order}
        if not math.isfinite(logged) or not together[self._rule].by_epoch:
            return None, None  # the trainer logs 0 where all steps were skipped
        rule = rule_in_force(together, logged)
        if rule is None:
            return None, (
                f"the mean of the tokens' losses, {together[self._rule].mean:.6g}, is not the loss that the trainer "
                f"logs, {logged:.6g}, which holds something else as well"
            )
        self._rule = rule
        return together[rule], None


def _said(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"
