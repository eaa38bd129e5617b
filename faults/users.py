"""What a user's own code does in the midst of a run: another run on the same dataset, a loss that is no number."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.processes import ChildError, in_child
from faults.table import Outcome

SIZES = (60, 7, 130, 1, 58, 190, 23, 136)
STEPS, BATCH, LENGTH = 45, 4, 8
BOUNDARY_STEP = 38


def user_faults(folder: Path, every: int = 1) -> Iterator[Outcome]:
    """Both kinds; yields the outcome of each so far.

    Args:
        folder: for all runs.
        every: one of so many cases.
    """
    for fault, work, cases in (
        ("order taken by another run", other_run, list(itertools.product(*OTHER_RUNS))),
        ("loss without a number", no_number, list(itertools.product(*NO_NUMBERS))),
    ):
        outcome = Outcome(fault)
        for number, case in enumerate(cases[::every]):
            try:
                outcome.add(in_child(work, folder / f"{work.__name__}-{number}", *case))
            except ChildError as cause:
                outcome.broken.append(f"{case}: {str(cause)[-600:]}")
            yield outcome


OTHER_RUNS = ((False, True), ("none", "off", "track", "unified"), (3, 20, 44), ("returns", "raises"))
"""Whether it is a blend; the guard of the inner run; after which step it trains; how it ends."""
NO_NUMBERS = (("track", "unified"), (2, 20, BOUNDARY_STEP, STEPS), ("nan", "inf"))
"""The guard's mode; at which step; what the loss is."""


def _dataset(folder: Path, is_blend: bool) -> Any:
    from corpora import build_train, write_corpus

    prefixes = [write_corpus(folder / "corpus" / name, SIZES) for name in ("a", "b")[: 1 + is_blend]]
    mixed = [0.6, prefixes[0], 0.4, prefixes[1]] if is_blend else prefixes
    return build_train(mixed, STEPS * BATCH, LENGTH, cache=folder / "cache")


def other_run(folder: Path, is_blend: bool, inner: str, step: int, ending: str) -> Outcome:
    """A unified run, within which another one trains on the same dataset object. In a child."""
    from paddlenlp.trainer import TrainerCallback

    from paddle_epoch_guard import EpochGuardCallback
    from training import TokenModel, arguments, train

    dataset = _dataset(folder, is_blend)
    host_order = [int(dataset[position]["text"][0]) for position in range(STEPS * BATCH)]
    where = f"{'blend' if is_blend else 'corpus'}, inner {inner}, step {step}, {ending}"
    inner_tokens: list[int] = []

    class Fail(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if ending == "raises" and state.global_step == 8:
                raise RuntimeError("as a user's code may")

    class Probe(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                mode = "off" if inner == "none" else inner
                options = arguments(folder / "inner", max_steps=10, epoch_guard=mode, epoch_guard_seed=9)
                callbacks = [Fail(), *([] if inner == "none" else [EpochGuardCallback()])]
                model = TokenModel()
                with contextlib.suppress(RuntimeError):
                    train(options, dataset, callbacks=callbacks, model=lambda: model)
                inner_tokens.extend(token for batch in model.first_tokens for token in batch)

    def outer(where: str, *more: TrainerCallback) -> list[int]:
        options = {"epoch_guard": "unified", "epoch_guard_report": False, "max_steps": STEPS}
        run = train(arguments(folder / where, **options), dataset, callbacks=[EpochGuardCallback(), *more])
        return [token for batch in run.first_tokens for token in batch]

    plain, disturbed = outer("plain"), outer("disturbed", Probe())
    outcome = Outcome("", tried=1)
    outcome.lost = sum((Counter(plain) - Counter(disturbed)).values())
    outcome.doubled = sum((Counter(disturbed) - Counter(plain)).values())
    outcome.expect(disturbed == plain, f"{where}: the outer run drew in another order")
    if inner != "unified":
        outcome.expect(inner_tokens == host_order[: len(inner_tokens)], f"{where}: the inner run is not in host order")
    outcome.expect(len(inner_tokens) >= 8 * BATCH, f"{where}: the inner run drew {len(inner_tokens)} samples")
    after = [int(dataset[position]["text"][0]) for position in range(STEPS * BATCH)]
    outcome.expect(after == host_order, f"{where}: the dataset was not given back")
    return outcome


def no_number(folder: Path, mode: str, step: int, value: str) -> Outcome:
    """A run that goes on after a loss that is no number, as the host does under fp16. In a child."""
    import paddle

    from paddle_epoch_guard.report.reading import read_run
    from paddle_epoch_guard.resume import read_sidecar
    from pretraining import PretrainingTrainer
    from training import KnownLosses, arguments, train

    class Going(PretrainingTrainer):
        def _check_loss_valid(self, loss: Any) -> None:
            """Goes on."""

    class Bad(KnownLosses):
        def forward(self, input_ids: Any, labels: Any = None) -> Any:
            loss, outputs = super().forward(input_ids, labels)
            bad = len(self.first_tokens) == step
            return (loss + paddle.full_like(loss, float(value)) if bad else loss), outputs

    dataset = _dataset(folder, is_blend=False)
    where = f"{mode}, step {step}, {value}"
    runs = {}
    for name, model in (("whole", KnownLosses), ("bad", Bad)):
        options = {"epoch_guard": mode, "epoch_guard_report": False, "save_strategy": "steps", "save_steps": STEPS}
        args = arguments(folder / name, max_steps=STEPS, **options)
        done = train(args, dataset, model=model, trainer=Going)
        sidecar = read_sidecar(folder / name / "run" / f"checkpoint-{STEPS}", STEPS)
        runs[name] = done, read_run(args.logging_dir), sidecar
    (whole, expected, _), (bad, read, sidecar) = runs["whole"], runs["bad"]
    outcome = Outcome("", tried=1)
    outcome.expect(bad.first_tokens == whole.first_tokens, f"{where}: other samples were drawn")
    for curve in ("data_epoch", "exposure"):
        then, now = ({*getattr(run, curve).steps.tolist()} for run in (expected, read))
        outcome.lost += len(then - now)
        outcome.doubled += len(now - then)
        same = getattr(expected, curve).values.tolist() == getattr(read, curve).values.tolist()
        outcome.expect(same, f"{where}: another {curve}")
    names = [[change.name for change in run.cuts] for run in (expected, read)]
    outcome.expect(names[0] == names[1], f"{where}: change points {names[1]}, not {names[0]}")
    outcome.expect(sidecar is not None and sidecar.position == STEPS * BATCH, f"{where}: the sidecar lost the order")
    return outcome
