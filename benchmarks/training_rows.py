"""Rows on training itself: what the callback costs a step, and a whole run with it."""

import multiprocessing
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from measuring import CPU, THREAD, WALL, Row, growth, in_own_process, seconds, times

EXAMPLES = str(Path(__file__).parents[1] / "examples")
LENGTH, WINDOWS = 8, 12
WARM = 10
"""Steps of a training that are not counted."""
SHARE = 64
"""Samples of a step that one rank has, where the batch is spread over ranks."""


def _callback(batch: int, spread: bool, every: int, windows: int) -> dict[str, float]:
    """The processor's seconds a step of the guard's events, of VisualDL's, and of a callback that does nothing.

    ``guard`` is what the training's own thread spends, ``all`` all threads: the guard writes in one of its own.

    The trainer's events are made in its order, on its own dataset, loader and state, without a forward: what the hook
    on the model would have collected is put into its place. Of a batch that is spread over ranks this is one rank, and
    what others would add to its sums is left out.
    """
    sys.path.insert(0, EXAMPLES)
    import paddle
    from paddlenlp.trainer import TrainerCallback, TrainerControl, TrainerState
    from paddlenlp.trainer.integrations import VisualDLCallback
    from paddlenlp.utils.batch_sampler import DistributedBatchSampler
    from paddlenlp.utils.log import logger

    from models import HashedNgramLM
    from paddle_epoch_guard import EpochGuardCallback
    from paddle_epoch_guard.session.loss_collector import LossCollector
    from pretraining import PreTrainingArguments, PretrainingTrainer, build_datasets

    logger.set_level("ERROR")
    ranks = max(batch // SHARE, 1) if spread else 1
    micro = batch // ranks if spread else min(batch, 256)
    accumulation = batch // ranks // micro
    steps = every * windows

    class Spread(PretrainingTrainer):
        def _get_train_sampler(self) -> Any:
            return DistributedBatchSampler(self.train_dataset, micro, num_replicas=ranks, rank=0)

    with tempfile.TemporaryDirectory() as folder:
        args = PreTrainingArguments(
            output_dir=folder, logging_dir=f"{folder}/logs", max_steps=steps, per_device_train_batch_size=micro,
            gradient_accumulation_steps=accumulation, logging_steps=every, save_strategy="no", report_to=[],
            disable_tqdm=True, epoch_guard="unified", epoch_guard_report=False, seed=1,
        )  # fmt: skip
        prefix = _corpus(Path(folder), steps * batch * LENGTH * 2 // 3)
        dataset, _ = build_datasets([prefix], _Asked(args, batch), LENGTH, split="100,0,0")
        guard = EpochGuardCallback()
        model = HashedNgramLM(16, width=4, table_size=16)
        trainer = Spread(model=model, args=args, train_dataset=dataset, callbacks=[guard])
        visualdl = VisualDLCallback()
        state, control = TrainerState(), TrainerControl()
        state.max_steps, state.is_world_process_zero, state.is_local_process_zero = steps, True, True
        # The other ranks are not there to say that they have the layer as well.
        LossCollector.agree = lambda self: self.__dict__.update(_speaks=True, _leads=True)  # type: ignore[assignment, method-assign, func-returns-value]
        given = {"model": model, "train_dataloader": trainer.get_train_dataloader()}
        callbacks = {"guard": guard, "visualdl": visualdl, "bare": TrainerCallback()}
        for one in callbacks.values():
            one.on_train_begin(args, state, control, **given)
            one.on_epoch_begin(args, state, control, **given)
        collector = guard.session.collector
        assert collector is not None
        assert collector.is_open
        row = paddle.full([micro, 4], LENGTH, dtype="float32")  # a loss of one nat for each token
        taken: dict[str, list[float]] = {name: [] for name in (*callbacks, "all")}
        for window in range(windows):
            for name, one in callbacks.items():
                spent, others = 0.0, CPU() - THREAD()
                for step in range(window * every + 1, (window + 1) * every + 1):
                    state.global_step = step
                    if name == "guard":
                        assert collector._hook is not None
                        collector._hook._rows += [row] * accumulation
                        collector._hook._microbatches += [micro] * accumulation
                    start = THREAD()
                    one.on_step_begin(args, state, control, **given)
                    for _ in range(accumulation):
                        one.on_load_data_end(args, state, control, **given)
                        one.on_substep_end(args, state, control, **given)
                    one.on_step_end(args, state, control, **given)
                    if step % every == 0:
                        logs = {"loss": 1.0, "learning_rate": 1e-3, "global_step": step, "interval_runtime": 1.0}
                        one.on_log(args, state, control, logs=logs, **given)
                    spent += THREAD() - start
                taken[name].append(spent / every)
                if name == "guard":
                    guard.session._background.wait()  # as while a window is trained: until its threads are done
                    ahead = collector._lookup._ahead
                    if ahead is not None:
                        ahead.slots.result()
                    taken["all"].append((spent + CPU() - THREAD() - others) / every)
        assert collector.is_open, "the collector was closed: what was measured is not what it does"
        return {name: statistics.median(each) for name, each in taken.items()}


class _Asked:
    """Training arguments, as far as building a dataset goes, for a batch that other ranks share."""

    def __init__(self, args: Any, batch: int) -> None:
        self.max_steps, self.seed = args.max_steps, args.seed
        self.per_device_train_batch_size, self.gradient_accumulation_steps, self.dataset_world_size = batch, 1, 1


def _corpus(folder: Path, tokens: int) -> str:
    import numpy as np
    from paddlenlp.data.indexed_dataset import make_builder

    from pretraining import quiet

    prefix = folder / "text"
    builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
    document = np.arange(1000) % 16
    for _ in range(max(tokens // 1000, 2)):
        builder.add_item(document)
        builder.end_document()
    with quiet():
        builder.finalize(f"{prefix}.idx")
    return str(prefix)


CASES = (
    (True, 10, f"{SHARE} samples a rank, logged every 10 steps", {4096: 50e-6}),
    (True, 1, f"{SHARE} samples a rank, logged every step", {4096: 250e-6}),
    (False, 10, "all on one rank, logged every 10 steps", {4096: 200e-6, 65536: 2e-3}),
)
"""Whether the batch is spread over ranks, the steps of a log window, in words, and the target of some batches."""


def _callbacks(batches: list[int]) -> list[list[dict[str, float]]]:
    return [
        [_callback(batch, spread, every, 4 if every * batch > 10**5 else WINDOWS) for batch in batches]
        for spread, every, _, _ in CASES
    ]


def callback(quick: bool) -> list[Row]:
    """The callback's events, a step: what the training's thread spends on them, and what all threads do."""
    batches = [256, 4096] if quick else [256, 4096, 65536]
    rows = []
    for (_, _, where, targets), found in zip(CASES, in_own_process(_callbacks, batches), strict=True):
        of = dict(zip(batches, found, strict=True))
        ours = [one["guard"] for one in found]
        at = of[4096]
        figures = ", ".join(f"{batch:,}: {seconds(one['guard'])} ({seconds(one['all'])})" for batch, one in of.items())
        rows.append(
            Row(
                f"callback a step, {where}; with its own thread",
                f"VisualDLCallback ({seconds(at['visualdl'])}); one that does nothing", figures, seconds(at["bare"]),
                times(at["guard"] / at["visualdl"]),
                ", ".join(f"<= {seconds(most)} at {batch:,}" for batch, most in targets.items()),
                all(of[batch]["guard"] <= most for batch, most in targets.items() if batch in of),
                growth(batches, ours), "three events for each microbatch; an epoch for each sample of the rank",
            )
        )  # fmt: skip
    return rows


def trainer_of(options: dict[str, Any], steps: int, guarded: bool, folder: Path, *callbacks: Any) -> Any:
    """A trainer of the demo's model or of a tiny Llama, on the demo's corpus.

    Args:
        options: ``model`` (``ngram`` or ``llama``), ``workers``, ``batch``, ``length`` in tokens, and ``every``: steps
            between two logs.
        steps: to train.
        guarded: whether with the guard, in a unified order.
        folder: for the corpus and all output.
        callbacks: before the guard.
    """
    sys.path.insert(0, EXAMPLES)
    import paddle
    from paddlenlp.trainer import TrainingArguments
    from paddlenlp.utils.log import logger

    from corpus import write_corpus
    from models import HashedNgramLM, tiny_llama
    from paddle_epoch_guard import EpochGuardCallback
    from pretraining import PreTrainingArguments, PretrainingTrainer, build_datasets, collate

    logger.set_level("ERROR")
    values = {
        "output_dir": str(folder / "run"), "logging_dir": str(folder / "logs"), "max_steps": steps,
        "per_device_train_batch_size": options["batch"], "learning_rate": 1e-3, "logging_steps": options["every"],
        "save_strategy": "no", "report_to": ["visualdl"], "disable_tqdm": True, "seed": 42,
        "dataloader_num_workers": options["workers"],
    }  # fmt: skip
    kind: Any = PreTrainingArguments if guarded else TrainingArguments
    args = kind(**values, **({"epoch_guard": "unified", "epoch_guard_report": False} if guarded else {}))
    corpus = write_corpus(folder / "data")
    dataset, _ = build_datasets([corpus.prefix], args, options["length"], split="100,0,0")
    paddle.seed(42)
    ngram = options["model"] == "ngram"
    model = HashedNgramLM(corpus.vocab_size) if ngram else tiny_llama(corpus.vocab_size, options["length"])
    return PretrainingTrainer(
        model=model, args=args, train_dataset=dataset, data_collator=collate,
        callbacks=[*callbacks, *([EpochGuardCallback()] if guarded else [])],
    )  # fmt: skip


def _seconds_a_step(options: dict[str, Any], guarded: bool) -> float:
    """Trains in this process, forked from one that has imported the host, and takes the time of its steps."""
    # As in a script: a spawned process would spawn its loader's workers too, and the host's data do not pickle.
    multiprocessing.set_start_method("fork", force=True)
    from paddlenlp.trainer import TrainerCallback

    marks: list[float] = []

    class Marks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == WARM:
                marks.append(WALL())

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            marks.append(WALL())

    steps = options["steps"]
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(options, steps, guarded, Path(folder), Marks()).train()
    return (marks[1] - marks[0]) / (steps - WARM)


def _pairs(options: dict[str, Any]) -> list[tuple[float, float]]:
    """The seconds a step with the guard and without, of pairs of processes, of which now one begins, now the other."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["paddlenlp.trainer", "paddlenlp.transformers", "paddle_epoch_guard.host"])
    found = []
    for pair in range(options["pairs"]):
        taken = {}
        for guarded in (True, False) if pair % 2 else (False, True):
            with ProcessPoolExecutor(1, context) as pool:
                taken[guarded] = pool.submit(_seconds_a_step, options, guarded).result()
        found.append((taken[True], taken[False]))
    return found


def training(quick: bool) -> list[Row]:
    """A whole run of the demo's models with the guard, its hook on, and without."""
    from scipy.stats import quantile_test  # of the host

    rows = []
    # Samples of 256 tokens: a step of the demo's own, of 256 tokens in all, is over in milliseconds.
    size = {"batch": 8, "length": 256, "every": 10, "steps": WARM + 30, "pairs": 2 if quick else 12}
    for model in ("ngram", "llama"):
        for workers in (0, 2):
            found = _pairs({"model": model, "workers": workers, **size})
            ours, theirs = (statistics.median(each) for each in zip(*found, strict=True))
            ratios = [with_ / without - 1 for with_, without in found]
            low, high = quantile_test(ratios, p=0.5).confidence_interval(0.95)
            rows.append(
                Row(
                    f"training {model}, {workers} workers", "PaddleNLP alone", f"{seconds(ours)} a step",
                    f"{seconds(theirs)} a step", f"{statistics.median(ratios):+.2%} ({low:+.2%} to {high:+.2%})",
                    "<= 1 %", told(low, high), "",
                    f"the median of {len(ratios)} pairs of processes of {size['steps'] - WARM} steps, and where it is "
                    "with 95 %",
                )
            )  # fmt: skip
    return rows


def told(low: float, high: float) -> bool | None:
    """Whether the target is met; None where it lies within what is not known.

    A gain is none of the guard's: where it is certain, the two processes differ by more than what is asked about.
    """
    if high < 0:
        return None
    return True if high <= 0.01 else False if low > 0.01 else None


ROWS = {"callback": callback, "training": training}
