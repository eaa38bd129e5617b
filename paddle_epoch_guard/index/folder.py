"""What a cache directory holds, by its files' names, and what these were built from.

Three hosts, two ways to name files: PaddleNLP and PaddleFormers write ``<md5>.dsc`` and arrays beside it,
megatron-core ``<md5>-<class>-<split>-description.txt``.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paddle_epoch_guard.errors import IndexFileError
from paddle_epoch_guard.index.cache import read_text
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.megatron import MegatronBlend, MegatronDescription

_DESCRIPTION_BYTES = 1 << 24  # a blend's names every dataset; anything longer is not one
_BLEND_HEAD = "Blendable dataset\n\nDatasets:\n"  # paddlenlp/data/blendable_dataset.py (3.0.0b4)
_BLEND_TAIL = re.compile(r"Weights: (.*)\nSize: (0|[1-9][0-9]{0,17})\n", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """A form of index, and how its host names the files."""

    format: str
    """``paddlenlp``, which is PaddleFormers' too, or ``megatron``."""
    is_blend: bool
    description: str
    """What follows the stem in the name of its description."""
    arrays: tuple[tuple[str, str], ...]
    """Each array, and what follows the stem in the name of its file."""


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
_GUARD_BLEND = re.compile(r"(epoch_guard_blend_[0-9a-f]{32})_(?:sample_)?index\.npy")
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as `atomic_write` names them, until they are whole


@dataclass(frozen=True)
class IndexFiles:
    """The files of one index, there or not."""

    folder: Path
    stem: str
    """What their names begin with."""
    kind: Kind

    @property
    def digest(self) -> str:
        """The md5 by which the host finds them."""
        return self.stem[:32]

    @property
    def description(self) -> Path:
        """The file that says what the arrays were built from."""
        return self.folder / f"{self.stem}{self.kind.description}"

    @property
    def arrays(self) -> dict[str, Path]:
        """The file of each array."""
        return {which: self.folder / f"{self.stem}{ending}" for which, ending in self.kind.arrays}

    @property
    def note(self) -> Path:
        """Where the guard says in which order it has written the arrays; no host looks at it."""
        return self.folder / f"{self.stem}.epoch_guard.json"

    @property
    def expected(self) -> tuple[Path, ...]:
        """The description and all arrays."""
        return (self.description, *self.arrays.values())

    @property
    def missing(self) -> tuple[Path, ...]:
        """Those that are not there."""
        return tuple(file for file in self.expected if not os.path.lexists(file))

    @property
    def present(self) -> tuple[Path, ...]:
        """Those that are there, with the guard's note."""
        return tuple(file for file in (*self.expected, self.note) if os.path.lexists(file))


@dataclass(frozen=True)
class Folder:
    """What lies in a cache directory."""

    indices: tuple[IndexFiles, ...]
    guard_blends: tuple[str, ...]
    """What the names of blends begin with that the guard has built for a longer run."""
    temporary: tuple[Path, ...]
    """Files that were being written when their process ended, or are being written now."""
    others: tuple[str, ...]
    """Names of other files."""


def scan(folder: Path) -> Folder:
    """Says which indices a directory holds, whole or in part, from the names of its files.

    Raises:
        IndexFileError: it is no directory.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise IndexFileError(f"{folder}: no such directory; expected a host's index cache")
    stems: dict[str, set[str]] = {}
    guard_blends, temporary, others = set(), [], []
    for name in sorted(os.listdir(folder)):
        if found := _PADDLE_NAME.fullmatch(name) or _MEGATRON_NAME.fullmatch(name):
            stems.setdefault(found[1], set()).add(found[found.lastindex or 1])
        elif found := _GUARD_BLEND.fullmatch(name):
            guard_blends.add(found[1])
        elif _TEMPORARY.fullmatch(name) and (folder / name).is_file():
            temporary.append(folder / name)
        elif not name.endswith(".epoch_guard.json") and not (folder / name).is_dir():
            others.append(name)
    indices = tuple(IndexFiles(folder, stem, _kind(folder, stem, stems[stem])) for stem in sorted(stems))
    return Folder(indices, tuple(sorted(guard_blends)), tuple(temporary), tuple(others))


def _kind(folder: Path, stem: str, endings: set[str]) -> Kind:
    if len(stem) > 32:
        return MEGATRON_BLEND if "-BlendedDataset-" in stem else MEGATRON
    if endings & {ending for _, ending in PADDLE_BLEND.arrays}:
        return PADDLE_BLEND
    if endings == {".dsc"}:
        try:
            return PADDLE_BLEND if read_text(folder / f"{stem}.dsc", _DESCRIPTION_BYTES)[:9] == "Blendable" else PADDLE
        except IndexFileError:
            return PADDLE  # and describing it says why
    return PADDLE


@dataclass(frozen=True)
class Described:
    """What an index was built from."""

    datasets: tuple[Description | MegatronDescription, ...]
    """One, or those of a blend."""
    size: int | None = None
    """Positions of a blend; None where there is none, or where each dataset is drawn once."""
    weights: str = ""

    @property
    def name(self) -> str:
        """``train``, ``valid`` or ``test``."""
        return self.datasets[0].name


def describe(files: IndexFiles) -> Described:
    """Reads and checks the description of an index.

    Raises:
        IndexFileError: it is missing, of another form, or not the text whose md5 names the files.
    """
    path = files.description
    text = read_text(path, _DESCRIPTION_BYTES)
    digest = hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()
    if digest != files.digest:
        raise IndexFileError(
            f"{path}: its text has the md5 {digest}; expected {files.digest}, which names the file. "
            "The description was edited, cut short or replaced; restore it, or let the host build the index anew"
        )
    if files.kind is MEGATRON:
        return Described((MegatronDescription.parse(text, str(path)),))
    if files.kind is MEGATRON_BLEND:
        blend = MegatronBlend.parse(text, str(path))
        return Described(blend.datasets, blend.size, blend.weights)
    if files.kind is PADDLE_BLEND:
        return _describe_blend(text, str(path))
    return Described((Description.parse(text, str(path)),))


def _describe_blend(text: str, source: str) -> Described:
    """Reads what ``BlendableDataset`` of paddlenlp/data/blendable_dataset.py (3.0.0b4) writes."""
    *parts, tail = text.removeprefix(_BLEND_HEAD).split("\n\n\n")
    match = _BLEND_TAIL.fullmatch(tail)
    if not text.startswith(_BLEND_HEAD) or match is None or not parts:
        raise IndexFileError(f"{source}: not a description of a blend: found {text[:80]!r}")
    datasets = tuple(Description.parse(f"{part}\n", f"{source}, dataset {at}") for at, part in enumerate(parts))
    return Described(datasets, int(match[2]), match[1])


def choose(folder: Path, digest: str | None) -> IndexFiles:
    """Chooses one index of a directory.

    Args:
        folder: the directory.
        digest: the md5 that names its files, or the beginning of it. Where None: the only index that trains, datasets
            of a blend that is there left out; where none trains, the only one.

    Raises:
        IndexFileError: there is none, or the choice is not unique.
    """
    held = scan(folder)
    if not held.indices:
        found = f"found {', '.join(held.others[:3])}" if held.others else "it holds none of their files"
        raise IndexFileError(
            f"{folder}: no index of PaddleNLP, PaddleFormers or megatron-core ({found}); expected <md5>.dsc or "
            "<md5>-GPTDataset-train-description.txt and arrays beside it. Name the host's index cache"
        )
    if digest is not None:
        fitting = [one for one in held.indices if digest and one.stem.startswith(digest)]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(one.digest for one in (fitting or held.indices)[:20])
        raise IndexFileError(
            f"{folder}: {len(fitting)} indices begin with {digest[:80]!r}; expected one. Name one of: {known}"
        )
    if len(held.indices) == 1:
        return held.indices[0]
    named = _named(held.indices)
    inside = {part.digest for _, described in named if len(described.datasets) > 1 for part in described.datasets}
    inside |= {part.digest for one, described in named if one.kind.is_blend for part in described.datasets}
    outer = [(one, described) for one, described in named if one.digest not in inside]
    fitting = [one for one, described in outer if described.name == "train"] or [one for one, _ in outer]
    if len(fitting) == 1:
        return fitting[0]
    chosen = {one.stem for one in fitting}
    listed = [f"{one.digest} ({_told(described)})" for one, described in named if one.stem in chosen][:20]
    raise IndexFileError(
        f"{folder}: {len(fitting)} indices to choose from; expected one. Name one with --hash: "
        f"{', '.join(listed) or ', '.join(one.digest for one in held.indices[:20])}"
    )


def _named(indices: Iterable[IndexFiles]) -> list[tuple[IndexFiles, Described]]:
    """Those whose descriptions can be read."""
    found = []
    for one in indices:
        try:
            found.append((one, describe(one)))
        except IndexFileError:
            continue
    return found


def _told(described: Described) -> str:
    one = described.datasets[0]
    if len(described.datasets) > 1:
        return f"{described.name}, a blend of {len(described.datasets)}, {described.size} samples"
    return f"{one.name}, {one.samples_requested} samples of length {one.seq_length}, seed {one.seed}, {one.prefix}"
