"""``doctor``: what is broken in a cache, how that affects a run, and how to fix it."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.interruption import interruptible
from paddle_epoch_guard.cli.options import CacheArgument
from paddle_epoch_guard.cli.output import JsonFlag, print_json, say
from paddle_epoch_guard.errors import ArgumentsError, IndexFileError, cause_of
from paddle_epoch_guard.files import move_new
from paddle_epoch_guard.language import counted, mark, tr

if TYPE_CHECKING:
    from paddle_epoch_guard.cli.diagnose import Diagnosis, Problem

BROKEN = 1
UNREADABLE = 3
_KINDS = (
    mark("incomplete"),
    mark("description"),
    mark("unreadable"),
    mark("mismatch"),
    mark("corpus"),
    mark("leftover"),
)
"""The codes of problems, which are words too."""
_HOST_FOLDERS = ("index-cache", "GPTDataset_indices")  # where hosts look by default, beside a corpus


def doctor(
    cache: CacheArgument,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            help="Path of a corpus without .idx or .bin, if it has moved; its name must be the same.",
        ),
    ] = None,
    move_aside: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to move broken files to; nothing is deleted or replaced."),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Find what is broken in a cache, how that affects a run, and how to fix it.

    Find incomplete sets of files, files that cannot be read, indices that do not fit their description or corpus, and
    leftovers of interrupted builds. Do not use it while a run builds an index there: an unfinished index looks broken.

    What cannot be read, for lack of permission for instance, may be sound: it is listed and never moved.

    Exit status: 0 if everything is sound, 1 if something is, or was, broken, 3 if nothing is but something cannot be
    read.

    \b
    Example:
      paddle-epoch-guard doctor data/index-cache --move-aside data/broken
    """
    # Not needed for --help: numpy takes a quarter of a second to import.
    from paddle_epoch_guard.cli.diagnose import diagnose

    diagnosis = diagnose(cache, prefix or ())
    moved = {} if move_aside is None else move_files(diagnosis.problems, cache, move_aside)
    if as_json:
        print_json(_as_json(cache, diagnosis, moved))
    else:
        _show(cache, diagnosis, moved)
    if diagnosis.problems:
        return BROKEN
    return UNREADABLE if diagnosis.unreadable else 0


def move_files(problems: Sequence["Problem"], cache: Path, aside: Path) -> dict[Path, Path]:
    """Moves all broken files to another folder, or none; replaces nothing.

    Args:
        problems: the problems whose files to move.
        cache: the folder of the files.
        aside: the folder to move to; created if missing.

    Returns:
        Old path -> new path of each file.

    Raises:
        ArgumentsError: a host would read the folder.
        IndexFileError: the folder cannot take the files.
    """
    _refuse_host_folder(cache, aside)
    moves = {path: aside / path.name for problem in problems for path in problem.files}
    for target in moves.values():
        if os.path.lexists(target):
            values = {"folder": aside, "name": target.name}
            raise IndexFileError(
                tr("--move-aside {folder}: {name} already exists there. Name an empty folder", **values)
            )
    if moves:
        try:
            aside.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            values = {"folder": aside, "cause": cause_of(cause)}
            raise IndexFileError(
                tr("--move-aside {folder}: cannot be created ({cause}). Name another folder", **values)
            ) from cause
    done: list[Path] = []
    try:
        with interruptible():
            for path, target in moves.items():
                done.append(path)
                move_new(path, target)
    except BaseException as cause:
        for path in reversed(done):
            if not os.path.lexists(path):  # the last one may not have been moved
                with contextlib.suppress(OSError):
                    move_new(moves[path], path)
        if not isinstance(cause, OSError):
            raise
        raise IndexFileError(
            tr(
                "--move-aside {folder}: {name} cannot be moved there ({cause}). Name a writable folder on the same "
                "file system",
                folder=aside,
                name=path.name,
                cause=cause_of(cause),
            )
        ) from cause
    return moves


def _refuse_host_folder(cache: Path, aside: Path) -> None:
    resolved = aside.resolve()
    if resolved == cache.resolve() or (resolved.exists() and resolved.samefile(cache)):
        raise ArgumentsError(tr("--move-aside {folder}: is the cache itself. Name another folder", folder=aside))
    if resolved.name in _HOST_FOLDERS:
        raise ArgumentsError(
            tr(
                "--move-aside {folder}: hosts look for indices in folders named {name}. Name another folder",
                folder=aside,
                name=resolved.name,
            )
        )
    if resolved.exists() and not resolved.is_dir():
        raise ArgumentsError(tr("--move-aside {path}: is a file; expected a folder. Name another one", path=aside))


def _as_json(cache: Path, diagnosis: "Diagnosis", moved: dict[Path, Path]) -> dict[str, Any]:
    import msgspec

    return {
        "cache": str(cache),
        "sound": not diagnosis.problems and not diagnosis.unreadable,
        "sound_indices": [
            {"hash": files.digest, "format": files.kind.format, "index": files.stem} for files in diagnosis.sound
        ],
        "findings": [
            msgspec.to_builtins(problem, enc_hook=str)
            | {"moved_to": [str(moved[path]) for path in problem.files if path in moved]}
            for problem in diagnosis.problems
        ],
        "unchecked": list(diagnosis.unchecked),
        "unreadable": list(diagnosis.unreadable),
        "notes": list(diagnosis.notes),
    }


def _show(cache: Path, diagnosis: "Diagnosis", moved: dict[Path, Path]) -> None:
    from paddle_epoch_guard.order.materialise import read_note

    for problem in diagnosis.problems:
        say(tr("{kind}: {index}: {what}", kind=tr(problem.kind), index=problem.index, what=problem.what))
        say(tr("  effect: {effect}", effect=problem.effect))
        say(tr("  fix:    {fix}", fix=problem.fix))
        folders = sorted({str(moved[path].parent) for path in problem.files if path in moved})
        if folders:
            files = len(problem.files)
            say(counted("  moved:  {n} file to {folder}", "  moved:  {n} files to {folder}", files, folder=folders[0]))
    for sentence in diagnosis.unchecked:
        say(tr("not checked: {sentence}", sentence=sentence))
    for sentence in diagnosis.notes:
        say(tr("note: {note}", note=sentence))
    counts = {
        "cache": cache,
        "sound": counted("{n} sound index", "{n} sound indices", len(diagnosis.sound)),
        "rebuilt": sum(bool(read_note(files.note)) for files in diagnosis.sound),
        "findings": counted("{n} finding", "{n} findings", len(diagnosis.problems)),
        "unchecked": len(diagnosis.unchecked),
    }
    text = mark("{cache}: {sound}; {findings}; {unchecked} not checked")
    if counts["rebuilt"]:
        text = mark("{cache}: {sound}, {rebuilt} of them written by 'rebuild'; {findings}; {unchecked} not checked")
    say(tr(text, **counts))
