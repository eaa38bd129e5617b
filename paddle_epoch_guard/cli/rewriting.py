"""An index written out in a unified order: whole or not at all, and never over what is there."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from paddle_epoch_guard.errors import ArgumentsError, IndexFileError, OrderError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index import GPTIndex
from paddle_epoch_guard.index.folder import IndexFiles
from paddle_epoch_guard.index.from_files import Opened
from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.materialise import note_of, read_note, write_order

Advance = Callable[[int], None]
"""Told the bytes written since the last time."""
_COPIED = 1 << 20
_SEEDS = 1 << 62


def begin(opened: Opened, start: int, stop: int | None, mix: str, seed: int | None) -> Reorder:
    """The reorder that a run begins with ``--epoch_guard unified`` at a position.

    Args:
        opened: the index.
        start: the position that is drawn next.
        stop: where the planned samples end; None for all that were asked for.
        mix: ``auto``, ``uniform`` or ``ramp``.
        seed: of the order; None for the index's own.

    Raises:
        ArgumentsError: a position is not one of the index's, or the seed is too large.
        OrderError: there is nothing to unify.
    """
    from paddle_epoch_guard.resume import UnifyOptions, decide_order

    index = opened.index
    if read_note(opened.files.note):
        raise OrderError(
            f"{opened.files.description}: nothing to unify: 'rebuild' has written this index. Name the host's own"
        )
    planned = index.layout.samples_requested if isinstance(index, GPTIndex) else len(index)
    stop = planned if stop is None else stop
    if stop > len(index):
        raise ArgumentsError(f"--stop {stop}: the index has {len(index)} positions, of which {planned} were asked for")
    if start >= stop:
        raise ArgumentsError(f"--from-position {start}: the run draws positions 0 to {stop - 1}; name one of them")
    seed = opened.datasets[0].description.seed if seed is None else seed
    if not 0 <= seed < _SEEDS:
        raise ArgumentsError(f"--seed {seed}: expected a number from 0 to 2**62. Name one")
    decision = decide_order(UnifyOptions(unified=True, mix=mix, seed=seed), index, start, stop)
    if decision.begun is None:
        raise OrderError(f"{opened.files.description}: {decision.reason.removesuffix('. Tracking only')}")
    return decision.begun


def refuse_inside(output: Path, sources: Sequence[IndexFiles]) -> None:
    """Refuses to write into a cache that is read, by whatever name.

    Raises:
        ArgumentsError: the output is such a folder, or inside of one, or a file.
    """
    resolved = output.resolve()
    existing = [place for place in (resolved, *resolved.parents) if place.exists()]
    for folder in {one.folder for one in sources}:
        if any(place.samefile(folder) for place in existing):
            raise ArgumentsError(
                f"--output {output}: is the cache {folder} or inside of it, which is never written to. "
                "Name another folder"
            )
    if resolved.exists() and not resolved.is_dir():
        raise ArgumentsError(f"--output {output}: is a file; expected a folder. Name another one")


def write_cache(opened: Opened, reorder: Reorder, output: Path, started: Callable[[int], Advance]) -> list[str]:
    """Writes all files of an index with its order changed: all of them, or none.

    The descriptions take their names last, for a host may take a description for a cache that is whole.

    Args:
        opened: the index; of a blend, its datasets' files are copied.
        reorder: the change.
        output: the folder; it is made.
        started: is told how many bytes will be written, and returns what is to be told of each.

    Returns:
        The files' names.

    Raises:
        IndexFileError: a file is there already, or the disk is too small.
        OSError: the folder cannot be written.
    """
    moved = _moved(opened)
    expected = dict.fromkeys(file for files in (opened.files, *opened.dataset_files) for file in files.expected)
    copied = [file for file in expected if file not in moved]
    size = sum(file.stat().st_size for file in expected)
    note = output / opened.files.note.name
    targets = [*(output / file.name for file in expected), note]
    made = _made(output, targets, size)
    try:
        advance = started(size)
        with contextlib.ExitStack() as stack:
            # What is opened first takes its name last.
            for file in sorted(copied, key=lambda file: file.suffix == ".npy"):
                _copy(file, stack.enter_context(atomic_write(output / file.name)), advance)
            stack.enter_context(atomic_write(note)).write(note_of((reorder,)).encode())
            for file, array in moved.items():
                write_order(stack.enter_context(atomic_write(output / file.name)), Order(array, (reorder,)), advance)
    except BaseException:
        with contextlib.suppress(OSError):
            for target in targets:
                target.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        raise
    return [target.name for target in targets]


def _moved(opened: Opened) -> dict[Path, Any]:
    """The files whose positions change, and their arrays."""
    arrays = opened.files.arrays
    if isinstance(opened.index, GPTIndex):
        return {arrays["shuffle_idx"]: opened.index.shuffle_idx}
    return {arrays[which]: getattr(opened.index, which) for which in arrays}


def _made(output: Path, targets: Sequence[Path], size: int) -> list[Path]:
    """Makes the folder, once it is known that the files may be written; those that were made, the innermost first.

    Raises:
        IndexFileError: a file is there already, the disk is too small, or the folder cannot be made.
    """
    for target in targets:
        if os.path.lexists(target):
            raise IndexFileError(f"--output {output}: {target.name} is there already. Name an empty folder")
    made = [place for place in (output, *output.parents) if not place.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise IndexFileError(f"--output {output}: cannot be made ({cause.strerror}). Name another folder") from cause
    free = shutil.disk_usage(output).free
    if free < size or not os.access(output, os.W_OK | os.X_OK):
        for folder in made:
            folder.rmdir()
        why = f"{free:,} bytes are free, {size:,} are needed" if free < size else "cannot be written"
        raise IndexFileError(f"--output {output}: {why}. Name another folder")
    return made


def _copy(source: Path, stream: BinaryIO, advance: Advance) -> None:
    with source.open("rb") as found:
        while block := found.read(_COPIED):
            stream.write(block)
            advance(len(block))


def shadow(opened: Opened, output: Path) -> str | None:
    """The folder whose index PaddleNLP would take rather than the output: it looks beside the corpus first."""
    if opened.files.kind.format != "paddlenlp" or opened.files.kind.is_blend:
        return None
    beside = Path(opened.described.datasets[0].prefix).parent / "index-cache"
    there = IndexFiles(beside, opened.files.stem, opened.files.kind)
    return None if there.missing or beside.resolve() == output.resolve() else str(beside)
