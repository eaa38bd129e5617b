"""What a sampler is recognised from, and what those have in common that know trainer epochs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle

from paddle_epoch_guard.host.protocols import TrainerState, TrainingArguments
from paddle_epoch_guard.index import SamplerOrder
from paddle_epoch_guard.index.epoch_sampling import MAX_SAMPLER_EPOCHS
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.reading import EpochReading, PositionedReading, UnknownReading


@dataclass(frozen=True)
class LoaderSetup:
    """A training dataloader, and what the trainer makes of it."""

    args: TrainingArguments
    state: TrainerState
    dataset: Any
    sampler: Any
    steps_per_epoch: int
    """Steps in a trainer epoch, as the trainer counts them when it resumes; 0 if unknown."""
    reads_once: bool
    """Whether nothing is left for a second trainer epoch: DistDataLoader (paddlenlp 3.0.0b4) keeps one iterator."""

    @property
    def is_auto(self) -> bool:
        """Whether AutoTrainer trains: a batch of its loader is a step."""
        return bool(getattr(self.args, "enable_auto_parallel", False))

    @property
    def accumulation(self) -> int:
        """Batches of the loader in a step."""
        return 1 if self.is_auto else int(self.args.gradient_accumulation_steps)

    @property
    def micro_batch(self) -> int:
        """Samples of a rank in a batch of the loader, by the arguments."""
        size = int(self.args.train_batch_size)
        return size * int(self.args.gradient_accumulation_steps) if self.is_auto else size

    @property
    def world_size(self) -> int:
        """Data-parallel ranks."""
        return int(self.args.dataset_world_size)

    @property
    def global_batch(self) -> int:
        """Samples of a step, by the arguments."""
        return self.micro_batch * self.accumulation * self.world_size

    @property
    def batches_done(self) -> int:
        """Batches of the present trainer epoch that a resumed run has behind it."""
        if self.args.ignore_data_skip:
            return 0
        return self.state.global_step % (self.steps_per_epoch or self.state.max_steps) * self.accumulation

    def unknown(self, reason: str = "") -> UnknownReading:
        """The reading of a sampler whose positions are not known."""
        return UnknownReading(self.global_batch, reason)


@dataclass(frozen=True)
class SamplerKind:
    """A sampler, or a family of them, that is followed."""

    owns: Callable[[LoaderSetup], bool]
    reading: Callable[[LoaderSetup], PositionedReading | UnknownReading]
    """How a sampler reads that this kind owns; unknown if a subclass has an order of its own."""
    resumes_by_itself: bool
    """Whether it begins a resumed trainer epoch behind what is done. With others the trainer reads that and throws it
    away (`_inner_training_loop` in trainer/trainer.py)."""


def of_other_ranks(setup: LoaderSetup) -> str:
    """Why the sampler is one for other ranks than the run has; empty where it is not."""
    args, sampler = setup.args, setup.sampler
    if not isinstance(sampler, paddle.io.DistributedBatchSampler):
        ranks = args.dataset_world_size
        return f"each of the {ranks} ranks reads all of the data" if ranks > 1 else ""
    rank, ranks = sampler.local_rank, sampler.nranks
    if (ranks, rank) == (args.dataset_world_size, args.dataset_rank):
        return ""
    return (
        f"it takes this process for rank {rank} of {ranks}, and it is rank {args.dataset_rank} of "
        f"{args.dataset_world_size}"
    )


def epoch_reading(
    setup: LoaderSetup, order: SamplerOrder, micro_batch: int, passed_over: int, *, strided: bool = False
) -> EpochReading | UnknownReading:
    """Where the trainer begins: a resume passes over the epochs that are done, and reads on in the present one.

    What it passes over there is read and thrown away (`_inner_training_loop`), so that the rest is the same.

    Args:
        setup: of the loader; its sampler has ``drop_last``.
        order: of the positions in each sampler epoch.
        micro_batch: samples of a rank in a batch of the loader.
        passed_over: positions of the present sampler epoch that are behind a resumed run.
        strided: as in :class:`Segment`.
    """
    if not setup.steps_per_epoch:
        return setup.unknown()
    done = setup.state.global_step // setup.steps_per_epoch
    epochs = done + 1 if setup.reads_once else int(setup.state.num_train_epochs)
    if epochs > MAX_SAMPLER_EPOCHS:
        return setup.unknown(f"more than {MAX_SAMPLER_EPOCHS} trainer epochs over a sample index are not followed")
    start = done * order.rule.length
    ahead = Segment(
        first_step=setup.state.global_step + 1,
        start=start + passed_over,
        micro_batch=micro_batch,
        accumulation=setup.accumulation,
        world_size=setup.world_size,
        stop=start + order.rule.length,
        drop_last=bool(setup.sampler.drop_last),
        is_sampler_epoch=True,
        strided=strided,
    )
    return EpochReading(ahead, order, max(epochs, done + 1))
