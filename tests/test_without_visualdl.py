"""VisualDL is an extra: what needs it says so in one message, and all else runs where it cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpora import build_train, write_corpus
from synthetic_runs import Run
from without_host import needs_host

ROOT = Path(__file__).parent.parent
# Stands in for an environment without the packages: the interpreter finds none of them.
WITHOUT = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
{then}
"""
RUN = "from paddle_epoch_guard.cli import main\nmain(sys.argv[1:])"
VISUALDL = ("visualdl",)
# What VisualDL, or a host, brings, and the package's own dependencies do not.
BROUGHT = (*VISUALDL, "google", "pandas", "flask", "paddle", "paddlenlp", "paddleformers")


def python(place, then, *words, missing=VISUALDL):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing, then=then), *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus, its index and a run's log."""
    folder = tmp_path_factory.mktemp("place")
    prefix = write_corpus(folder / "data" / "text", [500, 300])
    build_train([prefix], 140, 8)
    Run(folder / "logs").train(1, 120)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["env"],
        ["plan", "data/text", "--seq-length", "8", "--global-batch", "4", "--max-steps", "35", "--json"],
        ["plan", "data/text", "--seq-length", "8", "--global-batch", "4", "--max-steps", "35", "--png", "plan.png"],
        ["inspect", "data/index-cache", "--json"],
        ["rebuild", "data/index-cache", "--output", "unified", "--from-position", "10"],
        ["doctor", "data/index-cache", "--json"],
    ],
    ids=lambda words: " ".join((words[0], words[-2])) if len(words) > 1 else words[0],
)
def test_commands_on_corpora_and_caches_run_without_it(place, words):
    done = python(place, RUN, *words, missing=BROUGHT)
    assert (done.returncode, done.stderr) == (0, "")
    if "--json" in words:
        assert json.loads(done.stdout)


@pytest.mark.parametrize(
    "words",
    [["report", "--logging-dir", "logs", "."], ["compare", "logs", "logs"], ["view", "logs"]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("missing", [VISUALDL, ("google", *VISUALDL)], ids=len)
def test_a_command_that_needs_it_says_what_to_install(place, words, missing):
    done = python(place, RUN, *words, missing=missing)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"paddle-epoch-guard: VisualDL is not installed: no module {missing[0]}")
    assert "pip install 'paddle-epoch-guard[visualdl]'" in line


@needs_host  # which the callback imports first
def test_the_callback_says_what_to_install(place):
    done = python(place, "from paddle_epoch_guard import EpochGuardCallback")
    assert done.returncode == 1
    assert "MissingPackageError: VisualDL is not installed" in done.stderr
