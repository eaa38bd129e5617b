"""Hostile and careless use: files that cannot be opened, two writers, what is no file, names that a terminal obeys.

Lost are files that were changed or removed though they were sound, or not the command's own.
"""

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.processes import ChildError, HungError, in_child, waited
from faults.table import Outcome

_NOBODY = 65534
_SIZES = (100, 50, 200, 7, 90)
_HOSTILE = ("\x1b]0;title\x07", "\x1b[2J", "\x1b[8m", "a\u202egnp", "\x9b31m", "\u2028")
_ENCODINGS = ("gbk", "latin-1", "cp1252", "ascii", "utf-8")


def misuses(folder: Path) -> Iterator[Outcome]:
    """One outcome for each kind."""
    for name, work in (
        ("unreadable", unreadable),
        ("two writers", two_writers),
        ("no regular file", no_regular_file),
        ("terminal", terminal),
    ):
        try:
            outcome: Outcome = in_child(work, folder / work.__name__, patience=900)
        except HungError as cause:
            outcome = Outcome("", hung=1, broken=[str(cause)])
        except ChildError as cause:
            outcome = Outcome("", broken=[str(cause)[-1500:]])
        outcome.fault = name
        yield outcome


def _cache(folder: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    from corpora import build_train, write_corpus

    prefixes = [write_corpus(folder / "corpus" / name, _SIZES) for name in names]
    weighted: list[Any] = [part for prefix in prefixes for part in (1.0, prefix)]
    build_train(weighted if len(prefixes) > 1 else prefixes, 60, 8, cache=folder / "cache")
    return folder / "cache"


def _files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.lstat().st_ino, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


def _call(*arguments: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    """A command in a child of this process, which has imported all that it needs.

    Args:
        arguments: of ``paddle-epoch-guard``.
        encoding: of its standard streams, as ``PYTHONIOENCODING`` sets it.
    """
    from paddle_epoch_guard.cli.app import main

    words = list(map(str, arguments))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for file, number in ((out, 1), (err, 2)):
                    os.dup2(file.fileno(), number)
                sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding)
                sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding, "backslashreplace")
                main(words)
                status = 0
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        is_over = waited(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, 120)
        if not is_over:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        found = subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status), out.read(), err.read())
    if not is_over:
        raise HungError(f"{words[0]} took more than 120 s")
    return found


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def unreadable(folder: Path) -> Outcome:
    """Each file of a cache that another user owns, and too few descriptors: never called damaged, never moved."""
    from paddle_epoch_guard.cli.diagnose import diagnose
    from paddle_epoch_guard.cli.doctor import move_files

    outcome = Outcome("")
    cache = _cache(folder)
    for path in (folder, *list(folder.parents)[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    for path in [*sorted(cache.iterdir()), *sorted((folder / "corpus").iterdir()), cache]:
        before, mode = _files(folder), path.stat().st_mode
        path.chmod(0o444 if path == cache else 0)
        outcome.tried += 1
        with _as_nobody():
            diagnosis = diagnose(cache)
            aside = folder / "aside"
            with contextlib.suppress(PermissionError):
                move_files(diagnosis.problems, cache, aside)
        path.chmod(stat.S_IMODE(mode))
        outcome.lost += len(before.items() - _files(folder).items())
        is_bin = path.suffix in (".bin", ".idx") or path == cache or path.parent == cache
        outcome.expect(not diagnosis.problems, f"{path.name}: called {[p.kind for p in diagnosis.problems]}")
        if is_bin and path.suffix != ".bin":
            outcome.expect(diagnosis.unreadable, f"{path.name}: nothing was said")
    return outcome


def two_writers(folder: Path) -> Outcome:
    """Two 'rebuild's to one folder, of which the first is ended or runs on: one whole order, or none of ours."""
    outcome = Outcome("")
    cache = _cache(folder, ("a",))
    alone = folder / "alone"
    _call("rebuild", cache, "--from-position", 0, "--output", alone)
    whole = {path.name: path.read_bytes() for path in alone.iterdir()}
    slow = (
        "import sys, time; from paddle_epoch_guard import files\n"
        "move = files.move_new\n"
        "files.move_new = lambda path, target: (time.sleep(0.2), move(path, target))\n"
        "from paddle_epoch_guard.cli.app import main; main(sys.argv[1:])"
    )
    for number, end in enumerate(["runs on", "TERM", "HUP", "runs on", "TERM", "HUP"]):
        output = folder / f"output-{number}"
        call = ["rebuild", cache, "--from-position", 0, "--output", output]
        first = subprocess.Popen([sys.executable, "-c", slow, *map(str, call)], stderr=subprocess.DEVNULL)
        time.sleep(0.8 + 0.1 * number)
        second = _call(*call)
        outcome.tried += 1
        if end != "runs on":
            first.send_signal(15 if end == "TERM" else 1)
        first.wait(60)
        statuses = (first.returncode, second.returncode)
        found = {path.name: path.read_bytes() for path in output.iterdir()} if output.is_dir() else {}
        where = f"{end}: {statuses}"
        outcome.expect(0 in statuses or end != "runs on", f"{where}: neither is done")
        outcome.expect(statuses != (0, 0), f"{where}: both say that they are done")
        if 0 in statuses or found == whole:  # it may be ended when all is done
            outcome.lost += len(whole.items() - found.items())
            outcome.doubled += len(found.items() - whole.items())
        else:
            outcome.doubled += len(found)
            outcome.expect(not found, f"{where}: left {sorted(found)}")
    return outcome


def no_regular_file(folder: Path) -> Outcome:
    """Pipes, devices and folders in the place of what a command writes or reads: none is replaced or waited for."""
    outcome = Outcome("")
    cache = _cache(folder, ("a",))
    prefix = folder / "corpus" / "a"
    kinds: dict[str, Any] = {"pipe": os.mkfifo, "folder": os.mkdir, "loop": lambda path: os.symlink(path, path)}
    if os.geteuid() == 0:
        kinds["device"] = lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    plan = ["plan", prefix, "--seq-length", 8, "--max-steps", 20, "--global-batch", 4, "--png"]
    read = [path for path in sorted(cache.iterdir()) if path.is_file()]
    for name, make in kinds.items():
        target = folder / name
        make(target)
        before = os.lstat(target)
        for call in (plan, ["report", folder, "--output"], ["rebuild", cache, "--from-position", 0, "--output"]):
            if name == "folder" and call[0] == "rebuild":
                continue  # the folder to write into
            outcome.tried += 1
            found = _call(*call, target)
            after = os.lstat(target)
            outcome.lost += (before.st_mode, before.st_ino) != (after.st_mode, after.st_ino)
            outcome.expect(found.returncode in (1, 2), f"{name}, {call[0]}: status {found.returncode}")
            outcome.expect(found.stderr.count(b"\n") == 1, f"{name}, {call[0]}: {found.stderr.decode()[-300:]}")
        for path in read:
            kept = path.rename(path.with_suffix(".kept"))
            make(path)
            outcome.tried += 1
            found = _call("doctor", cache)
            expected = 3 if name == "loop" else 1  # a loop of links cannot be opened
            outcome.expect(found.returncode == expected, f"{name}, {path.name}: status {found.returncode}")
            path.rmdir() if name == "folder" else path.unlink()
            kept.rename(path)
    outcome.expect(_call("doctor", cache).returncode == 0, "the cache is no longer sound")
    return outcome


def terminal(folder: Path) -> Outcome:
    """Hostile names under each encoding: no escape reaches the terminal, and no line ends in a traceback."""
    outcome = Outcome("")
    for number, name in enumerate(_HOSTILE):
        place = folder / str(number) / name
        place.mkdir(parents=True)
        cache = _cache(place, ("a",))
        prefix = place / "corpus" / "a"
        calls: list[list[Any]] = [
            ["inspect", cache], ["doctor", cache], ["doctor", place / "none"], ["report", place],
            ["plan", prefix, "--seq-length", 8, "--max-steps", 20, "--global-batch", 4],
        ]  # fmt: skip
        encoding = _ENCODINGS[number % len(_ENCODINGS)]
        for call in calls:
            outcome.tried += 1
            found = _call(*call, encoding=encoding)
            shown = (found.stdout + found.stderr).decode(encoding, "replace")
            obeyed = [character for character in "\x1b\x07\x9b\u202e\u2028" if character in shown]
            outcome.lost += len(obeyed)
            outcome.expect("Traceback" not in shown, f"{name!r}, {encoding}, {call[0]}: {shown[-300:]}")
    return outcome
