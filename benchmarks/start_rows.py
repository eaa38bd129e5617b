"""Rows on what is done once: planning, starting, tracing, rebuilding. On an index that the host itself has built."""

import functools
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exposure
import numpy as np
from machine_limits import random_read_seconds
from measuring import (
    CPU,
    MIB,
    THREAD,
    WALL,
    Row,
    growth,
    has_room,
    in_own_process,
    in_turn,
    quiet,
    resident,
    seconds,
    size_of,
    times,
)

from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index import Description, IndexLayout
from paddle_epoch_guard.index.cache import index_files, load_index
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.fingerprint import digest_array
from paddle_epoch_guard.ledger import Exposure, trace
from paddle_epoch_guard.order import Order, Reorder
from paddle_epoch_guard.order.materialise import THREADS, blocks_of, write_order
from paddle_epoch_guard.resume import DatasetRecord

EXAMPLES = str(Path(__file__).parents[1] / "examples")
LENGTH, SAMPLES_IN_DOCUMENT, STEPS, BATCH = 1024, 5, 100_000, 8
SPLIT = "100,0,0"


@dataclass(frozen=True)
class Prepared:
    """A corpus, and the index of one and a half data epochs that the host has built of it."""

    prefix: str
    cache: Path
    description: Description
    documents: int
    host_seconds: float
    """That the host's build took, of the processor's time."""
    import_seconds: float
    """That the import of the host took before it."""


def sizes_of(quick: bool) -> tuple[int, ...]:
    """Samples of the indices, about."""
    return (10**4, 10**5, 10**6) if quick else (10**6, 10**7, 10**8)


_folders: list[Any] = []


@functools.cache
def prepared(sizes: tuple[int, ...]) -> list[Prepared]:
    """Indices of some sizes; their files stay until the process ends. A corpus has a document for ten samples."""
    folders = [tempfile.TemporaryDirectory(prefix="epoch-guard-bench-") for _ in sizes]
    _folders.extend(folders)
    if not has_room(Path(folders[0].name), 16 * sum(sizes)):
        raise OSError(f"{folders[0].name}: not enough room for indices of {max(sizes):,} samples")
    found: list[Prepared] = in_own_process(_prepare_all, [one.name for one in folders], sizes)
    return found


def _prepare_all(folders: list[str], sizes: tuple[int, ...]) -> list[Prepared]:
    start = CPU()
    import paddlenlp.data.causal_dataset  # noqa: F401

    imported = CPU() - start
    return [_prepare(folder, size, imported) for folder, size in zip(folders, sizes, strict=True)]


def _prepare(folder: str, samples: int, imported: float) -> Prepared:
    from paddlenlp.data.causal_dataset import _build_index_mappings

    prefix = f"{folder}/text"
    documents = samples // 2 // SAMPLES_IN_DOCUMENT
    sizes = np.random.default_rng(0).geometric(1 / (SAMPLES_IN_DOCUMENT * LENGTH), documents).astype(np.int32)
    _write_corpus(prefix, sizes)
    tokens = int(sizes.sum(dtype=np.int64))
    asked = IndexLayout.of(tokens, LENGTH, tokens * 3 // 2 // LENGTH).samples_requested
    start = CPU()
    with quiet():
        _build_index_mappings(
            "train", prefix, np.arange(documents, dtype=np.int32), read_sizes(prefix), SPLIT, asked, LENGTH, 1, False,
            data_cache_path=f"{folder}/index-cache",
        )  # fmt: skip
    built = CPU() - start
    described = Description(prefix, "train", asked, LENGTH, 1, SPLIT)
    return Prepared(prefix, Path(folder) / "index-cache", described, documents, built, imported)


def _write_corpus(prefix: str, sizes: Any) -> None:
    """The index file of a corpus of two-byte tokens, and a data file that takes no room on the disk."""
    pointers = (np.cumsum(sizes, dtype=np.int64) - sizes) * 2
    with open(f"{prefix}.idx", "wb") as stream:
        stream.write(b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + bytes([8]))
        stream.write(len(sizes).to_bytes(8, "little") + (len(sizes) + 1).to_bytes(8, "little"))
        for array in (sizes, pointers, np.arange(len(sizes) + 1, dtype=np.int64)):
            array.tofile(stream)
    with open(f"{prefix}.bin", "wb") as stream:
        stream.truncate(int(sizes.sum(dtype=np.int64)) * 2)


def _opened(one: Prepared) -> Any:
    return load_index(one.cache, one.description, read_sizes(one.prefix))


def _start(one: Prepared) -> tuple[float, int]:
    before = resident("VmRSS")
    _record(one)
    memory = resident("VmHWM") - before
    return in_turn({"guard": lambda: _record(one)}, 3)["guard"], memory


def _host_starts(one: Prepared) -> float:
    from paddlenlp.data.causal_dataset import _build_index_mappings

    described = one.description

    def host() -> None:
        with quiet():
            _build_index_mappings(
                "train", one.prefix, np.arange(one.documents, dtype=np.int32), read_sizes(one.prefix), SPLIT,
                described.samples_requested, LENGTH, described.seed, False, data_cache_path=str(one.cache),
            )  # fmt: skip
        for path in index_files(one.cache, described).values():
            np.load(path, mmap_mode="r")

    return in_turn({"host": host}, 3)["host"]


def _begin(one: Prepared, every: int = 10) -> dict[str, float]:
    """Seconds of the training's thread, and of the wall: the guard's start at a real dataset, and the trace."""
    sys.path.insert(0, EXAMPLES)
    import paddle
    from paddlenlp.trainer import TrainerControl, TrainerState
    from paddlenlp.utils.batch_sampler import DistributedBatchSampler
    from paddlenlp.utils.log import logger

    from models import HashedNgramLM
    from paddle_epoch_guard import EpochGuardCallback
    from pretraining import PreTrainingArguments, build_datasets

    logger.set_level("ERROR")
    described = one.description
    steps = described.samples_requested // BATCH
    with tempfile.TemporaryDirectory() as folder:
        args = PreTrainingArguments(
            output_dir=folder, logging_dir=f"{folder}/logs", max_steps=steps, per_device_train_batch_size=BATCH,
            logging_steps=every, save_strategy="no", report_to=[], disable_tqdm=True, epoch_guard="unified",
            epoch_guard_report=False, seed=described.seed,
        )  # fmt: skip
        state, control = TrainerState(), TrainerControl()
        state.max_steps, state.is_world_process_zero, state.is_local_process_zero = steps, True, True
        with quiet():
            dataset, _ = build_datasets([one.prefix], _Asked(steps, described), LENGTH, SPLIT, one.cache)
        sampler = DistributedBatchSampler(dataset, BATCH)
        loader = paddle.io.DataLoader(dataset, batch_sampler=sampler)
        model = HashedNgramLM(16, width=4, table_size=16)
        guard = EpochGuardCallback()
        given: dict[str, Any] = {"model": model, "train_dataloader": loader}
        start, wall = THREAD(), WALL()
        guard.on_train_begin(args, state, control, **given)
        guard.on_epoch_begin(args, state, control, **given)
        found = {"begin": THREAD() - start, "begin wall": WALL() - wall}
        assert guard.session is not None
        guard.session._settle_trace(state)
        found["trace wall"] = WALL() - wall - found["begin wall"]
        guard._let_go()
    return found


_IMPORT = """
import time, paddlenlp.trainer, paddlenlp.data.causal_dataset, visualdl
start = time.process_time()
from paddle_epoch_guard import EpochGuardCallback
print(time.process_time() - start)
"""


def _imported() -> float:
    """The processor's seconds that the callback's import takes after the host's, and after VisualDL's."""
    command = [sys.executable, "-W", "ignore", "-c", _IMPORT]
    told = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    return min(float(one.split()[-1]) for one in told)


class _Asked:
    """Training arguments, as far as building a dataset goes, for an exact number of samples."""

    def __init__(self, steps: int, described: Description) -> None:
        self.max_steps, self.seed, self.dataset_world_size = 1, described.seed, 1
        self.per_device_train_batch_size, self.gradient_accumulation_steps = described.samples_requested, 1


def _record(one: Prepared) -> Any:
    index = _opened(one)
    return DatasetRecord.of(index), digest_array(index.shuffle_idx)


def start_up(quick: bool) -> list[Row]:
    """Index and corpus opened, verified against each other, and fingerprinted."""
    sizes = sizes_of(quick)
    found = [in_own_process(_start, one) for one in prepared(sizes)]
    host = in_own_process(_host_starts, prepared(sizes)[-1])
    taken, memory = found[-1]
    begun = [in_own_process(_begin, one) for one in prepared(sizes)]
    last = begun[-1]
    imported, host_imported = _imported(), prepared(sizes)[-1].import_seconds
    return [
        Row(
            "import of the callback", "the host's import",
            seconds(imported), seconds(host_imported), times(host_imported / imported) + " faster", "", None, "",
            "120 modules",
        ),
        Row(
            f"on_train_begin at {sizes[-1]:.0e} samples", "the trace, which the first window waits for",
            f"{seconds(last['begin'])} of the processor, {seconds(last['begin wall'])} in all",
            f"{seconds(last['trace wall'])} more", times(last["trace wall"] / last["begin wall"]),
            "<= 0.5 s beside the trace", last["begin"] <= 0.5, growth(sizes, [each["begin"] for each in begun]), "",
        ),
        Row(
            f"start-up at {sizes[-1]:.0e} samples", "the host's load of the same index",
            f"{seconds(taken)}, {size_of(memory)}", seconds(host), times(taken / host),
            "<= 1 s, 256 MiB", taken <= 1 and memory <= 256 * MIB, growth(sizes, [each for each, _ in found]),
            "the token count reads every document size once; the rest are 64 blocks of each array",
        )
    ]  # fmt: skip


def _exposure(one: Prepared) -> tuple[float, int]:
    index = _opened(one)
    positions, schedule, windows = exposure.plan(index)
    before = resident("VmRSS")
    start = CPU()
    followed = trace(index, positions)
    found = Exposure(followed, schedule, windows[-1][1])
    for window in windows:
        found.of_steps(*window)
    return CPU() - start, resident("VmHWM") - before


def whole_exposure(quick: bool) -> list[Row]:
    """The exposure of the whole run, known before its first step."""
    sizes = sizes_of(quick)
    found = [in_own_process(_exposure, one) for one in prepared(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        in_own_process(exposure.write, Path(folder), sizes[0], False)
        counted, _ = in_own_process(exposure.count, Path(folder))
    taken, memory = found[-1]
    theirs = counted * sizes[-1] / sizes[0]
    one = prepared(sizes)[-1]
    entries = one.documents * 3 + len(np.load(index_files(one.cache, one.description)["shuffle_idx"], mmap_mode="r"))
    limit = entries * 4 / 2e9
    return [
        Row(
            f"exposure of a run of {sizes[-1]:.0e} samples", f"every token counted at {sizes[0]:.0e}, extrapolated",
            f"{seconds(taken)}, {size_of(memory)}", seconds(theirs), times(theirs / taken), "<= 5 s, 1 GiB",
            taken <= 5 and memory <= 1 << 30, growth(sizes, [each for each, _ in found]),
            f"{size_of(entries * 4)} to be read, {seconds(limit)} at 2 GB/s: {taken / limit:.0f} x away",
        )
    ]  # fmt: skip


def _command(*words: str) -> float:
    """The processor's seconds of a command of the guard, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "paddle_epoch_guard", *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plan(quick: bool) -> list[Row]:
    """What a run will draw, from the corpus alone, by the command line."""
    sizes = sizes_of(quick)
    taken = []
    for one in prepared(sizes):
        batch = max(one.description.samples_requested // STEPS, 1)
        steps = str(one.description.samples_requested // batch)
        words = ("plan", one.prefix, "--seq-length", str(LENGTH), "--global-batch", str(batch), "--max-steps", steps)
        taken.append(min(_command(*words, "--split", SPLIT, "--json") for _ in range(3)))
    one = prepared(sizes)[-1]
    host = one.host_seconds + one.import_seconds
    reads = one.documents * 4
    return [
        Row(
            f"plan of {one.documents:.0e} documents",
            f"the host builds the index ({seconds(one.import_seconds)} of it its import)",
            seconds(taken[-1]), seconds(host), times(host / taken[-1]), "<= 2 s, >= 20 x",
            taken[-1] <= 2 and host / taken[-1] >= 20, growth([size // 10 for size in sizes], taken),
            f"Python and numpy start in 0.15 s; {size_of(reads)} of sizes to be read",
        )
    ]  # fmt: skip


def _rebuild(size: int, folder: str) -> dict[str, float]:
    """Wall seconds, and those of the processor, of the guard, the host's shuffle and the bytes alone."""
    from order_rows import host_shuffle, sparse_base

    base = sparse_base(Path(folder), size)
    order = Order(base, [Reorder(0, size, "uniform", (1, 1, 0))])
    target = Path(folder) / "written.npy"

    def guard() -> None:
        with atomic_write(target) as stream:
            write_order(stream, order)

    def host() -> None:
        with target.open("wb") as stream:
            np.save(stream, host_shuffle(size))
            stream.flush()
            os.fsync(stream.fileno())

    block = np.zeros(1 << 20, dtype=np.uint32)

    def plain() -> None:
        with atomic_write(target) as stream:
            for start in range(0, size, len(block)):
                stream.write(block[: min(len(block), size - start)].tobytes())

    ways: dict[str, Callable[[], None]] = {"guard": guard, "host": host, "bytes": plain}
    found = {}
    for name, way in ways.items():
        wall, cpu = WALL(), CPU()
        way()
        found[f"{name} wall"], found[name] = WALL() - wall, CPU() - cpu
    reads = random_read_seconds(base, threads=min(os.cpu_count() or 1, THREADS))
    found["limit"] = math.nan if reads is None else reads + found["bytes wall"]
    return found


def _rebuild_all(sizes: tuple[int, ...], folder: str) -> list[dict[str, float]]:
    import paddlenlp.data.causal_dataset  # noqa: F401 - before anything is timed

    return [_rebuild(size, folder) for size in sizes]


def _rebuild_memory(size: int, folder: str) -> int:
    from order_rows import sparse_base

    order = Order(sparse_base(Path(folder), size), [Reorder(0, size, "uniform", (1, 1, 0))])
    before = _anonymous()
    most = 0
    for at, _ in enumerate(blocks_of(order)):
        if at % 16 == 0:
            most = max(most, _anonymous())
    return most - before


def _anonymous() -> int:
    """Bytes that this process has to itself: without the pages of mapped files."""
    return resident("RssAnon")


def rebuild(quick: bool) -> list[Row]:
    """An order written out."""
    sizes = sizes_of(quick)
    with tempfile.TemporaryDirectory(prefix="epoch-guard-bench-") as folder:
        if not has_room(Path(folder), 8 * sizes[-1]):
            raise OSError(f"{folder}: not enough room for {sizes[-1]:,} samples")
        found = in_own_process(_rebuild_all, sizes, folder)
        memories = [in_own_process(_rebuild_memory, size, folder) for size in sizes]
    last = found[-1]
    by_bytes, by_limit = (last["guard wall"] / last[limit] for limit in ("bytes wall", "limit"))
    slope = growth(sizes, [each["guard"] for each in found])
    return [
        Row(
            f"rebuild at {sizes[-1]:.0e}", "the host's shuffle, written",
            f"{seconds(last['guard wall'])} ({seconds(last['guard'])} of the processor)",
            f"{seconds(last['host wall'])} ({seconds(last['host'])})", times(last["host wall"] / last["guard wall"]),
            "faster", last["guard wall"] < last["host wall"], slope,
            "reading the base at random, 19 ns a position; 3.4 ns to compute it",
        ),
        Row(
            f"rebuild at {sizes[-1]:.0e}", "the bytes written",
            f"{seconds(last['guard wall'])}, {size_of(memories[-1])}",
            seconds(last["bytes wall"]), times(by_bytes), "memory constant",
            memories[-1] <= 2 * max(memories[0], 16 * MIB), slope,
            f"memory grows by {growth(sizes, [max(one, 1) for one in memories])}",
        ),
        Row(
            f"rebuild at {sizes[-1]:.0e}", "the same values read at random by C, and written",
            seconds(last["guard wall"]), "no C compiler" if math.isnan(by_limit) else seconds(last["limit"]),
            times(by_limit), "<= 1.3 x", None if math.isnan(by_limit) else by_limit <= 1.3, slope,
        ),
    ]  # fmt: skip


ROWS = {"start": start_up, "exposure": whole_exposure, "plan": plan, "rebuild": rebuild}
