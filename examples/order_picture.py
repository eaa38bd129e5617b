"""Draws what a unified order keeps and what it cannot mend, from the orders themselves (no training).

.venv/bin/python examples/order_picture.py docs/images/order.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from paddle_epoch_guard.order import PositionMap, Reorder

PLANNED, BOUNDARY = 29_000, 20_000  # 1.45 data epochs of 20,000 samples
KEY = (42, 1, 0)
BINS = 145
HALF, LATE = 10_000, 23_000

CASES = [
    ("The host's order", "the last data epoch comes all at once: the cliff", [], None),
    (
        "Unified from the start",
        "mixed evenly; every sample as often as planned",
        [Reorder(0, PLANNED, "uniform", KEY)],
        None,
    ),
    (
        "Unified from a resume on",
        "what was drawn stays; the last data epoch rises from zero, without a jump",
        [Reorder(HALF, PLANNED, "ramp", KEY, BOUNDARY)],
        HALF,
    ),
    (
        "Resumed past the boundary",
        "only the last data epoch is left: nothing can be mended, nothing is changed",
        [],
        LATE,
    ),
]


def main() -> None:
    """Draws the picture from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the PNG to write")
    figure, rows = plt.subplots(len(CASES), 1, figsize=(9, 6.6), dpi=120, sharex=True, constrained_layout=True)
    at = (np.arange(BINS) + 0.5) / BINS * PLANNED / BOUNDARY
    for axes, (name, what, reorders, resumed) in zip(rows, CASES, strict=True):
        base = PositionMap(reorders).base(np.arange(PLANNED))
        share = (base >= BOUNDARY).reshape(BINS, -1).mean(axis=1)
        axes.stackplot(at, 1 - share, share, colors=["0.88", "tab:blue"], step="mid")
        if resumed is not None:
            axes.axvline(resumed / BOUNDARY, color="crimson", linestyle=":", linewidth=2)
            axes.annotate(
                "resume",
                (resumed / BOUNDARY, 0.08),
                xytext=(-8, 0),
                textcoords="offset points",
                ha="right",
                color="crimson",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
        axes.set_title(f"{name}: {what}", loc="left", fontsize=10)
        axes.set(ylim=(0, 1), xlim=(at[0], at[-1]), yticks=[0, 0.5, 1], ylabel="share")
        axes.spines[["top", "right"]].set_visible(False)
    rows[0].annotate("first data epoch", (0.1, 0.45), color="0.35")
    rows[0].annotate("last data epoch", (1.08, 0.45), color="white")
    rows[-1].set_xlabel("samples drawn, in data epochs")
    figure.savefig(parser.parse_args().path)


if __name__ == "__main__":
    main()
