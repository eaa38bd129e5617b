"""The benchmark of the comparison runs, on simulated and on real pairs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "comparison.py"
pytestmark = [pytest.mark.slow, pytest.mark.long]


def tables_of(folder, *arguments):
    """The tables of a small run."""
    file, page = folder / "tables.json", folder / "tables.md"
    command = [sys.executable, SCRIPT, "--curves", "200", "--processes", "1", "--json", file, "--markdown", page]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    tables = json.loads(file.read_text())["tables"]
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert len(rows) == sum(len(table) + 2 for table in tables.values())
    return tables


def test_simulated_pairs(tmp_path):
    tables = tables_of(tmp_path, "--only", "coverage", "power")
    assert list(tables) == ["coverage", "power"]
    with_history = [row for row in tables["coverage"] if row["history"] == 300]
    assert {row["points"] for row in with_history} == {12, 30, 60, 150}
    assert all(row["coverage"] > 85 for row in with_history)
    strong = [row for row in tables["power"] if row["standard errors"] == "3" and row["points"] == 150]
    assert all(row["ours"] > 75 > row["last loss has the right sign"] for row in strong)


def test_real_pairs(tmp_path):
    rng = np.random.default_rng(0)
    steps = np.arange(0, 1001, 100)
    batches = 0.1 * rng.standard_normal(1000)
    for number in range(4):
        own = 0.0001 * number + 0.005 * rng.standard_normal(1000)
        loss = 3 + (np.arange(1, 1001) / 1000) ** -0.5 + batches + own
        np.savez(
            tmp_path / f"same-{number}.npz", loss=loss, first=1, val_steps=steps, val=3.3 + 0.001 * number + 0 * steps
        )
    np.savez(tmp_path / "alone-0.npz", loss=loss, first=1, val_steps=steps, val=3 + 0 * steps)
    tables = tables_of(tmp_path, "--real", str(tmp_path))
    assert list(tables) == ["pairing", "offsets", "equal"]
    assert tables["pairing"][0]["kinds of settings"] == 1
    assert float(tables["pairing"][0]["variance left"].split()[0]) < 1
    assert [row["pairs"] for row in tables["offsets"]] == [6, 6, 6]
    assert tables["offsets"][-1]["over 0.1 %"] == 0
    assert all(row["counts, 0.5 %"] == 0 for row in tables["equal"] if row["kinds of settings"])


def test_an_unknown_group_is_refused(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--only", "nonsense"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "coverage" in done.stderr
