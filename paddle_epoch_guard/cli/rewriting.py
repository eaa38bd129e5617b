"""Writes an index in a unified order: all files or none, and never over existing ones."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from paddle_epoch_guard.cli.interruption import interruptible
from paddle_epoch_guard.errors import ArgumentsError, IndexFileError, OrderError, cause_of
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index import GPTIndex
from paddle_epoch_guard.index.folder import IndexFiles
from paddle_epoch_guard.index.from_files import Opened
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.materialise import note_of, read_note, write_order
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.views.messages import sentence_of

Advance = Callable[[int], None]
"""Called with the number of bytes just written."""
_COPIED = 1 << 20
_LOCK = ".epoch_guard_rebuild.lock"
_SEEDS = 1 << 62


def new_reorder(opened: Opened, start: int, stop: int | None, mix: str, seed: int | None) -> Reorder:
    """The reorder that ``--epoch_guard unified`` starts at a position of a run.

    Args:
        opened: the index.
        start: the position that the run draws next.
        stop: number of planned samples; None for all that were requested. If that is inferred, for the fewest: those
            behind them stay where the host has them, so that none is lost or drawn twice.
        mix: ``auto``, ``uniform`` or ``ramp``.
        seed: of the order; None for the seed of the index.

    Raises:
        ArgumentsError: a position is outside the index, or the seed is too large.
        OrderError: there is nothing to unify.
    """
    from paddle_epoch_guard.resume import UnifyOptions, decide_order

    index, path = opened.index, opened.files.description
    if read_note(opened.files.note):
        raise OrderError(
            tr("{path}: nothing to unify: 'rebuild' has written this index. Name the host's index", path=path)
        )
    planned = index.layout.samples_requested if isinstance(index, GPTIndex) else len(index)
    if opened.described.drawn is not None:
        planned = opened.described.drawn[0]
    if stop is None and planned < 1:
        raise OrderError(tr("{path}: nothing to unify: the index was built for 0 samples", path=path))
    stop = planned if stop is None else stop
    if stop > len(index):
        raise ArgumentsError(
            tr(
                "--stop {stop}: the index has {positions} positions, of which {planned} were requested",
                stop=stop,
                positions=len(index),
                planned=planned,
            )
        )
    if start >= stop:
        text = mark("--from-position {start}: the run draws positions 0 to {last}. Name one of them")
        if opened.described.drawn is not None:
            text = mark("--from-position {start}: the run draws positions 0 to {last}. Name one of them, or --stop")
        raise ArgumentsError(tr(text, start=start, last=stop - 1))
    seed = opened.datasets[0].description.seed if seed is None else seed
    if not 0 <= seed < _SEEDS:
        raise ArgumentsError(tr("--seed {seed}: expected an integer from 0 to 2**62 - 1", seed=seed))
    decision = decide_order(UnifyOptions(unified=True, mix=mix, seed=seed), index, start, stop)
    if decision.begun is None:
        why = sentence_of(Message(decision.code, dict(decision.parameters)))
        raise OrderError(tr("{path}: {fault}", path=path, fault=why.removesuffix(tr(". Tracking only"))))
    return decision.begun


def refuse_inside(output: Path, sources: Sequence[IndexFiles]) -> None:
    """Refuses to write into a cache that is read, also under another name.

    Raises:
        ArgumentsError: the output is such a folder, inside one, or a file.
    """
    resolved = Path(os.path.realpath(output))
    existing = [path for path in (resolved, *resolved.parents) if path.exists()]
    for folder in {files.folder for files in sources}:
        if any(path.samefile(folder) for path in existing):
            raise ArgumentsError(
                tr(
                    "--output {output}: is the cache {folder} or inside it, which is never written to. Name another "
                    "folder",
                    output=output,
                    folder=folder,
                )
            )
    if resolved.exists() and not resolved.is_dir():
        raise ArgumentsError(tr("--output {path}: is a file; expected a folder. Name another one", path=output))


def write_cache(opened: Opened, reorder: Reorder, output: Path, started: Callable[[int], Advance]) -> list[str]:
    """Writes all files of an index with its order changed, or none.

    The descriptions get their names last, because a host may take a description for a complete cache.

    Args:
        opened: the index; for a blend, the files of its datasets are copied.
        reorder: the change.
        output: the folder; created if missing.
        started: called with the total of bytes; returns the function to call as they are written.

    Returns:
        The names of the files.

    Raises:
        IndexFileError: a file already exists, or there is too little space.
        OSError: the folder cannot be written.
    """
    reordered = _reordered(opened)
    expected = dict.fromkeys(file for files in (opened.files, *opened.dataset_files) for file in files.expected)
    copied = [file for file in expected if file not in reordered]
    size = sum(file.stat().st_size for file in expected)
    note = output / opened.files.note.name
    targets = [*(output / file.name for file in expected), note]
    with interruptible(), _folder_for(output, targets, size):
        advance = started(size)
        ours: dict[Path, os.stat_result] = {}
        try:
            with contextlib.ExitStack() as stack:

                def stream_to(target: Path) -> BinaryIO:
                    stream = stack.enter_context(atomic_write(target, replaces=False))
                    ours[target] = os.fstat(stream.fileno())
                    return stream

                # Files get their names in the reverse order of opening.
                for file in sorted(copied, key=lambda file: file.suffix == ".npy"):
                    _copy(file, stream_to(output / file.name), advance)
                stream_to(note).write(note_of((reorder,)).encode())
                for file, array in reordered.items():
                    write_order(stream_to(output / file.name), Order(array, (reorder,)), advance)
        except FileExistsError as cause:
            _remove(ours)
            raise IndexFileError(
                tr(
                    "--output {output}: {name} has appeared there meanwhile, and is left as it is. Name an empty "
                    "folder",
                    output=output,
                    name=Path(cause.filename2 or cause.filename).name,
                )
            ) from cause
        except BaseException:
            _remove(ours)
            raise
    return [target.name for target in targets]


def _remove(ours: Mapping[Path, os.stat_result]) -> None:
    """Removes the files that this process has written, and nothing else: a name may be another's by now."""
    for path, own in ours.items():
        with contextlib.suppress(OSError):
            if os.path.samestat(path.lstat(), own):
                path.unlink()


def _reordered(opened: Opened) -> dict[Path, Any]:
    """The arrays that hold the order, by file."""
    arrays = opened.files.arrays
    if isinstance(opened.index, GPTIndex):
        return {arrays["shuffle_idx"]: opened.index.shuffle_idx}
    return {arrays[which]: getattr(opened.index, which) for which in arrays}


@contextlib.contextmanager
def _folder_for(output: Path, targets: Sequence[Path], size: int) -> Iterator[None]:
    """Creates the folder, and locks it against another 'rebuild'. What stays empty is removed again.

    Raises:
        IndexFileError: a file already exists, there is too little space, the folder cannot be created or written, or
            another 'rebuild' writes there.
    """
    _refuse_existing(output, targets)
    created = _create_folder(output, size)
    lock = FileLock(output / _LOCK, timeout=0)
    try:
        with lock:
            _refuse_existing(output, targets)  # another one may have been done meanwhile
            yield
    except Timeout as cause:
        raise IndexFileError(
            tr(
                "--output {output}: another 'rebuild' is writing there. Wait until it is done, or name another folder",
                output=output,
            )
        ) from cause
    finally:
        with contextlib.suppress(OSError):
            if not lock.is_locked and not _is_locked_by_another(output / _LOCK):
                (output / _LOCK).unlink(missing_ok=True)
            for folder in created:
                folder.rmdir()  # not if it holds something


def _is_locked_by_another(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _refuse_existing(output: Path, targets: Sequence[Path]) -> None:
    """Raises IndexFileError if a target exists."""
    existing = [target.name for target in targets if os.path.lexists(target)]
    if existing and len(existing) < len(targets):
        raise IndexFileError(
            tr(
                "--output {output}: {name} already exists there, and {missing} of {files} files do not: an "
                "interrupted 'rebuild' may have left it. Move it away (doctor {output} --move-aside FOLDER), or name "
                "an empty folder",
                output=output,
                name=existing[0],
                missing=len(targets) - len(existing),
                files=len(targets),
            )
        )
    if existing:
        values = {"output": output, "name": existing[0]}
        raise IndexFileError(tr("--output {output}: {name} already exists there. Name an empty folder", **values))


def _create_folder(output: Path, size: int) -> list[Path]:
    """Creates the folder; returns the created folders, innermost first.

    Raises:
        IndexFileError: there is too little space, or the folder cannot be created or written.
    """
    created = [path for path in (output, *output.parents) if not path.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        values = {"path": output, "cause": cause_of(cause)}
        raise IndexFileError(
            tr("--output {path}: cannot be created ({cause}). Name another folder", **values)
        ) from cause
    free = shutil.disk_usage(output).free
    if free < size or not os.access(output, os.W_OK | os.X_OK):
        for folder in created:
            folder.rmdir()
        text = mark("--output {path}: cannot be written. Name another folder")
        if free < size:
            text = mark("--output {path}: {free:,} bytes are free, {size:,} are needed. Name another folder")
        raise IndexFileError(tr(text, path=output, free=free, size=size))
    return created


def _copy(source: Path, stream: BinaryIO, advance: Advance) -> None:
    with source.open("rb") as original:
        while block := original.read(_COPIED):
            stream.write(block)
            advance(len(block))


def shadow(opened: Opened, output: Path) -> str | None:
    """The folder whose index PaddleNLP would take instead of the output, because it looks beside the corpus first."""
    if opened.files.kind.format != "paddlenlp" or opened.files.kind.is_blend:
        return None
    beside = Path(opened.described.datasets[0].prefix).parent / "index-cache"
    first = IndexFiles(beside, opened.files.stem, opened.files.kind)
    return None if first.missing or beside.resolve() == output.resolve() else str(beside)
