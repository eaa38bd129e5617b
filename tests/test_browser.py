"""What a person sees: the real page of the real server, in a real browser."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from browser import Page, open_document, require_browser
from long_run import write_long_run
from paddle_epoch_guard.report.page import PAGE_NAME
from paddle_epoch_guard.views import markers
from servers import visualdl_server
from vdl_logs import read_texts

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parent.parent / "demo-output" / "screenshots"
SEEN = "^(train/loss|epoch_guard/(loss_by_epoch|exposure|data_epoch))$"
LOGS = "demo-output/logs"


require_browser()


@pytest.fixture(scope="module")
def demo_server(browser, demo):
    with visualdl_server(LOGS, cwd=demo[0]) as server:
        yield server


@pytest.fixture(scope="module")
def demo_page(browser, demo_server):
    return Page(browser, demo_server)


@pytest.fixture(scope="module")
def demo_scalars(demo_page):
    scalars = demo_page.scalars(SEEN)
    demo_page.screenshot(SCREENSHOTS / "demo-scalars.png")
    return scalars


@pytest.fixture(scope="module")
def separated_scalars(browser, demo):
    """Of one run alone: the picture in the README."""
    with visualdl_server(f"{LOGS}/separated", cwd=demo[0]) as server:
        page = Page(browser, server)
        scalars = page.scalars(SEEN)
        page.screenshot(SCREENSHOTS / "separated-scalars.png")
    return scalars


@pytest.fixture(scope="module")
def demo_texts(demo_page, demo_scalars):
    texts = demo_page.texts("epoch_guard")
    demo_page.screenshot(SCREENSHOTS / "demo-texts.png")
    return texts


@pytest.fixture(scope="module")
def demo_summary(demo):
    return json.loads((demo[0] / "demo-output" / "summary.json").read_text())


@pytest.fixture(scope="module")
def viewed_runs(browser, long_run, demo):
    """The run lists that ``paddle-epoch-guard view`` shows."""
    found = []
    for logs, cwd in (("long", long_run.folder.parent), (LOGS, demo[0])):
        with visualdl_server(logs, cwd=cwd, command=("paddle-epoch-guard", "view")) as server:
            page = Page(browser, server)
            found.append(page.scalars(SEEN).runs)
            page.screenshot(SCREENSHOTS / f"view-{Path(logs).name}.png")
    return found


@pytest.fixture(scope="module")
def long_run(browser, tmp_path_factory):
    return write_long_run(tmp_path_factory.mktemp("logs") / "long")


@pytest.fixture(scope="module")
def long_page(browser, long_run):
    with visualdl_server("long", cwd=long_run.folder.parent) as server:
        yield Page(browser, server)


@pytest.fixture(scope="module")
def long_scalars(long_page):
    scalars = long_page.scalars(SEEN)
    long_page.screenshot(SCREENSHOTS / "long-scalars.png")
    return scalars


def painted(chart, line, curve, beside=0):
    """How much of the height of a curve a vertical line takes up on the screen, each in its bold, smoothed half.

    Args:
        chart: where they are drawn.
        line: of one step.
        curve: a loss.
        beside: look as many pixels to the right instead.
    """
    (step,) = set(line.steps)
    return chart.painted(line, step + beside / chart.x[1], curve.smoothed.min(), curve.smoothed.max())


def covered(line, curve):
    """How much of the height of a loss as it was logged, the faint half, the faint half of a line takes up."""
    low, high = curve.values.min(), curve.values.max()
    return (min(line.values.max(), high) - max(line.values.min(), low)) / (high - low)


def assert_stands_over_the_whole_curve(chart, line, curve, step):
    assert set(line.steps) == {step}
    # It may be 5 % short, and curves that the page lists below it are drawn across it.
    assert painted(chart, line, curve) > 0.85
    assert painted(chart, line, curve, beside=8) < 0.1
    assert covered(line, curve) > 0.93


def assert_parents_first(runs, root):
    """A run stands above what the guard adds to it; more VisualDL does not promise: it goes by the file system."""
    of_guard = [run for run in runs if run.startswith(f"{root}/")]
    assert runs.index(root) < min(map(runs.index, of_guard))
    assert of_guard[0] == f"{root}/epoch_guard"


@pytest.mark.parametrize(
    ("run", "marker", "step_of"),
    [
        ("separated", "boundary_1_to_2", lambda summary: summary["boundary_step"]),
        ("resumed", "unified_from_step_*", lambda summary: summary["resume_step"] + 1),
    ],
    ids=["boundary", "resume"],
)
def test_a_line_stands_at_the_cut_over_the_whole_loss_curve(demo, demo_scalars, demo_summary, run, marker, step_of):
    assert demo_scalars.smoothing == 0.6
    chart = demo_scalars.charts["train/loss"]
    (folder,) = (demo[0] / LOGS / run / "epoch_guard").glob(marker)
    line = chart.curves[f"{LOGS}/{run}/epoch_guard/{folder.name}"]
    assert_stands_over_the_whole_curve(chart, line, chart.curves[f"{LOGS}/{run}"], step_of(demo_summary[run]))


def test_the_epochs_are_overlaid(separated_scalars, demo_summary):
    chart = separated_scalars.charts["epoch_guard/loss_by_epoch"]
    first, second = (chart.curves[f"{LOGS}/separated/epoch_guard/epoch_{epoch}"] for epoch in (1, 2))
    assert first.steps[0] <= 1
    assert second.steps[0] <= 1
    assert len(first.steps) == pytest.approx(demo_summary["separated"]["boundary_step"], abs=1)
    assert second.smoothed.max() < first.smoothed.min()  # the cliff
    for curve in (first, second):
        assert chart.pixels_of(curve) > 300


def test_every_text_of_the_guard_can_be_read(demo, demo_texts, demo_summary):
    guards = [path.parent for path in sorted((demo[0] / LOGS).rglob("vdlrecords.epoch_guard.log"))]
    marked = [folder for folder in guards if folder.name.startswith(("boundary_", "unified_from_step_"))]
    assert len(marked) == 3
    for folder in marked:
        tag = f"epoch_guard/{folder.name}"
        assert demo_texts[str(folder.relative_to(demo[0])), tag] == read_texts(folder, tag)
    told, *_, verdict = demo_texts[f"{LOGS}/separated/epoch_guard/boundary_1_to_2", "epoch_guard/boundary_1_to_2"]
    assert told.startswith(f"Step {demo_summary['separated']['boundary_step']} draws the first samples")
    assert ": artefact (" in verdict


def test_the_trainers_own_curves_are_still_there(demo_page, demo_server):
    tags = demo_server.get("scalar/tags")
    of_run = dict(zip(tags["runs"], tags["tags"], strict=True))
    parts = ("^train/(?!train_)", "^(eval/|train/train_)")  # a search shows 12 charts at a time
    charts = {tag: chart for part in parts for tag, chart in demo_page.scalars(part).charts.items()}
    assert {"train/loss", "train/learning_rate", "eval/loss"} <= set(charts)
    for run in ("separated", "unified", "resumed"):
        for tag in of_run[f"{LOGS}/{run}"]:
            curve = charts[tag].curves[f"{LOGS}/{run}"]
            served = np.array(demo_server.scalars(f"{LOGS}/{run}", tag))
            np.testing.assert_allclose(np.column_stack([curve.steps, curve.values]), served, rtol=1e-12)
        loss = charts["train/loss"]
        assert loss.pixels_of(loss.curves[f"{LOGS}/{run}"]) > 1000


def test_the_run_list_names_every_folder_and_a_run_before_what_the_guard_adds_to_it(
    demo_scalars, separated_scalars, long_scalars
):
    for run in ("separated", "unified", "resumed"):
        assert_parents_first(demo_scalars.runs, f"{LOGS}/{run}")
    assert_parents_first(separated_scalars.runs, f"{LOGS}/separated")
    assert_parents_first(long_scalars.runs, "long")
    epochs = [f"long/epoch_guard/epoch_{epoch}" for epoch in range(1, 13)]
    boundaries = [f"long/epoch_guard/boundary_{epoch}_to_{epoch + 1}" for epoch in range(1, 12)]
    assert sorted(long_scalars.runs) == sorted(["long", "long/epoch_guard", *epochs, *boundaries])


def test_view_lists_a_run_then_its_epochs_then_its_boundaries(viewed_runs):
    epochs = [f"long/epoch_guard/epoch_{epoch}" for epoch in range(1, 13)]
    boundaries = [f"long/epoch_guard/boundary_{epoch}_to_{epoch + 1}" for epoch in range(1, 12)]
    long, demos = viewed_runs
    assert long == ["long", "long/epoch_guard", *epochs, *boundaries]
    separated = [run.split("/")[2:] for run in demos if run.startswith(f"{LOGS}/separated")]
    assert all(names[-1].startswith(("exposure_", "drawn_")) for names in separated[5:])
    assert separated[:5] == [
        ["separated"],
        ["separated", "epoch_guard"],
        ["separated", "epoch_guard", "epoch_1"],
        ["separated", "epoch_guard", "epoch_2"],
        ["separated", "epoch_guard", "boundary_1_to_2"],
    ]
    assert [run.split("/")[2] for run in demos] == sorted(run.split("/")[2] for run in demos)


def test_every_boundary_of_100_000_steps_stands_over_the_whole_loss_curve(long_run, long_scalars):
    chart = long_scalars.charts["train/loss"]
    assert len(long_run.crossings) == 11
    for crossing in long_run.crossings:
        line = chart.curves[f"long/epoch_guard/boundary_{crossing.from_epoch}_to_{crossing.to_epoch}"]
        assert_stands_over_the_whole_curve(chart, line, chart.curves["long"], crossing.step)


def test_12_epochs_are_overlaid(long_scalars):
    chart = long_scalars.charts["epoch_guard/loss_by_epoch"]
    lasts = []
    for epoch in range(1, 13):
        curve = chart.curves[f"long/epoch_guard/epoch_{epoch}"]
        assert curve.steps[0] <= 10
        assert curve.steps[-1] == pytest.approx(100_000 / 12, abs=20)
        assert chart.pixels_of(curve) > 300
        lasts.append(curve.values[-1])
    assert lasts == sorted(lasts, reverse=True)


def test_the_texts_of_11_boundaries_can_be_read(long_run, long_page, long_scalars):
    texts = long_page.texts("epoch_guard")
    long_page.screenshot(SCREENSHOTS / "long-texts.png")
    assert len(texts) == 11
    for crossing in long_run.crossings:
        name = f"boundary_{crossing.from_epoch}_to_{crossing.to_epoch}"
        told, *_, verdict = texts[f"long/epoch_guard/{name}", f"epoch_guard/{name}"]
        assert told.startswith(f"Step {crossing.step} draws the first samples")
        assert verdict.startswith(f"Verdict at the start of data epoch {crossing.to_epoch} (step {crossing.step})")


@pytest.mark.parametrize("run", ["separated", "unified", "resumed"])
def test_the_report_page_fits_a_phone_and_a_desk(browser, demo, run):
    page = demo[0] / "demo-output" / "runs" / run / PAGE_NAME
    phone = open_document(browser, page, 390, 844, SCREENSHOTS / f"report-{run}-phone.png", is_phone=True)
    desk = open_document(browser, page, 1280, 900, SCREENSHOTS / f"report-{run}-desk.png")
    for found, width in ((phone, 390), (desk, 1280)):
        assert found.width <= width
        assert found.cut_off == []
        assert len(found.pictures) == 3
        assert all(one["drawn"] and one["right"] <= width for one in found.pictures)
        assert found.loaded == []
        assert found.complaints == []
    # A phone gets figures of its own, with letters as large.
    assert all(one["natural"] < other["natural"] for one, other in zip(phone.pictures, desk.pictures, strict=True))
    for needed in ("Training loss by epoch", "Fresh against repeated samples", "--epoch_guard"):
        assert needed in desk.text
    verdicts = {
        "separated": "is an artefact of the data",
        "resumed": "at step",
        "unified": "no boundary makes",
    }
    assert verdicts[run] in desk.text


def test_a_page_that_is_wider_than_the_screen_is_noticed(browser, tmp_path):
    """So the test above can fail."""
    page = tmp_path / "wide.html"
    page.write_text("<main><p style='width: 3000px'>wide</p><img src='http://127.0.0.1:9/none.png'></main>")
    found = open_document(browser, page, 390, 844)
    assert found.width > 390
    assert found.cut_off == ["wide", ""] or found.cut_off == ["wide"]
    assert found.loaded == ["http://127.0.0.1:9/none.png"]
    assert found.complaints != []


@pytest.mark.long
def test_a_line_whose_far_point_is_not_repeated_falls_short(browser, tmp_path):
    """So the tests above can fail."""
    with mock.patch.object(markers, "_REPEATS", 1):
        run = write_long_run(tmp_path / "short", steps=6_000)
    with visualdl_server("short", cwd=tmp_path) as server:
        chart = Page(browser, server).scalars("^train/loss$").charts["train/loss"]
    line, curve = chart.curves["short/epoch_guard/boundary_11_to_12"], chart.curves["short"]
    assert set(line.steps) == {run.crossings[-1].step}
    assert covered(line, curve) > 0.93
    assert 0.5 < painted(chart, line, curve) < 0.7
