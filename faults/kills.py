"""A training that is killed again and again, and resumed until it is done.

What counts of each part is what a checkpoint kept that a later part went on from. Of that, the tokens drawn and the
losses logged must be those of a run that was never interrupted, in order.
"""

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faults.processes import PATIENCE, end, silence, started, waited
from faults.table import Outcome

SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
LENGTH = 8
SAVE = 5
_CHECKPOINT = "checkpoint-"


@dataclass(frozen=True)
class Setting:
    """How a run is set up."""

    mode: str = "track"
    steps: int = 32
    batch: int = 4
    accumulation: int = 1
    workers: int = 0
    ranks: int = 1
    logging: int = 3
    keeps: int | None = None
    """Checkpoints that the trainer keeps."""
    blend: bool = False
    begun: int | None = None
    """The number of steps with which the run began, before it was made longer; its first checkpoint is at step 5."""

    @property
    def told(self) -> str:
        """In a few words."""
        found = [self.mode, f"{self.ranks} rank{'s' * (self.ranks > 1)}"]
        found += ["blend"] * self.blend + ["extended"] * (self.begun is not None)
        return ", ".join(found)


@dataclass(frozen=True)
class Trip:
    """Where a child kills itself: at the n-th event of a kind."""

    phase: str
    """``begin``: calls in ``on_train_begin``. ``checkpoint``, ``sidecar``: file operations while they are written; the
    first of ``sidecar`` is that the trainer's checkpoint is done. ``files``: any file operation from step 1 on."""
    count: int


class _Tripwire:
    """Counts events of each phase, and kills the process at one of them."""

    def __init__(self, trip: Trip | None) -> None:
        self.counts: Counter[str] = Counter()
        self._trip = trip
        self._phases: list[str] = []
        sys.addaudithook(self._audit)

    def event(self, phase: str) -> None:
        self.counts[phase] += 1
        if self._trip is not None and self._trip.phase == phase and self.counts[phase] == self._trip.count:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, _: Any) -> None:
        if event == "open" or event.startswith(("os.", "shutil.", "tempfile.")):
            for phase in self._phases:
                if phase != "begin":
                    self.event(phase)

    def within(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose events count for a phase."""

        @functools.wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.phase(phase):
                return call(*args, **kwargs)

        return watched

    @contextlib.contextmanager
    def phase(self, phase: str) -> Iterator[None]:
        """A stretch of time whose events count for a phase."""
        self._phases.append(phase)
        if phase == "begin":
            sys.setprofile(lambda _frame, event, _arg: self.event("begin") if event in ("call", "c_call") else None)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._phases.remove(phase)


def part(
    folder: Path, setting: Setting, number: int, resume: str | None, trip: Trip | None, place: Any = None
) -> None:
    """One part of a run, in a process of its own: from its start to its end, or to where it is killed.

    Args:
        folder: of the run.
        setting: how it is set up.
        number: of the part.
        resume: the checkpoint to go on from.
        trip: where it kills itself.
        place: rank and endpoints of a process of several.
    """
    silence(str(folder / "said.log"))
    rank = become_rank(place)
    try:
        found: dict[str, Any] = train_part(folder, setting, number, resume, trip, rank)
    except BaseException as cause:
        import traceback

        from paddle_epoch_guard.errors import EpochGuardError

        frames = [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
        ours = bool(frames) and "/paddle_epoch_guard/" in frames[-1]
        kind = "refused" if isinstance(cause, EpochGuardError) else "fault of ours" if ours else "host"
        found = {"error": kind, "text": f"{type(cause).__name__}: {cause}"}
        traceback.print_exc()
    (folder / f"end-{number}-{rank}.json").write_text(json.dumps(found))
    os._exit(0)


def become_rank(place: tuple[int, list[str]] | None) -> int:
    """Makes this process a rank of several, as ``paddle.distributed.launch`` (3.3.1) does by its environment."""
    if place is None:
        return 0
    rank, endpoints = place
    os.environ |= {
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(len(endpoints)),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
        "PADDLE_RANK_IN_NODE": str(rank),
        "PADDLE_LOCAL_SIZE": str(len(endpoints)),
        "PADDLE_GLOBAL_SIZE": str(len(endpoints)),
        "PADDLE_GLOBAL_RANK": str(rank),
        "PADDLE_LOCAL_RANK": str(rank),
        "PADDLE_NNODES": "1",
        "PADDLE_DISTRI_BACKEND": "gloo",
    }
    import paddle

    paddle.distributed.parallel._global_parallel_env = None  # read once, in the process that this one is forked from
    return rank


def train_part(
    folder: Path, setting: Setting, number: int, resume: str | None, trip: Trip | None, rank: int
) -> dict[str, Any]:
    """Trains, and keeps a record; see :func:`part`."""
    import paddle
    from paddlenlp.trainer import TrainerCallback

    from corpora import build_train, write_corpus
    from faults.models import SmallLanguageModel
    from paddle_epoch_guard import EpochGuardCallback, files
    from pretraining import PretrainingTrainer
    from training import arguments, train

    files.PATIENCE = 0.5  # a sidecar that was never written will not come
    names = ("text", "other") if setting.blend else ("text",)
    prefixes = [str(folder / "corpus" / name) for name in names]
    for at, prefix in enumerate(prefixes):
        if not Path(f"{prefix}.idx").is_file():
            write_corpus(Path(prefix), SIZES[at:])
    args = arguments(
        folder,
        max_steps=setting.steps,
        per_device_train_batch_size=setting.batch,
        gradient_accumulation_steps=setting.accumulation,
        dataloader_num_workers=setting.workers,
        logging_steps=setting.logging,
        save_strategy="steps",
        save_steps=SAVE,
        save_total_limit=setting.keeps,
        epoch_guard=setting.mode,
    )
    assert number < 0 or args.dataset_world_size == setting.ranks
    samples = setting.steps * setting.batch * setting.accumulation * setting.ranks
    blend = [0.7, prefixes[0], 0.3, prefixes[-1]] if setting.blend else prefixes
    dataset = build_train(blend, samples, LENGTH, cache=folder / "cache")
    if number < 0:  # only the index was wanted
        return {}

    record = os.open(folder / f"record-{rank}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(**found: Any) -> None:
        os.write(record, json.dumps({"part": number, **found}).encode() + b"\n")

    wire = _Tripwire(trip)
    paddle.seed(7)
    model = SmallLanguageModel()

    class Guard(EpochGuardCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            with wire.phase("begin"):
                super().on_train_begin(*args, **kwargs)

        def on_save(self, *args: Any, **kwargs: Any) -> None:
            with wire.phase("sidecar"):
                wire.event("sidecar")
                super().on_save(*args, **kwargs)

    class Recorder(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            write(begin=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            write(step=state.global_step, drawn=model.drawn)
            model.drawn.clear()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                write(step=state.global_step, loss=logs["loss"])

    class Trainer(PretrainingTrainer):
        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            with wire.phase("checkpoint"):
                super()._save_checkpoint(*args, **kwargs)

    (folder / f"ready-{number}-{rank}").touch()
    with wire.phase("files"):
        # The recorder comes behind the guard: what it notes of a start is what the guard has let through.
        run = train(
            args, dataset, callbacks=[Guard(), Recorder()], trainer=Trainer, resume=resume, model=lambda: model
        )
    return {"steps": run.steps, "counts": dict(wire.counts)}


@dataclass
class Record:
    """What one rank drew, and what was logged, of the steps that count."""

    drawn: dict[int, list[tuple[int, ...]]]
    losses: dict[int, float]

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Reads a rank's record; a part that begins behind a step takes the place of what came after it."""
        found = cls({}, {})
        for line in path.read_text().splitlines() if path.is_file() else ():
            entry = json.loads(line)
            if "begin" in entry:
                for kept in (found.drawn, found.losses):
                    for step in [step for step in kept if step > entry["begin"]]:
                        del kept[step]
            elif "drawn" in entry:
                found.drawn[entry["step"]] = [tuple(sample) for batch in entry["drawn"] for sample in batch]
            else:
                found.losses[entry["step"]] = entry["loss"]
        return found


def compare(outcome: Outcome, whole: list[Record], interrupted: list[Record], where: str) -> None:
    """Counts what an interrupted run has lost and doubled."""
    totals = [
        sum((Counter(sample for some in one.drawn.values() for sample in some) for one in records), Counter())
        for records in (whole, interrupted)
    ]
    outcome.lost += sum((totals[0] - totals[1]).values())
    outcome.doubled += sum((totals[1] - totals[0]).values())
    for rank, (then, now) in enumerate(zip(whole, interrupted, strict=True)):
        outcome.expect(now.drawn == then.drawn, f"{where}: rank {rank} drew in another order")
        outcome.expect(now.losses == then.losses, f"{where}: rank {rank} logged other losses")


def compare_records(outcome: Outcome, whole: Path, interrupted: Path, where: str) -> None:
    """Whether the guard's record of an interrupted run tells what that of an uninterrupted one does."""
    from paddle_epoch_guard.report.reading import read_run

    expected, read = (read_run(folder / "logs") for folder in (whole, interrupted))
    for name in ("loss", "data_epoch", "exposure"):
        curves = [getattr(run, name) for run in (expected, read)]
        then, now = ((curve.steps.tolist(), curve.values.tolist()) for curve in curves)
        outcome.lost += len(set(then[0]) - set(now[0]))
        outcome.doubled += len(set(now[0]) - set(then[0]))
        outcome.expect(then == now, f"{where}: the record tells another {name.replace('_', ' ')}")
    changes = [[(change.name, change.step) for change in run.cuts] for run in (expected, read)]
    outcome.expect(changes[0] == changes[1], f"{where}: the record tells change points {changes[1]}, not {changes[0]}")


class KillRun:
    """A run that is interrupted, and what an uninterrupted one of the same setting does.

    Args:
        folder: for both.
        setting: how they are set up.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.setting = setting
        self._folder = folder
        self._parts = 0
        whole = folder / "whole"
        self.prepare(whole)
        began = time.monotonic()
        end_of = self._attempt(whole, self._newest(whole), None, None)
        self.seconds = time.monotonic() - began
        if "steps" not in end_of:
            raise RuntimeError(f"the uninterrupted run failed: {end_of}; see {whole / 'said.log'}")
        self.counts: dict[str, int] = end_of["counts"]
        self.whole = self._records(whole)

    def prepare(self, folder: Path) -> None:
        """Makes a folder ready for a run: its corpus and index, and, where it was begun, its beginning."""
        folder.mkdir(parents=True)
        if self.setting.begun is None:
            self._index(folder, self.setting)
            return
        # The run as it was planned at first; what it did after step 5 is taken away.
        first = replace(self.setting, steps=self.setting.begun, begun=None)
        self._index(folder, first)
        self._index(folder, self.setting)
        self._go(folder, first, None, None, None)
        for checkpoint in self._checkpoints(folder)[1:]:
            shutil.rmtree(checkpoint)

    def _index(self, folder: Path, setting: Setting) -> None:
        """Lets the host build its index, undisturbed: half of one is the host's own matter."""
        child = started(part, folder, replace(setting), -1, None, None)
        child.join(PATIENCE)
        end(child)

    def interrupt(
        self,
        outcome: Outcome,
        kills: int,
        chance: random.Random,
        aims: Sequence[str] = ("time", "time", "begin", "checkpoint", "sidecar", "sidecar", "files"),
        at_most: int = 60,
    ) -> None:
        """Kills a run so many times, and lets it come to its end.

        Args:
            outcome: is told.
            kills: how many times.
            chance: where.
            aims: kinds of places, of which one is drawn each time; with ``sidecar`` alone, no checkpoint is half one,
                and none may be refused.
            at_most: parts, of any kind.
        """
        folder = self._folder / f"interrupted-{outcome.tried}"
        self.prepare(folder)
        done, fell_back, where = 0, 0, f"{self.setting.told}, {folder.name}"
        for _ in range(at_most):
            resume = self._newest(folder)
            delay, trip = self._where(chance, aims) if done < kills else (None, None)
            found = self._attempt(folder, resume, delay, trip, chance.randrange(self.setting.ranks))
            if found.get("killed"):
                done += 1
            elif found.get("hung"):
                outcome.hung += 1
                outcome.broken.append(f"{where}: hung")
                break
            elif "steps" in found:
                if done >= kills:
                    break
                # It came to its end before it was to be killed: it is taken back to an earlier checkpoint.
                for checkpoint in self._checkpoints(folder)[-2:]:
                    shutil.rmtree(checkpoint)
            elif found["error"] == "fault of ours" or resume is None or set(aims) == {"sidecar"}:
                outcome.broken.append(f"{where}: {found['text']}")
                break
            else:
                # Refused, or not to be loaded: as the message says, the checkpoint before is taken.
                fell_back += 1
                shutil.rmtree(resume)
        else:
            outcome.broken.append(f"{where}: not done after {at_most} parts")
        outcome.tried += done
        compare(outcome, self.whole, self._records(folder), where)
        compare_records(outcome, self._folder / "whole", folder, where)
        if outcome.is_kept:
            shutil.rmtree(folder)

    def _where(self, chance: random.Random, aims: Sequence[str]) -> tuple[float | None, Trip | None]:
        kind = chance.choice(aims)
        if kind == "time" or not self.counts.get(kind):
            return chance.uniform(0, self.seconds), None
        # A part that is resumed has fewer events than the whole: the earlier ones are met more often.
        return None, Trip(kind, 1 + int(self.counts[kind] * chance.random() ** (1 if kind == "begin" else 3)))

    def _attempt(
        self, folder: Path, resume: Path | None, delay: float | None, trip: Trip | None, victim: int = 0
    ) -> dict[str, Any]:
        return self._go(folder, self.setting, resume, delay, trip, victim)

    def _go(
        self,
        folder: Path,
        setting: Setting,
        resume: Path | None,
        delay: float | None,
        trip: Trip | None,
        victim: int = 0,
    ) -> dict[str, Any]:
        """One part; the victim is the rank that is killed."""
        number = self._parts = self._parts + 1
        places: list[Any] = [None]
        if setting.ranks > 1:
            endpoints = endpoints_for(setting.ranks)
            places = [(rank, endpoints) for rank in range(setting.ranks)]
        path = None if resume is None else str(resume)
        children = [
            started(part, folder, setting, number, path, trip if rank == victim else None, place)
            for rank, place in enumerate(places)
        ]
        marked = children[victim]
        if delay is not None:
            waited(lambda: (folder / f"ready-{number}-{victim}").exists() or not marked.is_alive(), PATIENCE)
            time.sleep(delay)
            marked.kill()
        waited(lambda: not marked.is_alive() or not any(child.is_alive() for child in children), PATIENCE)
        hung = marked.is_alive()
        killed = not hung and marked.exitcode == -signal.SIGKILL
        # As the launcher does: where one rank is gone, the others are ended.
        if not killed:
            waited(lambda: not any(child.is_alive() for child in children), 0 if hung else PATIENCE)
            hung = any(child.is_alive() for child in children)
        for child in children:
            end(child)
        if killed or hung:
            return {"killed": killed, "hung": hung}
        ends = [folder / f"end-{number}-{rank}.json" for rank in range(setting.ranks)]
        found = [json.loads(one.read_text()) if one.is_file() else {"error": "host", "text": "died"} for one in ends]
        kinds = [one.get("error", "") for one in found]
        for kind in ("fault of ours", "refused", "host"):
            if kind in kinds:
                return found[kinds.index(kind)]
        return found[victim]

    def _records(self, folder: Path) -> list[Record]:
        return [Record.read(folder / f"record-{rank}.jsonl") for rank in range(self.setting.ranks)]

    def _checkpoints(self, folder: Path) -> list[Path]:
        found = (folder / "run").glob(f"{_CHECKPOINT}*")
        return sorted(found, key=lambda path: int(path.name.removeprefix(_CHECKPOINT)))

    def _newest(self, folder: Path) -> Path | None:
        return next(reversed(self._checkpoints(folder)), None)


def endpoints_for(count: int) -> list[str]:
    """Free ports of this machine, one for each rank."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()


SETTINGS = (
    Setting("track"),
    Setting("unified"),
    Setting("unified", accumulation=2, batch=2, keeps=2),
    Setting("track", workers=1, logging=1),
    Setting("unified", blend=True),
    Setting("track", blend=True, keeps=1),
    Setting("track", begun=12, steps=62),
    Setting("unified", begun=12, steps=62),
)
TWO_RANKS = (Setting("track", batch=2, ranks=2), Setting("unified", batch=2, ranks=2, keeps=2))


def kill_runs(
    folder: Path, fault: str, settings: tuple[Setting, ...], seeds: range, kills: int, **options: Any
) -> Iterator[Outcome]:
    """Interrupts a run of each setting with each seed; yields the outcome so far after each.

    Args:
        folder: for all runs.
        fault: its name in the table.
        settings: of the runs.
        seeds: where each is killed.
        kills: how many times each.
        options: of :meth:`KillRun.interrupt`.
    """
    outcome = Outcome(fault)
    for at, setting in enumerate(settings):
        run = KillRun(folder / f"{at}", setting)
        for seed in seeds:
            run.interrupt(outcome, kills, random.Random(f"{at}, {seed}"), **options)
            yield outcome
