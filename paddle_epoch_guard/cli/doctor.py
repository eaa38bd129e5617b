"""``doctor``: what is broken in a cache, what that does to a run, and how to mend it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.options import CacheArgument
from paddle_epoch_guard.cli.output import JsonFlag, print_json
from paddle_epoch_guard.errors import ArgumentsError, IndexFileError

if TYPE_CHECKING:
    from paddle_epoch_guard.cli.diagnose import Diagnosis, Problem

BROKEN = 1
_HOST_FOLDERS = ("index-cache", "GPTDataset_indices")  # where hosts look by themselves, beside a corpus


def doctor(
    cache: CacheArgument,
    prefix: Annotated[
        list[str] | None,
        typer.Option("--prefix", help="Where a corpus lies, without .idx or .bin, if it has moved; its name stays."),
    ] = None,
    move_aside: Annotated[
        Path | None, typer.Option(help="Folder to move what is broken to: nothing is deleted or replaced.")
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Says what is broken in a cache, what that does to a run, and how to mend it.

    Incomplete sets of files, files that cannot be read, indices that do not fit their description or corpus, and what
    interrupted builds left behind. To be run while no run builds an index there: what is half built looks broken.

    Exit status: 0 where all is sound, 1 where something is, or was, broken.

    \b
    Example:
      paddle-epoch-guard doctor data/index-cache --move-aside data/broken
    """
    # What help does not need is imported here: numpy takes a quarter of a second.
    from paddle_epoch_guard.cli.diagnose import diagnose

    found = diagnose(cache, prefix or ())
    moved = {} if move_aside is None else set_apart(found.ills, cache, move_aside)
    if as_json:
        print_json(_told(cache, found, moved))
    else:
        _show(cache, found, moved)
    return BROKEN if found.ills else 0


def set_apart(ills: Sequence["Problem"], cache: Path, aside: Path) -> dict[Path, Path]:
    """Moves what is broken to another folder: by renaming, all of it or nothing, and nothing is replaced.

    Args:
        ills: what is broken.
        cache: where it lies.
        aside: the folder to move to; it is made.

    Returns:
        Where each file was -> where it is.

    Raises:
        ArgumentsError: a host would read the folder.
        IndexFileError: the folder cannot take the files.
    """
    _refuse_read(cache, aside)
    moves = {path: aside / path.name for problem in ills for path in problem.files}
    for target in moves.values():
        if os.path.lexists(target):
            raise IndexFileError(f"--move-aside {aside}: {target.name} is there already. Name an empty folder")
    if moves:
        try:
            aside.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise IndexFileError(
                f"--move-aside {aside}: cannot be made ({cause.strerror}). Name another folder"
            ) from cause
    done: list[Path] = []
    try:
        for path, target in moves.items():
            path.rename(target)
            done.append(path)
    except OSError as cause:
        for path in reversed(done):
            moves[path].rename(path)
        raise IndexFileError(
            f"--move-aside {aside}: {path.name} cannot be moved there ({cause.strerror}). Name a folder of the same "
            "file system that can be written"
        ) from cause
    return moves


def _refuse_read(cache: Path, aside: Path) -> None:
    resolved = aside.resolve()
    if resolved == cache.resolve() or (resolved.exists() and resolved.samefile(cache)):
        raise ArgumentsError(f"--move-aside {aside}: is the cache itself. Name another folder")
    if resolved.name in _HOST_FOLDERS:
        raise ArgumentsError(
            f"--move-aside {aside}: hosts read folders named {resolved.name} by themselves. Name another folder"
        )
    if resolved.exists() and not resolved.is_dir():
        raise ArgumentsError(f"--move-aside {aside}: is a file; expected a folder. Name another one")


def _told(cache: Path, found: "Diagnosis", moved: dict[Path, Path]) -> dict[str, Any]:
    return {
        "cache": str(cache),
        "sound": not found.ills,
        "sound_indices": [{"hash": one.digest, "format": one.kind.format, "index": one.stem} for one in found.sound],
        "findings": [
            {
                "kind": problem.kind,
                "index": problem.index,
                "what": problem.what,
                "effect": problem.effect,
                "mend": problem.fix,
                "files": [str(path) for path in problem.files],
                "moved_to": [str(moved[path]) for path in problem.files if path in moved],
            }
            for problem in found.ills
        ],
        "unchecked": list(found.unchecked),
    }


def _show(cache: Path, found: "Diagnosis", moved: dict[Path, Path]) -> None:
    from paddle_epoch_guard.order.materialise import read_note

    for problem in found.ills:
        typer.echo(f"{problem.kind}: {problem.index}: {problem.what}")
        typer.echo(f"  what it does: {problem.effect}")
        typer.echo(f"  to mend it:   {problem.fix}")
        places = sorted({str(moved[path].parent) for path in problem.files if path in moved})
        if places:
            typer.echo(f"  moved:        {len(problem.files)} files to {places[0]}")
    for sentence in found.unchecked:
        typer.echo(f"not checked: {sentence}")
    rebuilt = sum(bool(read_note(one.note)) for one in found.sound)
    also = f", {rebuilt} of them written by 'rebuild'" if rebuilt else ""
    counts = f"{len(found.ills)} findings; {len(found.unchecked)} not checked"
    typer.echo(f"{cache}: {len(found.sound)} sound indices{also}; {counts}")
