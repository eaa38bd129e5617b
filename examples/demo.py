"""Trains three real PaddleNLP runs on one corpus, and shows the cliff at the start of the last data epoch.

separated  the host's order: the last data epoch is shuffled apart, and the loss falls off a cliff where it starts
unified    all planned samples in one order, from the start: no cliff
resumed    separated, stopped at half of the first epoch, resumed unified: no cliff, and no jump at the resume

Everything is real: English text from the standard library, a byte-pair tokenizer trained on it, PaddleNLP's (or
PaddleFormers') corpus format, sample index, sampler and Trainer, and VisualDL. Nothing is downloaded.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")  # paddle's own start-up lines

import paddle
from rich.console import Console
from rich.table import Table

from corpus import Corpus, write_corpus
from figures import draw_runs
from hosts import CPU_ARGUMENTS, logger
from models import HashedNgramLM, tiny_llama
from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.cli.app import run as run_command
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.description import split_documents
from pretraining import PreTrainingArguments, PretrainingTrainer, StopAt, build_datasets, collate
from runlog import jump_at, read_scalar, verdict_at

SEQ_LENGTH = 32
BATCH = 8
EPOCHS = 1.45
SEED = 42
SPLIT = "95,5,0"
EVAL_SAMPLES, EVAL_STEPS = 64, 10
RUNS = ("separated", "unified", "resumed")
LEARNING_RATES = {"ngram": 1e-2, "llama": 3e-3}


def main() -> None:
    """Runs the demo from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        choices=sorted(LEARNING_RATES),
        default="ngram",
        help="ngram: a hashed n-gram model that memorises within an epoch (default). "
        "llama: PaddleNLP's LlamaForCausalLM, tiny; on a CPU it learns too slowly to show much of a cliff.",
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where everything goes")
    options = parser.parse_args()

    console = Console()
    for old in ("data", "runs", "logs"):
        shutil.rmtree(options.output / old, ignore_errors=True)
    corpus = write_corpus(options.output / "data")
    logger.set_level("WARNING")  # one line a step otherwise, beside the progress bar

    steps_per_epoch = count_train_tokens(corpus) / SEQ_LENGTH / BATCH
    max_steps, half_epoch = int(EPOCHS * steps_per_epoch), int(0.5 * steps_per_epoch)
    for name in RUNS:
        console.rule(f"run: {name}")
        mode = "unified" if name == "unified" else "track"
        if name == "resumed":
            train(corpus, options, name, max_steps, "track", stop_at=half_epoch)
            console.print(f"stopped at step {half_epoch}; resuming with --epoch_guard unified")
            train(corpus, options, name, max_steps, "unified", resume_from=half_epoch)
        else:
            train(corpus, options, name, max_steps, mode)

    summary = {"model": options.model, "seed": SEED, **summarise(options.output, half_epoch)}
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(result_table(summary))
    compare_runs(console, options.output)
    console.print("Written: summary.json and loss.png in", str(options.output), soft_wrap=True)
    console.print(f"Reports: {options.output / 'runs'}/*/epoch_guard_report.html", soft_wrap=True)
    console.print(
        f"Look at the log: {Path(sys.prefix).name}/bin/paddle-epoch-guard view {options.output / 'logs'} --port 8040",
        soft_wrap=True,
    )


def compare_runs(console: Console, output: Path) -> None:
    """Which of the runs is better, as the command tells it."""
    call = ["compare", *(str(output / "logs" / name) for name in RUNS)]
    call += ["--html", str(output / "compare.html"), "--png", str(output / "compare.png")]
    console.rule(" ".join(["paddle-epoch-guard", *call[:4], "…"]))
    run_command(call)


def train(
    corpus: Corpus, options: argparse.Namespace, name: str, max_steps: int, mode: str, *, stop_at=0, resume_from=0
) -> None:
    """One run, or a part of it that is stopped or resumed."""
    args = PreTrainingArguments(
        output_dir=str(options.output / "runs" / name),
        logging_dir=str(options.output / "logs" / name),
        max_steps=max_steps,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATES[options.model],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=["visualdl"],
        evaluation_strategy="steps",
        eval_steps=EVAL_STEPS,
        prediction_loss_only=True,
        seed=SEED,
        epoch_guard=mode,
        **CPU_ARGUMENTS,
    )
    dataset, held_out = build_datasets([corpus.prefix], args, SEQ_LENGTH, split=SPLIT, valid_samples=EVAL_SAMPLES)
    callbacks = [EpochGuardCallback()]
    if stop_at:
        callbacks.insert(0, StopAt(stop_at))
    # A checkpoint is found by the names of parameters, which a new process counts from 0 on.
    with paddle.utils.unique_name.guard():
        paddle.seed(SEED)
        ngram = options.model == "ngram"
        trainer = PretrainingTrainer(
            model=HashedNgramLM(corpus.vocab_size) if ngram else tiny_llama(corpus.vocab_size, SEQ_LENGTH),
            args=args,
            train_dataset=dataset,
            eval_dataset=held_out,
            data_collator=collate,
            callbacks=callbacks,
        )
        checkpoint = Path(args.output_dir) / f"checkpoint-{resume_from}"
        trainer.train(resume_from_checkpoint=str(checkpoint) if resume_from else None)


def count_train_tokens(corpus: Corpus) -> int:
    """Tokens of one data epoch of the training split."""
    sizes = read_sizes(corpus.prefix)
    return count_tokens(sizes, *split_documents(SPLIT, "train", len(sizes)))


def summarise(output: Path, half_epoch: int) -> dict:
    """What the runs' logs say of the boundary and of the resume; draws the picture."""
    logs = output / "logs"
    losses = {name: read_scalar(logs / name, "train/loss") for name in RUNS}
    evaluations = {name: read_scalar(logs / name, "eval/loss") for name in RUNS}
    tags = ("data_epoch", "exposure", "loss_fresh", "loss_repeat")
    found = {
        tag: {name: read_scalar(logs / name / "epoch_guard", f"epoch_guard/{tag}") for name in RUNS} for tag in tags
    }
    data_epochs, exposures = found["data_epoch"], found["exposure"]
    marker = logs / "separated" / "epoch_guard" / "boundary_1_to_2"
    boundary = int(read_scalar(marker, "train/loss").steps[0])
    epoch = data_epochs["separated"]
    # A step that draws from both sides belongs to neither.
    mixed = float(epoch.values[epoch.steps == boundary][0]) % 1.0 != 0.0

    sides = boundary - 1, boundary + mixed
    summary = {}
    for name, loss in losses.items():
        summary[name] = {
            "boundary_step": boundary,
            **jump_at(loss, *sides),
            "fresh_after": found["loss_fresh"][name].sides(*sides)[1],
            "repeat_after": found["loss_repeat"][name].sides(*sides)[1],
            **verdict_at(loss, evaluations[name], exposures[name], *sides),
        }
    at_resume = {name: jump_at(losses[name], half_epoch, half_epoch + 1)["jump"] for name in RUNS}
    summary["resumed"] |= {
        "resume_step": half_epoch,
        "jump_at_resume": at_resume["resumed"],
        "separated_jump_at_resume": at_resume["separated"],
        "verdict_at_resume": verdict_at(
            losses["resumed"], evaluations["resumed"], exposures["resumed"], half_epoch, half_epoch + 1
        )["verdict"],
    }
    draw_runs(output / "loss.png", losses, data_epochs, boundary + mixed, half_epoch + 1)
    return summary


def result_table(summary: dict) -> Table:
    """The summary, for the screen."""
    resumed = summary["resumed"]
    table = Table(
        title="Training loss (nats per token), means over 30 steps on each side of the boundary "
        f"(step {resumed['boundary_step']})",
        caption="exposure: how often the tokens drawn were drawn before, on both sides of the boundary. fresh, "
        "repeat: loss after it of samples never drawn before, and of the others.\n"
        f"At the resume (step {resumed['resume_step']}): jump {resumed['jump_at_resume']:+.3f}, the separated run's "
        f"there {resumed['separated_jump_at_resume']:+.3f}; verdict: {resumed['verdict_at_resume']}.",
        caption_justify="left",
    )
    for column in ("run", "before", "after", "jump", "exposure", "fresh", "repeat", "verdict"):
        table.add_column(column, justify="left" if column in ("run", "verdict") else "right", no_wrap=True)
    for name in RUNS:
        run = summary[name]
        table.add_row(
            name,
            *(f"{run[key]:.3f}" for key in ("loss_before", "loss_after", "jump")),
            f"{run['exposure_before']:.2f} {run['exposure_after']:.2f}",
            *("-" if run[key] is None else f"{run[key]:.3f}" for key in ("fresh_after", "repeat_after")),
            run["verdict"],
        )
    return table


if __name__ == "__main__":
    main()
