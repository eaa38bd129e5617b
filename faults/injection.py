"""Every function of every room that a run calls is made to raise, at each event at which it is called.

Which they are is found by tracing a run. The fault is raised by the profiler as the function is entered, at every call
within that event, so that nothing of the package is replaced.

After the first step the run must end as one without the plugin does: the same samples, the same losses, and one line
in the log that names what was switched off. Before the first step it must do so too, or stop with an error.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from faults.processes import ChildError, HungError, in_child
from faults.table import Outcome

STEPS = 24
_PER_CHILD = 40
_EVENTS = (
    "on_train_begin", "on_epoch_begin", "on_load_data_end", "on_step_end", "on_epoch_end", "on_log", "on_evaluate",
    "on_save", "on_train_end",
)  # fmt: skip
_SHIELDS = ("shielded", "harmless")
_PACKAGE = "/paddle_epoch_guard/"

Point = tuple[str, str, str]
"""An event, the file of a function, and its name."""


class InjectedError(Exception):
    """The fault."""


class Profiler:
    """Sees every call of this package's functions, by event; raises at one of them.

    Args:
        point: where to raise; None to note all.
    """

    def __init__(self, point: Point | None) -> None:
        self.seen: dict[Point, None] = {}
        self.raised = 0
        self._point = point
        self._event = ""

    @contextlib.contextmanager
    def during(self, event: str) -> Iterator[None]:
        """What is called from within counts for an event."""
        outer, self._event = self._event, event
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            self._event = outer
            sys.setprofile(self._profile if outer else None)

    def _profile(self, frame: FrameType, what: str, _: Any) -> None:
        if what != "call" or _PACKAGE not in frame.f_code.co_filename:
            return
        point = self._event, _file_of(frame.f_code), frame.f_code.co_qualname
        if self._point is None:
            self.seen[point] = None
        elif point == self._point:
            self.raised += 1
            raise InjectedError("a fault was injected here")  # and the interpreter takes the profiler away


def _file_of(code: CodeType) -> str:
    return code.co_filename.rpartition(_PACKAGE)[2]


def run(folder: Path, guarded: bool, mode: str, point: Point | None, report: bool) -> dict[str, Any]:
    """A run with the guard or without, and with a fault at a point."""
    from paddlenlp.utils.log import logger

    from conftest import Messages
    from corpora import build_train, write_corpus
    from paddle_epoch_guard import EpochGuardCallback, files
    from training import KnownLosses, arguments, train

    files.PATIENCE = 0.0
    profiler = Profiler(point)

    class Watched(EpochGuardCallback):
        """Each event by its name."""

    for event in _EVENTS:
        setattr(Watched, event, _watched(profiler, event))

    class Model(KnownLosses):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with profiler.during("forward"):
                return super().__call__(*args, **kwargs)

    messages = Messages()
    logger.logger.addHandler(messages)
    prefix = str(folder / "corpus" / "text")
    if not Path(f"{prefix}.idx").is_file():
        write_corpus(Path(prefix), (60, 7, 130, 1, 58, 90, 23, 100))
    args = arguments(
        folder, max_steps=STEPS, logging_steps=1, save_strategy="steps", save_steps=8, evaluation_strategy="steps",
        eval_steps=8, epoch_guard=mode, epoch_guard_report=report, overwrite_output_dir=True,
    )  # fmt: skip
    # 58 samples in an epoch: the boundary is at step 15.
    dataset = build_train([prefix], STEPS * 4, 8)
    found: dict[str, Any] = {"error": None}
    model = Model()
    try:
        one = train(
            args, dataset, callbacks=[Watched()] if guarded else [], model=lambda: model, evaluation=_Few(dataset)
        )
        found |= {"losses": one.losses}
    except Exception as cause:
        found["error"] = f"{type(cause).__name__}: {cause}"
    finally:
        sys.setprofile(None)
        logger.logger.removeHandler(messages)
    found |= {"drawn": model.first_tokens, "said": messages.of_guard(), "seen": list(profiler.seen)}
    return found | {"raised": profiler.raised}


class _Few:
    """A few samples to evaluate with."""

    def __init__(self, dataset: Any) -> None:
        self._samples = [dataset[at] for at in range(4)]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, at: int) -> Any:
        return self._samples[at]


def _watched(profiler: Profiler, event: str) -> Any:
    from paddle_epoch_guard import EpochGuardCallback

    inner = getattr(EpochGuardCallback, event)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with profiler.during(event):
            return inner(self, *args, **kwargs)

    return watched


def points_of(folder: Path, mode: str, report: bool) -> list[Point]:
    """All functions that a run calls, at each event, but the events and the shields themselves."""
    seen = in_child(run, folder, True, mode, None, report)["seen"]
    return [point for point in seen if point[2].rpartition(".")[2] not in (point[0], *_SHIELDS)]


def try_points(folder: Path, mode: str, report: bool, points: Sequence[Point]) -> Outcome:
    """One run for each point, all in one child."""
    outcome = Outcome("a fault in any function, at any event")
    plain = run(folder, False, mode, None, report)
    reference = run(folder, True, mode, None, report)
    if mode == "track":
        outcome.expect(reference["drawn"] == plain["drawn"], "the guard alone changes what is drawn")
        outcome.expect(reference["losses"] == plain["losses"], "the guard alone changes the losses")
    for point in points:
        event, file, name = point
        where = f"{mode}, {event}: {file}: {name}"
        found = run(folder, True, mode, point, report)
        outcome.tried += found["raised"] > 0
        if found["error"] is not None:
            stopped_in_time = event == "on_train_begin" and not found["drawn"]
            outcome.expect(stopped_in_time, f"{where}: the run ended with {found['error']}")
            continue
        outcome.expect(found["drawn"] == reference["drawn"], f"{where}: other samples were drawn")
        outcome.expect(found["losses"] == reference["losses"], f"{where}: other losses")
        if found["raised"]:
            said = [text for text in found["said"] if "injected" in text]
            outcome.expect(said, f"{where}: nobody was told; said {found['said']}")
            outcome.expect(len(said) <= 3, f"{where}: said {len(said)} times")
    return outcome


def injected_faults(folder: Path, every: int = 1) -> Iterator[Outcome]:
    """A run for every point, or for one of so many; yields the outcome so far."""
    total = Outcome("a fault in any function, at any event")
    for mode in ("track", "unified"):
        points = points_of(folder / mode, mode, report=False)
        total.note = f"{total.note} {len(points)} points in {mode}".strip()
        yield from _tried(total, folder / mode, mode, False, points[::every])


def report_faults(folder: Path, every: int = 1) -> Iterator[Outcome]:
    """The same where a report is written at the end, which takes seconds; of its points, one of so many."""
    total = Outcome("a fault in any function, as the report is written")
    points = [point for point in points_of(folder, "track", report=True) if point[0] == "on_train_end"]
    total.note = f"1 of {every} of {len(points)} points"
    yield from _tried(total, folder, "track", True, points[::every])


def _tried(total: Outcome, folder: Path, mode: str, report: bool, points: list[Point]) -> Iterator[Outcome]:
    for at in range(0, len(points), _PER_CHILD):
        some = points[at : at + _PER_CHILD]
        try:
            total.add(in_child(try_points, folder, mode, report, some, patience=900))
        except HungError as cause:
            total.hung += 1
            total.broken.append(f"{some[0]} to {some[-1]}: {cause}")
        except ChildError as cause:
            total.broken.append(f"{some[0]} to {some[-1]}: {cause}")
        yield total
