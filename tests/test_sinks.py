"""TensorBoard and W&B, read back from the files that the real libraries leave."""

import json
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import crc32c
import pytest
import wandb
from paddlenlp.trainer import Trainer
from paddlenlp.trainer.integrations import WandbCallback
from tensorboardX.proto.event_pb2 import Event
from wandb.proto import wandb_internal_pb2

from corpora import build_train, write_corpus
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.sinks import Sinks, open_sinks
from paddle_epoch_guard.views.tensorboard_log import TensorBoardLog
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from paddle_epoch_guard.views.wandb_log import wandb_name
from pretraining import PretrainingTrainer
from training import KnownLosses, arguments, train
from vdl_logs import read_log

SEQ_LENGTH = 8
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS = 32
BOUNDARY_STEP = 26  # as in test_callback.py
BOUNDARY = "boundary_1_to_2"
GLOBAL_STEP = "train/global_step"


def build(folder, names=("text",)):
    prefixes = [write_corpus(folder / "corpus" / name, SIZES) for name in names]
    blend = [part for prefix in prefixes for part in (0.5, prefix)]
    return build_train(prefixes if len(names) == 1 else blend, STEPS * 4, SEQ_LENGTH)


@pytest.fixture
def dataset(tmp_path):
    return build(tmp_path)


# What the files hold.


def guard_folder(args):
    return Path(args.logging_dir) / "epoch_guard"


def read_events(file):
    """The events of an event file; length and content of each have their checksums."""
    content, at = file.read_bytes(), 0

    def checked(length):
        nonlocal at
        part, checksum = content[at : at + length], content[at + length : at + length + 4]
        at += length + 4
        crc = crc32c.crc32c(part)
        assert int.from_bytes(checksum, "little") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32
        return part

    found = []
    while at < len(content):
        found.append(Event.FromString(checked(int.from_bytes(checked(8), "little"))))
    assert found[0].file_version == "brain.Event:2"
    return found[1:]


def event_files(folder):
    """In the order in which TensorBoard reads them."""
    return sorted(folder.glob("*tfevents*"))


def shown(folder):
    """What TensorBoard's default server keeps: a value takes the place of those at its step and beyond.

    Returns:
        Tag -> step -> value: a number, or a text.
    """
    found = {}
    for event in (event for file in event_files(folder) for event in read_events(file)):
        for value in event.summary.value:
            line = found.setdefault(value.tag, {})
            for step in [step for step in line if step >= event.step]:
                del line[step]
            is_text = value.metadata.plugin_data.plugin_name == "text"
            line[event.step] = value.tensor.string_val[0].decode() if is_text else value.simple_value
    return found


@dataclass
class WandbRun:
    """An offline run."""

    rows: list = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    """Those that were defined by name."""

    def line(self, name, axis):
        return [(row[axis], row[name]) for row in self.rows if name in row]


def wandb_files(args):
    return sorted(Path(args.logging_dir).glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)


def read_wandb(file):
    """Ends the active run and reads its file, which is whole a moment after that."""
    wandb.finish()
    for _ in range(100):
        records = list(wandb_records(file))
        if records and records[-1].WhichOneof("record_type") in ("exit", "final"):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{file} does not end")
    found = WandbRun()
    for record in records:
        for item in record.history.item:
            if item is record.history.item[0]:
                found.rows.append({})
            found.rows[-1]["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        for item in record.summary.update:
            found.summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        if record.metric.options.defined and record.metric.name:
            found.metrics[record.metric.name] = record.metric
    return found


def wandb_records(file):
    """The records of a ``.wandb`` file: LevelDB's log format, in blocks of 32 KiB; its end may be on its way."""
    content, at, parts = file.read_bytes(), 7, b""  # behind the file's own header
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:  # no room for a header
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if at <= len(content) and kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def points_of(run):
    """The VisualDL log: directory -> tag -> [(step, value)]; of a boundary line, both ends."""
    found = {}
    for directory in run.directories():
        tags = read_log(run.args.logging_dir + f"/epoch_guard/{directory}").get_tags().get("scalar", [])
        for tag in tags:
            if directory == "." and tag in ("train/loss", "eval/loss"):
                continue  # kept in VisualDL alone, for the other loggers have them from the trainer
            points = run.scalars(tag, directory)
            if tag == "train/loss":
                (step,) = {step for step, _ in points}
                values = [value for _, value in points]
                points = [(step - 1, min(values)), (step, max(values))]
            found.setdefault(directory, {})[tag] = points
    return found


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """W&B writes to its folder and nowhere else; no run is active before a test, or after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB_DIR", str(tmp_path_factory.mktemp("wandb")))
        yield
        wandb.teardown()


@pytest.fixture(autouse=True)
def no_run_is_left():
    yield
    if wandb.run is not None:
        wandb.finish()


@dataclass
class Logged:
    """A run that was reported everywhere."""

    run: object
    wandb: WandbRun


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everywhere")
    report_to = ["visualdl", "tensorboard", "wandb"]
    run = train(arguments(folder, max_steps=STEPS, report_to=report_to), build(folder), model=KnownLosses)
    (file,) = wandb_files(run.args)
    return Logged(run, read_wandb(file))


# The same lines, everywhere.


DIVIDED = {
    "exposure_0": "epoch_guard/loss_by_exposure",
    "exposure_1": "epoch_guard/loss_by_exposure",
    "drawn_1_to_9_steps_ago": "epoch_guard/loss_by_recency",
    "drawn_10_to_99_steps_ago": "epoch_guard/loss_by_recency",
}
"""The folders of losses by exposure and by recency, with their tags."""


@pytest.mark.host
def test_tensorboard_has_the_lines_of_the_visualdl_log_in_the_same_directories(everywhere, tmp_path):
    expected = points_of(everywhere.run)
    assert set(expected) == {".", "epoch_1", "epoch_2", BOUNDARY, *DIVIDED}
    assert set(expected["."]) >= {"epoch_guard/data_epoch", "epoch_guard/exposure", "epoch_guard/loss_repeat"}
    root = guard_folder(everywhere.run.args)
    assert {file.parent for file in root.rglob("*tfevents*")} == {root / directory for directory in expected}
    for directory, lines in expected.items():
        assert len(event_files(root / directory)) == 1
        found = shown(root / directory)
        for tag, points in lines.items():
            assert found[tag] == dict(points), (directory, tag)  # both keep 32 bits of a value
        assert all(isinstance(next(iter(found[tag].values())), str) for tag in set(found) - set(lines))


@pytest.mark.host
def test_wandb_has_the_lines_of_the_visualdl_log_under_their_names(everywhere):
    expected = {
        "epoch_guard/data_epoch": (".", "epoch_guard/data_epoch", GLOBAL_STEP),
        "epoch_guard/exposure": (".", "epoch_guard/exposure", GLOBAL_STEP),
        "epoch_guard/loss_fresh": (".", "epoch_guard/loss_fresh", GLOBAL_STEP),
        "epoch_guard/loss_repeat": (".", "epoch_guard/loss_repeat", GLOBAL_STEP),
        "epoch_guard/loss_fresh_error": (".", "epoch_guard/loss_fresh_error", GLOBAL_STEP),
        "epoch_guard/loss_repeat_error": (".", "epoch_guard/loss_repeat_error", GLOBAL_STEP),
        "epoch_guard/epoch_loss": (".", "epoch_guard/epoch_loss", "epoch_guard/epoch"),
        "epoch_guard/loss_by_epoch/epoch_1": ("epoch_1", "epoch_guard/loss_by_epoch", "epoch_guard/step_in_epoch"),
        "epoch_guard/loss_by_epoch/epoch_2": ("epoch_2", "epoch_guard/loss_by_epoch", "epoch_guard/step_in_epoch"),
        f"train/loss/{BOUNDARY}": (BOUNDARY, "train/loss", GLOBAL_STEP),
        **{f"{tag}/{directory}": (directory, tag, GLOBAL_STEP) for directory, tag in DIVIDED.items()},
    }
    lines = points_of(everywhere.run)
    assert sum(map(len, lines.values())) == len(expected)
    for name, (directory, tag, axis) in expected.items():
        # W&B is told again where a line is lengthened: all ends but the last two are within it.
        points = everywhere.wandb.line(name, axis)
        points = points[-2:] if tag == "train/loss" else points
        assert points == [(step, pytest.approx(value, rel=1e-6)) for step, value in lines[directory][tag]], name
        metric = everywhere.wandb.metrics[name]
        assert metric.step_metric == axis
        assert metric.summary.none == (tag == "train/loss")
    for axis in ("epoch_guard/epoch", "epoch_guard/step_in_epoch"):
        assert everywhere.wandb.metrics[axis].options.hidden
        assert axis not in everywhere.wandb.summary
    ours = {name for row in everywhere.wandb.rows for name in row if name.startswith(("epoch_guard/", "train/loss/"))}
    assert ours == {*expected, "epoch_guard/epoch", "epoch_guard/step_in_epoch"}


@pytest.mark.host
def test_the_trainers_own_rows_are_its_own(everywhere):
    run, rows = everywhere.run, everywhere.wandb.rows
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    losses = [row for row in rows if "train/loss" in row]
    assert {row[GLOBAL_STEP]: row["train/loss"] for row in losses} == pytest.approx(run.losses)
    assert not any(name.startswith("epoch_guard/") for row in losses for name in row)
    assert everywhere.wandb.summary[GLOBAL_STEP] == STEPS
    # The global step of the latest row is never behind the trainer's: W&B gives it to rows that have none.
    latest = 0
    for at, row in enumerate(rows):
        if "train/loss" in row:
            assert row[GLOBAL_STEP] > latest
            latest = row[GLOBAL_STEP]
            assert at == 0 or rows[at - 1].get(GLOBAL_STEP, latest - 1) == latest - 1
    own = shown(guard_folder(run.args).parent)
    assert own["train/loss"] == pytest.approx(run.losses)
    assert not any("epoch_guard" in tag for tag in own)


@pytest.mark.host
def test_what_happened_at_a_boundary_is_told_everywhere(everywhere):
    opening, verdict = everywhere.run.texts(f"epoch_guard/{BOUNDARY}", BOUNDARY)
    # At the steps at which they were said: a second text at the same step would replace the first.
    found = shown(guard_folder(everywhere.run.args) / BOUNDARY)[f"epoch_guard/{BOUNDARY}"]
    assert found == {BOUNDARY_STEP: opening, STEPS: verdict}
    assert everywhere.wandb.summary[f"epoch_guard/{BOUNDARY}"] == f"{opening}\n{verdict}"


def without_libraries(monkeypatch):
    """An import of them fails."""
    for name in ("tensorboardX", "wandb", *sys.modules):
        if name.partition(".")[0] in ("tensorboardX", "wandb"):
            monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.host
@pytest.mark.parametrize("report_to", [[], ["visualdl"]])
def test_nothing_is_written_where_nothing_is_named(tmp_path, dataset, report_to, monkeypatch, host_log):
    without_libraries(monkeypatch)
    run = train(arguments(tmp_path, max_steps=STEPS, report_to=report_to), dataset)
    assert len(run.scalars("epoch_guard/data_epoch")) == STEPS
    assert not list(tmp_path.rglob("*tfevents*"))
    assert not wandb_files(run.args)
    assert host_log.warnings == []


def test_nothing_is_imported_that_is_not_named():
    program = (
        "import sys\n"
        "from paddle_epoch_guard.views.sinks import open_sinks\n"
        "from paddle_epoch_guard.record.naming import Naming\n"
        "open_sinks(['visualdl'], 'logs', Naming(), print)\n"
        "print([name for name in ('paddle', 'tensorboardX', 'wandb') if name in sys.modules])\n"
        "open_sinks('tensorboard', 'logs', Naming(), print)\n"
        "print([name for name in ('paddle', 'tensorboardX', 'wandb') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "['tensorboardX']"], done.stderr


@pytest.mark.host
def test_only_the_first_rank_writes(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(Trainer, "is_world_process_zero", lambda self: False)
    train(arguments(tmp_path, max_steps=STEPS, report_to=["tensorboard", "wandb"]), dataset)
    assert not (tmp_path / "logs").exists()


# A run in several parts.


@pytest.mark.host
def test_a_resumed_run_shows_in_tensorboard_what_an_uninterrupted_one_does(tmp_path, dataset):
    changes = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 10, "report_to": ["tensorboard"]}
    whole = train(arguments(tmp_path / "whole", **changes), dataset)
    args = arguments(tmp_path / "parts", **changes)
    train(args, dataset)
    for step in (30, 20):  # the same second or not: no part writes over another's file
        train(args, dataset, resume=str(tmp_path / "parts" / "run" / f"checkpoint-{step}"))
    for directory in (".", "epoch_1", "epoch_2", BOUNDARY):
        expected, found = (shown(guard_folder(one) / directory) for one in (whole.args, args))
        if directory == ".":  # each part has notes of its own
            assert set(found.pop("epoch_guard/notes")) == {0, 20}
            assert set(expected.pop("epoch_guard/notes")) == {0}
        assert found == expected, directory
    assert len(event_files(guard_folder(args))) == 3
    assert len(event_files(guard_folder(args) / "epoch_1")) == 2


def test_a_line_that_an_earlier_part_drew_is_lengthened_at_one_end(tmp_path):
    folder = tmp_path / "epoch_guard" / BOUNDARY
    first = TensorBoardLog(tmp_path, {})
    for value in (3.0, 3.0, 1.0, 1.0):
        first.scalar("train/loss", value, 50, BOUNDARY)
    first.close()
    assert shown(folder) == {"train/loss": {49: 1.0, 50: 3.0}}
    later = TensorBoardLog(tmp_path, {}, step=60, drawn=(1.0, 3.0))
    for value in (4.0, 4.0):
        later.scalar("train/loss", value, 50, BOUNDARY)
    later.flush()
    assert shown(folder) == {"train/loss": {49: 1.0, 50: 4.0}}
    later.scalar("train/loss", 0.5, 50, BOUNDARY)
    later.close()
    assert shown(folder) == {"train/loss": {49: 0.5, 50: 4.0}}


@pytest.mark.host
def test_a_resumed_wandb_run_goes_on_under_the_same_names(tmp_path, dataset):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10, report_to=["wandb"])
    train(args, dataset)
    before = read_wandb(wandb_files(args)[-1])
    train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    files = wandb_files(args)
    assert len(files) == 2  # PaddleNLP's callback has begun another
    after = read_wandb(files[-1])
    for name, axis in (("data_epoch", GLOBAL_STEP), ("loss_by_epoch/epoch_2", "epoch_guard/step_in_epoch")):
        line = before.line(f"epoch_guard/{name}", axis)
        assert after.line(f"epoch_guard/{name}", axis) == line[20 if axis == GLOBAL_STEP else 0 :]
    assert after.summary["epoch_guard/notes"].startswith("each log window's loss is divided among its data epochs")


@pytest.mark.host
def test_a_fresh_start_in_a_used_folder_takes_the_old_event_files_aside(tmp_path, dataset):
    train(arguments(tmp_path, max_steps=STEPS, report_to=["tensorboard"]), dataset)
    args = arguments(tmp_path, max_steps=16, per_device_train_batch_size=8, report_to=["tensorboard"])
    run = train(args, dataset)
    root = guard_folder(args)
    assert list(shown(root)["epoch_guard/data_epoch"]) == list(range(1, 17))
    assert points_of(run)[BOUNDARY]["train/loss"] == list(shown(root / BOUNDARY)["train/loss"].items())
    kept = sorted(file.relative_to(root) for file in root.rglob("kept-1.epoch_guard.events"))
    assert len(kept) == len(run.directories())
    assert len(read_events(root / kept[-1])) > 0  # nothing lost
    assert len(event_files(root.parent)) in (1, 2)  # the trainer's own callback leaves its old file in sight


def test_a_dissolved_boundary_is_out_of_tensorboards_sight(tmp_path):
    log = EpochGuardLog(tmp_path, open_sinks(["tensorboard"], tmp_path, Naming(), pytest.fail))
    for directory in (BOUNDARY, "epoch_1"):
        log.scalar("epoch_guard/loss_by_epoch", 1.0, 1, directory)
    log.set_aside(BOUNDARY)
    log.scalar("epoch_guard/loss_by_epoch", 2.0, 2, BOUNDARY)
    log.close()
    assert shown(tmp_path / "epoch_guard" / BOUNDARY) == {"epoch_guard/loss_by_epoch": {2: 2.0}}
    assert shown(tmp_path / "epoch_guard" / "epoch_1") == {"epoch_guard/loss_by_epoch": {1: 1.0}}


# A blend, and many directories.


@pytest.mark.host
def test_each_dataset_of_a_blend_has_lines_of_its_own_names(tmp_path):
    names = ("first.v1", "second")
    args = arguments(tmp_path, max_steps=STEPS, report_to=["tensorboard", "wandb"])
    run = train(args, build(tmp_path, names))
    (file,) = wandb_files(args)
    logged = read_wandb(file)
    lines = points_of(run)
    assert len(lines) > 3
    for directory, tags in lines.items():
        found = shown(guard_folder(args) / directory)
        for tag, points in tags.items():
            assert found[tag] == dict(points)
            name = wandb_name(tag, directory)
            axis = logged.metrics[name].step_metric
            assert logged.line(name, axis)[-len(points) :] == [(step, pytest.approx(value)) for step, value in points]
    assert {wandb_name(tag, directory) for directory, tags in lines.items() for tag in tags} >= {
        "epoch_guard/loss_by_epoch/first.v1/epoch_1",
        "epoch_guard/loss_by_epoch/second/epoch_1",
    }


@pytest.mark.parametrize(
    ("tag", "directory", "name"),
    [
        ("epoch_guard/data_epoch", ".", "epoch_guard/data_epoch"),
        ("epoch_guard/loss_by_epoch", "epoch_1", "epoch_guard/loss_by_epoch/epoch_1"),
        ("epoch_guard/epoch_loss", "text", "epoch_guard/epoch_loss/text"),
        ("epoch_guard/boundary_1_to_2", "boundary_1_to_2", "epoch_guard/boundary_1_to_2"),
        ("epoch_guard/boundary_1_to_2", "text/boundary_1_to_2", "epoch_guard/text/boundary_1_to_2"),
        ("train/loss", "boundary_1_to_2", "train/loss/boundary_1_to_2"),
    ],
)
def test_a_tag_in_a_directory_has_one_name_in_wandb(tag, directory, name):
    assert wandb_name(tag, directory) == name


def test_many_directories_have_one_event_file_each(tmp_path):
    log = TensorBoardLog(tmp_path, {})
    for step in range(1, 4):
        for directory in range(40):
            log.scalar("a", step, step, f"epoch_{directory}")
        log.flush()
    for directory in range(40):
        assert len(event_files(tmp_path / "epoch_guard" / f"epoch_{directory}")) == 1
        assert shown(tmp_path / "epoch_guard" / f"epoch_{directory}") == {"a": {1: 1.0, 2: 2.0, 3: 3.0}}


def test_texts_of_one_step_are_told_together_and_tables_keep_their_lines(tmp_path):
    log = TensorBoardLog(tmp_path, {})
    log.text("epoch_guard/notes", "\na | b\n1 | 2", 5)
    log.flush()
    log.text("epoch_guard/notes", "and more", 5)
    log.close()
    assert shown(tmp_path / "epoch_guard") == {"epoch_guard/notes": {5: "    a | b\n    1 | 2\n\nand more"}}


# Faults.


@pytest.mark.host
def test_a_logger_that_fails_is_left_out_and_nothing_else_changes(tmp_path, dataset, monkeypatch, host_log):
    quiet = train(arguments(tmp_path / "quiet", max_steps=STEPS), dataset)
    begin = TensorBoardLog._begin

    def full(self, directory):
        if directory == "epoch_2":
            raise OSError(28, "No space left on device")
        return begin(self, directory)

    monkeypatch.setattr(TensorBoardLog, "_begin", full)
    args = arguments(tmp_path / "full", max_steps=STEPS, report_to=["tensorboard", "wandb"])
    run = train(args, dataset)
    assert run.losses == quiet.losses
    assert points_of(run) == points_of(quiet)
    assert host_log.warnings == [
        "epoch guard: writing to tensorboard is switched off; training and the other logs continue: "
        "OSError: [Errno 28] No space left on device"
    ]
    assert max(shown(guard_folder(args))["epoch_guard/data_epoch"]) in (BOUNDARY_STEP - 1, BOUNDARY_STEP)
    (file,) = wandb_files(args)
    assert len(read_wandb(file).line("epoch_guard/data_epoch", GLOBAL_STEP)) == STEPS
    assert shown(guard_folder(args).parent)["train/loss"] == pytest.approx(run.losses)


class WithoutWandb(PretrainingTrainer):
    """Its user has taken PaddleNLP's W&B callback away."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.remove_callback(WandbCallback)


@pytest.mark.host
def test_no_wandb_run_is_begun_where_the_trainer_has_none(tmp_path, dataset, monkeypatch, host_log):
    monkeypatch.setattr(wandb, "init", pytest.fail)
    run = train(arguments(tmp_path, max_steps=STEPS, report_to=["wandb"]), dataset, trainer=WithoutWandb)
    assert run.steps == STEPS
    assert len(run.scalars("epoch_guard/data_epoch")) == STEPS
    (warning,) = host_log.warnings
    assert "writing to wandb is switched off" in warning
    assert "no W&B run is active" in warning


class WandbBehind(WithoutWandb):
    """Its user has put it back, behind the guard."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_callback(WandbCallback())


@pytest.mark.host
def test_a_run_that_begins_after_the_guards_first_words_has_them_too(tmp_path, dataset):
    args = arguments(tmp_path, max_steps=STEPS, report_to=["wandb"])
    run = train(args, dataset, trainer=WandbBehind)
    (file,) = wandb_files(args)
    logged = read_wandb(file)
    assert logged.summary["epoch_guard/notes"] == "\n".join(run.texts("epoch_guard/notes"))
    assert len(logged.line("epoch_guard/data_epoch", GLOBAL_STEP)) == STEPS


def test_a_library_that_is_not_there_is_said_once(tmp_path, monkeypatch):
    said = []
    without_libraries(monkeypatch)
    log = EpochGuardLog(tmp_path, open_sinks(["tensorboard", "wandb", "tensorboard"], tmp_path, Naming(), said.append))
    log.scalar("a", 1.0, 1)
    log.close()
    assert ["writing to tensorboard is switched off" in one for one in said] == [True, False]
    assert ["writing to wandb is switched off" in one for one in said] == [False, True]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("proto.event_pb2", "Event"),
        ("proto.summary_pb2", "Summary"),
        ("record_writer", "masked_crc32c"),
        ("summary", "text"),
    ],
)
def test_a_tensorboardx_without_what_is_used_is_said_with_its_version(tmp_path, monkeypatch, module, name):
    said = []
    monkeypatch.setattr("tensorboardX.__version__", "9.9")
    monkeypatch.delattr(f"tensorboardX.{module}.{name}")
    open_sinks(["tensorboard"], tmp_path, Naming(), said.append)
    (warning,) = said
    assert "writing to tensorboard is switched off" in warning
    assert "tensorboardX 9.9 lacks" in warning
    assert name in warning
    assert "Install tensorboardX 2.6.5" in warning


@pytest.mark.parametrize("method", ["scalar", "text", "set_aside", "flush", "close"])
def test_whatever_fails_in_a_logger_is_said_once(method):
    class Failing:
        def __getattr__(self, name):
            def call(*_):
                if name == method:
                    raise ValueError(name)

            return call

    said = []
    sinks = Sinks(said.append)
    sinks.add("first", Failing)
    for _ in range(2):
        sinks.scalar("a", 1.0, 1)
        sinks.text("a", "b", 1)
        sinks.set_aside()
        sinks.flush()
        sinks.close()
    assert said == [
        f"epoch guard: writing to first is switched off; training and the other logs continue: ValueError: {method}"
    ]


def test_a_logger_that_the_guard_does_not_know_is_named(tmp_path):
    said = []
    open_sinks(["visualdl", "autonlp"], tmp_path, Naming(), said.append)
    assert said == [
        "epoch guard: the guard does not write to autonlp, named in report_to; its VisualDL log is complete"
    ]
    assert not list(tmp_path.iterdir())
