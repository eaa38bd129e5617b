"""The indices of a cache as a list, and which of them is meant."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paddle_epoch_guard.errors import ForeignIndexError, IndexFileError
from paddle_epoch_guard.index.folder import Described, Folder, IndexFiles, describe, scan
from paddle_epoch_guard.language import tr

_NAMED = 5  # indices, in a message


@dataclass(frozen=True)
class Listed:
    """An index of a cache, by its description."""

    files: IndexFiles
    described: Described
    built: float
    """When its description was written, in seconds since 1970."""


def listed(folder: Path) -> list[Listed]:
    """The indices of a directory, the newest first; without datasets of blends and unreadable descriptions.

    Raises:
        IndexFileError: ``folder`` is not a directory.
        UnreadableIndexError: the directory cannot be read.
    """
    return _outer(scan(folder).indices)


def meant(indices: Iterable[Listed]) -> list[Listed]:
    """Those that may be meant where none is named: the training indices, or all if there are none."""
    found = list(indices)
    return [each for each in found if each.described.name == "train"] or found


def choose(folder: Path, digest: str | None) -> IndexFiles:
    """Chooses an index of a directory.

    Args:
        folder: the directory.
        digest: the md5 that names the files, or the start of it. If None: the only training index, or the only index
            if there is no training index; the datasets of a blend in the directory do not count.

    Raises:
        IndexFileError: there is no index, or the choice is ambiguous.
        ForeignIndexError: there are only indices of classes that are not read.
    """
    contents = scan(folder)
    if digest is not None or not contents.indices:
        _refuse_foreign(folder, contents, digest or "")
    if not contents.indices:
        others = tr("it holds none of their files")
        if contents.others:
            others = tr("found {names}", names=", ".join(contents.others[:3]))
        raise IndexFileError(
            tr(
                "{folder}: no index of PaddleNLP, PaddleFormers or megatron-core ({others}); expected <md5>.dsc or "
                "<md5>-GPTDataset-train-description.txt and arrays beside it. Name the host's index cache",
                folder=folder,
                others=others,
            )
        )
    if digest is not None:
        return _choose_by_digest(folder, contents.indices, digest)
    if len(contents.indices) == 1:
        return contents.indices[0]
    candidates = meant(_outer(contents.indices))
    if not candidates:
        describe(contents.indices[0])  # says what is wrong with it
    if len(candidates) == 1:
        return candidates[0].files
    raise IndexFileError(
        tr(
            "{folder}: {count} indices to choose from; expected one. Name one with --hash; 'paddle-epoch-guard "
            "inspect {folder}' lists them",
            folder=folder,
            count=len(candidates) or len(contents.indices),
        )
    )


def _refuse_foreign(folder: Path, contents: Folder, digest: str) -> None:
    """Raises ForeignIndexError if only indices of other classes begin with the digest."""
    found = [index for index in contents.foreign if index.stem.startswith(digest)]
    if found and not any(files.stem.startswith(digest) for files in contents.indices):
        classes = ", ".join(sorted({index.class_name for index in found}))
        raise ForeignIndexError(
            tr(
                "{folder}: found an index of the class {classes}; expected one of GPTDataset, the only class that is "
                "read, or a blend of it",
                folder=folder,
                classes=classes,
            )
        )


def _choose_by_digest(folder: Path, indices: tuple[IndexFiles, ...], digest: str) -> IndexFiles:
    matches = [files for files in indices if digest and files.stem.startswith(digest)]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(files.digest for files in (matches or indices)[:_NAMED])
    raise IndexFileError(
        tr(
            "{folder}: {count} indices begin with {digest!r}; expected one, such as {known}. 'paddle-epoch-guard "
            "inspect {folder}' lists them",
            folder=folder,
            count=len(matches),
            digest=digest[:80],
            known=known,
        )
    )


def _outer(indices: Iterable[IndexFiles]) -> list[Listed]:
    readable = []
    for files in indices:
        with contextlib.suppress(IndexFileError, OSError):
            readable.append(Listed(files, describe(files), files.description.stat().st_mtime))
    blends = [each.described for each in readable if each.files.kind.is_blend]
    inner = {dataset.digest for blend in blends for dataset in blend.datasets}
    outer = [each for each in readable if each.files.digest not in inner]
    return sorted(outer, key=lambda each: (-each.built, each.files.stem))
