"""Everything that depends on the host libraries: the only file that imports paddle or paddlenlp.

Written against paddlenlp 3.0.0b4 and paddlepaddle 3.0 to 3.3.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddlenlp.data.blendable_dataset import BlendableDataset
from paddlenlp.data.causal_dataset import GPTDataset
from paddlenlp.trainer import TrainerCallback
from paddlenlp.trainer.trainer_utils import PREFIX_CHECKPOINT_DIR
from paddlenlp.utils.batch_sampler import DistributedBatchSampler
from paddlenlp.utils.log import logger

from paddle_epoch_guard.index import BlendIndex, Description, GPTIndex, SampleIndex
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.order import Order, Piece, Reorder

__all__ = [
    "Loader",
    "TrainerCallback",
    "checkpoint_folder",
    "first_piece",
    "follow_loader",
    "gather",
    "install_order",
    "logger",
    "read_dataset",
]


def read_dataset(dataset: Any) -> SampleIndex | None:
    """Reads and verifies the sample index of a live training dataset.

    Args:
        dataset: ``GPTDataset``, ``BlendableDataset``, or anything else.

    Returns:
        The index; None where the dataset has none.

    Raises:
        EpochGuardError: description, arrays and corpus do not belong together.
    """
    if isinstance(dataset, BlendableDataset):
        parts = tuple(_read_gpt(part) for part in dataset.datasets)
        return BlendIndex(parts, _base(dataset.dataset_index), _base(dataset.dataset_sample_index))
    if isinstance(dataset, GPTDataset) and hasattr(dataset, "shuffle_idx"):
        return _read_gpt(dataset)
    return None


def _read_gpt(dataset: GPTDataset) -> GPTIndex:
    description = Description.parse(dataset.desc, "the dataset's desc")
    shuffle_idx = _base(dataset.shuffle_idx)
    files = {
        which: getattr(getattr(dataset, which), "filename", None) for which in ("doc_idx", "sample_idx", "shuffle_idx")
    }
    arrays = IndexArrays(
        doc_idx=dataset.doc_idx,
        sample_idx=dataset.sample_idx,
        shuffle_idx=shuffle_idx,
        sizes=dataset.indexed_dataset.sizes,
        sources={which: str(file or f"{which} of {description.prefix}") for which, file in files.items()},
    )
    return GPTIndex.from_arrays(description, arrays)


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

    The true start is the sampler's own ``consumed_samples``: the trainer's state is reset before
    ``on_train_begin`` (paddlenlp/trainer/trainer.py, `_inner_training_loop`).

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
    return Loader(
        dataset=getattr(loader, "dataset", None),
        sampler=f"{kind.__module__}.{kind.__qualname__}",
        start=int(sampler.consumed_samples) if known else None,
        stop=int(sampler.total_size) if known else 0,
        micro_batch=int(sampler.batch_size) if known else int(args.train_batch_size),
        world_size=int(sampler.nranks) if known else int(args.dataset_world_size),
        keeps_tail=known and not sampler.drop_last,
    )


def install_order(dataset: Any, reorders: tuple[Reorder, ...]) -> None:
    """Makes a live dataset draw in another order; with no reorders, in the host's own.

    It must happen before the loader forks its workers, which is after ``on_epoch_begin``. Files are not touched.

    Args:
        dataset: ``GPTDataset``, or ``BlendableDataset``, whose positions are then those of the blend.
        reorders: oldest first.
    """
    blend = isinstance(dataset, BlendableDataset)
    for name in ("dataset_index", "dataset_sample_index") if blend else ("shuffle_idx",):
        base = _base(getattr(dataset, name))
        setattr(dataset, name, Order(base, reorders) if reorders else base)


def _base(array: Any) -> Any:
    """The host's own array, where an order of an earlier run still stands before it."""
    return array.base if isinstance(array, Order) else array


def checkpoint_folder(args: Any, step: int) -> Path:
    """Where the trainer keeps the checkpoint of a step (`_save_checkpoint` in paddlenlp/trainer/trainer.py)."""
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"


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


def rank() -> int:
    """This process's place among those of the run, from 0."""
    found: int = paddle.distributed.get_rank()
    return found


def gather(value: Any) -> list[Any]:
    """The value of every process of the run, by rank; collective.

    Args:
        value: anything that pickles.
    """
    if paddle.distributed.get_world_size() == 1:
        return [value]
    gathered: list[Any] = []
    paddle.distributed.all_gather_object(gathered, value)
    return gathered
