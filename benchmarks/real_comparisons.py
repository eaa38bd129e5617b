"""Compares real runs in the demo's size whose truth is known, and prints what `compare` says of each pair.

The truth is the evaluation loss on a large held-out part: a fifth of the corpus, about 850 samples, of documents in a
random order. `compare` sees the runs' own records: their training losses, and evaluations on that part.

    python benchmarks/real_comparisons.py --output /tmp/real-comparisons   # about ten minutes

Training takes the time: runs that are there already are read again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from small_runs import BATCH, STEPS, Setting, is_trained, train, write_text

from paddle_epoch_guard import compare
from paddle_epoch_guard.comparison.compare import Comparison
from paddle_epoch_guard.comparison.texts import difference_text

BASE = Setting("separated")
SETTINGS = (
    BASE,
    replace(BASE, name="other-init", init=7),
    replace(BASE, name="other-seed", init=7, seed=7),
    replace(BASE, name="half-rate", learning_rate=5e-3),
    replace(BASE, name="unified", order="unified"),
    replace(BASE, name="unified-half-rate", order="unified", learning_rate=5e-3),
    replace(BASE, name="double-batch", batch=2 * BATCH, steps=STEPS // 2),
    replace(BASE, name="other-corpus", corpus="half"),
)
PAIRS = (
    ("separated", "other-init", {"last": 100}),
    ("separated", "other-init", {"at": 400, "last": 100}),
    ("separated", "other-seed", {"at": 400, "last": 100}),
    ("separated", "other-seed", {"last": 100}),
    ("separated", "half-rate", {"at": 400, "last": 100}),
    ("separated", "half-rate", {"last": 100}),
    ("unified", "unified-half-rate", {"last": 100}),
    ("separated", "unified", {"at": 400, "last": 100}),
    ("separated", "unified", {"last": 100}),
    ("separated", "double-batch", {"at": 400, "last": 100}),
    ("separated", "double-batch", {"last": 100}),
    ("separated", "other-corpus", {"last": 100}),
)
"""Two runs, and the place: before the separated run's boundary, or behind it."""


def main() -> None:
    """Trains what is missing, compares, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("real-comparisons"), help="where the runs go")
    options = parser.parse_args()
    corpora = {"text": write_text(options.output / "data"), "half": write_text(options.output / "half", share=0.5)}
    for setting in SETTINGS:
        if not is_trained(setting, options.output):
            train(setting, corpora[setting.corpus], options.output)
    table = Table(title="first run minus second, nats per token, with 95 % intervals")
    for column in ("pair", "steps", "raw", "fresh", "evaluation (the truth)", "verdict", "by"):
        table.add_column(column, no_wrap=column == "pair")
    for one, other, place in PAIRS:
        table.add_row(*row(compare(*(options.output / "logs" / name for name in (one, other)), **place)))
    Console(width=170).print(table)


def row(comparison: Comparison) -> tuple[str, ...]:
    """A line of the table."""
    (pair,) = comparison.pairs
    place, estimates = comparison.place, pair.estimates
    return (
        f"{pair.one.name} \u2212 {pair.other.name}",
        f"{place.first_step} to {place.last_step}",
        difference_text(estimates.raw),
        difference_text(estimates.fresh),
        difference_text(estimates.evaluation),
        pair.judgement.verdict,
        pair.judgement.measure or pair.judgement.reason,
    )


if __name__ == "__main__":
    main()
