"""The values of the page's interactive charts."""

import math

import numpy as np
import pytest

from paddle_epoch_guard.report.curves import charts
from paddle_epoch_guard.report.drawing import trend_of
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.run_data import RunData
from synthetic_runs import Plan, Run, long_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The second data epoch begins at step 101 of 160."""
    folder = tmp_path_factory.mktemp("run")
    Run(folder, Plan((100,))).train(1, 160)
    return read_run(folder)


def column(panel, label):
    """A curve as ``{step: value}``, without steps that have no value."""
    at = [curve["label"] for curve in panel["curves"]].index(label) + 1
    pairs = zip(panel["columns"][0], panel["columns"][at], strict=True)
    return {step: value for step, value in pairs if value is not None}


def test_a_chart_stands_for_each_figure_and_holds_the_values_of_the_run(run):
    found = charts(run)
    assert set(found) == {"loss", "loss_by_epoch", "fresh_and_repeat"}
    losses, exposure = found["loss"]["panels"]
    assert losses["y_label"] == "training and evaluation loss (nats per token)"
    logged = column(losses, "each log window")
    assert list(logged) == run.loss.steps.tolist()
    assert list(logged.values()) == pytest.approx(run.loss.values, abs=1e-4)
    assert list(column(losses, "trend").values()) == pytest.approx(trend_of(run.loss, run.sides), abs=1e-4)
    assert column(losses, "evaluation") == pytest.approx(
        dict(zip(run.evaluation.steps.tolist(), run.evaluation.values.tolist(), strict=True)), abs=1e-4
    )
    assert set(column(exposure, "exposure").values()) == {0.0, 1.0}
    (mark,) = losses["marks"]
    assert (mark["step"], mark["label"], mark["short"]) == (101, "data epoch 2 begins: artefact", "step 101")
    fresh, repeat = (column(found["fresh_and_repeat"]["panels"][0], name) for name in ("fresh", "repeat"))
    assert max(fresh) <= 100 < min(repeat)


def test_lines_are_interrupted_half_a_step_before_the_order_changes(run):
    losses, exposure = charts(run)["loss"]["panels"]
    assert 100.5 in losses["columns"][0]
    for panel, label in ((losses, "trend"), (exposure, "exposure")):
        assert not {100.5} & set(column(panel, label))
        assert {100, 101} <= set(column(panel, label))
        assert [curve["spans"] for curve in panel["curves"] if curve["label"] == label] == [False]


def test_a_long_run_has_as_many_values_as_a_screen_shows(tmp_path):
    run = long_run()
    for name, chart in charts(run).items():
        for panel in chart["panels"]:
            steps = panel["columns"][0]
            assert 300 < len(steps) < 5_000, name
            assert steps == sorted(set(steps))
            assert all(len(values) == len(steps) for values in panel["columns"])
            assert all(value is None or math.isfinite(value) for values in panel["columns"] for value in values)
    losses = charts(run)["loss"]["panels"][0]
    logged = column(losses, "each log window")
    assert max(logged.values()) == pytest.approx(run.loss.values.max(), abs=1e-4)  # no spike is lost
    assert np.isin(list(logged), run.loss.steps).all()
    assert len(losses["marks"]) == 11


def test_a_run_of_which_nothing_is_known_has_no_chart(tmp_path):
    assert charts(RunData(tmp_path, None)) == {}
