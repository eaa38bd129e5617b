"""The demo's picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from runlog import Series


def draw_run(path: Path, title: str, loss: Series, data_epoch: Series, boundaries: dict[str, int]) -> None:
    """Training loss with its boundaries, and beneath it the data epoch that each step draws from.

    Args:
        path: the PNG to write.
        title: stands above.
        loss: nats per token.
        data_epoch: mean data epoch of each step's samples.
        boundaries: a label for each boundary, and its step.
    """
    figure, (above, beneath) = plt.subplots(
        2, 1, figsize=(9, 5.5), dpi=120, sharex=True, height_ratios=(3, 1), constrained_layout=True
    )
    above.plot(loss.steps, loss.values, color="0.15", linewidth=1.2)
    above.set_ylabel("training loss (nats per token)")
    above.set_title(title, loc="left")
    beneath.plot(data_epoch.steps, data_epoch.values, color="0.15", linewidth=1.2)
    beneath.set_ylabel("data epoch")
    beneath.set_xlabel("step")
    for label, step in boundaries.items():
        for axes in (above, beneath):
            axes.axvline(step, color="crimson", linestyle="--", linewidth=1.2)
        above.annotate(
            label,
            (step, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            va="top",
            color="crimson",
        )
    for axes in (above, beneath):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)
