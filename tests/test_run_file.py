"""Which run an output folder holds: noted by the run, found by the report, and refused where it is another one."""

import shutil
from dataclasses import replace

import pytest

from caches import refused, told
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.record.run_file import RUN_FILE_NAME, add_part, read_run_file
from paddle_epoch_guard.record.writer import record_path
from paddle_epoch_guard.report.reading import find_logging_dir, read_run
from paddle_epoch_guard.resume import write_sidecar
from synthetic_runs import Plan, Run

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def two(tmp_path):
    """Two runs, as the demo lays them out: logs and checkpoints of each in different folders."""
    runs = {}
    for name, run_id in (("separated", "a" * 32), ("resumed", "c" * 32)):
        output = tmp_path / "runs" / name
        run = runs[name] = Run(tmp_path / "logs" / name, Plan((40,)), run_id=run_id, seed=len(name)).train(1, 60)
        (output / "checkpoint-50").mkdir(parents=True)
        write_sidecar(output / "checkpoint-50", run.sidecar(50))
        add_part(output, run_id, run.last_part, run.folder)
    return runs


def test_a_report_finds_the_logs_of_a_run_wherever_they_lie(two, tmp_path):
    found = told("report", tmp_path / "runs" / "separated")
    assert (found["logging_dir"], found["run"]) == (str(tmp_path / "logs" / "separated"), "a" * 32)
    assert found["faults"] == []
    # A run that is moved as a whole is found where it is now, not where it was.
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("logs", "runs"):
        (tmp_path / name).rename(moved / name)
    (tmp_path / "logs" / "separated").mkdir(parents=True)
    assert find_logging_dir(moved / "runs" / "separated").resolve() == moved / "logs" / "separated"


def test_checkpoints_and_log_of_different_runs_are_refused_by_their_ids(two, tmp_path):
    logs, output = tmp_path / "logs" / "separated", tmp_path / "runs" / "resumed"
    said = refused("report", output, "--logging-dir", logs, status=1)
    assert said == (
        f"{logs}: the log of run {'a' * 32}, but {output} holds another run, {'c' * 32}. Name the log folder of what "
        f"{output} holds as logging_dir (it was {tmp_path / 'logs' / 'resumed'}), or name {logs} alone"
    )
    (output / RUN_FILE_NAME).unlink()  # as of a run of an earlier release
    assert f"another run, {'c' * 32}" in refused("report", output, "--logging-dir", logs, status=1)
    assert told("report", logs, "--no-page")["run"] == "a" * 32


def test_parts_of_the_run_that_went_on_elsewhere_are_refused(two, tmp_path):
    """The same run was resumed twice, into two output folders."""
    run = two["separated"]
    branch = tmp_path / "runs" / "branch"
    (branch / "checkpoint-50").mkdir(parents=True)
    write_sidecar(branch / "checkpoint-50", replace(run.sidecar(50), part="e" * 32))
    with pytest.raises(ReportError, match="holds parts of it of which this log tells nothing"):
        read_run(run.folder, branch)


def test_a_record_whose_part_lost_its_beginning_is_not_refused(two, tmp_path):
    run = two["separated"]
    run.train(61, 80, began=2)
    output = tmp_path / "out"
    (output / "checkpoint-80").mkdir(parents=True)
    write_sidecar(output / "checkpoint-80", run.sidecar(80))
    path = record_path(run.folder)
    lines = path.read_bytes().splitlines(keepends=True)
    at = max(at for at, line in enumerate(lines) if b'"part_began"' in line)
    path.write_bytes(b"".join([*lines[:at], b"damaged\n", *lines[at + 1 :]]))
    faults = read_run(run.folder, output).faults
    assert any("of a part that did not begin in this file" in fault for fault in faults)


def test_a_checkpoint_that_another_run_left_behind_is_left_out(two, tmp_path):
    output = tmp_path / "runs" / "separated"
    (output / "checkpoint-55").mkdir()
    write_sidecar(output / "checkpoint-55", two["resumed"].sidecar(55))
    run = read_run(tmp_path / "logs" / "separated", output)
    assert run.sidecar.step == 50
    assert any(
        f"checkpoint-55/epoch_guard.json: left out: it is of another run, {'c' * 32}" in one for one in run.faults
    )


def test_parts_whose_logs_lie_in_different_folders_are_one_run(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    first = Run(tmp_path / "first").train(1, 60)
    add_part(output, first.run_id, first.last_part, first.folder)
    second = Run(tmp_path / "second")
    second.last_part = first.last_part
    second.train(51, 90, began=2)
    add_part(output, second.run_id, second.last_part, second.folder)
    add_part(output, second.run_id, second.last_part, second.folder)
    assert [part.part for part in read_run_file(output).parts] == [first.last_part, second.last_part]
    run = read_run(find_logging_dir(output), output)
    assert run.loss.steps.tolist() == list(range(1, 91))
    assert run.faults == ()


def test_another_run_replaces_the_note_and_a_damaged_one_counts_for_nothing(tmp_path):
    add_part(tmp_path, "a" * 32, "b" * 32, tmp_path / "logs")
    add_part(tmp_path, "c" * 32, "d" * 32, tmp_path / "logs")
    noted = read_run_file(tmp_path)
    assert (noted.run, [part.part for part in noted.parts]) == ("c" * 32, ["d" * 32])
    with pytest.raises(ReportError, match=f"none in {tmp_path / 'logs'}, where it was"):
        find_logging_dir(tmp_path)
    (tmp_path / RUN_FILE_NAME).write_text('{"run": 7}')
    assert read_run_file(tmp_path) is None
    with pytest.raises(ReportError, match=r"no VisualDL log below it\. Name"):
        find_logging_dir(tmp_path)


def test_an_epoch_ends_at_its_boundary_whatever_sample_of_it_is_drawn_later(tmp_path):
    class Crossing(Plan):
        def counts(self, first_step, last_step):
            found = super().counts(first_step, last_step)
            return super().counts(40, 41) if first_step == 55 else found  # with a sample of epoch 1

    run = Run(tmp_path, Crossing((40,))).train(1, 60)
    assert [(key.epoch, one.first_step, one.last_step) for key, one in run.recorder.ledger.totals.items()] == [
        (1, 1, 40),
        (2, 41, 60),
    ]
    epochs = read_run(tmp_path).epochs
    assert [(one.epoch, one.total.first_step, one.total.last_step) for one in epochs] == [(1, 1, 40), (2, 41, 60)]
    assert epochs[0].total.samples == run.recorder.ledger.totals[(0, 1)].samples == 41 * 4
    assert epochs[0].total.samples > 40 * 4
    # A checkpoint of an earlier release counts on to the last of them.
    state = run.sidecar(60)
    first, second = state.epoch_losses
    record_path(tmp_path).unlink()
    read = read_run(tmp_path, state=replace(state, epoch_losses=(replace(first, last_step=55), second)))
    assert [one.total.last_step for one in read.epochs] == [40, 60]


def test_a_copy_of_a_run_is_read_once_though_the_original_is_still_there(tmp_path):
    run = Run(tmp_path / "one" / "logs").train(1, 60)
    output = tmp_path / "one" / "out"
    output.mkdir()
    add_part(output, run.run_id, run.last_part, run.folder)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy = tmp_path / "two" / "out"
    assert read_run_file(copy).folders(copy) == [tmp_path / "two" / "logs"]
    totals = [epoch.total for epoch in read_run(find_logging_dir(output), output).epochs]
    assert [epoch.total for epoch in read_run(find_logging_dir(copy), copy).epochs] == totals


def test_a_folder_above_several_runs_is_refused_by_their_names(tmp_path):
    for seed, name in enumerate(("first", "second")):
        Run(tmp_path / "logs" / name, run_id="ac"[seed] * 32).train(1, 30)
    with pytest.raises(ReportError, match=r"holds the logs of 2 runs; expected one\. .*first and .*second"):
        find_logging_dir(tmp_path)
    assert find_logging_dir(tmp_path / "logs" / "first") == tmp_path / "logs" / "first"
