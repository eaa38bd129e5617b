"""The live dataset: reads and replaces its arrays, and calls the host's index builders."""

import contextlib
import importlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
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
from paddle_epoch_guard.index.corpus import check_live_corpus
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.folder import PADDLE, PADDLE_BLEND, IndexFiles, Kind
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.materialise import host_order, in_order

BlendableDataset = library.import_host("data.blendable_dataset").BlendableDataset
GPTDataset = library.import_host("data.causal_dataset").GPTDataset


def read_dataset(dataset: Any) -> SampleIndex | None:
    """Reads and verifies the sample index of a live training dataset.

    Args:
        dataset: ``GPTDataset``, ``BlendableDataset``, or anything else.

    Returns:
        The index; None if the dataset has none.

    Raises:
        EpochGuardError: description, arrays and corpus do not match, or the corpus is broken.
    """
    if isinstance(dataset, BlendableDataset):
        source, base_of = _stored_order(dataset, "dataset_index", PADDLE_BLEND)
        weights = re.search(r"^Weights: (.*)^Size: ", dataset.desc, re.MULTILINE | re.DOTALL)
        blend = BlendIndex(
            tuple(_read_gpt(inner) for inner in dataset.datasets),
            base_of(_host_array(dataset, "dataset_index")),
            base_of(_host_array(dataset, "dataset_sample_index")),
            weights[1].strip() if weights else "",
        )
        verify_blend(blend, len(blend), source or tr("the blend"))
        return blend
    if isinstance(dataset, GPTDataset) and hasattr(dataset, "shuffle_idx"):
        return _read_gpt(dataset)
    return None


def _read_gpt(dataset: Any) -> GPTIndex:
    description = Description.parse(dataset.desc, tr("the dataset's desc"))
    arrays = {which: _host_array(dataset, which) for which in ("doc_idx", "sample_idx", "shuffle_idx")}
    source, base_of = _stored_order(dataset, "shuffle_idx", PADDLE)
    sources = {
        which: str(
            getattr(array, "filename", None) or tr("{array} of {corpus}", array=which, corpus=description.prefix)
        )
        for which, array in arrays.items()
    }
    arrays["shuffle_idx"] = base_of(arrays["shuffle_idx"])
    sources["shuffle_idx"] = source or sources["shuffle_idx"]
    check_live_corpus(description.prefix)
    return GPTIndex.from_arrays(
        description, IndexArrays(**arrays, sizes=dataset.indexed_dataset.sizes, sources=sources)
    )


def _stored_order(dataset: Any, name: str, kind: Kind) -> tuple[str, Callable[[Any], Any]]:
    """How to restore the host's own order of a live dataset's arrays, if 'rebuild' has written another one.

    Args:
        dataset: the live dataset.
        name: the name of an array.
        kind: the kind of its index.

    Returns:
        The name of the arrays in errors, empty if they are not on disk; and a function that maps an array to the
        host's own order.
    """
    file = getattr(_host_array(dataset, name), "filename", None)
    if file is None:
        return "", lambda array: array
    files = IndexFiles(Path(file).parent, Path(file).name[:32], kind)  # a name starts with the description's md5
    source = str(file)
    if files.note.is_file():
        source = tr("{path} (order undone by {note})", path=file, note=files.note.name)
    return source, lambda array: host_order(files, array)


def _host_array(dataset: Any, name: str) -> Any:
    """The array that the host gave the dataset, even if it is replaced."""
    return getattr(dataset, OWN_ARRAYS, {}).get(name, getattr(dataset, name))


OWN_ARRAYS = "_epoch_guard_own"
"""The attribute in which a dataset keeps the host's arrays while others are in their place."""


def _replace_arrays(dataset: Any, arrays: dict[str, Any]) -> None:
    """Replaces attributes of the dataset, and keeps the host's for :func:`restore_dataset`."""
    host_arrays = vars(dataset).setdefault(OWN_ARRAYS, {})
    for name, array in arrays.items():
        host_arrays.setdefault(name, getattr(dataset, name))
        setattr(dataset, name, array)


def constituents(dataset: Any) -> list[Any]:
    """The GPT datasets of a blend, or the dataset itself."""
    return list(dataset.datasets) if isinstance(dataset, BlendableDataset) else [dataset]


def index_folders(dataset: Any) -> list[Path]:
    """The folders in which the host looks for index files of a GPT dataset; it writes to the last one."""
    beside = Path(Description.parse(dataset.desc, tr("the dataset's desc")).prefix).parent / "index-cache"
    file = getattr(_host_array(dataset, "shuffle_idx"), "filename", None)
    return [beside] if file is None or Path(file).parent == beside else [beside, Path(file).parent]


def folder_to_build_in(dataset: Any, fallback: Path) -> Path:
    """The folder in which the host would build index files of a GPT dataset; ``fallback`` if it is not writable.

    A corpus may lie on a read-only disk, with the index beside it.
    """
    folder = index_folders(dataset)[-1]
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    by_effective_user = os.access in os.supports_effective_ids
    is_writable = os.access(existing, os.W_OK | os.X_OK, effective_ids=by_effective_user)
    return folder if is_writable else fallback


def is_first_on_its_machine() -> bool:
    """Whether this process builds index files, by the host's rule."""
    return int(os.environ.get("PADDLE_RANK_IN_NODE", 0)) == 0


def _index_helpers() -> Any:
    """The host's compiled helpers; imported late, as in the host."""
    try:
        return importlib.import_module("fast_dataindex.helpers")
    except ModuleNotFoundError:  # paddlenlp 2.8.1 uses another package
        return importlib.import_module("tool_helpers.helpers")


def pick_datasets(weights: Any, positions: int, dtype: Any) -> tuple[Any, Any]:
    """Computes the arrays of a blend with the host's code.

    Args:
        weights: float64 ``[datasets]``.
        positions: n, the number of positions.
        dtype: the dtype of ``dataset_index``; the host's depends on the release of fast_dataindex.

    Returns:
        ``dataset_index`` and ``dataset_sample_index``, ``[n]`` each.
    """
    which, inner = np.zeros(positions, dtype=dtype), np.zeros(positions, dtype=np.int64)
    _index_helpers().build_blending_indices(which, inner, weights, len(weights), positions, False)
    return which, inner


def build_index(dataset: Any, description: Description, folder: Path) -> None:
    """Lets the host build the index files of another description of a dataset's corpus, without its output.

    Does nothing except on the first process of each machine: the others would wait for it forever
    (`_build_index_mappings` in data/causal_dataset.py).

    The host overwrites existing files. A run that has mapped them would die of a bus error, so the files are built in
    a temporary folder and moved.

    Args:
        dataset: the live ``GPTDataset``.
        description: what to build; its corpus is the dataset's.
        folder: where to build; it is made.

    Raises:
        IndexFileError: the host did not write the files.
        OSError: the folder cannot be written.
    """
    if not is_first_on_its_machine():
        return
    sizes = dataset.indexed_dataset.sizes
    first, last = split_documents(description.split, description.name, len(sizes))
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".epoch_guard_build.", dir=folder) as building,
        contextlib.redirect_stdout(io.StringIO()) as output,
    ):
        library.import_host("data.causal_dataset")._build_index_mappings(  # noqa: SLF001 - the host's only builder
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
                tr(
                    "{folder}: the host could not build the index for {samples} samples and seed {seed}. Check that "
                    "the disk has room. The host said: {said}",
                    folder=folder,
                    samples=description.samples_requested,
                    seed=description.seed,
                    said=output.getvalue().strip()[-500:],
                )
            )
        for file in [*built.values(), *Path(building).glob("*.dsc")]:
            os.replace(file, folder / file.name)


ORDER_ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx", "dataset_index", "dataset_sample_index")
"""By what ``GPTDataset`` and ``BlendableDataset`` look up a position."""


def install_order(dataset: Any, index: SampleIndex, reorders: tuple[Reorder, ...]) -> None:
    """Makes a live dataset draw from an index in another order, without changing files.

    To be called before the loader forks its workers, which it does after ``on_epoch_begin``.

    Args:
        dataset: ``GPTDataset`` or ``BlendableDataset``.
        index: the dataset's own index, or a concatenated one.
        reorders: the reorders of the index's positions, oldest first; of a blend, of the blend's positions.
    """
    if isinstance(index, EpochSampledIndex):
        index = index.inner
    if isinstance(index, BlendIndex):
        for inner, inner_index in zip(dataset.datasets, index.datasets, strict=True):
            install_order(inner, inner_index, ())
        names = ("dataset_index", "dataset_sample_index")
        arrays: dict[str, Any] = {name: in_order(getattr(index, name), reorders) for name in names}
        if any(array is not _host_array(dataset, name) for name, array in arrays.items()):
            _replace_arrays(dataset, {**arrays, "size": len(index)})
    elif isinstance(index, ConcatenatedIndex):
        arrays = concatenated_arrays(index)
        arrays["shuffle_idx"] = Order(arrays["shuffle_idx"], reorders)
        _replace_arrays(dataset, arrays)
    else:
        assert isinstance(index, GPTIndex)
        shuffle_idx = in_order(index.shuffle_idx, reorders)
        if shuffle_idx is not _host_array(dataset, "shuffle_idx"):
            _replace_arrays(dataset, {"shuffle_idx": shuffle_idx})


def list_datasets(dataset: Any, listing: Sequence[int]) -> None:
    """Lets a live blend list its datasets in another order, until the dataset is restored.

    Args:
        dataset: ``BlendableDataset``.
        listing: for each dataset, its present number.
    """
    _replace_arrays(dataset, {"datasets": [dataset.datasets[number] for number in listing]})


def restore_dataset(dataset: Any) -> None:
    """Gives a dataset, and the datasets of a blend, the host's arrays back if they are replaced."""
    for owner in (dataset, *(dataset.datasets if isinstance(dataset, BlendableDataset) else ())):
        for name, array in getattr(owner, "__dict__", {}).pop(OWN_ARRAYS, {}).items():
            setattr(owner, name, array)


def is_plain(dataset: Any) -> bool:
    """Whether an epoch of the trainer seems to be one pass over the data of a dataset.

    A streaming dataset may repeat data; one that wraps another may contain a sample index.
    """
    wraps = any(hasattr(dataset, name) for name in ("dataset", "datasets", "indexed_dataset", "shuffle_idx"))
    return hasattr(dataset, "__len__") and not isinstance(dataset, paddle.io.IterableDataset) and not wraps
