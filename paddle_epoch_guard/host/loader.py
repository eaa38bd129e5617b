"""The training dataloader: how it reads, and where it starts."""

from dataclasses import dataclass
from typing import Any

import paddle

from paddle_epoch_guard.host import library
from paddle_epoch_guard.order import Piece

DistributedBatchSampler = library.part("utils.batch_sampler").DistributedBatchSampler


@dataclass(frozen=True)
class Loader:
    """What the training dataloader says of the order in which it reads."""

    dataset: Any
    sampler: str
    """The sampler's type, for messages."""
    start: int | None
    """The position at which the pretraining sampler starts; None where the positions are not known."""
    stop: int
    """The sampler ends before this position."""
    micro_batch: int
    world_size: int
    keeps_tail: bool


def follow_loader(args: Any, loader: Any) -> Loader:
    """How the training dataloader reads: exactly, for the sampler of ``run_pretrain.py``.

    In paddleformers 1.2.0 it is the sampler of ``deepseek_v3_pretrain`` and ``ernie_pretrain``.
    The true start is the sampler's own ``consumed_samples``: the trainer's state is reset before ``on_train_begin``
    (trainer/trainer.py, `_inner_training_loop`).

    Args:
        args: the training arguments.
        loader: the ``train_dataloader`` that a callback is given.
    """
    sampler: Any = getattr(loader, "batch_sampler", None)
    known = (
        type(loader) is paddle.io.DataLoader  # DistDataLoader leaves some ranks without data
        and isinstance(sampler, DistributedBatchSampler)
        # A subclass with a reading order of its own is another sampler.
        and type(sampler).__iter__ is DistributedBatchSampler.__iter__
        # AutoTrainer puts another sampler in its place after on_train_begin.
        and not getattr(args, "enable_auto_parallel", False)
    )
    kind = type(loader if sampler is None else sampler)
    nranks = int(sampler.nranks) if known else int(args.dataset_world_size)
    return Loader(
        dataset=getattr(loader, "dataset", None),
        sampler=f"{kind.__module__}.{kind.__qualname__}",
        start=int(sampler.consumed_samples) if known else None,
        # paddlenlp 2.8.1 rounds up, to positions that the dataset does not have.
        stop=min(int(sampler.total_size), len(sampler.dataset) // nranks * nranks) if known else 0,
        micro_batch=int(sampler.batch_size) if known else int(args.train_batch_size),
        world_size=nranks,
        keeps_tail=known and not sampler.drop_last,
    )


def first_piece(loader: Loader, accumulation: int, first_step: int) -> Piece:
    """The piece of the schedule that begins where the sampler stands.

    Args:
        loader: one whose positions are known.
        accumulation: microbatches per step.
        first_step: the step that the sampler's next batches complete as.
    """
    assert loader.start is not None
    return Piece(
        first_step=first_step,
        start=loader.start,
        micro_batch=loader.micro_batch,
        accumulation=accumulation,
        world_size=loader.world_size,
        stop=loader.stop,
        keeps_tail=loader.keeps_tail,
    )


def skipped_steps(args: Any) -> tuple[tuple[int, int], ...]:
    """Ranges of steps, ends included, whose data is passed over (``skip_data_intervals``; not in paddlenlp 2)."""
    return tuple((first, last) for first, last in getattr(args, "skip_data_intervals", None) or ())


def start_sampler(dataloader: Any, position: int, stop: int) -> None:
    """Lets the pretraining sampler read the positions from ``position`` to before ``stop``.

    Args:
        dataloader: the training dataloader; its sampler is one whose positions are known.
        position: a multiple of the world size.
        stop: a multiple of the world size.
    """
    sampler = dataloader.batch_sampler
    sampler.set_epoch(consumed_samples=position)
    sampler.num_samples = stop // sampler.nranks
    sampler.total_size = stop
