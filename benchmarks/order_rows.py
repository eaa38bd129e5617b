"""Rows on the order itself: made, looked up, written, resumed."""

import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import MIB, Row, growth, in_own_process, in_turn, peak_memory, quiet, seconds, size_of, times

from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.permutation import ROUNDS, Permutation, compose

ROOT = Path(__file__).parents[1]
GRAIN = ROOT / ".venv-bench" / "bin" / "python"
LOOKUPS = 4096


def sparse_base(folder: Path, size: int) -> Any:
    """A mapped shuffle index that takes no room on the disk."""
    path = folder / f"{size}.npy"
    np.lib.format.open_memmap(path, "w+", np.uint32, (size,))
    return np.load(path, mmap_mode="r")


def unified(base: Any) -> Order:
    """The whole of it in one order."""
    return Order(base, [Reorder(0, len(base), "uniform", (1, 1, 0))])


def host_shuffle(size: int) -> Any:
    """The host's own."""
    from paddlenlp.data.causal_dataset import _build_shuffle_idx

    with quiet():
        return _build_shuffle_idx(size, size, np.random.RandomState(1))


def _ready(size: int, with_peers: bool, rounds: int) -> tuple[dict[str, float], int]:
    with tempfile.TemporaryDirectory() as folder:
        base = sparse_base(Path(folder), size)
        ours: dict[str, Any] = {"order": lambda: unified(base)[size // 2]}
        peers: dict[str, Any] = {}
        if with_peers:
            peers["host"] = lambda: host_shuffle(size)
            peers["numpy"] = lambda: np.random.default_rng(1).permutation(size)
        ours["order"]()
        memory = peak_memory(ours["order"])
        # Not in turn: in the ten seconds of a peer a machine may take away the pages of what is idle. And against a
        # factor of a thousand a slow moment is nothing.
        return in_turn(ours, 3 * rounds) | in_turn(peers, rounds), memory


def _all_ready(sizes: list[int]) -> list[tuple[dict[str, float], int]]:
    """At each size beside the peers, and at 10^9 alone."""
    import paddlenlp.data.causal_dataset  # noqa: F401 - before anything is timed

    return [*(_ready(size, True, 3) for size in sizes), _ready(10**9, False, 9)]


def order_ready(quick: bool) -> list[Row]:
    """An order, from its numbers to its first lookup."""
    sizes = [10**5, 10**6, 10**7] if quick else [10**6, 10**7, 10**8]
    *found, (alone, memory) = in_own_process(_all_ready, sizes)
    ours = [times_["order"] for times_, _ in found]
    most_memory = max(memory, *(one for _, one in found))
    slope = growth([*sizes, 10**9], [*ours, alone["order"]])
    within = max(*ours, alone["order"]) < 5e-3 and most_memory < MIB
    rows = [
        Row(
            "order ready at 10^9", "-", f"{seconds(alone['order'])}, {size_of(most_memory)}", "", "",
            "< 5 ms, 1 MiB at any size", within, slope,
            f"a seed sequence, 2 x {ROUNDS} words, a block of 16",
        )
    ]  # fmt: skip
    last, _ = found[-1]
    for peer, name in (("host", "paddlenlp _build_shuffle_idx"), ("numpy", "numpy Generator.permutation")):
        ratio = last[peer] / last["order"]
        rows.append(
            Row(
                f"order ready at {sizes[-1]:.0e}", name, seconds(last["order"]), seconds(last[peer]), times(ratio),
                ">= 1,000 x faster" if peer == "host" else "", ratio >= 1000 if peer == "host" else None,
                f"{growth(sizes, ours)} against {growth(sizes, [one[peer] for one, _ in found])}",
            )
        )  # fmt: skip
    return rows


def _alone(size: int, rounds: int, count: int = 20_000) -> tuple[float, float]:
    """Seconds a lookup in sequence, of an order and of the mapped array itself."""
    with tempfile.TemporaryDirectory() as folder:
        base = sparse_base(Path(folder), size)
        order = unified(base)

        def through(array: Any) -> None:
            for position in range(size // 4, size // 4 + count):
                array[position]

        found = in_turn({"order": lambda: through(order), "base": lambda: through(base)}, rounds)
        return found["order"] / count, found["base"] / count


def _live() -> Any:
    import sequential_lookup  # here, for it imports the host, which takes seconds

    with quiet():
        return sequential_lookup.measure()


def sequence(quick: bool) -> list[Row]:
    """Lookups one after the other, as a loader makes them, through the live dataset."""
    samples, lookups = in_own_process(_live)
    host = statistics.median(samples["host"])
    added = {name: statistics.median(lookups[name]) - statistics.median(lookups["host"]) for name in lookups}
    worst = max(added["uniform"], added["ramp"])
    sizes = [10**5, 10**6, 10**7] if quick else [10**6, 10**7, 10**8]
    alone = [_alone(size, 3 if quick else 7)[0] for size in sizes]
    return [
        Row(
            "lookup in sequence", "mapped shuffle_idx", f"+{worst:.2f} us a sample", f"{host:.1f} us a sample",
            f"+{worst / host:.1%}", "<= 2 us more, <= 5 % of dataset[i]", worst <= 2 and worst / host <= 0.05,
            growth(sizes, alone), "a Python call to __getitem__ and one to the lookahead, about 0.4 us",
        )
    ]  # fmt: skip


def _array(size: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        base = sparse_base(Path(folder), size)
        order = unified(base)
        at = np.random.default_rng(0).integers(0, size, LOOKUPS)
        return in_turn({"order": lambda: order[at], "numpy": lambda: base[at]}, rounds)


def _grain(size: int, rounds: int) -> float | None:
    if not GRAIN.is_file():
        return None
    command = [str(GRAIN), str(ROOT / "benchmarks" / "grain_lookup.py"), str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        taken = []
        for _ in range(rounds):
            process.stdin.write("\n")
            process.stdin.flush()
            taken.append(float(process.stdout.readline()))
        process.stdin.close()
    return statistics.median(taken)


def random_array(quick: bool) -> list[Row]:
    """4,096 random positions at once."""
    sizes = [10**5, 10**6, 10**7] if quick else [10**6, 10**7, 10**8]
    rounds = 9 if quick else 31
    found = [_array(size, rounds) for size in sizes]
    ours, numpy = found[-1]["order"], found[-1]["numpy"]
    grain = _grain(sizes[-1], rounds)
    slope = growth(sizes, [one["order"] for one in found])
    limit = "the gather itself"
    rows = [
        Row(
            f"{LOOKUPS:,} random lookups", "numpy gather on the mapped index", seconds(ours), seconds(numpy),
            times(ours / numpy), "<= 300 us", ours <= 300e-6, slope, limit,
        )
    ]  # fmt: skip
    ratio = None if grain is None else grain / ours
    rows.append(
        Row(
            f"{LOOKUPS:,} random lookups", "grain index_shuffle, a loop", seconds(ours),
            "not installed: scripts/make-bench-venv" if grain is None else seconds(grain),
            "" if ratio is None else times(ratio), ">= 10 x faster", None if ratio is None else ratio >= 10, slope,
        )
    )  # fmt: skip
    return rows


def histories(count: int, size: int) -> dict[str, list[Reorder]]:
    """What a run that was extended ``count`` times may have recorded.

    "At its end": each extension when the plan was drawn. "Half-way": when half of what was planned was left, as much
    again was appended. "Nested": each time when next to nothing of the plan had been drawn, the worst there is.
    """
    step = size // count
    return {
        "at its end": [Reorder(at * step, at * step + step, "uniform", (1, 1, at)) for at in range(count)],
        "half-way": [
            Reorder(at * step, at * step + 3 * step // 2, "ramp", (1, 1, at), at * step + step // 2)
            for at in range(count)
        ],
        "nested": [Reorder(at * 1000, size + at * 1000, "uniform", (1, 1, at)) for at in range(count)],
    }


def _resumed(size: int, count: int, rounds: int) -> dict[str, tuple[float, float, float]]:
    """For each history: lookups in sequence and arrays against one reorder; arrays against each network by itself."""
    lookups = 16 * LOOKUPS
    with tempfile.TemporaryDirectory() as folder:
        base = sparse_base(Path(folder), 2 * size)
        found = {}
        for name, reorders in histories(count, size).items():
            many, one = Order(base, reorders), Order(base, reorders[-1:])
            start = reorders[-1].start
            at = np.random.default_rng(0).integers(start, reorders[-1].stop, LOOKUPS)

            def through(order: Order, start: int = start) -> None:
                for position in range(start, start + lookups):
                    order[position]

            taken = in_turn({"many": lambda: through(many), "one": lambda: through(one)}, rounds)  # noqa: B023
            ways = {"many": lambda: many[at], "one": lambda: one[at]}  # noqa: B023
            arrays = in_turn({**ways, "networks": lambda: _networks(reorders, at)}, 10 * rounds)  # noqa: B023
            found[name] = (
                taken["many"] / taken["one"],
                arrays["many"] / arrays["one"],
                arrays["many"] / (arrays["one"] + arrays["networks"]),
            )
        return found


def _networks(reorders: list[Reorder], at: Any) -> None:
    """Moves the positions by the last network as often as there are others that move them."""
    network = Permutation(reorders[-1].stop - reorders[-1].start, (1,)).placed(0)
    inside = at - reorders[-1].start
    for reorder in reorders[:-1]:
        if network is not None and reorder.stop > reorders[-1].start:
            compose(inside, network, False)


def resumes(quick: bool) -> list[Row]:
    """Lookups of a run that was extended, and reordered, a hundred times."""
    size, rounds = 10**7, 2 if quick else 3
    counts = [4, 20, 100]
    found = {count: _resumed(size, count, rounds) for count in counts}
    rows = []
    for name in histories(2, 1000):
        sequence, arrays, by_networks = found[counts[-1]][name]
        rows.append(
            Row(
                f"lookups after {counts[-1]} reorders, extended {name}", "after one",
                f"in sequence {times(sequence)}, arrays {times(arrays)}", "1 x", times(sequence),
                "in sequence <= 3 x; arrays <= 3 x, or 1.3 x of their networks",
                sequence <= 3 and (arrays <= 3 or by_networks <= 1.3),
                growth(counts, [found[count][name][0] for count in counts]),
                f"the reorders that move a position: arrays take {times(by_networks)} of their networks alone",
            )
        )  # fmt: skip
    return rows


ROWS = {"ready": order_ready, "sequence": sequence, "array": random_array, "resumes": resumes}
