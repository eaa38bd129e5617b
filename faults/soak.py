"""A long run with short log windows: memory, files and what is on disk stay as they are.

What the host itself leaks is told by the same run without the guard.
"""

import ctypes
import gc
import os
import statistics
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.processes import ChildError, HungError, in_child
from faults.table import Outcome

MIB = 1 << 20
_SIDECAR_BYTES = 128 << 10
_LOG_BYTES = 600
"""Of a log window: three points and, now and then, a longer boundary line."""


def soak(folder: Path, steps: int, points: int, guarded: bool, traced: bool = False) -> dict[str, Any]:
    """Trains, and measures memory and open files as it goes. Runs in a child process.

    Args:
        folder: of the run.
        steps: of the run.
        points: how often to measure, at most once a step.
        guarded: whether the guard is on.
        traced: whether to trace what the guard's own lines have allocated.
    """
    from paddlenlp.trainer import TrainerCallback

    from corpora import build_train, write_corpus
    from faults.models import SmallLanguageModel
    from paddle_epoch_guard import EpochGuardCallback
    from training import arguments, train

    samples: list[tuple[int, int]] = []
    own: list[int] = []
    trim = ctypes.CDLL("libc.so.6").malloc_trim

    class Model(SmallLanguageModel):
        def forward(self, input_ids: Any, labels: Any = None) -> Any:
            self.drawn.clear()
            return super().forward(input_ids, labels)

    class Measure(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.log_history.clear()  # it grows with every log, with and without the guard
            for history in histories:
                history.clear()
            if state.global_step % (steps // points):
                return
            gc.collect()  # with paddle loaded, a quarter of a second
            trim(0)
            status = Path("/proc/self/status").read_text()
            anonymous = int(status.partition("RssAnon:")[2].split()[0]) << 10
            samples.append((anonymous, len(os.listdir("/proc/self/fd"))))
            if traced:
                kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/paddle_epoch_guard/*")])
                own.append(sum(one.size for one in kept.traces))

    documents = [20 + 37 * at % 300 for at in range(max(steps // 30, 10))]
    prefix = write_corpus(folder / "corpus" / "text", documents)
    args = arguments(
        folder, max_steps=steps, per_device_train_batch_size=1, logging_steps=2, save_strategy="steps",
        save_steps=steps // 5, save_total_limit=2, epoch_guard="track",
    )  # fmt: skip
    dataset = build_train([prefix], steps, 8)
    callbacks: list[Any] = [EpochGuardCallback()] if guarded else []
    histories: list[dict[int, float]] = []
    measure = Measure()
    if traced:
        tracemalloc.start()
    # `train` keeps every loss: this finds where.
    from training import LogHistory

    class Forgetful(LogHistory):
        def __init__(self) -> None:
            super().__init__()
            histories.append(self.losses)

    import training

    training.LogHistory = Forgetful
    train(args, dataset, callbacks=[measure, *callbacks], model=Model)
    sidecars = [path.stat().st_size for path in (folder / "run").rglob("epoch_guard.json")]
    logs = sum(path.stat().st_size for path in (folder / "logs").rglob("vdlrecords.epoch_guard.log"))
    return {"samples": samples, "own": own, "sidecars": sidecars, "logs": logs}


def growth(values: list[int]) -> float:
    """How much the last fifth is above the fifth after the first third, as medians."""
    third, some = len(values) // 3, max(len(values) // 5, 1)
    return statistics.median(values[-some:]) - statistics.median(values[third : third + some])


def soaked(folder: Path, steps: int, traced_steps: int, points: int = 24, judged: bool = True) -> Iterator[Outcome]:
    """Compares a run with the guard to one without, and traces a third.

    Args:
        folder: for all files.
        steps: of the runs.
        traced_steps: of the one that is traced.
        points: how often each run is measured; a measurement takes a quarter of a second.
        judged: whether to judge the memory of the process, which is noise in a short run.
    """
    outcome = Outcome(f"soak: {steps:,} steps in windows of 2")
    try:
        plain = in_child(soak, folder / "plain", steps, points, False, patience=1800)
        guarded = in_child(soak, folder / "guarded", steps, points, True, patience=1800)
        traced = in_child(soak, folder / "traced", traced_steps, points, True, True, patience=1800)
    except HungError as cause:
        yield Outcome(outcome.fault, 1, hung=1, broken=[str(cause)])
        return
    except ChildError as cause:
        yield Outcome(outcome.fault, 1, broken=[str(cause)[-1500:]])
        return
    outcome.tried = 3
    host, ours = (growth([memory for memory, _ in one["samples"]]) for one in (plain, guarded))
    files = {count for _, count in guarded["samples"]}
    own = growth(traced["own"])
    outcome.expect(
        not judged or ours - max(host, 0) < MIB,
        f"memory grows by {ours / MIB:.2f} MiB, the host's by {host / MIB:.2f}",
    )
    outcome.expect(own < MIB, f"the guard's own lines hold {own / MIB:.2f} MiB more")
    outcome.expect(len(files) == 1, f"open files: {sorted(files)}")
    outcome.expect(max(guarded["sidecars"]) < _SIDECAR_BYTES, f"sidecars of {guarded['sidecars']} bytes")
    outcome.expect(guarded["logs"] / (steps / 2) < _LOG_BYTES, f"{guarded['logs']} bytes of log")
    outcome.note = (
        f"RSS {ours / MIB:+.2f} MiB (host alone {host / MIB:+.2f}), own lines {own / 1024:+.1f} KiB, "
        f"{max(files)} files open, sidecar {max(guarded['sidecars']):,} bytes, "
        f"log {guarded['logs'] / (steps / 2):.0f} bytes a window"
    )
    yield outcome
