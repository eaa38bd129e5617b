"""The pretraining sampler, ``DistributedBatchSampler`` of PaddleNLP and PaddleFormers."""

from dataclasses import dataclass
from typing import ClassVar

from paddle_epoch_guard.index import SampleIndex
from paddle_epoch_guard.order import Segment


@dataclass(frozen=True)
class PretrainingReading:
    """The index is read once, from any position. Later trainer epochs read it again."""

    ahead: Segment
    """The steps ahead, from the position to which the host has set the sampler."""
    can_be_set: ClassVar[bool] = True
    """Whether the sampler can start at any position: then a resume can be repaired, and a run extended."""
    knows_ranks: ClassVar[bool] = True
    """Whether the samples that each rank draws in a step are known."""
    sampling: ClassVar[None] = None

    @property
    def global_batch(self) -> int:
        """Samples of a step."""
        return self.ahead.global_batch

    def why_not_unified(self, sampler: str) -> str:
        """Empty: the guard can unify its order."""
        return ""

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """The steps up to ``max_steps``."""
        return (self.ahead,)

    def again(self, begun: Segment, epoch: int, max_steps: int) -> tuple[Segment, ...]:
        """The steps from a later trainer epoch on: ``begun`` starts at position 0."""
        return (begun,)

    def index_up_to(self, index: SampleIndex, stop: int) -> SampleIndex:
        """The index as positions of the run: the index itself."""
        return index
