"""What the order of the samples does to the final model: evaluation at the end, over seeds of order and model.

Each seed trains three runs in the demo's size: separated (the host's order), unified from the start, and separated
until 150 of 600 steps, then resumed in unified order. They are evaluated on the same 850 held-out samples.

    python benchmarks/final_model.py --output /tmp/final-model --seeds 10   # a quarter of an hour on two cores

Runs that are there already are read again.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from small_runs import Setting, is_trained, read_scalar, train, write_text

from paddle_epoch_guard.ledger.students_t import interval_of

ORDERS = ("separated", "unified", "resumed")
RESUMED_AT = 150
FIRST_SEED = 42


def main() -> None:
    """Trains what is missing, and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("final-model"), help="where the runs go")
    parser.add_argument("--seeds", type=int, default=5, help="how many, at least 2 (default: 5)")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds}: a spread takes at least 2")
    corpus = write_text(options.output / "data")
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    for setting in (setting_of(order, seed) for seed in seeds for order in ORDERS):
        if not is_trained(setting, options.output):
            train(setting, corpus, options.output)
    losses = np.array([[final_loss(options.output, setting_of(order, seed)) for order in ORDERS] for seed in seeds])
    console = Console(width=110)
    console.print(by_seed(losses, seeds))
    console.print(by_order(losses))


def setting_of(order: str, seed: int) -> Setting:
    """A run: its order, and the seed of its data order and of its model."""
    return Setting(
        f"{order}-{seed}",
        order="unified" if order == "unified" else "track",
        seed=seed,
        init=seed,
        unified_from=RESUMED_AT if order == "resumed" else 0,
    )


def final_loss(output: Path, setting: Setting) -> float:
    """The last evaluation loss, nats per token."""
    return float(read_scalar(output / "logs" / setting.name, "eval/loss").values[-1])


def by_seed(losses: np.ndarray, seeds: range) -> Table:
    """A line for each seed; ``losses`` is [seeds, orders]."""
    table = Table("seed", *ORDERS, title="evaluation loss at the end, nats per token")
    for seed, row in zip(seeds, losses, strict=True):
        table.add_row(str(seed), *(f"{loss:.4f}" for loss in row))
    return table


def by_order(losses: np.ndarray) -> Table:
    """A line for each order; ``losses`` is [seeds, orders]. Differences are paired by seed."""
    table = Table(
        "order",
        "mean",
        "standard deviation",
        "minus separated",
        "95 % interval",
        title="over the seeds",
    )
    for place, order in enumerate(ORDERS):
        difference = losses[:, place] - losses[:, 0]
        error = difference.std(ddof=1) / np.sqrt(len(losses))
        low, high = interval_of(difference.mean(), error, len(losses) - 1)
        shown = ("", "") if place == 0 else (f"{difference.mean():+.4f}", f"{low:+.4f} to {high:+.4f}")
        table.add_row(order, f"{losses[:, place].mean():.4f}", f"{losses[:, place].std(ddof=1):.4f}", *shown)
    return table


if __name__ == "__main__":
    main()
