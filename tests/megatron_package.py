"""The real megatron-core, in the environment of ``make test-megatron``; where it is missing, a test is skipped."""

import json
import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).parent.parent / ".venv-megatron" / "bin" / "python"
PIPES = {"capture_output": True, "text": True}


def host(jobs):
    """What the real megatron-core draws: for each job, split -> first token of each position."""
    if not PYTHON.exists():
        pytest.skip(f"megatron-core is not there ({PYTHON}). make test-megatron makes it and runs these tests")
    done = subprocess.run([PYTHON, Path(__file__).parent / "megatron_host.py"], input=json.dumps(jobs), **PIPES)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)
