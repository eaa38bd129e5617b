"""What it costs to know the exposure of a whole run in advance, whatever its size.

    .venv/bin/python benchmarks/exposure.py [--samples 1000000 10000000 100000000] [--blend]

Indices of two data epochs, the second left half undrawn, are written to a temporary folder (2.5 GB at 10^8 samples)
and opened as at a start of a run; a process of its own traces 20,000 tokens and asks for the exposure of 1,000 log
windows. The peer counts every draw of every token, at a size where that is possible; in brackets, what larger ones
would take. The worst error of all windows is in units of the error that each was said to have.
"""

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_own_process, resident
from rich.console import Console
from rich.table import Table

from paddle_epoch_guard.index import BlendIndex, Description, GPTIndex, IndexLayout, SampleIndex
from paddle_epoch_guard.index.cache import load_array
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.ledger.exposure import Exposure
from paddle_epoch_guard.ledger.tracing import trace
from paddle_epoch_guard.order import Permutation, PositionMap, Reorder, Schedule, Segment

LENGTH = 1024
SAMPLES_IN_DOCUMENT = 5
BLOCK = 1 << 20
WINDOWS = 1000
COUNTED = 10**6
"""Samples of the largest index of which every token is counted: half a byte for each token that is drawn."""


def main() -> None:
    """Prints a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10**6, 10**7, 10**8], help="sizes of the index")
    parser.add_argument("--blend", action="store_true", help="a blend of two datasets, instead of one")
    given = parser.parse_args()
    table = Table(title="20,000 tokens traced and 1,000 windows asked for; every token counted")
    for column in ("samples", "documents", "trace", "windows", "memory", "counting", "worst"):
        table.add_column(column, justify="right")
    per_sample = None
    for samples in given.samples:
        with tempfile.TemporaryDirectory() as folder:
            documents = in_own_process(write, Path(folder), samples, given.blend)
            traced, asked, memory, means, errors = in_own_process(measure, Path(folder), given.blend)
            counted, worst = "", ""
            if samples <= COUNTED and not given.blend:
                taken, exact = in_own_process(count, Path(folder))
                per_sample = taken / samples
                counted = f"{taken:,.1f} s"
                worst = f"{np.max(np.abs(means - exact) / errors):.1f}"
            elif per_sample is not None:
                counted = f"({per_sample * samples:,.0f} s)"
        table.add_row(
            f"{samples:,}", f"{documents:,}", f"{traced:.2f} s", f"{asked:.2f} s", f"{memory / 1e6:,.0f} MB",
            counted, worst,
        )  # fmt: skip
    Console().print(table)


def write(folder: Path, samples: int, blended: bool) -> int:
    """Writes the arrays of one index, or of two and their blend; gives the number of documents."""
    documents = 0
    lengths = []
    for part in range(1 + blended):
        size = samples // (1 + blended)
        rng = np.random.default_rng(part)
        count = size // 2 // SAMPLES_IN_DOCUMENT
        sizes = rng.geometric(1 / (SAMPLES_IN_DOCUMENT * LENGTH), count).astype(np.int32)
        rows = (2 * int(sizes.sum(dtype=np.int64)) - 1) // LENGTH
        np.save(folder / f"{part}_sizes.npy", sizes)
        doc_idx = np.lib.format.open_memmap(folder / f"{part}_doc_idx.npy", "w+", np.int32, (2 * count,))
        doc_idx[:count], doc_idx[count:] = rng.permutation(count), rng.permutation(count)
        # Not read, and sparse: it takes no room on the disk.
        np.lib.format.open_memmap(folder / f"{part}_sample_idx.npy", "w+", np.int32, (rows + 1, 2))
        shuffle_idx = np.lib.format.open_memmap(folder / f"{part}_shuffle_idx.npy", "w+", np.uint32, (rows,))
        cut = layout_of(sizes).boundary_position
        assert cut is not None
        fill(shuffle_idx, 0, cut)
        fill(shuffle_idx, cut, rows)
        documents += count
        lengths.append(rows)
    if blended:
        samples = 2 * min(lengths)
        which = np.lib.format.open_memmap(folder / "which.npy", "w+", np.int16, (samples,))
        inner = np.lib.format.open_memmap(folder / "inner.npy", "w+", np.int64, (samples,))
        for start in range(0, samples, BLOCK):
            positions = np.arange(start, min(start + BLOCK, samples))
            which[positions], inner[positions] = positions % 2, positions // 2
    return documents


def fill(array: Any, start: int, stop: int) -> None:
    """Shuffles the numbers of a range into their places."""
    shuffle = Permutation(stop - start, (start,))
    for at in range(start, stop, BLOCK):
        block = np.arange(at, min(at + BLOCK, stop))
        array[block[0] : block[-1] + 1] = start + shuffle(block - start)


def layout_of(sizes: Any) -> IndexLayout:
    """Of a run of one and a half data epochs."""
    tokens = int(sizes.sum(dtype=np.int64))
    return IndexLayout.of(tokens, LENGTH, tokens * 3 // 2 // LENGTH)


def opened(folder: Path, blended: bool) -> SampleIndex:
    """The index, memory-mapped, without the checks of a start."""
    parts = []
    for part in range(1 + blended):
        names = ("doc_idx", "sample_idx", "shuffle_idx", "sizes")
        arrays = IndexArrays(**{name: load_array(folder / f"{part}_{name}.npy") for name in names}, sources={})
        layout = layout_of(arrays.sizes)
        description = Description("text", "train", layout.samples_requested, LENGTH, 1, "100,0,0")
        parts.append(GPTIndex(description, layout, arrays.shuffle_idx, arrays))
    if not blended:
        return parts[0]
    return BlendIndex(tuple(parts), load_array(folder / "which.npy"), load_array(folder / "inner.npy"))


def plan(index: SampleIndex) -> tuple[PositionMap, Schedule, list[tuple[int, int]]]:
    """A run resumed at half of its first epoch, with a ramp from there on; and its log windows."""
    planned = len(index) * 3 // 4
    batch = max(planned // 100_000, 1)
    steps = planned // batch
    boundary = index.boundaries[0].position
    reorder = Reorder(boundary // 2, planned, "ramp", (1, 1, 0), boundary)
    edges = np.linspace(0, steps, WINDOWS + 1).astype(int).tolist()
    windows = [(first + 1, last) for first, last in pairwise(edges)]
    return PositionMap([reorder]), Schedule((Segment(1, 0, batch, 1, 1, len(index)),)), windows


def measure(folder: Path, blended: bool) -> tuple[float, float, int, Any, Any]:
    """Seconds for the trace and for the windows, bytes of memory, mean and error of each window."""
    index = opened(folder, blended)
    positions, schedule, windows = plan(index)
    before = resident("VmRSS")
    start = time.perf_counter()
    followed = trace(index, positions)
    traced = time.perf_counter() - start
    start = time.perf_counter()
    exposure = Exposure(followed, schedule, windows[-1][1])
    found = [exposure.of_steps(*window) for window in windows]
    asked = time.perf_counter() - start
    memory = resident("VmHWM") - before
    assert all(one is not None for one in found)
    means, errors = np.array([(one.mean, one.error) for one in found if one is not None]).T
    return traced, asked, memory, means, errors


def count(folder: Path) -> tuple[float, Any]:
    """Seconds to count every draw of every token, and the exact mean of each window."""
    index = opened(folder, False)
    assert isinstance(index, GPTIndex)
    assert index.arrays is not None
    positions, schedule, windows = plan(index)
    start = time.perf_counter()
    sizes = index.arrays.sizes.astype(np.int64)
    first_token = np.cumsum(sizes) - sizes
    doc_idx = np.asarray(index.arrays.doc_idx)
    begins = np.concatenate(([0], np.cumsum(sizes[doc_idx])))
    drawn = np.zeros(int(sizes.sum()), dtype=np.uint8)
    means = []
    for first, last in windows:
        (draw,) = schedule.draws(first, last)
        samples = index.shuffle_idx[positions.base(np.arange(draw.start, draw.stop))].astype(np.int64)
        entries = np.searchsorted(begins, samples * LENGTH, side="right") - 1
        total = 0
        for place, entry in zip((samples * LENGTH).tolist(), entries.tolist(), strict=True):
            end = place + LENGTH
            while place < end:
                upto = min(int(begins[entry + 1]), end)
                at = int(first_token[doc_idx[entry]]) + place - int(begins[entry])
                counts = drawn[at : at + upto - place]
                total += int(counts.sum())
                counts += 1
                place, entry = upto, entry + 1
        means.append(total / (len(samples) * LENGTH))
    return time.perf_counter() - start, np.array(means)


if __name__ == "__main__":
    main()
