"""Finds the indices of a cache directory by file name, and reads their descriptions.

PaddleNLP and PaddleFormers write ``<md5>.dsc`` and arrays beside it; megatron-core writes
``<md5>-<class>-<split>-description.txt``.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from paddle_epoch_guard.errors import IndexFileError, UnreadableIndexError, cause_of
from paddle_epoch_guard.index.cache import read_text
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.megatron import MegatronBlend, MegatronDescription
from paddle_epoch_guard.language import tr

_DESCRIPTION_BYTES = 1 << 24  # enough for a blend, whose description contains those of all datasets
_BLEND_HEAD = "Blendable dataset\n\nDatasets:\n"  # paddlenlp/data/blendable_dataset.py (3.0.0b4)
_BLEND_TAIL = re.compile(r"Weights: (.*)\nSize: (0|[1-9][0-9]{0,17})\n", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """A kind of index, and how its host names the files."""

    format: str
    """``paddlenlp`` (PaddleNLP and PaddleFormers) or ``megatron``."""
    is_blend: bool
    description: str
    """The suffix of the description's file name, after the stem."""
    arrays: tuple[tuple[str, str], ...]
    """Each array's name and the suffix of its file name."""


_GPT_ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")
_BLEND_ARRAYS = ("dataset_index", "dataset_sample_index")
PADDLE = Kind("paddlenlp", False, ".dsc", tuple((which, f"_{which}.npy") for which in _GPT_ARRAYS))
PADDLE_BLEND = Kind(
    "paddlenlp", True, ".dsc", tuple(zip(_BLEND_ARRAYS, ("_index.npy", "_sample_index.npy"), strict=True))
)
MEGATRON = Kind(
    "megatron", False, "-description.txt",
    tuple(zip(_GPT_ARRAYS, ("-document_index.npy", "-sample_index.npy", "-shuffle_index.npy"), strict=True)),
)  # fmt: skip
MEGATRON_BLEND = Kind("megatron", True, "-description.txt", tuple((which, f"-{which}.npy") for which in _BLEND_ARRAYS))

_PADDLE_NAME = re.compile(
    r"([0-9a-f]{32})(\.dsc|_doc_idx\.npy|_sample_idx\.npy|_shuffle_idx\.npy|(?:_sample)?_index\.npy)"
)
_MEGATRON_NAME = re.compile(
    r"([0-9a-f]{32}-(GPTDataset|BlendedDataset)-(?:train|valid|test))"
    r"(-description\.txt|-(?:document|sample|shuffle|dataset|dataset_sample)_index\.npy)"
)
_FOREIGN_NAME = re.compile(r"([0-9a-f]{32}-([A-Za-z_]\w*)-(?:train|valid|test))-[\w.-]+")
"""Of megatron-core's other classes: BERT's, mock data, and those of users."""
_GUARD_BLEND = re.compile(r"(epoch_guard_blend_[0-9a-f]{32})_(?:sample_)?index\.npy")
_NOTE_NAME = re.compile(r"[0-9a-f]{32}(?:-(?:GPTDataset|BlendedDataset)-(?:train|valid|test))?\.epoch_guard\.json")
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # an unfinished `atomic_write`


@dataclass(frozen=True)
class IndexFiles:
    """The files of an index, existing or not."""

    folder: Path
    stem: str
    """The common start of their names."""
    kind: Kind

    @property
    def digest(self) -> str:
        """The md5 of the description."""
        return self.stem[:32]

    @property
    def description(self) -> Path:
        """The file of the description."""
        return self.folder / f"{self.stem}{self.kind.description}"

    @property
    def arrays(self) -> dict[str, Path]:
        """The file of each array."""
        return {which: self.folder / f"{self.stem}{ending}" for which, ending in self.kind.arrays}

    @property
    def note(self) -> Path:
        """The file in which the guard records the order of the arrays; hosts ignore it."""
        return self.folder / f"{self.stem}.epoch_guard.json"

    @property
    def expected(self) -> tuple[Path, ...]:
        """The files of the description and of all arrays."""
        return (self.description, *self.arrays.values())

    @property
    def missing(self) -> tuple[Path, ...]:
        """The expected files that do not exist."""
        return tuple(file for file in self.expected if not is_there(file))

    @property
    def present(self) -> tuple[Path, ...]:
        """The expected files and the guard's note, as far as they exist."""
        return tuple(file for file in (*self.expected, self.note) if is_there(file))


def is_there(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere.

    Raises:
        UnreadableIndexError: it is unknown, as in a folder that must not be searched.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as cause:
        raise UnreadableIndexError(_unreadable(path, cause)) from cause
    return True


def _unreadable(path: Path, cause: OSError) -> str:
    return tr("{path}: could not be read: {cause}", path=path, cause=cause_of(cause))


@dataclass(frozen=True)
class ForeignIndex:
    """An index of another class of dataset, by the names of its files."""

    stem: str
    """The common start of their names."""
    class_name: str


@dataclass(frozen=True)
class Folder:
    """The contents of a cache directory."""

    indices: tuple[IndexFiles, ...]
    guard_blends: tuple[str, ...]
    """The stems of blends that the guard built for extended runs."""
    temporary: tuple[Path, ...]
    """Files that are being written, or were when their process ended."""
    foreign: tuple[ForeignIndex, ...]
    """Indices of megatron-core that are neither of GPTDataset nor a blend."""
    others: tuple[str, ...]
    """Names of other files."""


def scan(folder: Path) -> Folder:
    """Lists the indices of a directory, complete or not, by file name.

    Raises:
        IndexFileError: ``folder`` is not a directory.
        UnreadableIndexError: the directory cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise IndexFileError(
            tr("{folder}: no such directory; expected a host's index cache", folder=folder)
        ) from cause
    except OSError as cause:
        raise UnreadableIndexError(_unreadable(folder, cause)) from cause
    stems: dict[str, set[str]] = {}
    guard_blends, temporary, foreign, others = set(), [], {}, []
    for name in names:
        if match := _PADDLE_NAME.fullmatch(name) or _MEGATRON_NAME.fullmatch(name):
            stems.setdefault(match[1], set()).add(match[match.lastindex or 1])
        elif match := _GUARD_BLEND.fullmatch(name):
            guard_blends.add(match[1])
        elif not name.endswith(".epoch_guard.json") and (match := _FOREIGN_NAME.fullmatch(name)):
            foreign[match[1]] = ForeignIndex(match[1], match[2])
        elif _is_temporary(name) and os.path.isfile(folder / name):
            temporary.append(folder / name)
        elif not name.endswith(".epoch_guard.json") and not os.path.isdir(folder / name):
            others.append(name)
    indices = tuple(IndexFiles(folder, stem, _kind(folder, stem, stems[stem])) for stem in sorted(stems))
    return Folder(indices, tuple(sorted(guard_blends)), tuple(temporary), tuple(foreign.values()), tuple(others))


def _is_temporary(name: str) -> bool:
    """Whether it is an unfinished file of the guard's: ``.<name of a file of an index>.<8 characters>``.

    Any other hidden file is the user's.
    """
    match = _TEMPORARY.fullmatch(name)
    if match is None:
        return False
    patterns = _PADDLE_NAME, _MEGATRON_NAME, _GUARD_BLEND, _NOTE_NAME
    return any(pattern.fullmatch(match[1]) for pattern in patterns)


def _kind(folder: Path, stem: str, endings: set[str]) -> Kind:
    if len(stem) > 32:
        return MEGATRON_BLEND if "-BlendedDataset-" in stem else MEGATRON
    if endings & {ending for _, ending in PADDLE_BLEND.arrays}:
        return PADDLE_BLEND
    if endings == {".dsc"}:
        try:
            return PADDLE_BLEND if read_text(folder / f"{stem}.dsc", _DESCRIPTION_BYTES)[:9] == "Blendable" else PADDLE
        except IndexFileError:
            return PADDLE  # `describe` then raises the error
    return PADDLE


@dataclass(frozen=True)
class Described:
    """The parsed description of an index."""

    datasets: tuple[Description | MegatronDescription, ...]
    """One description, or one for each dataset of a blend."""
    size: int | None = None
    """The number of positions of a blend; None without a blend, or if each dataset is drawn once."""
    weights: str = ""
    """The weights of a blend, as the host wrote them."""
    drawn: tuple[int, int] | None = None
    """The fewest and the most positions of a blend that its run draws; None if all, or without a blend."""

    @property
    def name(self) -> str:
        """``train``, ``valid`` or ``test``."""
        return self.datasets[0].name


def describe(files: IndexFiles) -> Described:
    """Reads and checks the description of an index.

    Raises:
        IndexFileError: the file is missing, in another format, or its md5 is not the one in its name.
        ForeignIndexError: it describes a class of dataset that is not read.
    """
    path = files.description
    text = read_text(path, _DESCRIPTION_BYTES)
    digest = hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()
    if digest != files.digest:
        raise IndexFileError(
            tr(
                "{path}: its text has the md5 {digest}; expected {named}, which names the file. The description was "
                "edited, truncated or replaced; restore it, or let the host rebuild the index",
                path=path,
                digest=digest,
                named=files.digest,
            )
        )
    if files.kind is MEGATRON:
        return Described((MegatronDescription.parse(text, str(path)),))
    if files.kind is MEGATRON_BLEND:
        blend = MegatronBlend.parse(text, str(path))
        return Described(blend.datasets, blend.size, blend.weights, blend.drawn)
    if files.kind is PADDLE_BLEND:
        return _describe_blend(text, str(path))
    return Described((Description.parse(text, str(path)),))


def _describe_blend(text: str, source: str) -> Described:
    """Parses the description of ``BlendableDataset`` in paddlenlp/data/blendable_dataset.py (3.0.0b4)."""
    *texts, tail = text.removeprefix(_BLEND_HEAD).split("\n\n\n")
    match = _BLEND_TAIL.fullmatch(tail)
    if not text.startswith(_BLEND_HEAD) or match is None or not texts:
        values = {"source": source, "text": text[:80]}
        raise IndexFileError(tr("{source}: not a description of a blend: found {text!r}", **values))
    numbered = enumerate(texts)
    datasets = tuple(
        Description.parse(f"{block}\n", tr("{source}, dataset {number}", source=source, number=number))
        for number, block in numbered
    )
    return Described(datasets, int(match[2]), match[1])
