"""What 10^9 samples, 10,000 ranks and blends of 1,000 datasets cost, as far as it can be simulated on one machine.

    .venv/bin/python benchmarks/scale.py [--samples 1000000000] [--ranks 10000] [--datasets 1000] [--segments 1000]

Arrays are sparse files: they take no room on the disk. Ranks are played one after the other; what each would send is
weighed, and the comparison is made over as many answers as there are ranks. Times are of the processor. docs/scale.md
quotes what this prints.
"""

import argparse
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from measuring import CPU, peak_memory, resident, seconds, size_of
from rich.console import Console
from rich.table import Table

from paddle_epoch_guard.index import BlendIndex, Description, GPTIndex, IndexLayout
from paddle_epoch_guard.index.fingerprint import digest_array
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.ledger import Exposure, IndexEpochs, Trace, boundary_steps_of, closing_steps
from paddle_epoch_guard.ledger.losses import RULES, EpochSlots, sums_of, window_of
from paddle_epoch_guard.order import Order, PositionMap, Reorder, Schedule, Segment
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, Sidecar, read_sidecar, write_sidecar
from paddle_epoch_guard.resume.sidecar import VERSION
from paddle_epoch_guard.session.consensus import digest_of, other_than_first

LENGTH = 1024
Line = tuple[str, str]


def timed(work: Callable[[], Any], rounds: int = 3) -> float:
    """The least of a few."""
    taken = []
    for _ in range(rounds):
        start = CPU()
        work()
        taken.append(CPU() - start)
    return min(taken)


def sparse(folder: Path, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A mapped array of zeros."""
    np.lib.format.open_memmap(folder / name, "w+", dtype, shape)
    return np.load(folder / name, mmap_mode="r")


def one_rank(samples: int, ranks: int) -> list[Line]:
    """An order of 10^9 samples, as one of 10,000 ranks reads it."""
    micro, accumulation = 1, 2
    with tempfile.TemporaryDirectory() as folder:
        base = sparse(Path(folder), "shuffle_idx.npy", (samples,), np.uint32)
        reorder = Reorder(samples // 4, samples // 4 * 3, "ramp", (1, 1, 0), samples // 2)
        order = Order(base, [reorder])
        segment = Segment(1, 0, micro, accumulation, ranks, samples)
        schedule = Schedule((segment,))
        steps = range(segment.steps // 2, segment.steps // 2 + 500)
        positions = np.concatenate([schedule.positions(step, ranks // 3) for step in steps]).tolist()

        def read() -> None:
            for position in positions:
                order[position]

        before = resident("RssAnon")
        taken = timed(read)
        held = resident("RssAnon") - before
        return [
            (f"order of {samples:,} samples, ready", seconds(timed(lambda: Order(base, [reorder])[samples // 2]))),
            ("memory that it takes", size_of(peak_memory(lambda: Order(base, [reorder])))),
            (f"a lookup by one rank of {ranks:,}, every {ranks:,}th position", seconds(taken / len(positions))),
            ("memory of that rank, over 1,000 lookups", size_of(max(held, 0))),
            ("its fingerprint of the shuffle index", seconds(timed(lambda: digest_array(base), 1))),
            ("the positions of one rank in one step", seconds(timed(lambda: schedule.positions(1000, 7)))),
        ]


def said_by_ranks(ranks: int, datasets: int) -> list[Line]:
    """What each rank sends at the start and in each log window, now and as objects gathered by all."""
    records = tuple(
        DatasetRecord(f"dataset-{at}", LENGTH, "949,50,1", 10**9 + at, f"{at:032x}", ()) for at in range(datasets)
    )
    plan = (records, Schedule((Segment(1, 0, 1, 1, ranks, 10**9),)), tuple(range(3 * datasets)))
    rows = np.repeat(digest_of(plan)[None], ranks, axis=0)
    slots = EpochSlots([3] * datasets)
    rng = np.random.default_rng(0)
    count = 640
    values = rng.random(count), np.ones(count), rng.integers(0, slots.count, count)
    sums = sums_of(*values, slots, np.zeros(count), np.ones(count, dtype=bool))
    window = window_of(sums, slots)
    small = EpochSlots([2])
    of_one = (len(RULES) * (3 * small.count + 4) + 1) * 8
    draws, jumps = np.zeros(60_000, np.int32), np.zeros(2, np.int64)
    trace = Trace(draws, draws.astype(np.int64), (20_000,), (10**12,), jumps, draws, (jumps,))
    return [
        (f"the plan of {datasets:,} datasets, as an object", size_of(len(pickle.dumps(plan)))),
        (f"gathered from {ranks:,} ranks by each, as objects", size_of(ranks * len(pickle.dumps(plan)))),
        ("gathered by each, as digests", size_of(rows.nbytes)),
        ("a rank's digest of its plan", seconds(timed(lambda: digest_of(plan)))),
        (f"the comparison of {ranks:,} digests", seconds(timed(lambda: other_than_first(rows)))),
        ("a window's losses of one dataset, reduced", size_of(of_one)),
        (f"a window's losses of {datasets:,} datasets, reduced", size_of((len(RULES) * len(sums) + 1) * 8)),
        (f"gathered from {ranks:,} ranks by each, as objects", size_of(ranks * 3 * len(pickle.dumps(window)))),
        (
            "adding a window of 640 samples up",
            seconds(timed(lambda: sums_of(*values, slots, values[0], values[1] > 0))),
        ),
        ("the trace, told by the first rank to all", size_of(len(pickle.dumps(trace)))),
    ]


def blend(datasets: int, samples: int = 10**7) -> list[Line]:
    """A blend of a thousand datasets, of two data epochs each."""
    per_epoch = samples // datasets * 2 // 3
    tokens = per_epoch * LENGTH + 1
    layout = IndexLayout.of(tokens, LENGTH, samples // datasets)
    description = Description("text", "train", layout.samples_requested, LENGTH, 1, "100,0,0")
    shuffle_idx = np.arange(layout.samples_built, dtype=np.uint32)
    arrays = IndexArrays(shuffle_idx, shuffle_idx, shuffle_idx, shuffle_idx, {})
    one = GPTIndex(description, layout, shuffle_idx, arrays)
    with tempfile.TemporaryDirectory() as folder:
        which, inner = Path(folder) / "which.npy", Path(folder) / "inner.npy"
        at = np.arange(samples)
        np.save(which, (at % datasets).astype(np.int16))
        np.save(inner, at // datasets)
        index = BlendIndex((one,) * datasets, np.load(which, mmap_mode="r"), np.load(inner, mmap_mode="r"))
        start = CPU()
        boundaries = index.boundaries
        found = CPU() - start
        positions = PositionMap([Reorder(samples // 4, samples, "uniform", (1, 1, 0))])
        schedule = Schedule((Segment(1, 0, 4, 1, 64, samples),))
        source = IndexEpochs(index, schedule)
        asked = np.arange(640) * 1000
        record = DatasetRecord("train", LENGTH, "100,0,0", tokens, "0" * 32, ())
        sidecar = Sidecar(
            VERSION, "run", "part", 100, 25_600, samples, 10**6, positions.reorders, schedule, (record,) * datasets,
            BlendRecord("", samples, "0" * 33),
        )  # fmt: skip
        crossings = boundary_steps_of(source)
        return [
            (f"boundaries of a blend of {datasets:,} datasets, {samples:,} positions", seconds(found)),
            ("of them", f"{len(boundaries):,}"),
            ("as steps", seconds(timed(lambda: boundary_steps_of(source), 1))),
            ("steps at which a window is closed", f"{len(closing_steps(crossings, schedule, 10**6)):,}"),
            ("data epochs of the 640 samples of a window", seconds(timed(lambda: index.locate(asked)))),
            ("samples that each dataset gives", seconds(timed(lambda: index.drawn_of_each(samples), 1))),
            *_sidecar(Path(folder), sidecar, f"of {datasets:,} datasets"),
        ]


def _sidecar(folder: Path, sidecar: Sidecar, what: str) -> list[Line]:
    written = timed(lambda: write_sidecar(folder, sidecar))
    return [
        (f"a sidecar {what}", size_of(len(msgspec.json.encode(sidecar)))),
        ("written", seconds(written)),
        ("read", seconds(timed(lambda: read_sidecar(folder, sidecar.step)))),
    ]


def segments(count: int) -> list[Line]:
    """A run that was resumed a thousand times, each time with another batch."""
    found, step, start = [], 1, 0
    for at in range(count):
        segment = Segment(step, start, 1 + at % 2, 1, 64, 10**9)
        found.append(segment)
        step, start = step + 100, start + 100 * segment.global_batch
    schedule = Schedule(tuple(found))
    jumps = np.array([0, start // 2, start])
    trace = Trace(
        np.repeat(np.arange(20_000, dtype=np.int32), 2), np.sort(np.arange(40_000, dtype=np.int64) * start // 40_000),
        (20_000,), (10**9,), jumps, np.zeros(40_000, np.int32), (jumps,),
    )  # fmt: skip
    exposure = Exposure(trace, schedule, step - 1)
    asked = schedule.positions(step - 50, 3)
    record = DatasetRecord("train", LENGTH, "100,0,0", 10**9, "0" * 32, ())
    sidecar = Sidecar(VERSION, "run", "part", step, start, 10**9, 10**6, (), schedule, (record,))
    with tempfile.TemporaryDirectory() as folder:
        return [
            (
                f"a schedule of {count:,} segments: another one is added",
                seconds(timed(lambda: schedule.then(replace(found[-1], first_step=step)))),
            ),
            ("a step's positions", seconds(timed(lambda: schedule.positions(step - 50, 3)))),
            ("what a window of ten steps draws", seconds(timed(lambda: schedule.draws(step - 60, step - 51)))),
            ("where a boundary is crossed", seconds(timed(lambda: schedule.crossings(start // 2)))),
            ("the run's exposure, prepared", seconds(timed(lambda: Exposure(trace, schedule, step - 1), 1))),
            ("a window's exposure", seconds(timed(lambda: exposure.of_steps(step - 60, step - 51)))),
            ("a rank's fresh samples in one step", seconds(timed(lambda: exposure.of_positions(step - 50, asked)))),
            *_sidecar(Path(folder), sidecar, f"of {count:,} segments"),
        ]  # fmt: skip


def main() -> None:
    """Prints a table for each subject."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10**9)
    parser.add_argument("--ranks", type=int, default=10_000)
    parser.add_argument("--datasets", type=int, default=1_000)
    parser.add_argument("--segments", type=int, default=1_000)
    given = parser.parse_args()
    console = Console(width=110)
    for title, work, arguments in (
        ("One rank of many", one_rank, (given.samples, given.ranks)),
        ("What ranks say to each other", said_by_ranks, (given.ranks, given.datasets)),
        ("A blend", blend, (given.datasets,)),
        ("A run resumed again and again", segments, (given.segments,)),
    ):
        table = Table(title=title, title_justify="left")
        table.add_column("what")
        table.add_column("found", justify="right")
        for line in work(*arguments):
            table.add_row(*line)
        console.print(table)


if __name__ == "__main__":
    main()
