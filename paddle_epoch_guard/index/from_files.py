"""Opens an index of any host from a cache directory, and verifies it against its corpora."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from paddle_epoch_guard.errors import ArgumentsError, CorpusNotFoundError, IndexMismatchError
from paddle_epoch_guard.index.blend import BlendIndex, verify_blend
from paddle_epoch_guard.index.cache import load_array, load_arrays
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.folder import MEGATRON, PADDLE, Described, IndexFiles, describe
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.megatron import MegatronDescription, read_megatron
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.language import counted, tr

_CPT = "::CPT"  # a suffix of PaddleFormers' prefixes, not part of descriptions
_T = TypeVar("_T")


@dataclass(frozen=True)
class Opened:
    """An index, verified against its corpora."""

    files: IndexFiles
    described: Described
    index: GPTIndex | BlendIndex
    corpora: tuple[Path, ...]
    """The path of each dataset's corpus, without ``.idx``/``.bin``."""
    dataset_files: tuple[IndexFiles, ...] = ()
    """The files of a blend's datasets."""

    @property
    def datasets(self) -> tuple[GPTIndex, ...]:
        """The index, or those of a blend's datasets."""
        if isinstance(self.index, GPTIndex):
            return (self.index,)
        return tuple(dataset for dataset in self.index.datasets if isinstance(dataset, GPTIndex))


BaseOf = Callable[[IndexFiles, Any], Any]
"""Maps an array as stored to the host's own order."""


def unchanged(files: IndexFiles, array: _T) -> _T:
    """The default :data:`BaseOf`: the stored order is the host's."""
    return array


def open_index(files: IndexFiles, prefixes: Sequence[str] = (), base_of: BaseOf = unchanged) -> Opened:
    """Reads an index and verifies it against its corpora, of which the ``.idx`` files are enough.

    Args:
        files: the files of the index.
        prefixes: the corpora's paths, one for each dataset; if empty, they are taken from the description, or looked
            for beside the cache.
        base_of: maps an array as stored to the host's own order.

    Raises:
        ArgumentsError: the number of prefixes is not that of datasets.
        CorpusError: a corpus is missing, unreadable, or empty in the index's split.
        IndexFileError: a file is missing, truncated or in another format.
        IndexMismatchError: descriptions, arrays and corpora do not match.
    """
    described = describe(files)
    if prefixes and len(prefixes) != len(described.datasets):
        raise ArgumentsError(
            counted(
                "{n} prefix for {datasets}: {corpora}. Give --prefix once for each",
                "{n} prefixes for {datasets}: {corpora}. Give --prefix once for each",
                len(prefixes),
                datasets=counted("{n} dataset", "{n} datasets", len(described.datasets)),
                corpora=", ".join(dataset.prefix for dataset in described.datasets[:20]),
            )
        )
    given: Sequence[str | None] = prefixes or [None] * len(described.datasets)
    if not files.kind.is_blend:
        corpus = corpus_of(files, described.datasets[0].prefix, given[0])
        return Opened(files, described, _open_gpt(files, described.datasets[0], corpus, base_of), (corpus,))
    inner_files = tuple(dataset_files(files, description) for description in described.datasets)
    corpora = tuple(
        corpus_of(dataset, description.prefix, prefix)
        for dataset, description, prefix in zip(inner_files, described.datasets, given, strict=True)
    )
    datasets = tuple(
        _open_gpt(dataset, description, corpus, base_of)
        for dataset, description, corpus in zip(inner_files, described.datasets, corpora, strict=True)
    )
    which, inner = (base_of(files, load_array(file)) for file in files.arrays.values())
    source = str(files.arrays["dataset_index"])
    try:
        blend = BlendIndex(datasets, which, inner, described.weights)
    except IndexMismatchError as cause:
        raise IndexMismatchError(f"{source}: {cause}") from cause
    size = sum(map(len, datasets)) if described.size is None else described.size
    verify_blend(blend, size, source)
    return Opened(files, described, blend, corpora, inner_files)


def dataset_files(files: IndexFiles, description: Description | MegatronDescription) -> IndexFiles:
    """The files of a dataset of a blend: in the blend's folder, or in the host's cache beside the corpus.

    Where neither is complete, those of which there are some.
    """
    if isinstance(description, MegatronDescription):
        return IndexFiles(files.folder, f"{description.digest}-GPTDataset-{description.name}", MEGATRON)
    here = IndexFiles(files.folder, description.digest, PADDLE)
    beside = IndexFiles(Path(description.prefix).parent / "index-cache", description.digest, PADDLE)
    if not here.missing or not beside.present:
        return here
    return here if here.present and beside.missing else beside


def _open_gpt(
    files: IndexFiles, description: Description | MegatronDescription, corpus: Path, base_of: BaseOf
) -> GPTIndex:
    loaded = load_arrays(files.arrays, functools.partial(base_of, files))
    arrays = IndexArrays(**loaded, sizes=read_sizes(corpus, needs_text=False))
    if isinstance(description, MegatronDescription):
        return read_megatron(description, arrays)
    return GPTIndex.from_arrays(description, arrays)


def in_object_storage(prefix: str) -> bool:
    """Whether megatron-core reads a corpus from object storage; its ``.idx`` file is copied, the text is not."""
    return prefix.startswith(("s3://", "msc://"))  # megatron/core/datasets/object_storage_utils.py (0.16.1)


def corpus_of(files: IndexFiles, described: str, given: str | None) -> Path:
    """The path of an index's corpus, without ``.idx``/``.bin``.

    Args:
        files: the files of the index.
        described: the prefix in its description.
        given: the prefix that the user gave, which need not exist; or None.

    Raises:
        CorpusNotFoundError: the corpus is in none of the expected places.
    """
    if given is not None:
        return Path(given.removesuffix(_CPT))
    for path in _places(files, described):
        if Path(f"{path}.idx").is_file():
            return path
    if in_object_storage(described):
        raise CorpusNotFoundError(
            tr(
                "{prefix}.idx lies in object storage; expected a local copy. Name it with --prefix, without .idx: "
                "megatron-core keeps one below its object_storage_cache_path. The .bin file is not needed",
                prefix=described,
            )
        )
    raise CorpusNotFoundError(
        tr(
            "{prefix}.idx: no such file; expected the corpus that {description} names. If it lies elsewhere, name it "
            "with --prefix",
            prefix=described,
            description=files.description.name,
        )
    )


def text_without_sizes(files: IndexFiles, described: str) -> Path | None:
    """The ``.bin`` file of a corpus that has no ``.idx`` beside it; None if the corpus is whole, or not there at all.

    Args:
        files: the files of the index.
        described: the prefix in its description.
    """
    places = _places(files, described)
    if any(Path(f"{path}.idx").is_file() for path in places):
        return None
    texts = (Path(f"{path}.bin") for path in places)
    return next((text for text in texts if text.is_file()), None)


def _places(files: IndexFiles, described: str) -> list[Path]:
    """Where the corpus of an index may lie, the likeliest first; without ``.idx`` and ``.bin``."""
    folder = files.folder.resolve()
    paths = [Path(described)]
    if folder.name == "index-cache":
        paths.append(folder.parent / Path(described).name)
    elif folder.name == "GPTDataset_indices":  # megatron-core's default: `<prefix>/cache/GPTDataset_indices`
        paths.append(folder.parent.parent)
    return paths
