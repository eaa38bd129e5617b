"""``inspect``: the facts of a plan, from a built index."""

from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.options import CacheArgument, HashOption, PrefixOption
from paddle_epoch_guard.cli.output import (
    JsonFlag,
    draws_rows,
    exposure_row,
    layout_rows,
    print_json,
    print_table,
    say,
)


def inspect(
    cache: CacheArgument,
    digest: HashOption = None,
    prefix: PrefixOption = None,
    global_batch: Annotated[
        int | None,
        typer.Option(
            metavar="SAMPLES", min=1, help="Samples per step: batch per device x accumulation x data-parallel ranks."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a built index draws, and verify its description, arrays and corpus against each other.

    Read the caches of PaddleNLP, PaddleFormers and megatron-core (0.12 to 0.16), of one dataset or a blend, and those
    that 'rebuild' has written.

    \b
    Example:
      paddle-epoch-guard inspect data/index-cache --global-batch 256
    """
    # Not needed for --help: numpy takes a quarter of a second to import.
    from paddle_epoch_guard.cli.built_index_facts import facts_of_index
    from paddle_epoch_guard.cli.corpus_notes import notes_of_index
    from paddle_epoch_guard.index.folder import choose
    from paddle_epoch_guard.index.from_files import open_index
    from paddle_epoch_guard.order.materialise import host_order, read_note

    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    facts = facts_of_index(opened, read_note(files.note), global_batch)
    facts["notes"] = notes_of_index(opened)
    if as_json:
        print_json(facts)
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    for dataset in facts.get("datasets", [facts]):
        print_table(_rows(dataset), title=dataset["prefix"])
    for order in facts["unified"]:
        say(
            f"unified from position {order['from_position']:,} to {order['to_position']:,}: mix {order['mix']}, "
            f"seed {order['seed']}"
        )
    if "datasets" in facts:
        position = facts["boundary_position"]
        first = "no boundary is reached" if position is None else f"the first boundary is at position {position:,}"
        say(f"blend of {len(facts['datasets'])}, {facts['samples_built']:,} positions: {first}")
    say(
        f"{facts['format']} index {facts['hash']} ({facts['name']}): description, arrays and corpus fit each other, "
        f"arrays read {facts['verified']}"
    )
    for note in facts["notes"]:
        say(f"note: {note}")


def _rows(dataset: dict[str, Any]) -> list[tuple[str, str]]:
    share = dataset["last_epoch_samples"] / max(dataset["samples_per_epoch"], 1)
    rows = [
        *layout_rows(dataset),
        (
            "of the last one",
            f"{dataset['last_epoch_samples']:,} samples, {share:.0%}" if dataset["num_epochs"] > 1 else "all",
        ),
        ("shuffled separately", _separation(dataset)),
    ]
    if dataset["boundary_position"] is not None:
        step = "" if dataset["boundary_step"] is None else f", step {dataset['boundary_step']:,}"
        rows += [
            ("boundary", f"position {dataset['boundary_position']:,}{step}"),
            exposure_row(dataset),
        ]
    elif dataset["separated"]:
        rows.append(("boundary", "beyond the end of the blend"))
    else:
        rows += draws_rows(dataset)
    rows.append(("never drawn", f"{dataset['unseen_fraction']['planned']:.2%} of the data"))
    return rows


def _separation(dataset: dict[str, Any]) -> str:
    if dataset["follows_threshold"]:
        return "yes" if dataset["separated"] else "no: there is no cliff"
    if dataset["separated"]:
        return "yes, though it is 80% or more: built with another threshold"
    return "no, though it is below 80%: built with another threshold. There is no cliff"
