"""Trains a real PaddleNLP run with the guard on, and shows the cliff at the start of the last data epoch.

Everything is real: English text from the standard library, a byte-pair tokenizer trained on it, PaddleNLP's
corpus format, sample index, sampler and Trainer, and VisualDL. Nothing is downloaded.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")  # paddle's own start-up lines

import paddle
from paddlenlp.utils.log import logger
from rich.console import Console
from rich.table import Table

from corpus import Corpus, write_corpus
from figures import draw_run
from models import HashedNgramLM, tiny_llama
from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.description import split_documents
from pretraining import PreTrainingArguments, PretrainingTrainer, build_datasets, collate
from runlog import jump_at, read_scalar

SEQ_LENGTH = 64
BATCH = 8
EPOCHS = 1.45
SEED = 42
SPLIT = "95,5,0"
RUNS = ("separated",)
LEARNING_RATES = {"ngram": 1e-2, "llama": 3e-3}


def main() -> None:
    """Runs the demo from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        choices=sorted(LEARNING_RATES),
        default="ngram",
        help="ngram: a hashed n-gram model that memorises within an epoch, as large transformers do (default). "
        "llama: PaddleNLP's LlamaForCausalLM, tiny; on a CPU it learns too slowly to show much of a cliff.",
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where everything goes")
    parser.add_argument("--steps", type=int, default=None, help=f"optimizer steps; default: {EPOCHS} data epochs")
    options = parser.parse_args()

    console = Console()
    for old in ("data", "runs", "logs"):
        shutil.rmtree(options.output / old, ignore_errors=True)
    corpus = write_corpus(options.output / "data")
    logger.set_level("WARNING")  # one line a step otherwise, beside the progress bar

    summary = {"model": options.model, "seed": SEED}
    for name in RUNS:
        console.rule(f"run: {name}")
        summary[name] = train(corpus, options, name)
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(result_table(summary))
    console.print("Written: summary.json and loss.png in", str(options.output), soft_wrap=True)
    console.print("Look at the log: ", f"visualdl --logdir {options.output / 'logs'} --port 8040", soft_wrap=True)


def train(corpus: Corpus, options: argparse.Namespace, name: str) -> dict:
    """One run; returns what goes into the summary."""
    args = PreTrainingArguments(
        output_dir=str(options.output / "runs" / name),
        logging_dir=str(options.output / "logs" / name),
        max_steps=options.steps or steps_for(corpus, EPOCHS),
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATES[options.model],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=["visualdl"],
        seed=SEED,
        epoch_guard="track",
    )
    paddle.seed(SEED)
    dataset, _ = build_datasets([corpus.prefix], args, SEQ_LENGTH, split=SPLIT)
    ngram = options.model == "ngram"
    trainer = PretrainingTrainer(
        model=HashedNgramLM(corpus.vocab_size) if ngram else tiny_llama(corpus.vocab_size, SEQ_LENGTH),
        args=args,
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[EpochGuardCallback()],
    )
    trainer.train()
    return summarise(Path(args.logging_dir), options.output / "loss.png")


def steps_for(corpus: Corpus, epochs: float) -> int:
    """The steps that draw so many data epochs."""
    sizes = read_sizes(corpus.prefix)
    tokens = count_tokens(sizes, *split_documents(SPLIT, "train", len(sizes)))
    return int(epochs * tokens / SEQ_LENGTH / BATCH)


def summarise(logs: Path, picture: Path) -> dict:
    """What the run's logs say of its boundary; draws the picture."""
    loss = read_scalar(logs, "train/loss")
    data_epoch = read_scalar(logs / "epoch_guard", "epoch_guard/data_epoch")
    boundaries = {
        folder.name.replace("_", " "): int(read_scalar(folder, "train/loss").steps[0])
        for folder in sorted((logs / "epoch_guard").glob("boundary_*"))
    }
    draw_run(
        picture, "The last data epoch is shuffled apart: the loss falls off a cliff", loss, data_epoch, boundaries
    )
    if not boundaries:
        return {"boundary_step": None}
    step = next(iter(boundaries.values()))
    # A step that draws from both sides belongs to neither.
    mixed = float(data_epoch.values[data_epoch.steps == step][0]) % 1.0 != 0.0
    return {"boundary_step": step, **jump_at(loss, step - 1, step + mixed)}


def result_table(summary: dict) -> Table:
    """The summary, for the screen."""
    table = Table(title="Training loss (nats per token), means over 30 steps on each side of the boundary")
    for column in ("run", "boundary step", "before", "after", "jump"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for name in RUNS:
        run = summary[name]
        numbers = (f"{run[key]:.3f}" if key in run else "-" for key in ("loss_before", "loss_after", "jump"))
        table.add_row(name, str(run["boundary_step"]), *numbers)
    return table


if __name__ == "__main__":
    main()
