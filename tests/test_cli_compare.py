"""``compare`` as a command, in Python, in a notebook, as a page, a picture and a VisualDL log."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from msgspec import structs
from PIL import Image
from visualdl import LogReader

import paddle_epoch_guard
from caches import cli, contents, refused, told
from compared_runs import Made
from paddle_epoch_guard.comparison.figures import comparison_figure
from paddle_epoch_guard.comparison.page import render
from paddle_epoch_guard.record.events import WindowLogged

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One that looks better, and one that is."""
    folder = tmp_path_factory.mktemp("logs")
    return (
        Made(folder / "separated", repeated_from=401, offset=0.15).write(),
        Made(folder / "unified", repeated_share=0.4, seed=1, own_seed=1, order="other").write(),
    )


@pytest.fixture(scope="module")
def comparison(runs):
    return paddle_epoch_guard.compare(*runs)


def test_it_prints_verdict_tables_and_how_the_runs_are_related(runs):
    _, printed, _ = cli("compare", *runs)
    assert "separated is worse than unified: by the evaluation loss" in " ".join(printed.split())
    assert "By the raw training loss, separated looks better than unified" in " ".join(printed.split())
    assert "is put down to exposure" in " ".join(printed.split())
    assert "below 0: the first has the lower loss" in " ".join(printed.split())
    assert "Compared: steps 401 to 600 of separated" in " ".join(printed.split())
    assert "in another order" in " ".join(printed.split())


def test_it_prints_one_json_object_and_changes_nothing(runs):
    before = [contents(run) for run in runs]
    found = told("compare", *runs)
    assert [contents(run) for run in runs] == before
    (pair,) = found["pairs"]
    assert (pair["verdict"], pair["measure"]) == ("worse", "evaluation")
    assert pair["raw"]["value"] < 0 < pair["evaluation"]["low"] < pair["evaluation"]["high"]
    assert pair["fresh"] is None
    assert pair["explained_by_exposure"] == pytest.approx(pair["raw"]["value"] - pair["evaluation"]["value"])
    assert [run["name"] for run in found["runs"]] == ["separated", "unified"]
    assert found["ranking"][0] == {"run": "unified", "rank": 1, "ties": []}
    assert found["place"]["last_step"] == 600


def test_it_writes_page_picture_and_logs(runs, tmp_path):
    page, picture, logs = tmp_path / "page.html", tmp_path / "picture.png", tmp_path / "logs"
    found = told("compare", *runs, "--html", page, "--png", picture, "--visualdl", logs, "--last", 100)
    assert found["written"] == [str(page), str(picture), str(logs / "compare_separated_unified")]
    assert Image.open(picture).width > 1_000
    again = told("compare", *runs, "--visualdl", logs)  # it replaces what was there
    assert again["written"] == [str(logs / "compare_separated_unified")]
    folder = logs / "compare_separated_unified" / "epoch_guard"
    reader = LogReader(file_path=str(folder / "vdlrecords.epoch_guard.log"))
    raw = reader.get_data("scalar", "epoch_guard/loss_difference_raw")
    assert [point.id for point in raw] == sorted(point.id for point in raw)
    assert 100 <= raw[0].id < raw[-1].id <= 560  # the middles of stretches of 200 steps
    assert raw[-1].value < 0 < raw[0].value  # separated is all fresh at first, and all repeated in the end
    assert len(reader.get_data("scalar", "epoch_guard/evaluation_difference")) == 30
    assert reader.get_data("text", "epoch_guard/comparison")[0].text.encoded_text_string.startswith(
        "separated is worse"
    )


def test_the_log_of_a_run_is_not_replaced(runs, tmp_path):
    folder = Made(tmp_path / "compare_separated_unified").write()
    before = contents(folder)
    assert "the log of a run is there" in refused("compare", *runs, "--visualdl", tmp_path)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("options", "what", "status"),
    [
        (["--png", "picture.jpg"], "ends in .png", 2),
        (["--html", "nowhere/page.html"], "cannot be written", 1),
        (["--at", "5000"], "have steps", 1),
        (["--at", "0"], "--at", 2),
        (["--margin", "inf"], "a margin of inf", 1),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(runs, options, what, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert what in refused("compare", *runs, *options, status=status)


def test_the_page_needs_nothing_but_itself_and_describes_its_figure(comparison):
    page = render(comparison.findings)
    assert not re.search(r'(src|href|srcset)="(?!data:)', page)
    assert "<script" not in page
    assert 'alt="separated is worse than unified' in page
    assert "separated less unified (below zero: the loss of separated is lower)" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert '<span class="verdict artefact">worse</span>' in page


def test_names_are_escaped(tmp_path):
    folders = [Made(tmp_path / name, own_seed=number).write() for number, name in enumerate(("<b>a", "$b$"))]
    page = render(paddle_epoch_guard.compare(*folders).findings)
    assert "&lt;b&gt;a" in page
    assert "<b>a" not in page


def test_a_part_as_long_as_the_runs_is_drawn(runs):
    for options in ({"last": 600}, {"at": 300, "last": 300}):
        page = render(paddle_epoch_guard.compare(*runs, **options).findings)
        assert page.count("data:image/svg+xml;base64,") == 2


def test_short_runs_are_drawn(tmp_path):
    folders = [Made(tmp_path / name, own_seed=number, steps=120).write() for number, name in enumerate("ab")]
    assert "data:image/svg+xml" in render(paddle_epoch_guard.compare(*folders).findings)


def test_a_run_without_losses_is_drawn(tmp_path):
    class Lost(Made):
        def events(self):
            for event in super().events():
                yield structs.replace(event, loss=None) if isinstance(event, WindowLogged) else event

    run = paddle_epoch_guard.read_run(Lost(tmp_path / "lost").write())
    assert "60 log windows" in run._repr_html_()


def test_the_figure_has_both_losses_the_difference_and_the_exposure(comparison):
    raw, fresh, difference, exposure = comparison_figure(comparison.findings).axes
    assert "raw" in raw.get_ylabel()
    assert "fresh" in fresh.get_ylabel()
    assert "exposure" in exposure.get_ylabel()
    labels = difference.get_legend_handles_labels()[1]
    assert labels == ["separated \N{MINUS SIGN} unified, raw", "separated \N{MINUS SIGN} unified, fresh",
                      "separated \N{MINUS SIGN} unified, evaluation"]  # fmt: skip
    assert exposure.get_xlabel() == "step"


def test_a_notebook_shows_runs_and_comparisons(comparison):
    assert "separated is worse than unified" in comparison._repr_html_()
    assert "below 0: the first has the lower loss" in comparison._repr_html_()
    shown = comparison.runs[0]._repr_html_()
    assert "separated ended: step 600 of 600" in shown
    assert shown.count("<tr>") == 6
    assert "data:image/svg+xml" in shown


def test_a_table_of_pandas(comparison):
    pandas = pytest.importorskip("pandas")
    table = comparison.runs[0].to_pandas()
    assert isinstance(table, pandas.DataFrame)
    np.testing.assert_array_equal(table["step"], comparison.runs[0].windows["step"])


def test_the_public_names_load_no_host():
    code = (
        "import sys, paddle_epoch_guard as guard; guard.read_run, guard.compare, guard.Run, guard.Comparison;"
        "print([name for name in ('paddle', 'paddlenlp', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_json_object_is_the_one_of_python(runs, comparison):
    assert json.loads(json.dumps(comparison.to_dict())) == {
        name: value for name, value in told("compare", *runs).items() if name != "written"
    }
