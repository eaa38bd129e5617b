"""Commands and scripts in processes that are forked from one that has imported the host: that takes 6 s."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

from faults.processes import PATIENCE, end, started


def forked(*words, folder):
    """Runs ``paddle-epoch-guard``, as :func:`subprocess.run` with ``capture_output`` and ``text`` would."""
    return _completed(_command, words, folder)


def forked_script(*words, folder):
    """Runs a Python script with its arguments, in the same way."""
    return _completed(_script, words, folder)


def _completed(work, words, folder):
    given = [str(word) for word in words]
    out, err = folder / "forked.out", folder / "forked.err"
    child = started(work, given, str(folder), str(out), str(err))
    child.join(PATIENCE)
    hung = child.is_alive()
    end(child)
    assert not hung, f"{given} took more than {PATIENCE:.0f} s"
    return subprocess.CompletedProcess(given, child.exitcode, out.read_text(), err.read_text())


def _enter(folder, out, err):
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)


def _command(words, folder, out, err):
    _enter(folder, out, err)
    sys.path.insert(0, folder)
    from paddle_epoch_guard.cli import main

    main(words)


def _script(words, folder, out, err):
    _enter(folder, out, err)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
