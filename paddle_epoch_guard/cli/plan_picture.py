"""Pictures of a plan: how often the data of each step was seen before, in the host's order and in a unified one."""

from pathlib import Path
from typing import Any

from paddle_epoch_guard.cli.facts import unified_exposure
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.files import written_whole
from paddle_epoch_guard.index import IndexLayout

Curve = tuple[list[float], list[float]]


def exposures(found: dict[str, Any]) -> tuple[Curve, Curve]:
    """Steps and exposure, in the host's order and in a unified one.

    Where epochs are shuffled together, a token's draws are spread evenly: exposure is a line.
    """
    layout = IndexLayout.of(found["tokens_per_epoch"], found["seq_length"], found["samples_requested"])
    batch, last = found["global_batch"], found["max_steps"]
    unified = [0.0, float(last)], [0.0, unified_exposure(layout, last * batch)]
    if not layout.separated:
        return unified, unified
    boundary = found["boundary_position"] / batch
    before, after = found["exposure"]["before"], found["exposure"]["after"]
    return ([0.0, boundary, boundary, float(last)], [0.0, before, after, after]), unified


def print_plan(found: dict[str, Any]) -> None:
    """Draws both curves on the terminal."""
    import plotext

    host, unified = exposures(found)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(76, 14)
    plotext.plot(*host, label="PaddleNLP's order", marker="hd")
    plotext.plot(*unified, label="unified", marker="dot")
    plotext.title("exposure: how often the data of a step was drawn before")
    plotext.xlabel("step")
    print(plotext.uncolorize(plotext.build()))


def draw_plan(path: Path, found: dict[str, Any]) -> None:
    """Writes both curves as a PNG.

    Raises:
        ArgumentsError: the plan is of a blend.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if "datasets" in found:
        raise ArgumentsError("--png draws the plan of one dataset; this is a blend")
    host, unified = exposures(found)
    figure = Figure(figsize=(8, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*host, color="0.15", linewidth=1.8, label="PaddleNLP's order")
    axes.plot(*unified, color="tab:blue", linewidth=1.8, linestyle="--", label="unified")
    axes.set_xlabel("step")
    axes.set_ylabel("exposure (times drawn before)")
    axes.legend(loc="upper left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path) as stream:
        figure.savefig(stream, format="png")
