"""Runs of two ranks on this machine: forked from a warm process, or started by the host's launcher."""

import json
import os
import subprocess
import sys
from pathlib import Path

from faults.kills import become_rank, endpoints_for
from faults.processes import PATIENCE, end, leave, silence, started, waited

TESTS = Path(__file__).parent


def launch(folder, prefix, cache_of_rank_1, *resume, **changes):
    """Trains as ``distributed_run.py`` does, by ``paddle.distributed.launch``: three imports of the host.

    Returns:
        The exit status, and what both ranks printed.
    """
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    command += ["--log_dir", folder / "launch", TESTS / "distributed_run.py", folder, prefix, cache_of_rank_1]
    command += [json.dumps(changes), *resume]
    paths = [TESTS, TESTS.parent / "examples", TESTS.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    environment.pop("PADDLE_TRAINERS_NUM", None)
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=300, cwd=folder
    )
    return done.returncode, "".join(log.read_text() for log in sorted((folder / "launch").glob("workerlog.*")))


def fork(folder, prefix, cache_of_rank_1, *resume, **changes):
    """The same, with ranks that are forked from a process that has imported the host already."""
    endpoints = endpoints_for(2)
    logs = [folder / f"said-{rank}.log" for rank in (0, 1)]
    for log in logs:
        log.unlink(missing_ok=True)
    given = (folder, str(prefix), str(cache_of_rank_1), json.dumps(changes), *map(str, resume))
    ranks = [started(_rank, log, (rank, endpoints), given) for rank, log in enumerate(logs)]
    waited(lambda: not any(rank.is_alive() for rank in ranks), PATIENCE)
    for rank in ranks:
        end(rank)
    return max(abs(rank.exitcode) for rank in ranks), "".join(log.read_text() for log in logs)


def _rank(log, place, given):
    silence(str(log))
    os.chdir(log.parent)
    become_rank(place)
    import distributed_run  # in the child alone

    distributed_run.main(*given)
    leave()
