"""What the guard takes of a real training: the time inside every call of its own, and the instructions of a run.

Pairs of trainings differ by more than the guard takes. So its calls are timed instead, all of them: the trainer's
events, the hooks on the model, the lookups in the loader's workers, and the threads that write. The same clock runs in
the events of the callbacks that PaddleNLP itself adds.
"""

import argparse
import functools
import itertools
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import THREAD, WALL, Clock, Row, in_own_process, seconds
from training_rows import trainer_of

KINDS = ("events", "hooks", "lookups", "threads")
PEERS = "peers"
"""Events of the callbacks that the host adds by itself."""
PROCESSES = 16
RUN = {"batch": 8, "length": 256, "every": 10}
"""As in the rows on whole trainings."""
INSTRUCTIONS = (1, 11)
"""Steps of two runs, a log window apart; their difference is free of what a start costs."""


class Spent:
    """Seconds inside calls, by kind, of this process and of those that are forked from it."""

    def __init__(self) -> None:
        self._kinds = (*KINDS, PEERS)
        self._seconds = multiprocessing.RawArray("d", PROCESSES * len(self._kinds))
        self._processes = multiprocessing.Value("i", 0)
        self._slot = 0
        self._inside = threading.local()
        os.register_at_fork(after_in_child=self._claim)

    def _claim(self) -> None:
        with self._processes.get_lock():
            self._processes.value += 1
            self._slot = self._processes.value % PROCESSES

    def timed(self, kind: str, call: Callable[..., Any], clock: Clock = WALL) -> Callable[..., Any]:
        """The call with its time taken; a call within another one counts for the outer one."""
        at = self._kinds.index(kind)

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "call", False):
                return call(*args, **kwargs)
            self._inside.call = True
            start = clock()
            try:
                return call(*args, **kwargs)
            finally:
                self._seconds[self._slot * len(self._kinds) + at] += clock() - start
                self._inside.call = False

        return timed

    def so_far(self) -> dict[str, float]:
        """The seconds of all processes, by kind."""
        return {kind: sum(self._seconds[at :: len(self._kinds)]) for at, kind in enumerate(self._kinds)}


def time_all_calls(spent: Spent) -> None:
    """Puts a clock around every call through which the guard is entered while a run trains, and around its peers'.

    Training waits for events, hooks and lookups: their clock is monotonic. It does not wait for the guard's threads,
    but shares processor and interpreter with them: theirs is the processor's.
    """
    from paddlenlp.trainer import trainer
    from paddlenlp.trainer.integrations import VisualDLCallback

    from paddle_epoch_guard import EpochGuardCallback
    from paddle_epoch_guard.host.losses import TokenLosses
    from paddle_epoch_guard.order import Order
    from paddle_epoch_guard.session.background import Background

    for kind, callback in (
        ("events", EpochGuardCallback),
        *((PEERS, peer) for peer in (*trainer.DEFAULT_CALLBACKS, VisualDLCallback)),
    ):
        for name in [name for name in vars(callback) if name.startswith("on_")]:
            setattr(callback, name, spent.timed(kind, getattr(callback, name)))
    for name in ("_begin", "_take", "_end"):
        setattr(TokenLosses, name, spent.timed("hooks", getattr(TokenLosses, name)))
    Order.__getitem__ = spent.timed("lookups", Order.__getitem__)  # type: ignore[method-assign, assignment]
    run = Background.run
    Background.run = lambda self, work: run(self, spent.timed("threads", work, THREAD))  # type: ignore[method-assign]


def _shares(model: str, workers: int, steps: int) -> dict[str, float]:
    """Seconds between the first step and the last one, and those of the calls among them; by kind."""
    multiprocessing.set_start_method("fork", force=True)  # as in a script
    from paddlenlp.trainer import TrainerCallback

    spent = Spent()
    marks: list[tuple[float, dict[str, float]]] = []

    class Marks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == RUN["every"]:  # behind the first window: what is done once is over
                marks.append((WALL(), spent.so_far()))

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            marks.append((WALL(), spent.so_far()))

    time_all_calls(spent)
    with tempfile.TemporaryDirectory() as folder:
        trainer_of({**RUN, "model": model, "workers": workers}, steps, True, Path(folder), Marks()).train()
    (begun, before), (ended, after) = marks
    found = {kind: after[kind] - before[kind] for kind in (*KINDS, PEERS)}
    if not found["lookups"]:
        raise RuntimeError(f"in {steps} steps there is no boundary, and so no order to look up")
    once = {"start": before["events"], "end": spent.so_far()["events"] - after["events"]}
    return found | once | {"run": ended - begun, "steps": steps - RUN["every"]}


def share(quick: bool) -> list[Row]:
    """The guard's share of a run's steps: time inside its calls, by the run's time."""
    steps = 70 if quick else 200  # numbers with a boundary, so that there is an order to look up
    rows = []
    for model in ("ngram", "llama"):
        for workers in (0, 2):
            found = in_own_process(_shares, model, workers, steps)
            ours = sum(found[kind] for kind in KINDS)
            parts = ", ".join(f"{kind} {seconds(found[kind] / found['steps'])}" for kind in KINDS)
            rows.append(
                Row(
                    f"share of training {model}, {workers} workers",
                    f"PaddleNLP's own callbacks ({found[PEERS] / found['run']:.2%})",
                    f"{seconds(ours / found['steps'])} a step ({parts})", seconds(found[PEERS] / found["steps"]),
                    f"{ours / found['run']:.2%}", "<= 0.2 %", ours <= 0.002 * found["run"], "",
                    f"a step takes {seconds(found['run'] / found['steps'])}; begin and first window "
                    f"{seconds(found['start'])}, end {seconds(found['end'])}",
                )
            )  # fmt: skip
    return rows


def instructions(quick: bool) -> list[Row]:
    """Instructions of a step with the guard and without, as valgrind counts them: noise does not reach them."""
    if shutil.which("valgrind") is None:
        return [Row("instructions of training", "", "valgrind is not installed", "", "", "<= 0.2 %", None)]
    rows = []
    few, many = INSTRUCTIONS
    models = ("ngram",) if quick else ("ngram", "llama")
    runs = list(itertools.product(models, (many, few), (False, True)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # what else runs changes their time, not their number
        counted = dict(zip(runs, pool.map(_counted, *zip(*runs, strict=True)), strict=True))
    for model in models:
        a_step = {
            guarded: (counted[model, many, guarded] - counted[model, few, guarded]) / (many - few)
            for guarded in (False, True)
        }
        more = a_step[True] / a_step[False] - 1
        rows.append(
            Row(
                f"instructions of training {model}", "PaddleNLP alone", f"{a_step[True] / 1e6:.2f} million a step",
                f"{a_step[False] / 1e6:.2f} million", f"{more:+.3%}", "<= 0.2 %", more <= 0.002, "",
                f"valgrind, runs of {few} and {many} steps, and their difference",
            )
        )  # fmt: skip
    return rows


def _counted(model: str, steps: int, guarded: bool) -> int:
    command = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        "--trace-children=no",
    ]
    command += [sys.executable, __file__, model, str(steps), *(["--guarded"] if guarded else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(done.stderr[-2000:])
    return int(found[1].replace(",", ""))


def main() -> None:
    """One run, whose instructions are counted from outside."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", choices=("ngram", "llama"))
    parser.add_argument("steps", type=int)
    parser.add_argument("--guarded", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer_of({**RUN, "model": given.model, "workers": 0}, given.steps, given.guarded, Path(folder)).train()


ROWS = {"share": share, "instructions": instructions}

if __name__ == "__main__":
    main()
