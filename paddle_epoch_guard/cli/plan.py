"""``plan``: what a run will draw, from the corpus alone, before anything is built."""

import inspect
from dataclasses import replace
from enum import Enum
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
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.terminal import joined

if TYPE_CHECKING:
    from paddle_epoch_guard.cli.planned_run import Run


SETTINGS = {"ignore_unknown_options": True}
"""Options that are unknown here may be the training script's own; `run_config` refuses the others."""
REACHED = 4
"""The exit status with --fail-on-boundary."""


class Host(str, Enum):
    """The hosts of `cli.host_rules`, whose import takes numpy."""

    paddlenlp = "paddlenlp"
    paddleformers = "paddleformers"
    megatron = "megatron"


def plan(  # noqa: PLR0913 - its options
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PREFIX…]",
            help="Path of the corpus without .idx or .bin; for a blend: WEIGHT PREFIX WEIGHT PREFIX …. By default the "
            "input_dir of --config.",
        ),
    ] = None,
    host: Annotated[
        Host,
        typer.Option(
            metavar="paddlenlp|paddleformers|megatron",
            help="The library that builds the index. They divide the documents between the splits, and round the "
            "parts of a blend, differently.",
        ),
    ] = Host.paddlenlp,
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
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Shares of train, valid and test. [default: that of --host: 949,50,1, 950,50 or 969,30,1]",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",  # else typer 0.27 takes --SEED, the metavar, for it
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
    from paddle_epoch_guard.cli.host_rules import HOSTS
    from paddle_epoch_guard.cli.planned_run import run_of
    from paddle_epoch_guard.cli.planning import facts_of_run
    from paddle_epoch_guard.cli.run_config import RunOptions, asked_run
    from paddle_epoch_guard.cli.trial import trial_facts

    if trial_batch is not None and trial_steps is None:
        raise ArgumentsError(
            tr("--trial-batch {batch} without a trial; expected --trial-steps. Add it", batch=trial_batch)
        )
    if png is not None and png.suffix.lower() != ".png":
        raise ArgumentsError(tr("--png {path}: expected a file name that ends in .png", path=png))
    rules = HOSTS[host.value]
    asked = asked_run(
        data or [], config, devices, RunOptions(seq_length, global_batch, max_steps, split), rules, _options()
    )
    max_steps, split = asked.max_steps, asked.split
    run = run_of(asked.data, split, asked.seq_length, asked.global_batch, max_steps, rules)
    run = replace(run, threshold=threshold)
    trial = None if trial_steps is None else trial_facts(run, max_steps, trial_steps, trial_batch)
    facts = facts_of_run(run, max_steps) | {"seed": seed, "split": split, "trial": trial}
    documents = [(dataset.prefix, dataset.all_documents) for dataset in run.datasets]
    facts["notes"] = document_list_notes([prefix for prefix, _ in documents])
    facts["notes"] += empty_split_notes(documents, split, rules)
    facts["warnings"] = [*asked.warnings, *run.warnings(max_steps)]
    if png is not None:
        from paddle_epoch_guard.cli.plan_picture import draw_plan

        draw_plan(png, run, facts)
    if as_json:
        print_json(facts)
        return REACHED if fail_on_boundary and facts["boundary_step"] is not None else 0
    if asked.is_configured:
        print_text(
            tr(
                "the run: {steps:,} steps of {batch:,} samples of {length:,} tokens; split {split}",
                steps=asked.max_steps,
                batch=asked.global_batch,
                length=asked.seq_length,
                split=asked.split,
            )
        )
    _show(run, facts)
    if trial is not None:
        _show_trial(trial, max_steps)
    for note in facts["notes"]:
        print_text(tr("note: {note}", note=note))
    if png is not None:
        say(tr("picture: {path}", path=png))
    return REACHED if fail_on_boundary and facts["boundary_step"] is not None else 0


def _options() -> list[str]:
    """The names of all options."""
    return [f"--{name.replace('_', '-')}" for name in inspect.signature(plan).parameters if name != "data"]


def _show(run: "Run", facts: dict[str, Any]) -> None:
    for warning in facts["warnings"]:
        print_text(tr("warning: {warning}", warning=warning))
    for dataset in facts.get("datasets", [facts]):
        print_table(_rows(dataset, facts["max_steps"], run.rules.is_guarded), title=dataset["prefix"])
    if run.blended:
        say(_told_of_blend(len(run.datasets), facts["boundary_step"], facts["max_steps"]))
        if any(_repeats(dataset) for dataset in facts["datasets"]):
            worth = _told_of_worth(facts["worth_as_fresh"])
            print_text(tr("worth as fresh data: {worth}, each dataset by its own repetition", worth=worth))
        for line in _told_of_corpora(run, facts):
            say(line)
    if facts["separated"]:
        from paddle_epoch_guard.cli.plan_picture import print_plan

        print_plan(run, facts)
    if facts["advice"]:
        say(tr("without a cliff:") if facts["separated"] else tr("other lengths without a cliff:"))
        for advice in facts["advice"]:
            say(tr("  --max-steps {steps}: {why}", steps=advice["max_steps"], why=advice["why"]))
    if facts["separated"]:
        say(tr(_OTHERWISE[run.rules.is_guarded]))


_OTHERWISE = {
    True: mark("or, with these max_steps: --epoch_guard unified"),
    False: mark("or, with these max_steps: paddle-epoch-guard rebuild, once the host has built its index"),
}
"""By whether the host's trainer takes the guard."""


def _told_of_blend(datasets: int, boundary: int | None, max_steps: int) -> str:
    values = {"datasets": datasets, "max_steps": max_steps}
    if boundary is None:
        return tr("blend of {datasets}: no boundary is reached within {max_steps:,} steps", **values)
    values["step"] = boundary
    return tr("blend of {datasets}: the first boundary is reached at step {step:,} of {max_steps:,}", **values)


def _show_trial(trial: dict[str, Any], max_steps: int) -> None:
    from paddle_epoch_guard.cli.trial import HEAD, trial_rows, trial_sentences

    lengths = {"steps": trial["max_steps"], "max_steps": max_steps}
    title = tr("a trial: --max-steps {steps} instead of {max_steps}", **lengths)
    print_table(trial_rows(trial), title, [tr(name) for name in HEAD])
    for sentence in trial_sentences(trial):
        print_text(sentence)


_FALLS = {
    "likely": mark("yes: the training loss will likely fall there, by how much depends on the model"),
    "small": mark("yes: the training loss may fall a little there; the data was seen before already"),
    "slight": mark("yes: the training loss will hardly fall there; the data was seen several times already"),
}


def _repeats(dataset: dict[str, Any]) -> bool:
    return bool(dataset["data_epochs"] > 1)


def _told_of_worth(worth: dict[str, Any]) -> str:
    return tr(
        "{tokens:,} of {drawn:,} tokens drawn ({share:.1%}), the next one {next_token:.0%} of a fresh one, by "
        "Muennighoff et al. (2023)",
        tokens=round(worth["tokens"]),
        drawn=worth["drawn"],
        share=worth["tokens"] / worth["drawn"],
        next_token=worth["next_token"],
    )


def _told_of_corpora(run: "Run", facts: dict[str, Any]) -> list[str]:
    """A line for each corpus that is listed several times, and for each pair that may be one corpus."""
    lines = []
    for group in facts["same_corpora"]:
        names = list(dict.fromkeys(group["prefixes"]))
        text = _SAME[len(names) == 1, group["same_order"]]
        values = {"names": joined(names), "times": len(group["prefixes"]), "epochs": group["data_epochs"]}
        lines.append(tr(text, **values))
    for pair in run.corpora.unsure:
        first, second = (run.datasets[number].prefix for number in pair)
        lines.append(
            tr(
                "{first} and {second} have the same document sizes. The text of one cannot be read, to be compared",
                first=first,
                second=second,
            )
        )
    return lines


_SAME = {
    (True, False): mark("{names} is listed {times} times: its data epochs add up to {epochs:.2f}"),
    (True, True): mark(
        "{names} is listed {times} times: its data epochs add up to {epochs:.2f}. They draw the same samples in the "
        "same order, so data is repeated from early on"
    ),
    (False, False): mark("{names} are the same corpus: their data epochs add up to {epochs:.2f}"),
    (False, True): mark(
        "{names} are the same corpus: their data epochs add up to {epochs:.2f}. They draw the same samples in the "
        "same order, so data is repeated from early on"
    ),
}
"""By whether one path is listed several times, and whether all draw the same samples in the same order."""


def _rows(dataset: dict[str, Any], max_steps: int, is_guarded: bool) -> list[tuple[str, str]]:
    rows = layout_rows(dataset)
    if "weight" in dataset:
        rows.insert(0, (tr("share of the blend"), f"{dataset['weight']:.2%}"))
    if dataset["num_epochs"] > 1:
        rows.append((tr("of the last one"), _told_of_last_epoch(dataset)))
    if dataset["boundary_position"] is not None:
        unified = tr("{exposure:.2f} on both sides", exposure=dataset["unified_exposure"])
        rows += [
            (tr("shuffled separately"), tr(_FALLS[dataset["expected_fall"]])),
            (tr("boundary"), _told_of_boundary(dataset, max_steps)),
            exposure_row(dataset),
            (tr("with a unified order"), unified),
        ]
    elif dataset["separated"]:
        rows.append((tr("shuffled separately"), tr("yes, but the blend does not reach it: there is no cliff")))
    else:
        rows += [(tr("shuffled separately"), tr("no: there is no cliff")), *draws_rows(dataset)]
    unseen = dataset["unseen_fraction"]
    rows.append((tr("never drawn"), _told_of_unseen(unseen["planned"], unseen["all" if is_guarded else "planned"])))
    if _repeats(dataset):
        rows.append((tr("worth as fresh data"), _told_of_worth(dataset["worth_as_fresh"])))
    return rows


def _told_of_last_epoch(dataset: dict[str, Any]) -> str:
    return tr(
        "{samples:,} samples, {share:.1%}; from {needed:,} ({threshold:.0%}) on it is shuffled with the others",
        samples=dataset["last_epoch_samples"],
        share=dataset["last_epoch_samples"] / max(dataset["samples_per_epoch"], 1),
        needed=dataset["threshold_samples"],
        threshold=dataset["threshold"],
    )


def _told_of_boundary(dataset: dict[str, Any], max_steps: int) -> str:
    values = {"step": dataset["boundary_step"], "max_steps": max_steps, "position": dataset["boundary_position"]}
    if dataset.get("boundary_is_exact", True):
        return tr("step {step:,} of {max_steps:,}, position {position:,}", **values)
    return tr("about step {step:,} of {max_steps:,}, position {position:,}", **values)


def _told_of_unseen(planned: float, whole: float) -> str:
    if planned == whole:
        return tr("{share:.2%} of the data", share=planned)
    return tr("{planned:.2%} of the data; {all:.2%} with --epoch_guard_pool all", planned=planned, all=whole)
