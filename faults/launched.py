"""Two ranks under ``paddle.distributed.launch``, one of which is killed, and the run resumed to its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from faults.kills import KillRun, Record, Setting, compare, train_part
from faults.processes import leave, waited
from faults.table import Outcome

_SETTING = Setting("unified", batch=2, ranks=2)
_SECONDS = 240.0


def launched_kill(folder: Path) -> Outcome:
    """Kills the second rank after its first checkpoint; the launcher ends the other."""
    outcome = Outcome("SIGKILL: one of 2 ranks (paddle.distributed.launch)")
    run = KillRun(folder, _SETTING)
    here = folder / "launched"
    run.prepare(here)
    first = _launch(here, 1, None)
    pid_file, checkpoint = here / "pid-1-1", here / "run" / "checkpoint-10"
    seen = waited(lambda: (checkpoint / "epoch_guard.json").exists() or first.poll() is not None, _SECONDS)
    if seen and pid_file.is_file() and first.poll() is None:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        outcome.tried += 1
    status = _ended(first)
    outcome.expect(outcome.tried == 1 and status, f"the first part ended with {status} before it was killed")
    newest = max((here / "run").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    if not (newest / "epoch_guard.json").exists():
        newest = checkpoint
    status = _ended(_launch(here, 2, newest))
    if status is None:
        outcome.hung += 1
    outcome.expect(status == 0, f"the second part ended with {status}")
    compare(outcome, run.whole, [Record.read(here / f"record-{rank}.jsonl") for rank in (0, 1)], "launched")
    return outcome


def _launch(folder: Path, number: int, resume: Path | None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    command += ["--log_dir", str(folder / "launch"), __file__, str(folder), str(number), str(resume or "")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PADDLE_")}
    return subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, stdout=-3, stderr=-3)


def _ended(process: "subprocess.Popen[bytes]") -> int | None:
    """The status of a process; None where it had to be killed."""
    try:
        return process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def main(folder: str, number: str, resume: str) -> None:
    """One rank."""
    rank = int(os.environ["PADDLE_TRAINER_ID"])
    (Path(folder) / f"pid-{number}-{rank}").write_text(str(os.getpid()))
    found = train_part(Path(folder), _SETTING, int(number), resume or None, None, rank)
    (Path(folder) / f"end-{number}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
