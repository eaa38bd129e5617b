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
    assert "writing to csv switched off" in warning


@pytest.mark.host
def test_a_sampler_of_ones_own_is_followed_and_unified(tmp_path, monkeypatch):
    from corpora import build_train, write_corpus
    from hosts import DistributedBatchSampler
    from paddle_epoch_guard.errors import ArgumentsError
    from paddle_epoch_guard.host import loader
    from pretraining import PretrainingTrainer
    from training import arguments, train

    class WatchedSampler(DistributedBatchSampler):
        def __iter__(self):
            yield from super().__iter__()

    class WatchedTrainer(PretrainingTrainer):
        def _get_train_sampler(self):
            sampler = super()._get_train_sampler()
            sampler.__class__ = WatchedSampler
            return sampler

    prefix = write_corpus(tmp_path / "corpus" / "text", (60, 7, 130, 1, 58, 90, 23, 100))
    dataset = build_train([prefix], 96, 8)
    unified = {"max_steps": 24, "epoch_guard": "unified"}
    plain = train(arguments(tmp_path / "plain", **unified), dataset)
    with pytest.raises(ArgumentsError, match="WatchedSampler"):
        train(arguments(tmp_path / "unknown", **unified), dataset, trainer=WatchedTrainer)
    kinds = list(loader.SAMPLERS)
    monkeypatch.setattr(loader, "SAMPLERS", kinds)
    monkeypatch.setattr("paddle_epoch_guard.host.samplers.SAMPLERS", kinds)
    exec(compile(code_of("Adding a sampler"), PAGE.name, "exec"), {})
    watched = train(arguments(tmp_path / "watched", **unified), dataset, trainer=WatchedTrainer)
    assert watched.first_tokens == plain.first_tokens
    assert watched.scalars("epoch_guard/exposure") == plain.scalars("epoch_guard/exposure")
