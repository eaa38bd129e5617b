"""Readings without positions: the guard tracks the trainer's own epochs, or follows other ranks."""

from dataclasses import dataclass
from typing import ClassVar

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Segment


@dataclass(frozen=True)
class UnknownReading:
    """The sampler's order does not follow from its arguments, or the guard does not know the sampler."""

    global_batch: int
    """Samples of a step."""
    reason: str = ""
    """Why the positions are unknown; may be empty."""
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Why the guard cannot unify the order, nor find a recorded position again."""
        if not self.reason:
            return tr("the sampler {sampler} is not supported", sampler=sampler)
        return tr("the sampler {sampler} is not supported ({why})", sampler=sampler, why=self.reason)

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """None: positions are unknown."""
        return ()


@dataclass(frozen=True)
class NoIndexReading:
    """The dataset has no sample index, so positions do not determine data epochs."""

    global_batch: int
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Why the guard cannot unify the order, nor find a recorded position again."""
        return tr("the dataset has no sample index, so there are no data epochs")

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """None: positions are unknown."""
        return ()


@dataclass(frozen=True)
class NoDataReading:
    """This process reads no data, as all but the first one of a model-parallel group do with ``DistDataLoader``."""

    global_batch: int
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Empty: the ranks that read data decide."""
        return ""

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """None: the ranks that read data have them."""
        return ()
