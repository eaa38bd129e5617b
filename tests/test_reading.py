"""Runs read back from their logs and checkpoints."""

import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from visualdl import LogWriter

from paddle_epoch_guard.errors import EpochGuardError, ReportError
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.report.log_folders import parsed_arguments
from paddle_epoch_guard.report.reading import find_logging_dir, read_run
from paddle_epoch_guard.report.run_data import Note, Series
from paddle_epoch_guard.resume import SIDECAR_NAME, write_sidecar
from paddle_epoch_guard.views.logfile import read_log_file
from paddle_epoch_guard.views.visualdl import FILE_NAME
from synthetic_runs import BATCH, Plan, Run

ARGUMENTS = {"seed": 7, "max_steps": 400, "epoch_guard": "track", "wandb_api_key": "secret", "sharding": []}


def as_the_trainer_writes(arguments):
    """PaddleNLP's ``TrainingArguments.to_json_string``."""
    return json.dumps(str(arguments), indent=2)


@pytest.fixture(scope="module", params=[True, False], ids=["record", "legacy"], autouse=True)
def keeps_record(request):
    """Whether runs keep a record; without it they are read as those of earlier releases are, from VisualDL's files."""
    Run.keeps_record = request.param
    yield request.param
    Run.keeps_record = True


@pytest.fixture(scope="module")
def finished(tmp_path_factory, keeps_record):
    """Two data epochs of 100 steps, evaluated."""
    return Run(tmp_path_factory.mktemp("logs")).train(1, 200, arguments=as_the_trainer_writes(ARGUMENTS), note="Note.")


def test_what_was_written_is_read(finished):
    run = read_run(finished.folder)
    assert run.loss.steps.tolist() == list(range(1, 201))
    np.testing.assert_allclose(run.loss.values, list(finished.losses.values()), rtol=1e-6)
    assert run.evaluation.steps.tolist() == list(range(10, 201, 10))
    assert run.exposure.values.tolist() == [0.0] * 100 + [1.0] * 100
    assert run.data_epoch.values.tolist() == [1.0] * 100 + [2.0] * 100
    assert (run.loss_fresh.steps[-1], run.loss_repeat.steps[0]) == (100, 101)
    assert [(one.dataset, one.epoch, len(one.loss)) for one in run.epochs] == [("", 1, 100), ("", 2, 100)]
    for one, values in zip(run.epochs, np.split(run.loss.values, 2), strict=True):
        assert one.mean_loss == pytest.approx(values.mean(), rel=1e-6)
        np.testing.assert_allclose(one.loss.values, values, rtol=1e-6)
    (cut,) = run.cuts
    assert (cut.name, cut.step, cut.epochs, cut.verdict) == ("boundary_1_to_2", 101, (1, 2), "artefact")
    assert cut.exposures == (0.0, 1.0)
    assert cut.training.value == pytest.approx(-1.0, abs=0.1)
    assert cut.training.significant
    assert not cut.evaluation.significant
    assert cut.sentences[0].startswith("Step 101 draws the first samples")
    assert run.notes == (Note(0, "Note."),)
    assert run.sides == (101,)
    assert run.last_step == 200
    assert run.faults == ()
    (part,) = run.parts
    assert (part.first_logged, part.last_logged) == (1, 200)
    assert part.arguments == {"seed": 7, "max_steps": 400, "epoch_guard": "track"}


def test_a_run_that_is_still_writing_is_read_as_far_as_it_has_come(finished, tmp_path):
    for path in finished.folder.rglob("*.log"):
        target = tmp_path / path.relative_to(finished.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes()[:-7])
    run = read_run(tmp_path)
    assert run.last_step in (199, 200)
    assert len(run.loss) >= 198
    assert len(run.faults) == 5
    assert all("ends in the middle of a record" in fault for fault in run.faults)


def test_a_later_part_of_the_run_counts_from_where_it_begins(tmp_path):
    """Interrupted at step 150, resumed from the checkpoint of step 80: what lies between was trained twice."""
    first = Run(tmp_path).train(1, 150, began=1, evaluate=5)
    earlier = first.losses
    later = Run(tmp_path, seed=1).train(81, 160, began=2, evaluate=7)
    run = read_run(tmp_path)
    assert run.loss.steps.tolist() == list(range(1, 161))
    expected = {**earlier, **later.losses}
    np.testing.assert_allclose(run.loss.values, [expected[step] for step in range(1, 161)], rtol=1e-6)
    assert run.evaluation.steps.tolist() == [*range(5, 81, 5), *range(84, 161, 7)]
    assert [(part.first_logged, part.last_logged) for part in run.parts] == [(1, 150), (81, 160)]
    assert run.exposure.steps.tolist() == list(range(1, 161))


def test_a_boundary_that_only_a_part_met_that_does_not_count_is_left_out(tmp_path):
    Run(tmp_path).train(1, 150, began=1)
    Run(tmp_path).train(81, 95, began=2)
    run = read_run(tmp_path)
    assert run.last_step == 95
    assert run.cuts == ()
    assert [one.epoch for one in run.epochs] == [1]


def test_a_fresh_start_in_a_used_folder_counts_alone(tmp_path):
    Run(tmp_path).train(1, 150, began=1, evaluate=5)
    Run(tmp_path, seed=1).train(1, 60, began=2, evaluate=0)
    run = read_run(tmp_path)
    assert (run.last_step, len(run.evaluation), len(run.parts), run.cuts) == (60, 0, 1, ())


def test_the_parts_of_a_run_in_the_hosts_default_folders_belong_together(tmp_path):
    folders = [tmp_path / "out" / "runs" / name for name in ("Nov24_a", "Aug01_b", "Dec09_c")]
    Run(folders[0], run_id="f" * 32).train(1, 50, began=1)  # another run, from whose beginning the next one began anew
    Run(folders[1], seed=1).train(1, 120, began=2)
    Run(folders[2], seed=2).train(91, 180, began=3)
    run = read_run(folders[2], tmp_path / "out")
    assert run.loss.steps.tolist() == list(range(1, 181))
    assert [cut.step for cut in run.cuts] == [101]
    assert [part.first_logged for part in run.parts] == [1, 91]
    # An earlier folder is read without the later ones, and any folder without the others where they are no default.
    assert read_run(folders[1], tmp_path / "out").last_step == 120
    assert read_run(folders[2]).loss.steps[0] == 91


def test_the_place_where_a_unified_order_begins_is_a_cut(tmp_path):
    run = Run(tmp_path, cliff=0.0).train(1, 80, began=1)
    run.train(81, 160, began=2, reorder=Reorder(320, 800, "ramp", (7, 1, 0), 400))
    (cut,) = read_run(tmp_path).cuts
    assert (cut.step, cut.epochs, cut.title, cut.verdict) == (81, None, "a unified order begins", "undecided")
    assert "the share of the last data epoch rising from zero" in cut.sentences[0]


def test_a_mixed_step_is_a_side_by_itself(tmp_path):
    class Mixed(Plan):
        def counts(self, first_step, last_step):
            found = super().counts(first_step, last_step)
            return super().counts(100, 101) if first_step == 101 else found

    run = Run(tmp_path, Mixed())
    run.train(1, 160)
    assert read_run(tmp_path).sides == (101, 102)


def test_a_blend_has_each_dataset_by_its_folder(tmp_path, keeps_record):
    naming = Naming(("web & <i>", "books"))
    run = Run(tmp_path, Plan((100, 150), naming.datasets)).train(1, 200)
    read = read_run(tmp_path)
    web, books = naming.dataset_directory(0), naming.dataset_directory(1)
    assert read.datasets == (books, web)
    assert [(one.dataset, one.epoch) for one in read.epochs] == [(books, 1), (books, 2), (web, 1), (web, 2)]
    assert [(cut.dataset, cut.step) for cut in read.cuts] == [(web, 101), (books, 151)]
    # Which of them the sidecar means is known by name, or by the means of their epochs.
    state = run.sidecar(200)
    for names in ((), naming.datasets):
        read = read_run(tmp_path, state=state, names=names)
        assert read.folders == (web, books)
        totals = {(one.dataset, one.epoch): (one.total.samples, one.total.first_step) for one in read.epochs}
        assert totals == {
            (web, 1): (100 * BATCH, 1),
            (web, 2): (100 * BATCH, 101),
            (books, 1): (150 * BATCH, 1),
            (books, 2): (50 * BATCH, 151),
        }
    other = tuple(replace(one, loss=replace(one.loss, loss_sum=1.0)) for one in state.epoch_losses)
    read = read_run(tmp_path, state=replace(state, epoch_losses=other))
    if keeps_record:  # it names the datasets
        assert read.folders == (web, books)
        assert {(one.dataset, one.epoch): one.total.samples for one in read.epochs}[web, 1] == 100 * BATCH
    else:
        assert read.folders == ()
        assert all(one.total is None for one in read.epochs)


def test_trainer_epochs_have_names_of_their_own(tmp_path):
    Run(tmp_path).train(1, 160, naming=Naming(trainer=True))
    run = read_run(tmp_path)
    assert [one.title for one in run.epochs] == ["trainer epoch 1", "trainer epoch 2"]
    assert [cut.title for cut in run.cuts] == ["trainer epoch 1 to 2"]
    assert len(run.data_epoch) == 160


def checkpoint(output, run, step, **changes):
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    write_sidecar(folder, run.sidecar(step, **changes))
    return folder


def test_the_newest_sidecar_that_fits_the_log_is_taken(finished, tmp_path):
    checkpoint(tmp_path, finished, 100)
    newest = checkpoint(tmp_path, finished, 150)
    run = read_run(finished.folder, tmp_path)
    assert run.sidecar_path == newest / SIDECAR_NAME
    assert (run.sidecar.step, run.epochs[0].total.samples) == (150, 100 * BATCH)
    assert run.faults == ()
    # Damaged, of a step that the log has not reached, and of another run that wrote here before.
    (newest / SIDECAR_NAME).write_text('{"version": 1')
    checkpoint(tmp_path, finished, 900)
    checkpoint(tmp_path, Run(tmp_path / "other", seed=5).train(1, 120), 120)
    run = read_run(finished.folder, tmp_path)
    assert run.sidecar.step == 100
    beyond, damaged, other = run.faults
    assert "checkpoint-900: left out: it lies beyond the last step that was logged, 200" in beyond
    assert "not a sidecar that can be used" in damaged
    assert "checkpoint-120/epoch_guard.json: left out: its losses are not those of the log" in other


def test_the_state_that_was_kept_at_the_end_goes_before_a_checkpoint(tmp_path):
    run = Run(tmp_path / "logs").train(1, 120)
    checkpoint(tmp_path / "out", run, 120)
    kept = tmp_path / "logs" / "epoch_guard"
    write_sidecar(kept, run.sidecar(120, max_steps=999))
    assert read_run(tmp_path / "logs", tmp_path / "out").sidecar.max_steps == 999
    (kept / SIDECAR_NAME).write_bytes(b"\x80\x04damaged")
    read = read_run(tmp_path / "logs", tmp_path / "out")
    assert read.sidecar.max_steps == 400
    assert f"left out: {kept / SIDECAR_NAME}: not a sidecar" in read.faults[0]


def test_where_the_trainer_logs_elsewhere_a_sidecars_windows_stand_for_its_losses(tmp_path, keeps_record):
    run = Run(tmp_path / "logs", trainer=False).train(1, 200)
    read = read_run(tmp_path / "logs", state=run.sidecar(200))
    assert read.loss.steps.tolist() == list(range(1, 201))
    assert len(read.evaluation) == 20
    assert read.faults == () if keeps_record else "in no VisualDL log" in read.faults[0]
    assert read.cuts[0].verdict == "artefact"


def test_a_run_without_the_guard_is_read_too(tmp_path):
    writer = LogWriter(logdir=str(tmp_path), file_name="vdlrecords.1.log")
    for step in (5, 10, 15):
        writer.add_scalar("train/loss", float("nan") if step == 10 else 1.0, step)
    writer.close()
    run = read_run(tmp_path)
    assert run.loss.steps.tolist() == [5, 15]  # what is no number is not drawn
    assert "the guard has written nothing here" in run.faults[0]


def test_where_there_is_no_run_it_is_said(tmp_path):
    with pytest.raises(ReportError, match=r"no such folder\. Name the run's logging_dir"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ReportError, match=r"no such folder\. Name the run's output_dir"):
        read_run(tmp_path, tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no log")
    with pytest.raises(EpochGuardError, match=r"no VisualDL log in it"):
        read_run(tmp_path, tmp_path)
    with pytest.raises(ReportError, match="no VisualDL log below it"):
        find_logging_dir(tmp_path)
    with pytest.raises(ReportError, match="no such folder"):
        find_logging_dir(tmp_path / "nowhere")


def test_the_newest_log_below_an_output_folder_is_found(tmp_path):
    output = tmp_path / "epoch_guard" / "out"  # a name that means something only below the output folder
    for at, name in enumerate(("runs/old", "runs/new", "logs")):
        Run(output / name).train(1, 3, began=at + 1)
        for path in [*(output / name).glob("*.log"), *(output / name).rglob("record.jsonl")]:
            os.utime(path, (at + name.count("new") * 10,) * 2)
    assert find_logging_dir(output) == output / "runs" / "new"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", None),
        (b"\x80\x04\x95", "ends in the middle of a record"),
        (struct.pack("<Q", 1 << 62) + b"abc", "damaged"),
        (struct.pack("<Q", 0) + b"abc", "damaged"),
        (struct.pack("<Q", 5) + b"\xff\xff\xff\xff\xff", "damaged"),
        (b"x" * 1000, "damaged"),
    ],
)
def test_a_damaged_file_is_read_up_to_the_damage(tmp_path, content, fault):
    writer = LogWriter(logdir=str(tmp_path), file_name=FILE_NAME)
    writer.add_scalar("a", 1.5, 3)
    writer.add_text("b", "text", 4)
    writer.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes() + content)
    found = read_log_file(path)
    assert found.scalars == {"a": [(3, 1.5)]}
    assert found.texts == {"b": [(4, "text")]}
    assert found.began > 1_500_000_000_000
    assert found.fault is None if fault is None else fault in found.fault


def test_a_folder_in_the_place_of_a_log_is_a_fault(finished, tmp_path):
    (tmp_path / "vdlrecords.1.log").mkdir()
    assert "cannot be read" in read_run(tmp_path).faults[0]


def test_only_what_is_asked_for_is_kept(finished):
    (path,) = finished.folder.glob("*.log")
    assert set(read_log_file(path, ["train/loss"]).scalars) == {"train/loss"}
    assert set(read_log_file(path).scalars) == {"train/loss", "train/learning_rate", "eval/loss"}


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(-9, 9))))
def test_a_series_ascends_and_ends_with_what_was_written_last(points):
    series = Series.of(points)
    assert (np.diff(series.steps) > 0).all()
    if points:
        assert (series.steps[-1], series.values[-1]) == points[-1]
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            at = len(points) - 1 - points[::-1].index((step, value))
            assert all(later > step for later, _ in points[at + 1 :])


def test_arguments_are_read_and_nothing_is_executed(tmp_path):
    marker = tmp_path / "executed"
    assert parsed_arguments(as_the_trainer_writes(ARGUMENTS)) == {"seed": 7, "max_steps": 400, "epoch_guard": "track"}
    for text in (
        "",
        "no JSON",
        json.dumps(f"{{'seed': open({str(marker)!r}, 'w')}}"),
        json.dumps("[1, 2]"),
        json.dumps({"a": "b"}),
        json.dumps("(" * 5000),
        "[" * 100_000,
        json.dumps("{'seed': 1}" + " " * 2_000_000),
        json.dumps("{'seed': {'a': 1}}"),
    ):
        assert parsed_arguments(text) == {}
    assert not marker.exists()
