"""docs/extending.md, and the example of CONTRIBUTING.md: their code runs."""

import ast
import csv
import re
from pathlib import Path

import pytest

from corpora import SIZES, build_train, write_corpus
from followed import FollowedGuard, drawn, followed
from hosts import NAME, Trainer
from paddle_epoch_guard.host.samplers import SAMPLERS
from paddle_epoch_guard.ledger import EpochLedger
from paddle_epoch_guard.reading import EpochReading
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.sinks import SINKS, open_sinks
from recording import recorder
from synthetic_runs import Plan
from training import arguments, train

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "extending.md"


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


@pytest.fixture
def seeded_trainer(monkeypatch):
    """A Trainer with the page's sampler, which is followed."""
    names = {"__name__": "seeded"}
    exec(compile(code_of("Adding a sampler"), PAGE.name, "exec"), names)
    monkeypatch.setattr("paddle_epoch_guard.host.loader.SAMPLERS", [names["KIND"], *SAMPLERS])

    class SeededTrainer(Trainer):
        def _get_train_sampler(self):
            args = self.args
            return names["SeededSampler"](
                self.train_dataset,
                batch_size=args.per_device_train_batch_size,
                num_replicas=args.dataset_world_size,
                rank=args.dataset_rank,
                drop_last=args.dataloader_drop_last,
            )

    return SeededTrainer


@pytest.mark.host
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_added_sampler_is_followed_and_resumed(tmp_path, seeded_trainer, drop_last):
    dataset = build_train([write_corpus(tmp_path / "corpus" / "text", (100, 7, 230, 1, 58, 190, 23, 200))], 128, 8)
    guard = FollowedGuard()
    values = {"num_train_epochs": 2, "dataloader_drop_last": drop_last, "save_strategy": "steps", "save_steps": 60}
    run = train(arguments(tmp_path, **values), dataset, trainer=seeded_trainer, callbacks=[guard])
    in_epoch = len(dataset) // 4 + (not drop_last)
    assert run.steps == 2 * in_epoch
    assert isinstance(guard.plan.loader.reading, EpochReading)
    assert followed(guard, dataset, 1, run.steps) == drawn(run)
    again = FollowedGuard()
    checkpoint = str(tmp_path / "run" / "checkpoint-60")
    rest = train(arguments(tmp_path, **values), dataset, trainer=seeded_trainer, callbacks=[again], resume=checkpoint)
    assert followed(again, dataset, 61, run.steps) == drawn(rest)
    assert drawn(rest) == drawn(run)[-len(drawn(rest)) :]
    assert len(rest.first_tokens) == run.steps - 60


def test_the_host_has_what_the_page_lists():
    names = {}
    exec(compile(code_of("Adding a host"), PAGE.name, "exec"), names)
    assert names["missing"](NAME) == []
    assert set(imported_from_the_host()) | {"trainer.argparser", "trainer.trainer"} == {
        *names["NEEDED"],
        "utils.pdc_sdk",
    }


def imported_from_the_host():
    """The modules that ``host/`` imports from the library."""
    for path in (ROOT / "paddle_epoch_guard" / "host").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "library.import_host":
                yield ast.literal_eval(node.args[0])


@pytest.mark.host
def test_the_example_of_contributing_is_a_test_that_passes(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
    (name,) = re.findall(r"^def (\w+)", code, re.MULTILINE)
    names = {
        "pytest": pytest,
        "SIZES": SIZES,
        **{part.__name__: part for part in (build_train, write_corpus, arguments, train, drawn, followed)},
        "FollowedGuard": FollowedGuard,
    }
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    names[name](tmp_path)
