"""Everything that depends on the host libraries: the only file that imports paddle or paddlenlp.

Written against paddlenlp 3.0.0b4 and paddlepaddle 3.0 to 3.3.
"""

import contextlib
import io
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddlenlp.data.blendable_dataset import BlendableDataset
from paddlenlp.data.causal_dataset import GPTDataset, _build_index_mappings
from paddlenlp.trainer import TrainerCallback
from paddlenlp.trainer.trainer_utils import PREFIX_CHECKPOINT_DIR
from paddlenlp.utils.batch_sampler import DistributedBatchSampler
from paddlenlp.utils.log import logger

from paddle_epoch_guard.index import BlendIndex, ChainIndex, Description, GPTIndex, SampleIndex
from paddle_epoch_guard.index.chain import chained_arrays
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.order import Order, Piece, Reorder

__all__ = [
    "Loader",
    "Stamp",
    "TrainerCallback",
    "build_index",
    "checkpoint_folder",
    "constituents",
    "first_piece",
    "follow_loader",
    "gather",
    "index_folders",
    "install_order",
    "is_first_on_its_machine",
    "is_plain",
    "logger",
    "pick_datasets",
    "read_dataset",
    "read_stamp",
    "restore_dataset",
    "stamp_step",
    "start_sampler",
    "trainer_record",
    "write_stamp",
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
        weights = re.search(r"^Weights: (.*)^Size: ", dataset.desc, re.MULTILINE | re.DOTALL)
        return BlendIndex(
            tuple(_read_gpt(part) for part in dataset.datasets),
            _own(dataset, "dataset_index"),
            _own(dataset, "dataset_sample_index"),
            weights[1].strip() if weights else "",
        )
    if isinstance(dataset, GPTDataset) and hasattr(dataset, "shuffle_idx"):
        return _read_gpt(dataset)
    return None


def _read_gpt(dataset: GPTDataset) -> GPTIndex:
    description = Description.parse(dataset.desc, "the dataset's desc")
    arrays = {which: _own(dataset, which) for which in ("doc_idx", "sample_idx", "shuffle_idx")}
    sources = {
        which: str(getattr(array, "filename", None) or f"{which} of {description.prefix}")
        for which, array in arrays.items()
    }
    return GPTIndex.from_arrays(
        description, IndexArrays(**arrays, sizes=dataset.indexed_dataset.sizes, sources=sources)
    )


def _own(dataset: Any, name: str) -> Any:
    """The array that the host gave the dataset, where another one still stands in its place."""
    return getattr(dataset, "_epoch_guard_own", {}).get(name, getattr(dataset, name))


def _put(dataset: Any, arrays: dict[str, Any]) -> None:
    """Puts arrays in the place of the dataset's own, which are kept."""
    own = vars(dataset).setdefault("_epoch_guard_own", {})
    for name, array in arrays.items():
        own.setdefault(name, getattr(dataset, name))
        setattr(dataset, name, array)


def constituents(dataset: Any) -> list[Any]:
    """The GPT datasets of a blend, or the one there is."""
    return list(dataset.datasets) if isinstance(dataset, BlendableDataset) else [dataset]


def index_folders(dataset: Any) -> list[Path]:
    """Where the host looks for index files of a GPT dataset, and may write them."""
    beside = Path(Description.parse(dataset.desc, "the dataset's desc").prefix).parent / "index-cache"
    own = getattr(_own(dataset, "shuffle_idx"), "filename", None)
    return [beside] if own is None or Path(own).parent == beside else [beside, Path(own).parent]


def is_first_on_its_machine() -> bool:
    """Whether this is the process that builds index files, as the host has it."""
    return int(os.environ.get("PADDLE_RANK_IN_NODE", 0)) == 0


def pick_datasets(weights: Any, positions: int, dtype: Any) -> tuple[Any, Any]:
    """The host's rule for a blend: each position draws from the dataset that is furthest behind its weight.

    Args:
        weights: ``[datasets]``, float64.
        positions: n.
        dtype: of the first of the two; the host's own depends on the release of fast_dataindex.

    Returns:
        Dataset, and position in it, ``[n]`` each.
    """
    from fast_dataindex import helpers  # as paddlenlp does, where it is needed

    which, inner = np.zeros(positions, dtype=dtype), np.zeros(positions, dtype=np.int64)
    helpers.build_blending_indices(which, inner, weights, len(weights), positions, False)
    return which, inner


def build_index(dataset: Any, description: Description) -> None:
    """Lets the host build the index files of another description of a dataset's corpus.

    To be called on the first process of each machine; the others would wait for it without end
    (`_build_index_mappings` in paddlenlp/data/causal_dataset.py). What the host prints is left out.

    Args:
        dataset: the live ``GPTDataset``.
        description: what to build; its corpus is the dataset's.
    """
    if not is_first_on_its_machine():
        return
    sizes = dataset.indexed_dataset.sizes
    first, last = split_documents(description.split, description.name, len(sizes))
    with contextlib.redirect_stdout(io.StringIO()):
        _build_index_mappings(
            description.name,
            description.prefix,
            np.arange(first, last, 1, np.int32),
            sizes,
            description.split,
            description.samples_requested,
            description.seq_length,
            description.seed,
            False,
            data_cache_path=str(index_folders(dataset)[-1]),
        )


def install_order(dataset: Any, index: SampleIndex, reorders: tuple[Reorder, ...]) -> None:
    """Makes a live dataset draw from an index in another order.

    It must happen before the loader forks its workers, which is after ``on_epoch_begin``. Files are not touched.

    Args:
        dataset: ``GPTDataset``, or ``BlendableDataset``, whose positions are then those of the blend.
        index: what to draw from: the dataset's own index, or a chain that begins with what was planned.
        reorders: oldest first.
    """
    if isinstance(index, BlendIndex):
        for part, inner in zip(dataset.datasets, index.datasets, strict=True):
            install_order(part, inner, ())
        names = ("dataset_index", "dataset_sample_index")
        picked: dict[str, Any] = {name: getattr(index, name) for name in names}
        if reorders:
            picked = {name: Order(array, reorders) for name, array in picked.items()}
        if reorders or index.dataset_index is not _own(dataset, "dataset_index"):
            _put(dataset, {**picked, "size": len(index)})
        return
    if isinstance(index, ChainIndex):
        arrays = chained_arrays(index)
        arrays["shuffle_idx"] = Order(arrays["shuffle_idx"], reorders)
        _put(dataset, arrays)
    elif reorders:
        _put(dataset, {"shuffle_idx": Order(_own(dataset, "shuffle_idx"), reorders)})


def restore_dataset(dataset: Any) -> None:
    """Gives a dataset its own arrays back; does nothing to one that has them."""
    for one in (dataset, *(dataset.datasets if isinstance(dataset, BlendableDataset) else ())):
        for name, array in getattr(one, "__dict__", {}).pop("_epoch_guard_own", {}).items():
            setattr(one, name, array)


def is_plain(dataset: Any) -> bool:
    """Whether a pass of the trainer over a dataset is one pass over its data, as far as can be told.

    A dataset that streams may repeat itself; one that wraps another may hold a sample index that is not seen.
    """
    wraps = any(hasattr(dataset, name) for name in ("dataset", "datasets", "indexed_dataset", "shuffle_idx"))
    return hasattr(dataset, "__len__") and not isinstance(dataset, paddle.io.IterableDataset) and not wraps


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


@dataclass(frozen=True)
class Stamp:
    """The guard's mark in the trainer's own state, which is saved with each checkpoint and loaded with it.

    A callback is not told which checkpoint the trainer loads; the stamp tells whether the sidecar that was found
    belongs to it. It stands in ``trial_params``, a field that the trainer saves and loads and does not use outside
    hyper-parameter search.
    """

    run: str
    """Names the run, through all its parts."""
    part: str
    """Names the part of the run, from one start to the next: a checkpoint folder may hold an older part's sidecar."""
    step: int
    """The last step that the guard has seen: less than the checkpoint's where it was written without the guard."""
    unified_from: int | None = None
    """The position at which the run began a unified order; None where it has none."""
    repaired: bool = False
    """Whether the run draws otherwise than the host would by itself: it cannot go on without its sidecar."""


def read_stamp(state: Any) -> Stamp | None:
    """The stamp of the checkpoint that the trainer loaded; None at a fresh start and without the guard."""
    found = (state.trial_params or {}).get("epoch_guard")
    if not isinstance(found, dict) or not isinstance(found.get("run"), str):
        return None
    begun = found.get("unified_from")
    return Stamp(
        run=found["run"],
        part=str(found.get("part")),
        step=step if isinstance(step := found.get("step"), int) else -1,
        unified_from=begun if isinstance(begun, int) else None,
        repaired=bool(found.get("repaired")),
    )


def write_stamp(state: Any, stamp: Stamp) -> None:
    """Marks the trainer's state, on every rank alike."""
    state.trial_params = {**(state.trial_params or {}), "epoch_guard": asdict(stamp)}


def stamp_step(state: Any) -> None:
    """Notes in the stamp that the guard has seen the step that ends."""
    state.trial_params["epoch_guard"]["step"] = state.global_step


def trainer_record(checkpoint: Path) -> dict[str, Any] | None:
    """What the trainer itself wrote of a checkpoint (``trainer_state.json``); None where it is not to be had."""
    try:
        with (checkpoint / "trainer_state.json").open("rb") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def checkpoint_folder(args: Any, step: int) -> Path:
    """Where the trainer keeps the checkpoint of a step (`_save_checkpoint` in paddlenlp/trainer/trainer.py)."""
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"


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
