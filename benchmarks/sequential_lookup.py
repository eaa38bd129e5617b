"""What a unified order adds to each sample that is read in sequence, through a live dataset.

    .venv/bin/python benchmarks/sequential_lookup.py

The same GPTDataset, with the host's memory-mapped shuffle index and with an order in its place, in turn.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from paddlenlp.data.causal_dataset import build_train_valid_test_datasets
from paddlenlp.data.indexed_dataset import make_builder

from paddle_epoch_guard.order import Order, Reorder

SAMPLES, SEQ_LENGTH, PIECE = 100_000, 512, 5_000


def main() -> None:
    """Prints microseconds a sample, what an order adds, and the ratio."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    samples, lookups = measure()
    print("             whole sample                       its lookup alone")
    for name in samples:
        cells = []
        for times in (samples, lookups):
            host, found = statistics.median(times["host"]), statistics.median(times[name])
            cells.append(f"{found:6.2f} us, {found - host:+5.2f} us, {found / host:5.2f} x")
        print(f"{name:>8}: {cells[0]}      {cells[1]}")


def measure() -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Microseconds of a whole sample, and of its lookup alone, segment by segment, for each order."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as _:
        prefix = Path(folder) / "text"
        builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
        rng = np.random.default_rng(0)
        for _ in range(40_000):
            builder.add_item(rng.integers(0, 60_000, 900))
            builder.end_document()
        builder.finalize(f"{prefix}.idx")
        dataset, _, _ = build_train_valid_test_datasets(
            [str(prefix)], "mmap", "100,0,0", [SAMPLES, 0, 0], SEQ_LENGTH, 1, skip_warmup=True
        )
        base = dataset.shuffle_idx
        orders = {
            "host": base,
            "uniform": Order(base, [Reorder(0, SAMPLES, "uniform", (1, 1, 0))]),
            "ramp": Order(base, [Reorder(1000, SAMPLES, "ramp", (1, 1, 0), 70_000)]),
        }
        samples: dict[str, list[float]] = {name: [] for name in orders}
        lookups: dict[str, list[float]] = {name: [] for name in orders}
        # Short segments in turn, so that a slow moment of the machine falls on all alike.
        for start in range(20_000, 70_000, PIECE):
            for name, order in orders.items():
                dataset.shuffle_idx = order
                samples[name].append(timed(dataset, start))
                lookups[name].append(timed(order, start))
    return samples, lookups


def timed(array: Any, start: int) -> float:
    """Microseconds of the processor for each of the positions of one segment."""
    began = time.process_time()
    for position in range(start, start + PIECE):
        array[position]
    return (time.process_time() - began) / PIECE * 1e6


if __name__ == "__main__":
    main()
