"""How the rows of the table are measured, on a machine that has other things to do.

Two ways of doing a thing are timed in turn, a round each, and compared by medians of rounds: a slow moment falls on
both. What runs in one thread and waits for nothing is timed by the processor's own clock, which does not run while
another process has the core.
"""

import contextlib
import math
import multiprocessing
import os
import shutil
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Clock = Callable[[], float]
CPU, WALL = time.process_time, time.perf_counter
THREAD = time.thread_time
"""The processor's own clock for one thread."""
MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One comparison, as a line of the table."""

    what: str
    peer: str
    figure: str
    """Ours."""
    theirs: str
    ratio: str
    target: str
    met: bool | None
    """None where there is nothing to hold it against."""
    growth: str = ""
    """The exponent with which the figure grows with the size."""
    limit: str = ""
    """What it cannot cost less than, and how far away that is."""


def in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = CPU) -> dict[str, float]:
    """The median seconds of each way, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            taken[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in taken.items()}


def peak_memory(work: Callable[[], Any]) -> int:
    """Bytes that numpy and Python allocate at most, at one time, during the work."""
    tracemalloc.start()
    try:
        kept = work()  # noqa: F841 - what is made is part of it
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs it in a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what the host's builders print, some of it from C++, off the screen."""
    sys.stdout.flush()
    screen, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        sys.stdout.flush()
    finally:
        os.dup2(screen, 1)
        os.close(screen)
        os.close(nowhere)


def resident(which: str) -> int:
    """Bytes of memory of this process, mapped files among them: now (``VmRSS``), or at most until now (``VmHWM``)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[which].split()[0]) * 1024


def growth(sizes: Sequence[int], figures: Sequence[float]) -> str:
    """The slope of the figures over the sizes, both logarithmic: 0 is constant, 1 is linear."""
    known = [(size, figure) for size, figure in zip(sizes, figures, strict=True) if figure > 0]
    if len(known) < 2:
        return ""
    x, y = np.log(np.array(known, dtype=float)).T
    return f"{np.polyfit(x, y, 1)[0]:+.2f}"


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def size_of(value: float) -> str:
    """Bytes in the unit that suits them."""
    step = min(int(math.log(max(value, 1), 1024)), 3)
    return f"{value / 1024**step:.3g} {('B', 'KiB', 'MiB', 'GiB')[step]}"


def times(ratio: float) -> str:
    """A ratio, rounded."""
    return f"{ratio:,.0f} x" if ratio >= 100 else f"{ratio:.2g} x" if ratio < 10 else f"{ratio:.0f} x"


def has_room(folder: Path, needed: int) -> bool:
    """Whether twice the bytes are free: others write as well."""
    return shutil.disk_usage(folder).free > 2 * needed
