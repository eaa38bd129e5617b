"""The disk: full, read-only, without permission, a folder that is gone, a name that cannot be given.

A run is the same as one without the fault, to the last token and the last digit; what was lost is said; and where
it is the sidecar that cannot be written, that is said at every save.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.processes import ChildError, HungError, in_child
from faults.table import Outcome

STEPS, SAVE, BREAKS = 32, 10, 7
_NOBODY = 65534


@dataclass(frozen=True)
class Disk:
    """A way in which a folder goes bad."""

    name: str
    mount: str | None
    """``tmpfs``, ``bind``, or None where the folder is a plain one."""
    bad: Callable[[Path], None]
    good: Callable[[Path], None]
    is_bad_for_log: bool = True
    """Whether nothing more can be written to the log; else the log may go on."""
    is_bad_for_sidecar: bool = True
    needs_root: bool = True


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filling").open("wb") as stream:
        while True:
            stream.write(b"\0" * 4096)
            stream.flush()


def _no_more_bytes(_: Path) -> None:
    # What the process prints is limited, too.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _all_bytes(_: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _lose_permission(folder: Path) -> None:
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o500 if one.is_dir() else 0o400)
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)


def _regain_permission(folder: Path) -> None:
    with contextlib.suppress(PermissionError):
        os.seteuid(0)
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o755 if one.is_dir() else 0o644)


def _change(flag: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        _run("chattr", "-R", flag, folder)

    return change


def _remount(how: str) -> Callable[[Path], None]:
    def remount(folder: Path) -> None:
        # Not by `os.path.ismount`, which does not see a bind mount within one file system.
        points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        (point,) = points & {str(folder), str(folder.parent)}
        _run("mount", "-o", f"remount,{how},bind", point)

    return remount


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _nothing(_: Path) -> None:
    pass


DISKS = (
    Disk("no file may grow (RLIMIT_FSIZE)", None, _no_more_bytes, _all_bytes, needs_root=False),
    Disk("full", "tmpfs", _fill, lambda folder: (folder / "filling").unlink()),
    Disk("read-only", "bind", _remount("ro"), _remount("rw")),
    Disk("permission lost", None, _lose_permission, _regain_permission, needs_root=False),
    Disk("immutable (chattr +i)", None, _change("+i"), _change("-i")),
    Disk("nothing can be renamed (chattr +a)", None, _change("+a"), _change("-a"), is_bad_for_log=False),
    Disk("folder deleted", None, _remove, _nothing, is_bad_for_log=False, needs_root=False),
)


@contextlib.contextmanager
def mounted(disk: Disk, folder: Path) -> Iterator[Path]:
    """A folder on a disk that may go bad.

    Raises:
        OSError: it cannot be had here.
    """
    folder.mkdir(parents=True)
    if disk.mount is None:
        yield folder
        return
    try:
        if disk.mount == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
        else:
            _run("mount", "--bind", folder, folder)
    except (subprocess.CalledProcessError, FileNotFoundError) as cause:
        raise OSError(f"nothing can be mounted: {cause}") from cause
    try:
        yield folder
    finally:
        _run("umount", "-l", folder)


@dataclass(frozen=True)
class Seen:
    """What a run did."""

    drawn: list[Any]
    losses: dict[int, float]
    warnings: list[str]


def train_on(folder: Path, name: str | None, what: str, mode: str = "unified", report: bool = False) -> Seen:
    """A run whose log, or whose checkpoints, are on a disk that goes bad. In a child.

    Args:
        folder: of the run; its log is in ``logs``, its checkpoints are in ``run``.
        name: of the disk; None for a good one.
        what: ``log``, ``log for a while``, or ``sidecar``: the checkpoint is written, and its sidecar cannot be.
        mode: of the guard.
        report: whether a report is written at the end.
    """
    from paddlenlp.trainer import TrainerCallback
    from paddlenlp.utils.log import logger

    from conftest import Messages
    from corpora import build_train, write_corpus
    from paddle_epoch_guard import EpochGuardCallback
    from training import KnownLosses, arguments, train

    disk = next((one for one in DISKS if one.name == name), None)
    messages = Messages()
    logger.logger.addHandler(messages)
    prefix = write_corpus(folder / "corpus" / "text", (100, 7, 230, 1, 58, 190, 23, 200))
    args = arguments(
        folder, max_steps=STEPS, save_strategy="steps" if what == "sidecar" else "no", save_steps=SAVE,
        epoch_guard=mode, epoch_guard_report=report,
    )  # fmt: skip
    # A separated index: its second half is one data epoch.
    dataset = build_train([prefix], 128, 8)
    logs = folder / "logs"

    class Break(TrainerCallback):
        """Stands before the guard."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if disk is not None and what != "sidecar" and state.global_step == BREAKS:
                disk.bad(logs)
            if disk is not None and what == "log for a while" and state.global_step == BREAKS + 4:
                disk.good(logs)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if disk is not None and what == "sidecar":
                disk.bad(folder / "run" / f"checkpoint-{state.global_step}")

    class Mend(TrainerCallback):
        """Stands behind it."""

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if disk is not None and what == "sidecar":
                disk.good(folder / "run" / f"checkpoint-{state.global_step}")

    try:
        run = train(args, dataset, callbacks=[Break(), EpochGuardCallback(), Mend()], model=KnownLosses)
    finally:
        if disk is not None and what == "log":
            disk.good(logs)
    return Seen(run.first_tokens, run.losses, messages.warnings)


def disk_faults(
    folder: Path, disks: tuple[Disk, ...] = DISKS, modes: tuple[str, ...] = ("track", "unified")
) -> Iterator[Outcome]:
    """Each disk, under the log and under the sidecar."""
    plain = {mode: in_child(train_on, folder / f"plain-{mode}", None, "sidecar", mode) for mode in modes}
    for disk in disks:
        outcome = Outcome(f"disk: {disk.name}")
        if disk.needs_root and os.geteuid() != 0:
            outcome.skipped = "it takes root"
            yield outcome
            continue
        for mode in modes:
            for what in ("log", "log for a while", "sidecar"):
                _try(
                    outcome,
                    folder / f"{disks.index(disk)}-{mode}-{what.replace(' ', '-')}",
                    disk,
                    what,
                    mode,
                    plain[mode],
                )
        yield outcome


def _try(outcome: Outcome, folder: Path, disk: Disk, what: str, mode: str, plain: Seen) -> None:
    where = f"{disk.name}, {what}, {mode}"
    folder.mkdir(parents=True)
    if what == "sidecar" and disk.name == "folder deleted":
        return
    try:
        with mounted(disk, folder / ("run" if what == "sidecar" else "logs")):
            seen = in_child(train_on, folder, disk.name, what, mode)
    except OSError as cause:
        outcome.note = f"not all could be tried: {cause}"
        return
    except HungError as cause:
        outcome.hung += 1
        outcome.broken.append(f"{where}: {cause}")
        return
    except ChildError as cause:
        outcome.broken.append(f"{where}: {cause}")
        return
    outcome.tried += 1
    outcome.expect(seen.drawn == plain.drawn, f"{where}: other samples were drawn")
    # Without checkpoints, fewer windows are closed; the losses of single steps are the same.
    outcome.expect(seen.losses == plain.losses, f"{where}: other losses")
    if what == "sidecar":
        # Where no file may grow, the log and the note in the output folder cannot either; each is said once.
        others = ("tracking switched off", "does not say where the logs of this run are")
        counts = [sum(part in text for text in seen.warnings) for part in others]
        outcome.expect(max(counts) <= 1, f"{where}: said {seen.warnings}")
        found = [text.split(",")[0] for text in seen.warnings if not any(part in text for part in others)]
        expected = [f"epoch guard: checkpoint {step} keeps its order" for step in range(SAVE, STEPS, SAVE)]
        outcome.expect(found == expected, f"{where}: said {seen.warnings}")
    elif disk.is_bad_for_log:
        said = [text for text in seen.warnings if "tracking switched off, training goes on" in text]
        # On a full disk, the last page of a file may still have room for a while.
        outcome.expect(len(said) == 1 or (not said and what != "log"), f"{where}: said {seen.warnings}")
