"""Real runs in the demo's size: its model and settings, with a fifth of the corpus held out.

The documents are in a random order, so that what is held out is like what is trained on.
"""

import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "examples")]

import paddle

from corpus import Corpus, help_topics, write_corpus
from hosts import CPU_ARGUMENTS, logger
from models import HashedNgramLM
from paddle_epoch_guard import EpochGuardCallback
from pretraining import PreTrainingArguments, PretrainingTrainer, StopAt, build_datasets, collate
from runlog import read_scalar

__all__ = ["BATCH", "STEPS", "Setting", "is_trained", "read_scalar", "train", "write_text"]

SEQ_LENGTH, BATCH, STEPS, SPLIT = 32, 8, 600, "80,20,0"
HELD_OUT = 850  # samples
_EVALUATIONS = 30


@dataclass(frozen=True)
class Setting:
    """A run.

    Attributes:
        name: of its folders.
        order: the guard's mode.
        seed: of the data order.
        init: seed of the model.
        learning_rate: constant.
        batch: samples a step.
        steps: planned.
        corpus: name of its corpus.
        unified_from: step after which the run is stopped and resumed in unified order; 0 for never.
    """

    name: str
    order: str = "track"
    seed: int = 42
    init: int = 42
    learning_rate: float = 1e-2
    batch: int = BATCH
    steps: int = STEPS
    corpus: str = "text"
    unified_from: int = 0


def write_text(folder: Path, share: float = 1.0) -> Corpus:
    """The demo's corpus with its documents in a random order.

    Args:
        folder: where it goes.
        share: of the documents, in (0, 1].
    """
    texts = help_topics()
    random.Random(1).shuffle(texts)
    return write_corpus(folder, documents=texts[: int(share * len(texts))])


def is_trained(setting: Setting, output: Path) -> bool:
    """Whether a run's log is there."""
    return (output / "logs" / setting.name / "epoch_guard" / "vdlrecords.epoch_guard.log").exists()


def train(setting: Setting, corpus: Corpus, output: Path) -> None:
    """Trains a run."""
    logger.set_level("ERROR")
    if setting.unified_from:
        _train(setting, corpus, output, setting.order, stop_at=setting.unified_from)
        _train(setting, corpus, output, "unified", resume_from=setting.unified_from)
    else:
        _train(setting, corpus, output, setting.order)


def _train(
    setting: Setting, corpus: Corpus, output: Path, order: str, *, stop_at: int = 0, resume_from: int = 0
) -> None:
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
        eval_steps=setting.steps // _EVALUATIONS,
        prediction_loss_only=True,
        seed=setting.seed,
        disable_tqdm=True,
        epoch_guard=order,
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
            callbacks=[*([StopAt(stop_at)] if stop_at else []), EpochGuardCallback()],
        )
        checkpoint = Path(args.output_dir) / f"checkpoint-{resume_from}"
        trainer.train(resume_from_checkpoint=str(checkpoint) if resume_from else None)
