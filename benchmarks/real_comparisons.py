"""Compares real runs in the demo's size whose truth is known, and prints what `compare` says of each pair.

The truth is the evaluation loss on a large held-out part: a fifth of the corpus, about 850 samples, of documents in a
random order. `compare` sees the runs' own records: their training losses, and evaluations on that part.

    python benchmarks/real_comparisons.py --output /tmp/real-comparisons   # about ten minutes

Training takes the time: runs that are there already are read again.
"""

import argparse
import os
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "examples")]

import paddle
from rich.console import Console
from rich.table import Table

from corpus import Corpus, help_topics, write_corpus
from hosts import CPU_ARGUMENTS, logger
from models import HashedNgramLM
from paddle_epoch_guard import EpochGuardCallback, compare
from paddle_epoch_guard.comparison.compare import Comparison
from paddle_epoch_guard.comparison.texts import difference_text
from pretraining import PreTrainingArguments, PretrainingTrainer, build_datasets, collate

SEQ_LENGTH, BATCH, STEPS, SPLIT = 32, 8, 600, "80,20,0"
HELD_OUT = 850  # samples


@dataclass(frozen=True)
class Setting:
    """A run."""

    name: str
    order: str = "track"
    seed: int = 42
    init: int = 42
    learning_rate: float = 1e-2
    batch: int = BATCH
    steps: int = STEPS
    corpus: str = "text"


BASE = Setting("separated")
SETTINGS = (
    BASE,
    replace(BASE, name="other-init", init=7),
    replace(BASE, name="other-seed", init=7, seed=7),
    replace(BASE, name="half-rate", learning_rate=5e-3),
    replace(BASE, name="unified", order="unified"),
    replace(BASE, name="unified-half-rate", order="unified", learning_rate=5e-3),
    replace(BASE, name="double-batch", batch=2 * BATCH, steps=STEPS // 2),
    replace(BASE, name="other-corpus", corpus="half"),
)
PAIRS = (
    ("separated", "other-init", {"last": 100}),
    ("separated", "other-init", {"at": 400, "last": 100}),
    ("separated", "other-seed", {"at": 400, "last": 100}),
    ("separated", "other-seed", {"last": 100}),
    ("separated", "half-rate", {"at": 400, "last": 100}),
    ("separated", "half-rate", {"last": 100}),
    ("unified", "unified-half-rate", {"last": 100}),
    ("separated", "unified", {"at": 400, "last": 100}),
    ("separated", "unified", {"last": 100}),
    ("separated", "double-batch", {"at": 400, "last": 100}),
    ("separated", "double-batch", {"last": 100}),
    ("separated", "other-corpus", {"last": 100}),
)
"""Two runs, and the place: before the separated run's boundary, or behind it."""


def main() -> None:
    """Trains what is missing, compares, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("real-comparisons"), help="where the runs go")
    options = parser.parse_args()
    logger.set_level("WARNING")
    texts = help_topics()
    random.Random(1).shuffle(texts)
    corpora = {
        "text": write_corpus(options.output / "data", documents=texts),
        "half": write_corpus(options.output / "half", documents=texts[: len(texts) // 2]),
    }
    for setting in SETTINGS:
        if not (options.output / "logs" / setting.name / "epoch_guard" / "vdlrecords.epoch_guard.log").exists():
            train(setting, corpora[setting.corpus], options.output)
    table = Table(title="first run minus second, nats per token, with 95 % intervals")
    for column in ("pair", "steps", "raw", "fresh", "evaluation (the truth)", "verdict", "by"):
        table.add_column(column, no_wrap=column == "pair")
    for one, other, place in PAIRS:
        table.add_row(*row(compare(*(options.output / "logs" / name for name in (one, other)), **place)))
    Console(width=170).print(table)


def row(comparison: Comparison) -> tuple[str, ...]:
    """A line of the table."""
    (pair,) = comparison.pairs
    place, estimates = comparison.place, pair.estimates
    return (
        f"{pair.one.name} \u2212 {pair.other.name}",
        f"{place.first_step} to {place.last_step}",
        difference_text(estimates.raw),
        difference_text(estimates.fresh),
        difference_text(estimates.evaluation),
        pair.judgement.verdict,
        pair.judgement.measure or pair.judgement.reason,
    )


def train(setting: Setting, corpus: Corpus, output: Path) -> None:
    """Trains one run."""
    args = PreTrainingArguments(
        output_dir=str(output / "runs" / setting.name),
        logging_dir=str(output / "logs" / setting.name),
        max_steps=setting.steps,
        per_device_train_batch_size=setting.batch,
        per_device_eval_batch_size=32,
        learning_rate=setting.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=["visualdl"],
        evaluation_strategy="steps",
        eval_steps=20 * setting.steps // STEPS,
        prediction_loss_only=True,
        seed=setting.seed,
        disable_tqdm=True,
        epoch_guard=setting.order,
        epoch_guard_report=False,
        **CPU_ARGUMENTS,
    )
    dataset, held_out = build_datasets(
        [corpus.prefix], args, SEQ_LENGTH, split=SPLIT, cache=output / "cache" / setting.name, valid_samples=HELD_OUT
    )
    with paddle.utils.unique_name.guard():
        paddle.seed(setting.init)
        trainer = PretrainingTrainer(
            model=HashedNgramLM(corpus.vocab_size),
            args=args,
            train_dataset=dataset,
            eval_dataset=held_out,
            data_collator=collate,
            callbacks=[EpochGuardCallback()],
        )
        trainer.train()


if __name__ == "__main__":
    main()
