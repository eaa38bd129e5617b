"""The live dataset: its arrays, those put in their place, and the host's builders of index files."""

import contextlib
import importlib
import io
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddle_epoch_guard.errors import IndexFileError
from paddle_epoch_guard.host import library
from paddle_epoch_guard.index import (
    BlendIndex,
    ConcatenatedIndex,
    Description,
    EpochSampledIndex,
    GPTIndex,
    SampleIndex,
)
from paddle_epoch_guard.index.blend import verify_blend
from paddle_epoch_guard.index.cache import index_files
from paddle_epoch_guard.index.concatenated import concatenated_arrays
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.folder import PADDLE, PADDLE_BLEND, IndexFiles, Kind
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.materialise import host_order, in_order

BlendableDataset = library.import_host("data.blendable_dataset").BlendableDataset
GPTDataset = library.import_host("data.causal_dataset").GPTDataset


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
        source, base_of = _as_written(dataset, "dataset_index", PADDLE_BLEND)
        weights = re.search(r"^Weights: (.*)^Size: ", dataset.desc, re.MULTILINE | re.DOTALL)
        blend = BlendIndex(
            tuple(_read_gpt(part) for part in dataset.datasets),
            base_of(_own(dataset, "dataset_index")),
            base_of(_own(dataset, "dataset_sample_index")),
            weights[1].strip() if weights else "",
        )
        verify_blend(blend, len(blend), source or "the blend")
        return blend
    if isinstance(dataset, GPTDataset) and hasattr(dataset, "shuffle_idx"):
        return _read_gpt(dataset)
    return None


def _read_gpt(dataset: Any) -> GPTIndex:
    description = Description.parse(dataset.desc, "the dataset's desc")
    arrays = {which: _own(dataset, which) for which in ("doc_idx", "sample_idx", "shuffle_idx")}
    source, base_of = _as_written(dataset, "shuffle_idx", PADDLE)
    sources = {
        which: str(getattr(array, "filename", None) or f"{which} of {description.prefix}")
        for which, array in arrays.items()
    }
    arrays["shuffle_idx"] = base_of(arrays["shuffle_idx"])
    sources["shuffle_idx"] = source or sources["shuffle_idx"]
    return GPTIndex.from_arrays(
        description, IndexArrays(**arrays, sizes=dataset.indexed_dataset.sizes, sources=sources)
    )


def _as_written(dataset: Any, name: str, kind: Kind) -> tuple[str, Callable[[Any], Any]]:
    """How the arrays of a live dataset give the host's own order back, where 'rebuild' has written another one.

    Args:
        dataset: the live dataset.
        name: of one of the arrays.
        kind: of its index.

    Returns:
        What to call them in an error, empty where they are not on disk; and the host's own order of an array.
    """
    file = getattr(_own(dataset, name), "filename", None)
    if file is None:
        return "", lambda array: array
    files = IndexFiles(Path(file).parent, Path(file).name[:32], kind)  # the md5 of its description
    undone = f" (order undone by {files.note.name})" if files.note.is_file() else ""
    return f"{file}{undone}", lambda array: host_order(files, array)


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


def _index_helpers() -> Any:
    """The host's compiled helpers, imported where they are needed, as the host does."""
    try:
        return importlib.import_module("fast_dataindex.helpers")
    except ModuleNotFoundError:  # paddlenlp 2.8.1 has them from another package
        return importlib.import_module("tool_helpers.helpers")


def pick_datasets(weights: Any, positions: int, dtype: Any) -> tuple[Any, Any]:
    """The host's rule for a blend: each position draws from the dataset that is furthest behind its weight.

    Args:
        weights: ``[datasets]``, float64.
        positions: n.
        dtype: of the first of the two; the host's own depends on the release of fast_dataindex.

    Returns:
        Dataset, and position in it, ``[n]`` each.
    """
    which, inner = np.zeros(positions, dtype=dtype), np.zeros(positions, dtype=np.int64)
    _index_helpers().build_blending_indices(which, inner, weights, len(weights), positions, False)
    return which, inner


def build_index(dataset: Any, description: Description) -> None:
    """Lets the host build the index files of another description of a dataset's corpus.

    To be called on the first process of each machine; the others would wait for it without end
    (`_build_index_mappings` in data/causal_dataset.py). What the host prints is left out.

    The host writes under the files' own names, over files that another run may have mapped by now: that run would die
    of a bus error. So it builds in a folder beside them, from which they are moved.

    Args:
        dataset: the live ``GPTDataset``.
        description: what to build; its corpus is the dataset's.

    Raises:
        IndexFileError: the host could not write them.
        OSError: the folder cannot be written.
    """
    if not is_first_on_its_machine():
        return
    sizes = dataset.indexed_dataset.sizes
    first, last = split_documents(description.split, description.name, len(sizes))
    folder = index_folders(dataset)[-1]
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".epoch_guard_build.", dir=folder) as building,
        contextlib.redirect_stdout(io.StringIO()) as said,
    ):
        library.import_host("data.causal_dataset")._build_index_mappings(
            description.name,
            description.prefix,
            np.arange(first, last, 1, np.int32),
            sizes,
            description.split,
            description.samples_requested,
            description.seq_length,
            description.seed,
            False,
            data_cache_path=building,
        )
        built = index_files(Path(building), description)
        if not all(file.is_file() for file in built.values()):  # the host swallows an OSError
            raise IndexFileError(
                f"{folder}: the host could not build the index for {description.samples_requested} samples and seed "
                f"{description.seed}. Check that the disk has room. The host said: {said.getvalue().strip()[-500:]}"
            )
        for file in [*built.values(), *Path(building).glob("*.dsc")]:
            os.replace(file, folder / file.name)


def install_order(dataset: Any, index: SampleIndex, reorders: tuple[Reorder, ...]) -> None:
    """Makes a live dataset draw from an index in another order.

    It must happen before the loader forks its workers, which is after ``on_epoch_begin``. Files are not touched.

    Args:
        dataset: ``GPTDataset``, or ``BlendableDataset``, whose positions are then those of the blend.
        index: what to draw from: the dataset's own index, or a chain that begins with what was planned.
        reorders: oldest first.
    """
    if isinstance(index, EpochSampledIndex):
        index = index.inner
    if isinstance(index, BlendIndex):
        for part, inner in zip(dataset.datasets, index.datasets, strict=True):
            install_order(part, inner, ())
        names = ("dataset_index", "dataset_sample_index")
        picked: dict[str, Any] = {name: in_order(getattr(index, name), reorders) for name in names}
        if any(array is not _own(dataset, name) for name, array in picked.items()):
            _put(dataset, {**picked, "size": len(index)})
        return
    if isinstance(index, ConcatenatedIndex):
        arrays = concatenated_arrays(index)
        arrays["shuffle_idx"] = Order(arrays["shuffle_idx"], reorders)
        _put(dataset, arrays)
        return
    assert isinstance(index, GPTIndex)
    shuffle_idx = in_order(index.shuffle_idx, reorders)
    if shuffle_idx is not _own(dataset, "shuffle_idx"):
        _put(dataset, {"shuffle_idx": shuffle_idx})


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
