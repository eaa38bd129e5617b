"""The tokens of a run, traced by the first rank for all: it reads whole arrays, and what it finds is small."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from paddle_epoch_guard import host
from paddle_epoch_guard.ledger import EarlierReads, Exposure, IndexEpochs, Trace, trace
from paddle_epoch_guard.ledger.tracing import entries_to_read
from paddle_epoch_guard.order import Schedule
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.session.background import Later
from paddle_epoch_guard.session.earlier import open_earlier
from paddle_epoch_guard.session.exposure import ShieldedExposure
from paddle_epoch_guard.session.run_plan import RunPlan

_TRACED_AT_ONCE = 1 << 20  # entries; fewer are traced before training waits for anything else: in about 0.1 s


class RunTrace:
    """Traces the tokens of a plan; of large data in a thread, so that the first step does not wait for it.

    Args:
        output_dir: of the run.
        tell: called with why exposure is unknown, where no more is wrong.
        lose: called with a fault.
    """

    def __init__(
        self, output_dir: str | Path, tell: Callable[[Message], None], lose: Callable[[Exception], None]
    ) -> None:
        self._output_dir = Path(output_dir)
        self._tell, self._lose = tell, lose
        self.found: Trace | None = None
        """What was traced; None if that is not known, or not yet."""
        self._earlier: tuple[EarlierReads, ...] = ()
        self._begun: tuple[Later[Trace] | None, bool] | None = None
        """The trace to come, on the first rank, and whether the other ranks get it too; None if none is to come."""

    def begin(self, plan: RunPlan, is_shared: bool) -> bool:
        """Begins to trace.

        Args:
            plan: what the run will draw.
            is_shared: whether all ranks call this, and get what is found.

        Returns:
            Whether the data is so large that the first window shall wait for it, and no step.
        """
        tracing, is_large = self._begin(plan) if host.process() == 0 else (None, False)
        self._begun = tracing, is_shared
        return host.broadcast_from(0, is_large) if is_shared else is_large

    def drop(self) -> None:
        """No trace is to come."""
        self._begun = None

    def settle(self) -> bool:
        """Waits for the trace that has begun; all ranks do, where it is shared.

        Returns:
            Whether one had begun.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            return False
        tracing, is_shared = begun
        try:
            traced = None if tracing is None else tracing.result()
        except Exception as cause:
            self._lose(cause)
            traced = None
        found = traced, self._earlier
        self.found, self._earlier = host.broadcast_from(0, found) if is_shared else found
        return True

    def exposure(self, schedule: Schedule, last_step: int) -> ShieldedExposure | None:
        """The exposure of a run's steps.

        Args:
            schedule: of the run.
            last_step: the last step of the run.

        Returns:
            None if it is unknown.
        """
        if self.found is None:
            return None
        try:
            exposure = Exposure(self.found, schedule, last_step, self._earlier)
        except Exception as cause:
            self._lose(cause)
            return None
        return ShieldedExposure(exposure, self._lose)

    def _begin(self, plan: RunPlan) -> tuple[Later[Trace] | None, bool]:
        """The trace to come, None if it cannot be; and whether it is too large to wait for."""
        if plan.index is None or not isinstance(plan.source, IndexEpochs):
            return None, False
        try:
            opened = open_earlier(plan, self._output_dir)
        except Exception as cause:
            self._lose(cause)
            return None, False
        if isinstance(opened, Message):
            self._tell(opened)
            return None, False
        self._earlier = opened.reads
        is_large = sum(map(entries_to_read, (plan.index, *(one.index for one in opened.data)))) > _TRACED_AT_ONCE
        return Later(partial(trace, plan.index, plan.source.positions, earlier=opened.data)), is_large
