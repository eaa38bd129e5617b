"""Readings without positions: the trainer's own epochs are followed, or what other ranks say."""

from dataclasses import dataclass
from typing import ClassVar

from paddle_epoch_guard.order import Segment


@dataclass(frozen=True)
class UnknownReading:
    """The sampler reads in an order that does not follow from its arguments, or is not a known one."""

    global_batch: int
    """Samples of a step."""
    reason: str = ""
    """Why the positions are not known; empty where there is no more to say than that."""
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Why no order can be unified, nor a recorded position be found again."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"the sampler {sampler} is not one whose positions are known{reason}"

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """None are known."""
        return ()


@dataclass(frozen=True)
class NoIndexReading:
    """The dataset has no sample index: positions would say nothing of its data epochs."""

    global_batch: int
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Why no order can be unified, nor a recorded position be found again."""
        return "the dataset has no sample index, so there are no data epochs"

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """None are known."""
        return ()


@dataclass(frozen=True)
class NoDataReading:
    """This process reads no data, as all but the first one of a model-parallel group do with ``DistDataLoader``."""

    global_batch: int
    knows_ranks: ClassVar[bool] = True

    def why_not_unified(self, sampler: str) -> str:
        """Empty: the ranks that read decide."""
        return ""

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """Those of the ranks that read."""
        return ()
