"""The data from which samplers are recognised, and the code that samplers with trainer epochs share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle

from paddle_epoch_guard.host.protocols import TrainerState, TrainingArguments
from paddle_epoch_guard.index import SamplerOrder
from paddle_epoch_guard.index.epoch_sampling import MAX_SAMPLER_EPOCHS
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.reading import EpochReading, PositionedReading, UnknownReading


@dataclass(frozen=True)
class LoaderSetup:
    """A training dataloader, with the trainer's arguments and state."""

    args: TrainingArguments
    state: TrainerState
    dataset: Any
    sampler: Any
    steps_per_epoch: int
    """Steps in a trainer epoch, as the trainer counts them when it resumes; 0 if unknown."""
    reads_once: bool
    """Whether a second trainer epoch gets no data: DistDataLoader (paddlenlp 3.0.0b4) keeps one iterator."""

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
        """Samples of a rank in a batch of the loader, according to the arguments."""
        size = int(self.args.train_batch_size)
        return size * int(self.args.gradient_accumulation_steps) if self.is_auto else size

    @property
    def world_size(self) -> int:
        """Data-parallel ranks."""
        return int(self.args.dataset_world_size)

    @property
    def global_batch(self) -> int:
        """Samples of a step, according to the arguments."""
        return self.micro_batch * self.accumulation * self.world_size

    @property
    def batches_done(self) -> int:
        """Batches of the current trainer epoch that a resumed run has already drawn."""
        if self.args.ignore_data_skip:
            return 0
        return self.state.global_step % (self.steps_per_epoch or self.state.max_steps) * self.accumulation

    def unknown(self, reason: str = "") -> UnknownReading:
        """The reading of a sampler whose positions are unknown."""
        return UnknownReading(self.global_batch, reason)


@dataclass(frozen=True)
class SamplerKind:
    """A supported sampler, or a family of them."""

    owns: Callable[[LoaderSetup], bool]
    reading: Callable[[LoaderSetup], PositionedReading | UnknownReading]
    """How a sampler of this kind reads; unknown if a subclass has an order of its own."""
    resumes_by_itself: bool
    """Whether it skips the samples already drawn when a trainer epoch is resumed. With other samplers, the trainer
    reads and discards them (`_inner_training_loop` in trainer/trainer.py)."""


def of_other_ranks(setup: LoaderSetup) -> str:
    """Why the sampler was made for other ranks than the run has; empty if it was not."""
    args, sampler = setup.args, setup.sampler
    if not isinstance(sampler, paddle.io.DistributedBatchSampler):
        ranks = args.dataset_world_size
        return tr("each of the {ranks} ranks reads all of the data", ranks=ranks) if ranks > 1 else ""
    rank, ranks = sampler.local_rank, sampler.nranks
    if (ranks, rank) == (args.dataset_world_size, args.dataset_rank):
        return ""
    return tr(
        "it takes this process for rank {rank} of {ranks}, but the process is rank {own} of {world_size}",
        rank=rank,
        ranks=ranks,
        own=args.dataset_rank,
        world_size=args.dataset_world_size,
    )


def epoch_reading(
    setup: LoaderSetup, order: SamplerOrder, micro_batch: int, passed_over: int, *, strided: bool = False
) -> EpochReading | UnknownReading:
    """The reading of a sampler with sampler epochs. A resume skips finished epochs, and continues the current one.

    The trainer reads and discards the skipped samples (`_inner_training_loop`), so the rest of the order is unchanged.

    Args:
        setup: the loader; its sampler has ``drop_last``.
        order: the positions in each sampler epoch.
        micro_batch: samples of a rank in a batch of the loader.
        passed_over: positions of the current sampler epoch that a resumed run skips.
        strided: as in :class:`Segment`.
    """
    if not setup.steps_per_epoch:
        return setup.unknown()
    done = setup.state.global_step // setup.steps_per_epoch
    epochs = done + 1 if setup.reads_once else int(setup.state.num_train_epochs)
    if epochs > MAX_SAMPLER_EPOCHS:
        why = tr("the guard tracks at most {most} trainer epochs over a sample index", most=MAX_SAMPLER_EPOCHS)
        return setup.unknown(why)
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
