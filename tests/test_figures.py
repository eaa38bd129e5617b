"""What is drawn, and where."""

import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from visualdl import LogReader

from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.report.drawing import NARROW, WIDE, as_svg, thinned
from paddle_epoch_guard.report.figures import (
    BOUNDARY,
    UNIFIED,
    add_figures,
    epoch_figure,
    fresh_figure,
    loss_figure,
    pictures,
    write_figures,
)
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.run_data import EpochSummary, RunData, Series
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from synthetic_runs import Plan, Run, long_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two data epochs, the boundary before step 101."""
    folder = tmp_path_factory.mktemp("logs")
    Run(folder).train(1, 200)
    return read_run(folder)


@pytest.fixture(scope="module")
def many():
    return long_run(12_000)


def vertical_lines(axes):
    """Where they stand."""
    return [
        line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
    ]


def labelled(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def lightness(color):
    """Of a colour in a black and white print (ITU-R BT.709)."""
    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_boundary_stands_at_its_step_over_loss_and_exposure(run, width):
    above, beneath = loss_figure(run, width).axes
    assert vertical_lines(above) == vertical_lines(beneath) == [101]
    assert vertical_lines(fresh_figure(run, width).axes[0]) == [101]
    (label,) = [text for text in above.texts if text.get_text()]
    assert label.get_text() == ("data epoch 2 begins: artefact" if width == WIDE else "101")
    assert label.xy[0] == 101


def test_axes_say_what_they_measure_and_in_which_unit(run):
    above, beneath = loss_figure(run).axes
    assert above.get_ylabel().split() == ["training", "and", "evaluation", "loss", "(nats", "per", "token)"]
    assert beneath.get_ylabel().split() == ["exposure", "(times", "drawn", "before)"]
    assert beneath.get_xlabel() == "step"
    epochs = epoch_figure(run)
    assert epochs.get_supylabel() == "training loss (nats per token)"
    assert epochs.axes[0].get_xlabel() == "step within the epoch"
    assert fresh_figure(run).axes[0].get_ylabel().split() == ["training", "loss", "(nats", "per", "token)"]


def test_the_trend_has_a_gap_at_the_boundary_and_is_right_on_both_sides(run):
    line = labelled(loss_figure(run).axes[0], "trend")
    x, y = line.get_xdata(), line.get_ydata()
    assert np.isnan(y[x == 100]).any()  # behind the last point of the near side
    assert y[x == 100][0] == pytest.approx(4 + 2 * np.exp(-2), abs=0.05)
    assert y[x == 101][0] == pytest.approx(3 + 2 * np.exp(-2), abs=0.05)


def test_everything_that_was_logged_is_there(run):
    above, beneath = loss_figure(run).axes
    raw, evaluation = labelled(above, "each log window"), labelled(above, "evaluation")
    np.testing.assert_array_equal(raw.get_ydata(), run.loss.values)
    np.testing.assert_array_equal(evaluation.get_xdata(), run.evaluation.steps)
    assert {round(float(value)) for line in beneath.lines[:1] for value in line.get_ydata()} == {0, 1}
    low, high = above.get_ylim()
    assert low < run.loss.values.min() < run.loss.values.max() < high


def test_lines_differ_without_their_colours(run, many):
    """In dash, or by a quarter of the way from black to white."""
    for axes in (loss_figure(run).axes[0], fresh_figure(run).axes[0]):
        looks = [
            (str(line._unscaled_dash_pattern), lightness(line.get_color()), line.get_linewidth() > 1)
            for line in axes.lines
            if not line.get_label().startswith("_") or len(set(line.get_xdata())) == 1
        ]
        for at, (dash, light, thick) in enumerate(looks):
            for other_dash, other_light, other_thick in looks[:at]:
                assert dash != other_dash or abs(light - other_light) > 0.25 or thick != other_thick
    lines = [line for line in epoch_figure(many).axes[0].lines if line.get_label().startswith("epoch")]
    lights = [lightness(line.get_color()) for line in lines]
    assert len(lines) == 12
    assert lights == sorted(lights, reverse=True)  # the last one is the darkest
    assert max(lights) < 0.8
    assert min(abs(np.diff(lights))) > 0.01
    dashes = [str(line._unscaled_dash_pattern) for line in lines]
    assert all(one != other for one, other in pairwise(dashes))


def moved(summary, step):
    """A change point at another step."""
    return replace(summary, change=replace(summary.change, step=step))


def test_where_there_are_many_boundaries_they_have_their_steps(many):
    above, beneath = loss_figure(many).axes
    steps = [cut.step for cut in many.cuts]
    assert vertical_lines(above) == vertical_lines(beneath) == steps
    assert [text.get_text() for text in above.texts] == [str(step) for step in steps]
    # Those that would stand upon each other share a label.
    crowded = replace(many, cuts=tuple(moved(cut, 3000 + 20 * at) for at, cut in enumerate(many.cuts)))
    assert [text.get_text() for text in loss_figure(crowded).axes[0].texts] == ["3000\u20133200"]


def test_a_unified_order_has_a_line_of_another_kind_unless_the_run_begins_with_it(tmp_path):
    run = Run(tmp_path, cliff=0.0).train(1, 80, reorder=Reorder(0, 800, "uniform", (7, 1, 0)))
    assert vertical_lines(loss_figure(read_run(tmp_path)).axes[0]) == []
    run.train(81, 160, began=2, reorder=Reorder(320, 800, "ramp", (7, 1, 0), 400))
    above = loss_figure(read_run(tmp_path)).axes[0]
    assert vertical_lines(above) == [81]
    assert above.texts[0].get_text().startswith("a unified order begins")
    assert UNIFIED["linestyle"] != BOUNDARY["linestyle"]


def test_each_dataset_of_a_blend_has_a_panel(tmp_path):
    Run(tmp_path, Plan((100, 150), ("web", "a$\\frac$"))).train(1, 200)
    run = read_run(tmp_path)
    drawn = [axes for axes in epoch_figure(run).axes if axes.get_visible()]
    assert [axes.get_legend().get_title().get_text() for axes in drawn] == ["a__frac_", "web"]
    assert len({axes.get_ylim() for axes in drawn}) == 1
    assert all(as_svg(picture.figure) for picture in pictures(run, NARROW))


@pytest.mark.parametrize("name", ["$\\frac{", "\u6570\u636e", "a\x00\x1b\udcff", "x" * 300, "<b>&amp;"])
def test_any_name_can_be_drawn(name, recwarn):
    curve = Series(np.arange(10), np.arange(10.0))
    run = RunData("", None, epochs=(EpochSummary(name, 1, loss=curve), EpochSummary("b", 1, loss=curve)))
    (picture,) = pictures(run)
    root = ET.fromstring(as_svg(picture.figure))
    assert any("epoch 1" in (one.text or "") for one in root.iter())
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_spikes_do_not_flatten_the_curve_and_are_told(run):
    values = run.loss.values.copy()
    values[[20, 30]] = 1e4, 50.0
    above, beneath = loss_figure(replace(run, loss=Series(run.loss.steps, values))).axes
    assert above.get_ylim()[1] < 10
    assert beneath.get_xlabel() == "step\n2 losses off the scale, up to 1e+04"


def test_what_is_not_known_is_not_drawn(run):
    assert [one.name for one in pictures(run)] == ["loss", "loss_by_epoch", "fresh_and_repeat"]
    nothing = Series()
    bare = replace(run, exposure=nothing, evaluation=nothing, loss_fresh=nothing, loss_repeat=nothing, epochs=())
    (picture,) = pictures(bare)
    assert picture.figure.axes[1].get_ylabel().split() == ["data", "epoch", "(mean)"]
    assert "evaluation" not in picture.text
    assert pictures(RunData("", None)) == []
    (picture,) = pictures(RunData("", None, loss=Series(np.array([5]), np.array([2.0]))))
    assert as_svg(picture.figure).startswith(b"<?xml")


def test_a_thinned_curve_keeps_its_extremes_and_its_ends():
    values = np.random.default_rng(0).standard_normal(50_000)
    thin = thinned(Series(np.arange(50_000), values), 300)
    assert len(thin) <= 600
    assert (thin.values.min(), thin.values.max()) == (values.min(), values.max())
    assert (np.diff(thin.steps) > 0).all()
    np.testing.assert_array_equal(thin.values, values[thin.steps])
    assert thin.steps[0] < 170
    assert thin.steps[-1] > 49_830


def test_the_look_is_the_same_whatever_the_user_has_set(run):
    plain = [as_svg(one.figure) for one in pictures(run)]
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9, "svg.fonttype": "path"}
    ):
        assert [as_svg(one.figure) for one in pictures(run)] == plain
    assert matplotlib.rcParams["svg.fonttype"] == "path"  # matplotlib's default: nothing is left behind


def test_figures_are_written_as_files(run, tmp_path):
    paths = write_figures(tmp_path, run)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert len(paths) == 6
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.size[0] == pytest.approx(WIDE * 144, abs=1)
                assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        else:
            texts = [one.text for one in ET.parse(path).getroot().iter() if one.text and one.text.strip()]
            assert "step" in [text.strip() for text in texts] or "step within the epoch" in texts


def test_figures_are_added_to_visualdl(run, tmp_path):
    log = EpochGuardLog(tmp_path)
    log.scalar("epoch_guard/exposure", 0.0, 1)
    add_figures(log, run, 200)
    log.close()
    add_figures(EpochGuardLog(tmp_path), run, 240)  # the run was resumed, and ended again
    reader = LogReader(file_path=str(tmp_path / "epoch_guard" / "figures" / "vdlrecords.epoch_guard.log"))
    for name in ("loss", "loss_by_epoch", "fresh_and_repeat"):
        (record,) = reader.get_data("image", f"epoch_guard/figure_{name}")
        assert record.id == 240  # VisualDL opens on the first image
        with Image.open(io.BytesIO(record.image.encoded_image_string)) as image:
            assert image.format == "PNG"
            assert image.size[0] == WIDE * 120
            assert image.getpixel((0, 0)) == (255, 255, 255)
    log = LogReader(file_path=str(tmp_path / "epoch_guard" / "vdlrecords.epoch_guard.log"))
    assert len(log.get_data("scalar", "epoch_guard/exposure")) == 1
    # A report that reads this log again is not disturbed.
    assert len(read_run(tmp_path).exposure) == 1


def test_drawing_needs_neither_pyplot_nor_a_window_and_importing_not_even_matplotlib(tmp_path):
    code = """
import sys
from paddle_epoch_guard.report import page
assert not {"matplotlib", "jinja2"} & set(sys.modules)
sys.path.insert(0, "tests")
from synthetic_runs import long_run
assert [one for one in page.pictures(long_run(500)) if page.as_svg(one.figure)]
assert "matplotlib.pyplot" not in sys.modules
print("drawn")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_without_display())
    assert done.stdout == "drawn\n", done.stderr


def _without_display():
    return {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
