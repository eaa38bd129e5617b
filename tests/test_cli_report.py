"""``report``: a run, finished or running, told from its logs and checkpoints."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from caches import cli, contents, refused, told
from paddle_epoch_guard.cli.output import print_table
from paddle_epoch_guard.cli.report import FOUND, Verdict, facts_of_report, show
from paddle_epoch_guard.ledger import EpochLoss, Weighted
from paddle_epoch_guard.report.page import PAGE_NAME
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.texts import summary
from paddle_epoch_guard.resume import write_sidecar
from paddle_epoch_guard.statistics.judging import VerdictKind
from synthetic_runs import BATCH, Plan, Run

pytestmark = pytest.mark.usefixtures("undrawn")

ARGUMENTS = json.dumps(str({"seed": 7, "max_steps": 330, "epoch_guard": "track"}))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The output folder of a run over four data epochs, resumed at step 200, with a checkpoint of step 300."""
    output = tmp_path_factory.mktemp("output")
    run = Run(output / "logs").train(1, 250, arguments=ARGUMENTS)
    run.train(201, 330, began=2, arguments=ARGUMENTS)
    checkpoint = output / "checkpoint-300"
    checkpoint.mkdir()
    write_sidecar(checkpoint, run.sidecar(300, max_steps=330))
    return output


def facts(output):
    """What is told of a run, as JSON has it, without the page."""
    found = facts_of_report(read_run(output / "logs", output), Path("page.html"), [])
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_finished_run_is_told(resumed, tmp_path):
    output = shutil.copytree(resumed, tmp_path / "output")
    found = told("report", output, "--figures", tmp_path / "a" / "figures")
    run = read_run(output / "logs", output)
    assert (found["last_step"], found["max_steps"], found["finished"]) == (330, 330, True)
    assert found["summary"] == summary(run)
    assert [(one["epoch"], one["of"], one["dataset"]) for one in found["epochs"]] == [
        (epoch, "data", None) for epoch in (1, 2, 3, 4)
    ]
    assert found["epochs"][2] == {
        "dataset": None, "epoch": 3, "of": "data", "samples": 100 * BATCH, "first_step": 201, "last_step": 300,
        "mean_loss": run.epochs[2].mean_loss,
    }  # fmt: skip
    assert [(one["name"], one["step"], one["epochs"], one["verdict"]) for one in found["cuts"]] == [
        ("boundary_1_to_2", 101, [1, 2], "artefact"),
        ("boundary_2_to_3", 201, [2, 3], "undecided"),
        ("boundary_3_to_4", 301, [3, 4], "undecided"),
    ]
    first = found["cuts"][0]
    assert first["exposure"] == {"before": 0.0, "after": 1.0}
    assert first["training"]["jump"] == pytest.approx(-1, abs=0.1)
    assert (first["training"]["significant"], first["evaluation"]["significant"]) == (True, False)
    assert first["mean_loss"]["before"] > first["mean_loss"]["after"]
    assert [(one["first_logged_step"], one["arguments"]["max_steps"]) for one in found["resumes"]] == [(201, 330)]
    settings = found["settings"]
    assert (settings["order"], settings["step"], settings["position"]) == ("unified", 300, 300 * BATCH)
    assert settings["reorders"] == [{"start": 400, "stop": 1600, "mix": "ramp", "key": [7, 1, 0], "boundary": 800}]
    assert [segment["first_step"] for segment in settings["schedule"]["segments"]] == [1, 101]
    assert settings["datasets"][0]["indices"][0]["seed"] == 7
    assert found["faults"] == []
    assert sorted(found["figures"]) == sorted(str(path) for path in (tmp_path / "a" / "figures").iterdir())
    assert {path.rpartition(".")[2] for path in found["figures"]} == {"png", "svg"}
    assert len(found["figures"]) >= 4
    assert found["page"] == str(output / PAGE_NAME)
    assert "artefact" in (output / PAGE_NAME).read_text()


def test_a_running_run_is_told_as_far_as_it_has_come(tmp_path):
    """The logs end in the middle of a record, behind a boundary of which nothing is said yet."""
    whole = Run(tmp_path / "whole")
    whole.train(1, 104, arguments=ARGUMENTS)
    for path in whole.folder.rglob("*.log"):
        target = tmp_path / "output" / "logs" / path.relative_to(whole.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes()[:-7])
    status, out, err = cli("report", tmp_path / "output")
    assert (status, err) == (0, "")
    assert "The run has reached step 10" in out
    assert "ends in the middle of a record" in " ".join(out.split())
    assert (tmp_path / "output" / PAGE_NAME).is_file()
    found = facts(tmp_path / "output")
    assert found["last_step"] in (103, 104)
    assert (found["max_steps"], found["finished"]) == (330, False)
    assert found["settings"] is None
    assert found["resumes"] == []
    assert all("ends in the middle of a record" in fault for fault in found["faults"])
    assert [one["step"] for one in found["cuts"]] == [101]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_terminal_shows_the_run(resumed, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(read_run(resumed / "logs", resumed), Path("run.html"), [])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= columns
    words = " ".join(out.split())
    for said in ("(artefact; step 101)", "the run was resumed once", "-0.97", "0.00 → 1.00", "201 to 300", "1,600"):
        assert said in words
    assert "page: run.html" in out


def test_a_loss_that_is_no_number_is_null(tmp_path):
    run = Run(tmp_path / "logs", Plan((50,))).train(1, 60)
    state = run.sidecar(60)
    masked = EpochLoss(0, 7, 50, 60, 40, Weighted())
    (tmp_path / "checkpoint-60").mkdir()
    write_sidecar(tmp_path / "checkpoint-60", replace(state, epoch_losses=(*state.epoch_losses, masked)))
    found = facts(tmp_path)
    assert [one["mean_loss"] for one in found["epochs"] if one["epoch"] == 7] == [None]


def test_a_blend_names_its_datasets(tmp_path):
    Run(tmp_path / "logs", Plan((100, 60), ("text", "code"))).train(1, 140)
    found = facts(tmp_path)
    assert {one["dataset"] for one in found["epochs"]} == {"text", "code"}
    assert {(one["dataset"], one["step"], one["what"]) for one in found["cuts"]} == {
        ("text", 101, "data epoch 1 to 2 of text"),
        ("code", 61, "data epoch 1 to 2 of code"),
        ("code", 121, "data epoch 2 to 3 of code"),
    }


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ((), 2, "OUTPUT_DIR"),
        (("nowhere",), 1, "nowhere: no such folder. Name the run's output_dir"),
        (("empty",), 1, "empty: no VisualDL log below it"),
        (("output", "--logging-dir", "nowhere"), 1, "nowhere: no such folder. Name the run's logging_dir"),
        (("output", "--logging-dir", "empty"), 1, "empty: no VisualDL log in it"),
        (("output", "--output", "nowhere/page.html"), 1, "nowhere/page.html: cannot be written"),
        (("output", "--output", "empty"), 1, "empty: cannot be written"),
        (("output", "--output", "file/page.html"), 1, "Name a file in a folder that exists"),
        (("output", "--figures", "file"), 1, "--figures file: cannot be created (File exists)"),
        (("file",), 1, "file: no such folder"),
        (("output", "--no-such"), 2, "--no-such"),
    ],
    ids=str,
)
def test_a_wrong_call_says_so_in_one_line(resumed, tmp_path, monkeypatch, options, status, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copytree(resumed, tmp_path / "output")
    (tmp_path / "file").write_text("")
    before = contents(tmp_path)
    assert said in refused("report", *options, status=status)
    assert contents(tmp_path) == before


def test_what_comes_from_a_log_is_text(capsys):
    print_table([("[bold]name[/bold]", ":smile: \x1b[31mred\x07")], "[red]title\x1b[0m")
    out = capsys.readouterr().out
    assert "[red]title" in out
    assert "[bold]name[/bold]" in out
    assert ":smile:" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_a_page_that_cannot_be_written_leaves_nothing(resumed, tmp_path, monkeypatch):
    def fails(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("paddle_epoch_guard.files.os.fsync", fails)
    said = refused("report", resumed, "--output", tmp_path / "page.html")
    assert said.startswith(f"{tmp_path / 'page.html'}: cannot be written (No space left on device: more than ")
    assert said.endswith(" are free). Name a writable folder")
    assert list(tmp_path.iterdir()) == []


def test_paddle_is_not_loaded(resumed, tmp_path):
    code = (
        "import sys\nfrom paddle_epoch_guard.cli.app import run\n"
        f"assert run(['report', {str(resumed)!r}, '--output', {str(tmp_path / 'page.html')!r}]) == 0\n"
        "assert not {'paddle', 'paddlenlp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_script_learns_of_a_verdict_by_the_status(resumed):
    for asked, status in ((["artefact"], FOUND), (["improvement"], 0), (["improvement", "undecided"], FOUND), ([], 0)):
        options = [word for verdict in asked for word in ("--fail-on", verdict)]
        assert cli("report", resumed, "--no-page", *options)[0] == status
        assert cli("report", resumed, "--no-page", "--json", *options)[0] == status
    assert "--fail-on" in refused("report", resumed, "--fail-on", "luck", status=2)
    assert {kind.value for kind in Verdict} == set(get_args(VerdictKind))
