"""Describes how the training dataloader reads, and how the trainer counts its batches."""

from dataclasses import dataclass
from typing import Any

import paddle

from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.protocols import Dataloader, TrainerState, TrainingArguments
from paddle_epoch_guard.host.samplers import SAMPLERS, LoaderSetup
from paddle_epoch_guard.reading import NoDataReading, Reading

DistDataLoader = library.import_host("data.dist_dataloader").DistDataLoader


@dataclass(frozen=True)
class Loader:
    """How the training dataloader reads."""

    dataset: Any
    sampler: str
    """The sampler's type, for messages."""
    reading: Reading
    accumulation: int
    """Batches of the loader in a step."""
    steps_per_epoch: int
    """Steps in a trainer epoch, as the trainer counts them when it resumes; 0 if unknown."""
    passed_over: int
    """Batches that the trainer reads and discards when it resumes."""
    reads_once: bool
    """Whether the loader has no data for a second trainer epoch."""


def describe_loader(args: TrainingArguments, loader: Dataloader, state: TrainerState) -> Loader:
    """Describes a training dataloader: exactly, if its order follows from its sampler and the arguments.

    Args:
        args: the training arguments.
        loader: the ``train_dataloader`` that a callback is given.
        state: the trainer's state: ``global_step`` of the checkpoint, and ``num_train_epochs``.
    """
    sampler = getattr(loader, "batch_sampler", None)
    type_ = type(loader if sampler is None else sampler)
    setup = LoaderSetup(
        args=args,
        state=state,
        dataset=getattr(loader, "dataset", None),
        sampler=sampler,
        steps_per_epoch=_steps_per_epoch(args, loader),
        reads_once=isinstance(loader, DistDataLoader),
    )
    kind = next((kind for kind in SAMPLERS if kind.owns(setup)), None)
    reading: Reading = setup.unknown()
    if not args.should_load_dataset:
        reading = NoDataReading(setup.global_batch)
    # A subclass of a loader may read in another order.
    elif kind and sampler is not None and type(loader) in (paddle.io.DataLoader, DistDataLoader):
        reading = kind.reading(setup)
    return Loader(
        dataset=setup.dataset,
        sampler=f"{type_.__module__}.{type_.__qualname__}",
        reading=reading,
        accumulation=setup.accumulation,
        steps_per_epoch=setup.steps_per_epoch,
        passed_over=0 if kind and kind.resumes_by_itself else setup.batches_done,
        reads_once=setup.reads_once,
    )


def _steps_per_epoch(args: TrainingArguments, loader: Dataloader) -> int:
    """Steps as ``Trainer.train`` counts them (paddlenlp 3.0.0b4); 0 if the loader has no length."""
    try:
        return max(len(loader) // int(args.gradient_accumulation_steps), 1)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError):
        return 0


def skipped_steps(args: TrainingArguments) -> tuple[tuple[int, int], ...]:
    """Inclusive ranges of steps whose data is skipped (``skip_data_intervals``; not in paddlenlp 2)."""
    return tuple((first, last) for first, last in getattr(args, "skip_data_intervals", None) or ())
