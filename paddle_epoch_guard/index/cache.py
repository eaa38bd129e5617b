"""Reads a sample index from a cache directory, without the host."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexFileError, UnreadableIndexError, cause_of
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.mapped import map_npy, open_regular
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.language import tr

_ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")
_DESCRIPTION_BYTES = 1 << 16  # a description has six lines
_BLEND = b"Blendable dataset\n"  # the first line in paddlenlp/data/blendable_dataset.py (3.0.0b4)


def read_cache(
    directory: str | Path, prefix: str | Path, *, digest: str | None = None, name: str = "train"
) -> GPTIndex:
    """Reads and verifies a sample index from a cache.

    Args:
        directory: the host's cache, usually ``index-cache`` beside the corpus.
        prefix: path of the corpus, without ``.idx``/``.bin``.
        digest: the md5 that names the files; may be None if the cache holds only one index named ``name``.
        name: ``train``, ``valid`` or ``test``; used if ``digest`` is None.

    Returns:
        The index.

    Raises:
        CorpusError: the corpus is missing, unreadable, or empty in the index's split.
        IndexFileError: a file is missing, truncated or in another format, or the choice is ambiguous.
        IndexMismatchError: description, arrays and corpus do not match.
    """
    folder = Path(directory)
    path = _choose(folder, digest, name)
    description = _read_description(path)
    if description.digest != path.stem:
        raise IndexFileError(
            tr(
                "{path}: its text has the md5 {digest}; expected {stem}, which names the file. The description was "
                "edited or replaced; restore it, or let the host rebuild the index",
                path=path,
                digest=description.digest,
                stem=path.stem,
            )
        )
    return load_index(folder, description, read_sizes(prefix))


def load_index(
    folder: Path,
    description: Description,
    sizes: npt.NDArray[np.integer[Any]],
    base_of: Callable[[Any], Any] = lambda shuffle_idx: shuffle_idx,
) -> GPTIndex:
    """Reads and verifies the index of a description.

    Args:
        folder: holds the files, named by the description's md5.
        description: what the index was built from.
        sizes: ``[documents]``: tokens of each document of the corpus.
        base_of: maps the stored ``shuffle_idx`` to the host's own order.

    Raises:
        IndexFileError: a file is missing or unreadable.
        IndexMismatchError: description, arrays and corpus do not match.
    """
    arrays = load_arrays(index_files(folder, description), base_of)
    return GPTIndex.from_arrays(description, IndexArrays(**arrays, sizes=sizes))


def load_arrays(files: dict[str, Path], base_of: Callable[[Any], Any]) -> dict[str, Any]:
    """The fields of ``IndexArrays`` except ``sizes``.

    Args:
        files: the file of ``doc_idx``, ``sample_idx`` and ``shuffle_idx`` each.
        base_of: maps the stored ``shuffle_idx`` to the host's own order.

    Raises:
        IndexFileError: a file is missing or unreadable.
    """
    loaded: dict[str, Any] = {which: load_array(file) for which, file in files.items()}
    loaded["shuffle_idx"] = base_of(loaded["shuffle_idx"])
    return {**loaded, "sources": {which: str(file) for which, file in files.items()}}


def index_files(folder: Path, description: Description) -> dict[str, Path]:
    """The files of the three arrays of a description."""
    return {which: folder / f"{description.digest}_{which}.npy" for which in _ARRAYS}


def _choose(folder: Path, digest: str | None, name: str) -> Path:
    if not folder.is_dir():
        raise IndexFileError(tr("{folder}: no such directory; expected the host's index cache", folder=folder))
    if digest is not None:
        path = folder / f"{digest}.dsc"
        if not re.fullmatch("[0-9a-f]{32}", digest) or not path.is_file():
            raise IndexFileError(tr("{path}: no such file; expected the description of the index", path=path))
        return path
    descriptions = [path for path in sorted(folder.glob("*.dsc")) if not _is_blend(path)]
    matches = [path for path in descriptions if _read_description(path).name == name]
    if len(matches) != 1:
        digests = ", ".join(path.stem for path in matches) or tr("none")
        raise IndexFileError(
            tr(
                "{folder}: {count} indices named {name!r} ({digests}); expected one. Choose one by its md5",
                folder=folder,
                count=len(matches),
                name=name,
                digests=digests,
            )
        )
    return matches[0]


def _is_blend(path: Path) -> bool:
    """Whether a file describes a blend; these lie in the same ``data_cache_path``."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_BLEND)) == _BLEND
    except OSError:
        return False  # reading the description then raises the error


def _read_description(path: Path) -> Description:
    return Description.parse(read_text(path, _DESCRIPTION_BYTES), str(path))


def read_text(path: Path, limit: int) -> str:
    """The first ``limit`` bytes of a description.

    Raises:
        IndexFileError: the file is missing, not a regular file, or not UTF-8.
        UnreadableIndexError: it cannot be opened or read, and may be sound.
    """
    _check_regular(path)
    try:
        with open_regular(path) as stream:
            return stream.read(min(limit, os.fstat(stream.fileno()).st_size)).decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as cause:
        values = {"path": path, "cause": cause}
        raise IndexFileError(
            tr("{path}: cannot be read as text ({cause}); expected a description", **values)
        ) from cause
    except OSError as cause:
        raise _unreadable(path, cause) from cause


def _unreadable(path: Path, cause: OSError) -> UnreadableIndexError:
    values = {"path": path, "cause": cause_of(cause)}
    return UnreadableIndexError(tr("{path}: could not be read: {cause}. The file itself may be sound", **values))


def _check_regular(path: Path) -> None:
    """Refuses pipes, for instance: reading one would block."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise IndexFileError(
            tr("{path}: not a readable .npy array or description: not a regular file. Move it away", path=path)
        )


def load_array(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Memory-maps an array.

    Raises:
        IndexFileError: the file is missing, or holds no array.
        UnreadableIndexError: it cannot be opened or read, and may be sound.
    """
    _check_regular(path)
    try:
        return map_npy(path)
    except FileNotFoundError as cause:
        raise IndexFileError(
            tr(
                "{path}: no such file; expected it beside its description. The index is incomplete; let the host "
                "rebuild it",
                path=path,
            )
        ) from cause
    except OSError as cause:
        raise _unreadable(path, cause) from cause
    except Exception as cause:  # numpy also lets through TokenError, IndexError, OverflowError, ...
        raise IndexFileError(
            tr(
                "{path}: not a readable .npy array ({cause}); expected integers, saved without pickle. The file is "
                "truncated or damaged; let the host rebuild the index",
                path=path,
                cause=cause,
            )
        ) from cause
