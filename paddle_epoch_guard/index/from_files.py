"""An index of a cache directory, of any host, read and verified against its corpora."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle_epoch_guard.errors import ArgumentsError, CorpusError, IndexMismatchError
from paddle_epoch_guard.index.blend import BlendIndex, verify_blend
from paddle_epoch_guard.index.cache import load_array, load_arrays
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.folder import MEGATRON, PADDLE, Described, IndexFiles, describe
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.megatron import MegatronDescription, read_megatron
from paddle_epoch_guard.index.verify import IndexArrays

_CPT = "::CPT"  # PaddleFormers marks prefixes with it, and leaves it out of descriptions


class CorpusNotFoundError(CorpusError):
    """There is nothing to check an index against."""


@dataclass(frozen=True)
class Opened:
    """An index, verified against its corpora."""

    files: IndexFiles
    described: Described
    index: GPTIndex | BlendIndex
    parts: tuple[IndexFiles, ...] = ()
    """The files of a blend's datasets."""

    @property
    def datasets(self) -> tuple[GPTIndex, ...]:
        """The one index, or those of a blend."""
        if isinstance(self.index, GPTIndex):
            return (self.index,)
        return tuple(part for part in self.index.datasets if isinstance(part, GPTIndex))


BaseOf = Callable[[IndexFiles, Any], Any]
"""An array as it is on disk -> the host's own order of it."""


def as_it_is(files: IndexFiles, array: Any) -> Any:
    """The order on disk is the host's."""
    return array


def open_index(files: IndexFiles, prefixes: Sequence[str] = (), base_of: BaseOf = as_it_is) -> Opened:
    """Reads an index and verifies it against its corpora.

    Args:
        files: of the index.
        prefixes: where the corpora lie, one for each dataset; empty where they lie as the description says, or beside
            the cache.
        base_of: gives the host's own order back, where another one was written.

    Raises:
        ArgumentsError: there are more or fewer prefixes than datasets.
        CorpusError: a corpus is missing, unreadable, or empty in the index's split.
        IndexFileError: a file is missing, truncated or of another form.
        IndexMismatchError: descriptions, arrays and corpora do not belong together.
    """
    described = describe(files)
    if prefixes and len(prefixes) != len(described.datasets):
        raise ArgumentsError(
            f"{len(prefixes)} prefixes for {len(described.datasets)} datasets: "
            f"{', '.join(one.prefix for one in described.datasets[:20])}. Give --prefix once for each, in this order"
        )
    if not files.kind.is_blend:
        given = prefixes[0] if prefixes else None
        return Opened(files, described, _open_gpt(files, described.datasets[0], given, base_of))
    parts = tuple(part_files(files, one) for one in described.datasets)
    datasets = tuple(
        _open_gpt(part, one, prefixes[at] if prefixes else None, base_of)
        for at, (part, one) in enumerate(zip(parts, described.datasets, strict=True))
    )
    which, inner = (base_of(files, load_array(file)) for file in files.arrays.values())
    source = str(files.arrays["dataset_index"])
    try:
        blend = BlendIndex(datasets, which, inner, described.weights)
    except IndexMismatchError as wrong:
        raise IndexMismatchError(f"{source}: {wrong}") from wrong
    size = sum(len(one) for one in datasets) if described.size is None else described.size
    verify_blend(blend, size, source)
    return Opened(files, described, blend, parts)


def part_files(files: IndexFiles, description: Description | MegatronDescription) -> IndexFiles:
    """The files of one dataset of a blend: in the blend's folder, or where the host keeps them beside the corpus."""
    if isinstance(description, MegatronDescription):
        return IndexFiles(files.folder, f"{description.digest}-GPTDataset-{description.name}", MEGATRON)
    here = IndexFiles(files.folder, description.digest, PADDLE)
    beside = IndexFiles(Path(description.prefix).parent / "index-cache", description.digest, PADDLE)
    return beside if here.missing and not beside.missing else here


def _open_gpt(
    files: IndexFiles, description: Description | MegatronDescription, prefix: str | None, base_of: BaseOf
) -> GPTIndex:
    arrays = load_arrays(files.arrays, functools.partial(base_of, files))
    sizes = read_sizes(corpus_of(files, description.prefix, prefix))
    found = IndexArrays(**arrays, sizes=sizes)
    if isinstance(description, MegatronDescription):
        return read_megatron(description, found)
    return GPTIndex.from_arrays(description, found)


def corpus_of(files: IndexFiles, described: str, given: str | None) -> Path:
    """Where the corpus of an index lies, without ``.idx``/``.bin``.

    Args:
        files: of the index.
        described: the prefix that the run named.
        given: the prefix that the user named, if any.

    Raises:
        CorpusError: it is at none of the places where it may be.
    """
    if given is not None:
        return Path(given.removesuffix(_CPT))
    folder = files.folder.resolve()
    places = [Path(described)]
    if folder.name == "index-cache":
        places.append(folder.parent / Path(described).name)
    elif folder.name == "GPTDataset_indices":  # `<prefix>/cache/GPTDataset_indices`, where no other is named
        places.append(folder.parent.parent)
    for place in places:
        if Path(f"{place}.idx").is_file():
            return place
    raise CorpusNotFoundError(
        f"{described}.idx: no such file; expected the corpus that {files.description.name} names. "
        "If it lies elsewhere, name it with --prefix"
    )
