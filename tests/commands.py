"""The command line in a process that is forked from one that has imported the host: it takes 6 s to import."""

import os
import subprocess
import sys

from faults.processes import PATIENCE, end, started


def forked(*words, folder):
    """Runs ``paddle-epoch-guard``, as :func:`subprocess.run` with ``capture_output`` and ``text`` would."""
    given = [str(word) for word in words]
    out, err = folder / "forked.out", folder / "forked.err"
    child = started(_command, given, str(folder), str(out), str(err))
    child.join(PATIENCE)
    hung = child.is_alive()
    end(child)
    assert not hung, f"{given} took more than {PATIENCE:.0f} s"
    return subprocess.CompletedProcess(given, child.exitcode, out.read_text(), err.read_text())


def _command(words, folder, out, err):
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    sys.path.insert(0, folder)
    from paddle_epoch_guard.cli import main

    main(words)
