"""A bar on a terminal, and nothing in a log file."""

import os
import pty
import subprocess
import sys

import pytest

CODE = """
from paddle_epoch_guard.progress import progress_bar
with progress_bar("tracing tokens", quiet={quiet}) as tell:
    for share in (0.25, 0.5, 1.0):
        tell(share)
print("done")
"""


def shown_on_a_terminal(quiet):
    """What a process writes to its standard error, where that is a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(quiet=quiet)], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while segment := os.read(ours, 4096):
            shown += segment
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.communicate()[0] == b"done\n"
    return shown.decode()


def test_a_terminal_shows_a_bar_that_leaves_no_trace():
    shown = shown_on_a_terminal(quiet=False)
    assert "tracing tokens" in shown
    assert "%" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the line is wiped


def test_where_it_is_to_be_quiet_a_terminal_shows_nothing():
    assert shown_on_a_terminal(quiet=True) == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_log_file_gets_nothing(quiet):
    done = subprocess.run([sys.executable, "-c", CODE.format(quiet=quiet)], capture_output=True, check=True)
    assert done.stderr == b""
