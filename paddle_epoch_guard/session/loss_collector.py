"""The losses of the samples of each log window, attributed by position and added up over all ranks."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard import host
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import IndexEpochs
from paddle_epoch_guard.ledger.losses import (
    RULES,
    EpochSlots,
    Float64Array,
    SummedWindow,
    WindowSums,
    agrees,
    mean_of,
)
from paddle_epoch_guard.ledger.sample_shares import NOT_DRAWN, Int64Array, TracedDraws
from paddle_epoch_guard.ledger.window_sums import Drawn, window_sums
from paddle_epoch_guard.order.schedule import Trained, surplus_of
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.session.exposure import ShieldedExposure
from paddle_epoch_guard.session.slot_lookup import SlotLookup, positions_of, runs_of


class _DisturbedError(Exception):
    """In this window the model was run on other samples, too, as by a callback; the next one may be as it should."""


class LossCollector:
    """Collects on every rank, and adds up at the end of each log window. All ranks decide alike.

    Args:
        model: the trainer's model.
        source: says from which data epoch a position's sample comes; None on a rank that reads no data.
        rank: the data rank of this process.
        ranks: data ranks of the run.
    """

    def __init__(self, model: object, source: IndexEpochs | None, rank: int, ranks: int) -> None:
        self.source = source
        self.exposure: ShieldedExposure | None = None
        self._lookup = SlotLookup(rank)
        self._slots_of: tuple[IndexEpochs, EpochSlots] | None = None
        self._rank = rank
        self._ranks = ranks
        self._rule = 0
        self._has_agreed = self._is_disturbed = self._was_disturbed = self._has_come_back = False
        self._epochs_elsewhere = 0
        """Data epochs that the ranks with data have, where this one has none."""
        self._datasets_elsewhere = 0
        self._speaks = self._leads = False
        self._fault = ""
        """What failed on this rank; the others are told with the next window, and all give up together."""
        self._hook: host.TokenLosses | None
        try:
            self._hook = host.TokenLosses(model)
        except Exception as cause:  # a model like no other; the ranks then agree that losses are not available
            self._hook, self._fault = None, _said(cause)

    @property
    def _slots(self) -> EpochSlots:
        """Of all data epochs; a run may begin more passes than were planned."""
        if self.source is None:
            return EpochSlots((self._epochs_elsewhere,), self._datasets_elsewhere)
        if self._slots_of is None or self._slots_of[0] is not self.source:
            self._slots_of = self.source, EpochSlots(self.source.index.epochs)
        return self._slots_of[1]

    def agree(self) -> Message | None:
        """Whether the losses of all samples are available. Collective; otherwise it closes the collector.

        Returns:
            None; or why not.
        """
        reads, layers = self.source is not None, 0 if self._hook is None else self._hook.layers
        slots = self._slots
        own = [self._rank, reads, layers, slots.count, slots.datasets, bool(self._fault)]
        ranks, readers, with_layer, counts, datasets, faulty = host.all_gather_ints(own).T
        can = (readers > 0) & (with_layer > 0)
        self._epochs_elsewhere, self._datasets_elsewhere = int(counts.max()), int(datasets.max())
        # Processes of one data rank (under tensor parallelism) draw the same samples: the first of them adds them in.
        self._speaks = _first(can & (ranks == self._rank)) == host.process()
        self._leads = _first(readers > 0) == host.process()
        missing = self._ranks - len(np.unique(ranks[can]))
        if not missing and not faulty.any():
            return None
        self.close()
        if faulty.any():
            return _fault(host.broadcast_from(int(np.argmax(faulty)), self._fault))
        if with_layer.any():
            return Message("share_ranks_without_layer", {"ranks": missing})
        return Message("share_no_layer")

    @property
    def is_open(self) -> bool:
        """Whether losses are collected, on all ranks alike."""
        return self._hook is not None

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._hook is not None:
            self._hook.close()
        self._hook = None

    def window(self, first_step: int, last_step: int, logged: float) -> tuple[SummedWindow | None, Message | None]:
        """The losses of the samples of a window. Collective.

        Where they do not belong to the window's samples, they are taken up again with the next window whose do. After
        any other fault the collector is closed.

        Args:
            first_step: the first step of the window.
            last_step: its last step.
            logged: the trainer's loss of the window.

        Returns:
            The sums over all ranks, or None if they are unknown; and what is to be said of it.
        """
        told = fault = self._fault
        disturbance = ""
        slots = self._slots
        own: WindowSums | None = None
        if not told:
            try:
                own = self._own_sums(first_step, last_step, slots)
            except _DisturbedError as cause:
                disturbance = str(cause)
            except Exception as cause:
                fault = _said(cause)
        try:
            if own is None:
                own = replace(WindowSums.nothing(slots), faults=float(bool(fault)), disturbed=float(bool(disturbance)))
            summed = WindowSums.unpack(host.all_reduce_sum(own.pack()), slots)
            why = self._told(fault) if summed.faults else None
        except Exception as cause:
            self.close()
            return None, _fault(_said(cause))
        if why is not None:
            self.close()
            return None, None if told else _fault(why)
        if summed.disturbed:
            return None, self._disturbed(disturbance or tr("so it is on another rank"))
        try:
            # Where some were left over, the trainer divides the sum of all losses by too few microbatches.
            losses, message = self._chosen(summed.rows, logged / summed.surplus, slots, last_step)
        except Exception as cause:
            self._fault = _said(cause)
            return None, _fault(self._fault)
        if losses is None and message is not None and message.code == "share_other_loss":
            self.close()
        return losses, message

    def _disturbed(self, what: str) -> Message | None:
        """What is said of a window whose losses are not those of its samples; None if that was said before."""
        self._is_disturbed, was = True, self._was_disturbed
        self._was_disturbed = True
        return None if was else Message("share_disturbed", {"what": what})

    def _agreed(self, last_step: int) -> Message | None:
        """What is said of a window whose losses are those of its samples: after the first that were not."""
        is_back = self._is_disturbed and not self._has_come_back
        self._has_agreed, self._is_disturbed = True, False
        self._has_come_back |= is_back
        return Message("share_back", {"step": last_step}) if is_back else None

    def _own_sums(self, first_step: int, last_step: int, slots: EpochSlots) -> WindowSums:
        """What this rank adds: of several that draw the same samples, only one adds them."""
        trained = [] if self.source is None else list(self.source.schedule.trained(first_step, last_step))
        rows = self._rows((first_step, last_step), trained, slots)
        surplus = surplus_of(trained) if self._leads and self.source is not None else 0.0
        return WindowSums(rows if self._speaks else np.zeros_like(rows), surplus)

    def _told(self, fault: str) -> str:
        """What the first rank that has a fault says of it. Collective."""
        ranks = host.all_gather_ints([bool(fault)])[:, 0]
        return host.broadcast_from(int(np.argmax(ranks)), fault)

    def _rows(self, window: tuple[int, int], trained: list[Trained], slots: EpochSlots) -> Float64Array:
        """The sums under each rule; zeros where this rank has no token-loss layer, or reads no data."""
        assert self._hook is not None
        rows, sizes = self._hook.take()
        runs = runs_of(trained)
        if not self._hook.layers or self.source is None or not runs:
            return WindowSums.nothing(slots).rows
        drawn = positions_of(self.source, runs, self._rank)
        positions = drawn[0][0] if len(drawn) == 1 else np.concatenate([of_run for of_run, _ in drawn])
        if len(rows) != len(positions):
            raise _DisturbedError(
                tr(
                    "there are {losses} sample losses in {microbatches} microbatches, where {samples} samples were "
                    "drawn",
                    losses=len(rows),
                    microbatches=len(sizes),
                    samples=len(positions),
                )
            )
        steps = np.array(
            [
                (step, each)
                for (first, last), (_, lengths) in zip(runs, drawn, strict=True)
                for step, each in zip(range(first, last + 1), lengths.tolist(), strict=True)
            ],
            dtype=np.int64,
        ) - (window[0], 0)
        samples = Drawn(
            slot=self._lookup.of(self.source, slots, window, positions),
            time=self._times_of([(first, of_run) for (first, _), (of_run, _) in zip(runs, drawn, strict=True)]),
            steps=steps,
        )
        traced = TracedDraws.none() if self.exposure is None else self.exposure.traced
        return window_sums((rows, sizes), self.source.schedule.segments[-1].micro_batch, samples, slots, traced)

    def _times_of(self, drawn: list[tuple[int, Int64Array]]) -> Int64Array:
        """When the samples at some positions are drawn, each with a step of its segment; in order."""
        if self.exposure is None:
            return np.full(sum(len(positions) for _, positions in drawn), NOT_DRAWN, dtype=np.int64)
        times = [self.exposure.times_of(step, positions) for step, positions in drawn]
        return times[0] if len(times) == 1 else np.concatenate(times)

    def _chosen(
        self, rows: Float64Array, logged: float, slots: EpochSlots, last_step: int
    ) -> tuple[SummedWindow | None, Message | None]:
        """The window under the rule in force; or why there is none."""
        mean = mean_of(rows[self._rule], slots)
        if mean is None:
            return None, None  # the trainer logs 0 if all steps were skipped
        if not math.isfinite(logged):  # nothing to check against; under fp16 the trainer's loss stays so
            return SummedWindow(rows[self._rule], slots), None
        rules = (self._rule, *(rule for rule in range(len(RULES)) if rule != self._rule))
        for rule in rules:
            if agrees(mean if rule == self._rule else mean_of(rows[rule], slots), logged):
                self._rule = rule
                return SummedWindow(rows[rule], slots), self._agreed(last_step)
        if self._has_agreed or self._is_disturbed:
            means = {"mean": mean, "logged": logged}
            return None, self._disturbed(tr("their mean is {mean:.6g}, and the trainer logs {logged:.6g}", **means))
        return None, Message("share_other_loss", {"mean": mean, "logged": float(logged)})


def _first(chosen: npt.NDArray[np.bool_]) -> int | None:
    """The first process that is chosen."""
    processes = np.flatnonzero(chosen)
    return int(processes[0]) if processes.size else None


def _fault(said: str) -> Message:
    return Message("share_fault", {"fault": said})


def _said(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"
