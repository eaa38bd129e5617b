"""A sample index read from a cache directory, without the host."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexFileError
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.verify import IndexArrays

_ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")
_DESCRIPTION_BYTES = 1 << 16  # six lines; anything longer is not one
_BLEND = b"Blendable dataset\n"  # as paddlenlp/data/blendable_dataset.py (3.0.0b4) starts it


def read_cache(
    directory: str | Path, prefix: str | Path, *, digest: str | None = None, name: str = "train"
) -> GPTIndex:
    """Reads and verifies one sample index of a cache.

    Args:
        directory: where the host keeps its index, usually ``index-cache`` beside the corpus.
        prefix: path of the corpus, without ``.idx``/``.bin``.
        digest: the md5 that names the files; None where the cache holds only one index of that ``name``.
        name: ``train``, ``valid`` or ``test``, to choose by where ``digest`` is None.

    Raises:
        CorpusError: the corpus is missing, unreadable, or empty in the index's split.
        IndexFileError: a file is missing, truncated or of another form, or the choice is not unique.
        IndexMismatchError: description, arrays and corpus do not belong together.
    """
    folder = Path(directory)
    path = _choose(folder, digest, name)
    description = _read_description(path)
    if description.digest != path.stem:
        raise IndexFileError(
            f"{path}: its text has the md5 {description.digest}; expected {path.stem}, which names the file. "
            "The description was edited or replaced; restore it, or let the host build the index anew"
        )
    return load_index(folder, description, read_sizes(prefix))


def load_index(
    folder: Path,
    description: Description,
    sizes: npt.NDArray[np.integer[Any]],
    base_of: Callable[[Any], Any] = lambda shuffle_idx: shuffle_idx,
) -> GPTIndex:
    """Reads and verifies the arrays of one description.

    Args:
        folder: where they lie, named by the description's md5.
        description: what they were built from.
        sizes: ``[documents]``: tokens of each document of the corpus.
        base_of: gives the host's own order back, where ``shuffle_idx`` was written in another one.

    Raises:
        IndexFileError: a file is missing or unreadable.
        IndexMismatchError: description, arrays and corpus do not belong together.
    """
    arrays = load_arrays(index_files(folder, description), base_of)
    return GPTIndex.from_arrays(description, IndexArrays(**arrays, sizes=sizes))


def load_arrays(files: dict[str, Path], base_of: Callable[[Any], Any]) -> dict[str, Any]:
    """All of ``IndexArrays`` but the corpus.

    Args:
        files: of ``doc_idx``, ``sample_idx`` and ``shuffle_idx``.
        base_of: gives the host's own order back, where ``shuffle_idx`` was written in another one.

    Raises:
        IndexFileError: a file is missing or unreadable.
    """
    loaded: dict[str, Any] = {which: load_array(file) for which, file in files.items()}
    loaded["shuffle_idx"] = base_of(loaded["shuffle_idx"])
    return {**loaded, "sources": {which: str(file) for which, file in files.items()}}


def index_files(folder: Path, description: Description) -> dict[str, Path]:
    """Where the host keeps the three arrays of a description."""
    return {which: folder / f"{description.digest}_{which}.npy" for which in _ARRAYS}


def _choose(folder: Path, digest: str | None, name: str) -> Path:
    if not folder.is_dir():
        raise IndexFileError(f"{folder}: no such directory; expected the host's index cache")
    if digest is not None:
        path = folder / f"{digest}.dsc"
        if not re.fullmatch("[0-9a-f]{32}", digest) or not path.is_file():
            raise IndexFileError(f"{path}: no such file; expected the description of the index")
        return path
    descriptions = [path for path in sorted(folder.glob("*.dsc")) if not _is_blend(path)]
    fitting = [path for path in descriptions if _read_description(path).name == name]
    if len(fitting) != 1:
        found = ", ".join(path.stem for path in fitting) or "none"
        raise IndexFileError(
            f"{folder}: {len(fitting)} indices named {name!r} ({found}); expected one. Choose one by its md5"
        )
    return fitting[0]


def _is_blend(path: Path) -> bool:
    """Whether it describes a blend: these lie in the same ``data_cache_path``."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_BLEND)) == _BLEND
    except OSError:
        return False  # and reading it as a description says why


def _read_description(path: Path) -> Description:
    return Description.parse(read_text(path, _DESCRIPTION_BYTES), str(path))


def read_text(path: Path, limit: int) -> str:
    """The first ``limit`` bytes of a description.

    Raises:
        IndexFileError: it is missing, no regular file or no text.
    """
    _check_regular(path)
    try:
        with path.open("rb") as stream:
            return stream.read(min(limit, path.stat().st_size)).decode("utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise IndexFileError(f"{path}: cannot be read as text ({cause}); expected a description") from cause


def _check_regular(path: Path) -> None:
    """A pipe would be waited for without end."""
    if path.exists() and not path.is_file():
        raise IndexFileError(f"{path}: not a readable .npy array or description: it is no regular file. Move it away")


def load_array(path: Path) -> npt.NDArray[np.integer[Any]]:
    """A file of integers, memory-mapped.

    Raises:
        IndexFileError: it is missing or unreadable.
    """
    _check_regular(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as cause:
        raise IndexFileError(
            f"{path}: no such file; expected it beside its description. "
            "The index is incomplete; let the host build it anew"
        ) from cause
    except Exception as cause:  # numpy also lets through BadZipFile, TokenError, IndexError, ...
        raise IndexFileError(
            f"{path}: not a readable .npy array ({cause}); expected integers, saved without pickle. "
            "The file is truncated or damaged; let the host build the index anew"
        ) from cause
    if not isinstance(array, np.ndarray):
        raise IndexFileError(f"{path}: an archive of arrays; expected one array")
    return array
