"""What lies there when training has ended: the report page, the figures, and curves that are nowhere else."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from visualdl import LogReader

from corpora import build_train, write_corpus
from paddle_epoch_guard import host
from paddle_epoch_guard.record.run_file import RUN_FILE_NAME, read_run_file
from paddle_epoch_guard.report.page import PAGE_NAME
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.resume import SIDECAR_NAME
from paddle_epoch_guard.session.keeping import page_sentence
from training import KnownLosses, arguments, train
from vdl_logs import read_log

pytestmark = pytest.mark.host

SEQ_LENGTH, STEPS, BOUNDARY_STEP = 8, 32, 26
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)  # 101 samples an epoch; the second one is separated, from step 26 on


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, SEQ_LENGTH)


def page_of(run):
    return Path(run.args.output_dir) / PAGE_NAME


def test_a_run_leaves_a_report_and_figures_in_visualdl(tmp_path, dataset, host_log):
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard_report=True), dataset, model=KnownLosses)
    page = page_of(run).read_text(encoding="utf-8")
    assert "data epoch 1 to 2" in page
    assert f"step {STEPS}" in page
    assert f"epoch guard: report: {page_of(run)}" in host_log.of_guard()
    folder = Path(run.args.logging_dir) / "epoch_guard"
    log = read_log(folder / "figures")
    for name in ("loss", "loss_by_epoch", "fresh_and_repeat"):
        (record,) = log.get_data("image", f"epoch_guard/figure_{name}")
        assert record.id == STEPS
    # The order's settings are known without a checkpoint, and a new run in the same folder does not find them.
    ended = read_run(run.args.logging_dir).sidecar
    assert ended.step == STEPS
    train(arguments(tmp_path, max_steps=STEPS), dataset)
    begun = read_run(run.args.logging_dir).sidecar
    assert (begun.step, begun.run != ended.run) == (0, True)  # what its record has from its beginning
    assert (folder / f"kept-1.{SIDECAR_NAME}").is_file()
    assert host_log.warnings == []


def test_a_resumed_run_has_one_report_over_all_its_parts(tmp_path, dataset):
    values = {"max_steps": STEPS, "report_to": ["visualdl"], "save_strategy": "steps", "save_steps": 10}
    train(arguments(tmp_path, **values), dataset)
    (first,) = (tmp_path / "logs").glob("vdlrecords*")
    first.rename(first.with_name("vdlrecords.0000000001.log"))  # begun in another second than the next
    checkpoint = str(tmp_path / "run" / "checkpoint-20")
    run = train(arguments(tmp_path, **values, epoch_guard_report=True), dataset, resume=checkpoint)
    page = page_of(run).read_text(encoding="utf-8")
    assert "the run was resumed once" in page
    assert "data epoch 1 to 2" in page
    found = read_run(run.args.logging_dir, run.args.output_dir)
    assert found.loss.steps.tolist() == list(range(1, STEPS + 1))
    assert [cut.step for cut in found.cuts] == [BOUNDARY_STEP]


def test_where_the_trainer_does_not_write_to_visualdl_its_curves_are_kept(tmp_path, dataset):
    values = {"max_steps": STEPS, "evaluation_strategy": "steps", "eval_steps": 8, "prediction_loss_only": True}
    for report_to in ([], ["visualdl"]):
        folder = tmp_path / str(len(report_to))
        run = train(arguments(folder, report_to=report_to, **values), dataset, evaluation=dataset)
        kept = {"train/loss", "eval/loss"} & set(read_log(folder / "logs" / "epoch_guard").get_tags()["scalar"])
        assert kept == (set() if report_to else {"train/loss", "eval/loss"})
        found = read_run(run.args.logging_dir)
        assert found.loss.steps.tolist() == list(range(1, STEPS + 1))
        assert found.loss.values == pytest.approx([run.losses[step] for step in found.loss.steps.tolist()])
        assert found.evaluation.steps.tolist() == [8, 16, 24, 32]
        assert not any("in no VisualDL log" in fault for fault in found.faults)


def test_a_report_that_cannot_be_written_is_said_and_nothing_else(tmp_path, dataset, host_log):
    page = tmp_path / "run" / PAGE_NAME
    page.mkdir(parents=True)  # where a file should be
    (page / "theirs").write_text("kept")
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard_report=True), dataset)
    assert run.steps == STEPS
    (warning,) = host_log.warnings
    assert "the report page could not be written" in warning
    assert f"paddle-epoch-guard report {run.args.output_dir}" in warning
    assert (page / "theirs").read_text() == "kept"


def test_no_report_where_none_is_wanted(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard_report=False), dataset)
    assert not page_of(run).exists()
    (path,) = (Path(run.args.logging_dir) / "epoch_guard").glob("vdlrecords*")
    assert "image" not in LogReader(file_path=str(path)).get_tags()


def test_a_run_notes_in_its_output_folder_where_its_logs_are(tmp_path, dataset):
    """At its first checkpoint, or at its end: before, some scripts want that folder to be empty."""
    args = arguments(tmp_path, max_steps=STEPS)
    assert not (Path(args.output_dir) / RUN_FILE_NAME).exists()
    train(args, dataset)
    noted = read_run_file(Path(args.output_dir))
    assert noted.folders(Path(args.output_dir)) == [Path(args.logging_dir)]
    assert noted.run == read_run(args.logging_dir).run
    values = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 10}
    train(arguments(tmp_path, **values), dataset)
    begun = read_run_file(Path(args.output_dir))
    assert begun.run != noted.run
    train(arguments(tmp_path, **values), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    resumed = read_run_file(Path(args.output_dir))
    assert (resumed.run, len(resumed.parts), resumed.parts[0]) == (begun.run, 2, begun.parts[0])
    assert read_run(args.logging_dir, args.output_dir).sidecar.run == resumed.run


def without_a_place(tmp_path, **values):
    """Arguments that name neither a logger nor a folder for logs."""
    return arguments(tmp_path, logging_dir=None, epoch_guard_report=True, **values)


def files_below(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def test_a_benchmark_of_a_few_steps_leaves_no_files(tmp_path, dataset, host_log):
    run = train(without_a_place(tmp_path, max_steps=5), dataset)
    assert run.steps == 5
    assert files_below(run.args.output_dir) == []
    said = [line for line in host_log.of_guard() if "--logging_dir FOLDER" in line]
    assert said == [
        "epoch guard: neither record nor report page of this run is kept: report_to names no logger, and 5 steps are "
        "fewer than a verdict needs, 12. --logging_dir FOLDER keeps both"
    ]
    assert host_log.warnings == []


def test_a_run_without_a_logger_and_a_log_folder_keeps_its_record_alone(tmp_path, dataset, host_log):
    run = train(without_a_place(tmp_path, max_steps=STEPS), dataset, model=KnownLosses)
    assert files_below(run.args.output_dir) == [RUN_FILE_NAME, "record.jsonl"]
    (said,) = (line for line in host_log.of_guard() if "--logging_dir FOLDER" in line)
    assert f"{run.args.logging_dir}/epoch_guard/record.jsonl" in said
    found = read_run(run.args.logging_dir, run.args.output_dir)
    assert found.loss.steps.tolist() == list(range(1, STEPS + 1))
    assert [cut.step for cut in found.cuts] == [BOUNDARY_STEP]


def test_a_short_run_that_can_be_resumed_keeps_its_record(tmp_path, dataset):
    values = {"max_steps": 5, "save_strategy": "steps", "save_steps": 5}
    run = train(without_a_place(tmp_path, **values), dataset)
    assert {"record.jsonl", RUN_FILE_NAME, SIDECAR_NAME} <= set(files_below(run.args.output_dir))
    assert read_run(run.args.logging_dir, run.args.output_dir).loss.steps.tolist() == [1, 2, 3, 4, 5]


def test_the_page_of_a_run_too_short_for_a_verdict_says_how_to_do_without():
    assert page_sentence(Path("page.html"), 11).startswith("report: page.html. A verdict takes at least 12 steps")
    assert "--epoch_guard_report False" in page_sentence(Path("page.html"), 11)
    assert page_sentence(Path("page.html"), 12) == "report: page.html"


@pytest.mark.parametrize(
    ("folder", "has"),
    [("runs/Nov27_13-46-10_vm", False), ("runs/11月27_13-46-10_a-b.c", False), ("runs/mine", True), ("logs", True)],
)
def test_the_trainers_own_log_folder_is_told_from_one_that_was_named(tmp_path, folder, has):
    args = SimpleNamespace(output_dir=str(tmp_path), logging_dir=str(tmp_path / folder))
    assert host.has_log_folder(args) is has
    assert host.has_log_folder(SimpleNamespace(output_dir=str(tmp_path / "other"), logging_dir=args.logging_dir))
    (tmp_path / folder).mkdir(parents=True)  # somebody writes there
    assert host.has_log_folder(args)
