"""The demo's picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from paddle_epoch_guard.statistics.smoothing import trend
from runlog import Series

# Told apart by lightness and dash as well as by colour.
LOOKS = {
    "separated": {"color": "0.15", "linestyle": "-"},
    "unified": {"color": "tab:blue", "linestyle": "--"},
    "resumed": {"color": "tab:orange", "linestyle": "-."},
}


def draw_runs(
    path: Path, losses: dict[str, Series], data_epochs: dict[str, Series], boundary: int, resumed: int
) -> None:
    """Training loss of each run, and beneath it the data epoch that each step draws from.

    Args:
        path: the PNG to write.
        losses: nats per token, by run.
        data_epochs: mean data epoch of each step's samples, by run.
        boundary: the first step wholly of the last data epoch, where that is separated.
        resumed: the first step of the resumed run's unified order.
    """
    figure, (above, beneath) = plt.subplots(
        2, 1, figsize=(9, 6), dpi=120, sharex=True, height_ratios=(3, 1.4), constrained_layout=True
    )
    for run, loss in losses.items():
        look = LOOKS[run]
        cuts = [boundary] if run == "separated" else [resumed] if run == "resumed" else []
        above.plot(loss.steps, loss.values, color=look["color"], linewidth=0.6, alpha=0.25)
        above.plot(loss.steps, trend(loss.steps, loss.values, cuts), label=run, linewidth=1.8, **look)
        epoch = data_epochs[run]
        beneath.plot(epoch.steps, trend(epoch.steps, epoch.values, cuts), linewidth=1.8, **look)
    marks = {"boundary 1 to 2\n(separated)": boundary, "unified from here\n(resumed)": resumed}
    for label, step in marks.items():
        for axes in (above, beneath):
            axes.axvline(step, color="crimson", linestyle=":", linewidth=1.4)
        above.annotate(
            label,
            (step, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            va="top",
            color="crimson",
        )
    above.set_ylabel("training loss (nats per token)")
    above.set_title("One corpus, one model, three orders of the same samples", loc="left")
    above.legend(loc="lower left")
    beneath.set_ylabel("data epoch (mean)")
    beneath.set_xlabel("step")
    for axes in (above, beneath):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)
