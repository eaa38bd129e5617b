"""docs/extending.md: its code runs."""

import csv
import re
from pathlib import Path

import pytest

from paddle_epoch_guard.ledger import EpochLedger
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.sinks import SINKS, open_sinks
from recording import recorder
from synthetic_runs import Plan

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def code_of(heading):
    """The Python code below a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


@pytest.fixture
def csv_sink(monkeypatch):
    monkeypatch.setattr("paddle_epoch_guard.views.sinks.SINKS", dict(SINKS))
    exec(compile(code_of("Adding a sink"), PAGE.name, "exec"), {})


def test_the_csv_sink_has_the_points_and_texts_of_a_run(tmp_path, csv_sink):
    sink = open_sinks(["visualdl"], tmp_path, Naming(), pytest.fail)
    plan = Plan((10,))
    run = recorder(tmp_path, EpochLedger(plan), sink=sink)
    run.expect(plan.crossings(0, 20))
    for step in range(1, 21):
        run.record(step, 2.0 if step < 11 else 1.0)
    run.note(Message("text", {"text": "a note,\nin two lines"}), 20)
    run.finish(20, complete=True)
    with (tmp_path / "epoch_guard.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row for row in rows if row[1] == "epoch_guard/data_epoch"] == [
        [".", "epoch_guard/data_epoch", str(step), "1.0" if step < 11 else "2.0"] for step in range(1, 21)
    ]
    assert [".", "epoch_guard/notes", "20", "a note,\nin two lines"] in rows
    assert {float(row[3]) for row in rows if row[:2] == ["boundary_1_to_2", "train/loss"]} == {1.0, 2.0}


def test_an_added_sink_that_raises_is_switched_off(tmp_path, csv_sink):
    said = []
    sink = open_sinks([], tmp_path / "missing", Naming(), said.append)
    sink.scalar("a", 1.0, 1)
    for _ in range(2):
        sink.flush()
    (warning,) = said
    assert "writing to csv is switched off" in warning
