"""Samplers that read the index once in each trainer epoch: ``paddle.io``'s, and PaddleFormers' base Trainer's."""

from dataclasses import dataclass, replace
from typing import ClassVar

from paddle_epoch_guard.index import EpochSampledIndex, EpochSampling, SampleIndex, SamplerOrder
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Segment, sampler_epochs_ahead


@dataclass(frozen=True)
class EpochReading:
    """The index is read in sampler epochs, numbered consecutively. The trainer decides where reading begins."""

    ahead: Segment
    """The rest of the sampler epoch in which the trainer begins."""
    order: SamplerOrder
    last_epoch: int
    """The sampler epoch with which the run ends, from 1."""
    knows_ranks: bool = True
    """Whether the samples that each rank draws in a step are known."""
    can_be_set: ClassVar[bool] = False

    @property
    def sampling(self) -> EpochSampling:
        """The sampler's rule, which the sidecar records."""
        return self.order.rule

    @property
    def global_batch(self) -> int:
        """Samples of a step."""
        return self.ahead.global_batch

    def why_not_unified(self, sampler: str) -> str:
        """Why the guard cannot unify the order."""
        if self.sampling.shuffled:
            return tr(
                "the sampler {sampler} shuffles the whole index itself, so no data epoch is drawn separately",
                sampler=sampler,
            )
        return tr(
            "the sampler {sampler} begins at position 0 in each trainer epoch, and cannot start anywhere else",
            sampler=sampler,
        )

    def segments(self, max_steps: int) -> tuple[Segment, ...]:
        """The steps up to ``max_steps``, a segment for each sampler epoch."""
        return sampler_epochs_ahead(self.ahead, self.sampling.length, self.last_epoch, max_steps)

    def again(self, begun: Segment, epoch: int, max_steps: int) -> tuple[Segment, ...]:
        """The steps from a later trainer epoch (from 0) on, which is a sampler epoch of its own."""
        length = self.sampling.length
        first = replace(begun, start=epoch * length, stop=(epoch + 1) * length)
        return sampler_epochs_ahead(first, length, self.last_epoch, max_steps)

    def index_up_to(self, index: SampleIndex, stop: int) -> SampleIndex:
        """The index as positions of the run, with as many sampler epochs as reach to position ``stop``."""
        sampler_epochs = -(-stop // self.sampling.length)
        if not isinstance(index, EpochSampledIndex):
            return EpochSampledIndex(index, self.order, sampler_epochs)
        return replace(index, sampler_epochs=sampler_epochs) if sampler_epochs > index.sampler_epochs else index
