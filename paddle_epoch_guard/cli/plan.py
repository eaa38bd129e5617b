"""``plan``: what a run will draw, from the corpus alone, before anything is built."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.output import (
    JsonFlag,
    draws_rows,
    exposure_row,
    layout_rows,
    print_json,
    print_table,
    print_text,
    say,
)
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.terminal import joined

if TYPE_CHECKING:
    from paddle_epoch_guard.cli.planning import Run


SETTINGS = {"ignore_unknown_options": True}
"""Options that are unknown here may be the training script's own; `run_config` refuses the others."""
REACHED = 4
"""The exit status with --fail-on-boundary."""


def plan(  # noqa: PLR0913 - its options
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PREFIX…]",
            help="Path of the corpus without .idx or .bin; for a blend: WEIGHT PREFIX WEIGHT PREFIX …. By default the "
            "input_dir of --config.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON or YAML file of the run, as its training script reads it. Flags in the script's own spelling "
            "(--max_steps 1000, --per_device_train_batch_size 4) win over the file.",
        ),
    ] = None,
    devices: Annotated[
        int, typer.Option(metavar="N", min=1, help="All devices of the run, with --config or the script's own flags.")
    ] = 1,
    seq_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", min=1, help="Tokens of a sample (max_seq_length).")
    ] = None,
    global_batch: Annotated[
        int | None,
        typer.Option(
            metavar="SAMPLES",
            min=1,
            help="Samples per step: batch per device x accumulation x data-parallel ranks.",
        ),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(metavar="STEPS", min=1, help="Optimizer steps of the run.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="SHARES", help="Shares of train, valid and test. [default: 949,50,1]")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="SEED",
            min=0,
            max=(1 << 32) - 1,
            help="Seed of the run; nothing that plan prints depends on it.",
        ),
    ] = 42,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=2,
            help="Share of a data epoch below which the host shuffles the last one apart.",
        ),
    ] = 0.8,
    trial_steps: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            min=1,
            help="Steps of a shorter trial, such as one of a sweep: tell whether it repeats the data as often as the "
            "run, and how many documents to train it on so that it does.",
        ),
    ] = None,
    trial_batch: Annotated[
        int | None,
        typer.Option(metavar="SAMPLES", min=1, help="Samples per step of the trial. [default: --global-batch]"),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a picture of the exposure to this file: PNG.")
    ] = None,
    fail_on_boundary: Annotated[
        bool,
        typer.Option("--fail-on-boundary", help="End with exit status 4 if the run reaches a boundary; for scripts."),
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Show what a run will draw, before anything is built.

    Read the corpus only. Show the data epochs, whether the last one is shuffled separately and at which step it
    begins, how often the data was seen before and after that, what a unified order would change, which max_steps have
    no cliff, and what repeated data is worth. The run is described by the options, or by its own file and flags. With
    --trial-steps, show whether a shorter trial repeats the data as
    often as the run, and the share of the documents that makes it do so.

    \b
    Example:
      paddle-epoch-guard plan data/text --seq-length 2048 --global-batch 256 --max-steps 20000

    \b
    The same from the run's own configuration, on eight devices:
      paddle-epoch-guard plan --config pretrain.json --max_steps 20000 --devices 8
    """
    # Not needed for --help: numpy takes a quarter of a second to import.
    from paddle_epoch_guard.cli.corpus_notes import document_list_notes, empty_split_notes
    from paddle_epoch_guard.cli.planning import facts_of_run, run_of
    from paddle_epoch_guard.cli.run_config import RunOptions, asked_run
    from paddle_epoch_guard.cli.trial import trial_facts

    if trial_batch is not None and trial_steps is None:
        raise ArgumentsError(f"--trial-batch {trial_batch} without a trial; expected --trial-steps. Add it")
    if png is not None and png.suffix.lower() != ".png":
        raise ArgumentsError(f"--png {png}: expected a file name that ends in .png")
    asked = asked_run(data or [], config, devices, RunOptions(seq_length, global_batch, max_steps, split), _options())
    max_steps, split = asked.max_steps, asked.split
    run = replace(run_of(asked.data, split, asked.seq_length, asked.global_batch, max_steps), threshold=threshold)
    trial = None if trial_steps is None else trial_facts(run, max_steps, trial_steps, trial_batch)
    facts = facts_of_run(run, max_steps) | {"seed": seed, "split": split, "trial": trial}
    facts["notes"] = document_list_notes([dataset.prefix for dataset in run.datasets])
    for dataset in run.datasets:
        facts["notes"] += empty_split_notes(dataset.prefix, split, dataset.all_documents)
    facts["warnings"] = run.warnings
    if png is not None:
        from paddle_epoch_guard.cli.plan_picture import draw_plan

        draw_plan(png, run, facts)
    if as_json:
        print_json(facts)
        return REACHED if fail_on_boundary and facts["boundary_step"] is not None else 0
    _show(run, facts)
    if trial is not None:
        _show_trial(trial, max_steps)
    for note in facts["notes"]:
        print_text(f"note: {note}")
    if png is not None:
        say(f"picture: {png}")
    return REACHED if fail_on_boundary and facts["boundary_step"] is not None else 0


def _options() -> list[str]:
    """The names of all options."""
    return [f"--{name.replace('_', '-')}" for name in inspect.signature(plan).parameters if name != "data"]


def _show(run: "Run", facts: dict[str, Any]) -> None:
    for warning in facts["warnings"]:
        print_text(f"warning: {warning}")
    for dataset in facts.get("datasets", [facts]):
        print_table(_rows(dataset, facts["max_steps"]), title=dataset["prefix"])
    if run.blended:
        step = facts["boundary_step"]
        first = "no boundary is reached" if step is None else f"the first boundary is reached at step {step:,}"
        say(f"blend of {len(run.datasets)}: {first} of {facts['max_steps']:,}")
        if any(_repeats(dataset) for dataset in facts["datasets"]):
            worth = _told_of_worth(facts["worth_as_fresh"])
            print_text(f"worth as fresh data: {worth}, each dataset by its own repetition")
        for line in _told_of_corpora(run, facts):
            say(line)
    if facts["separated"]:
        from paddle_epoch_guard.cli.plan_picture import print_plan

        print_plan(run, facts)
    if facts["advice"]:
        say("without a cliff:" if facts["separated"] else "other lengths without a cliff:")
        for advice in facts["advice"]:
            say(f"  --max-steps {advice['max_steps']}: {advice['why']}")
    if facts["separated"]:
        say("or, with these max_steps: --epoch_guard unified")


def _show_trial(trial: dict[str, Any], max_steps: int) -> None:
    from paddle_epoch_guard.cli.trial import HEAD, trial_rows, trial_sentences

    print_table(trial_rows(trial), f"a trial: --max-steps {trial['max_steps']} instead of {max_steps}", HEAD)
    for sentence in trial_sentences(trial):
        print_text(sentence)


_FALLS = {
    "likely": "the training loss will likely fall there, by how much depends on the model",
    "small": "the training loss may fall a little there; the data was seen before already",
    "slight": "the training loss will hardly fall there; the data was seen several times already",
}


def _repeats(dataset: dict[str, Any]) -> bool:
    return bool(dataset["data_epochs"] > 1)


def _told_of_worth(worth: dict[str, Any]) -> str:
    share = worth["tokens"] / worth["drawn"]
    return (
        f"{round(worth['tokens']):,} of {worth['drawn']:,} tokens drawn ({share:.1%}), the next one "
        f"{worth['next_token']:.0%} of a fresh one, by Muennighoff et al. (2023)"
    )


def _told_of_corpora(run: "Run", facts: dict[str, Any]) -> list[str]:
    """A line for each corpus that is listed several times, and for each pair that may be one corpus."""
    lines = []
    for group in facts["same_corpora"]:
        epochs = f"data epochs add up to {group['data_epochs']:.2f}"
        if group["same_order"]:
            epochs += ". They draw the same samples in the same order, so data is repeated from early on"
        names = list(dict.fromkeys(group["prefixes"]))
        if len(names) == 1:
            lines.append(f"{names[0]} is listed {len(group['prefixes'])} times: its {epochs}")
        else:
            lines.append(f"{joined(names)} are the same corpus: their {epochs}")
    for pair in run.corpora.unsure:
        first, second = (run.datasets[number].prefix for number in pair)
        lines.append(
            f"{first} and {second} have the same document sizes. The text of one cannot be read, to be compared"
        )
    return lines


def _rows(dataset: dict[str, Any], max_steps: int) -> list[tuple[str, str]]:
    rows = layout_rows(dataset)
    if "weight" in dataset:
        rows.insert(0, ("share of the blend", f"{dataset['weight']:.2%}"))
    if dataset["num_epochs"] > 1:
        share = dataset["last_epoch_samples"] / max(dataset["samples_per_epoch"], 1)
        needed = (
            f"from {dataset['threshold_samples']:,} ({dataset['threshold']:.0%}) on it is shuffled with the others"
        )
        rows.append(("of the last one", f"{dataset['last_epoch_samples']:,} samples, {share:.1%}; {needed}"))
    if dataset["boundary_position"] is not None:
        about = "" if dataset.get("boundary_is_exact", True) else "about "
        step = f"{about}step {dataset['boundary_step']:,} of {max_steps:,}"
        rows += [
            ("shuffled separately", f"yes: {_FALLS[dataset['expected_fall']]}"),
            ("boundary", f"{step}, position {dataset['boundary_position']:,}"),
            exposure_row(dataset),
            ("with a unified order", f"{dataset['unified_exposure']:.2f} on both sides"),
        ]
    elif dataset["separated"]:
        rows.append(("shuffled separately", "yes, but the blend does not reach it: there is no cliff"))
    else:
        rows += [("shuffled separately", "no: there is no cliff"), *draws_rows(dataset)]
    unseen = dataset["unseen_fraction"]
    never = f"{unseen['planned']:.2%} of the data"
    never += "" if unseen["all"] == unseen["planned"] else f"; {unseen['all']:.2%} with --epoch_guard_pool all"
    rows.append(("never drawn", never))
    if _repeats(dataset):
        rows.append(("worth as fresh data", _told_of_worth(dataset["worth_as_fresh"])))
    return rows
