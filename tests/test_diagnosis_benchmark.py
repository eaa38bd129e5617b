"""The benchmark of the diagnosis runs, on simulated and on real curves, and without its peers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "discontinuity.py"
pytestmark = [pytest.mark.slow, pytest.mark.long]


def table_of(folder, *arguments):
    """The tables of a small run, and what it printed."""
    file, page = folder / "tables.json", folder / "tables.md"
    command = [sys.executable, SCRIPT, "--curves", "20", "--processes", "1", "--no-peers"]
    done = subprocess.run(
        [*command, "--json", file, "--markdown", page, *arguments], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tables = json.loads(file.read_text())["tables"]
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert len(rows) == sum(len(table) + 2 for table in tables.values())
    return tables


def test_simulated_curves(tmp_path):
    tables = table_of(tmp_path, "--only", "gap", "overlap", "with")
    assert list(tables) == ["gap", "overlap", "with"]
    (known,) = (row for row in tables["overlap"] if row["the guard believes"] == "overlap known")
    assert known["improvement"] == 0
    assert all(0 <= row["reported"] <= 100 for row in tables["with"])


def test_real_curves(tmp_path):
    rng = np.random.default_rng(0)
    steps = np.arange(0, 4001, 100)
    for name in ("one", "two"):
        loss = 3 + (np.arange(1, 4001) / 1000) ** -0.5 + 0.05 * rng.standard_normal(4000)
        values = 3 + (np.maximum(steps, 100) / 1000) ** -0.5
        np.savez(tmp_path / f"{name}.npz", loss=loss, first=1, val_steps=steps, val=values)
    tables = table_of(tmp_path, "--real", str(tmp_path))
    assert list(tables) == ["noise", "jumps", "gaps"]
    assert {row["number"] for row in tables["noise"]} == {0, 2}
    quick = [row for row in tables["jumps"] if row["runs"] == "all" and row["L"] == 10]
    assert all(row["false alarms"] < 10 for row in quick)


def test_an_unknown_group_is_refused(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--only", "nonsense"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "placebo" in done.stderr
