"""``inspect``: the facts of a plan, from a built index."""

from pathlib import Path
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
from paddle_epoch_guard.language import counted, tr


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
    that 'rebuild' has written. Of a cache with several training indices, show a list, the newest first.

    \b
    Example:
      paddle-epoch-guard inspect data/index-cache --global-batch 256
    """
    # Not needed for --help: numpy takes a quarter of a second to import.
    from paddle_epoch_guard.cli.built_index_facts import facts_of_index
    from paddle_epoch_guard.cli.corpus_notes import notes_of_index
    from paddle_epoch_guard.cli.index_list import in_a_line, list_facts, print_list
    from paddle_epoch_guard.index.choosing import choose, listed, meant
    from paddle_epoch_guard.index.from_files import open_index
    from paddle_epoch_guard.order.materialise import host_order, read_note

    here = listed(cache) if digest is None else []
    if len(meant(here)) > 1:
        if as_json:
            print_json({"cache": str(cache), "indices": list_facts(here)})
        else:
            title = tr("{cache}: its indices, the newest first; --hash shows one", cache=cache)
            print_list(here, title, _digests(cache))
        return
    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    facts = facts_of_index(opened, read_note(files.note), global_batch)
    facts["notes"] = notes_of_index(opened)
    others = [each for each in here if each.files != files]
    if as_json:
        print_json(facts | {"others": list_facts(others)})
        return
    _show(facts)
    if others:
        say(tr("also in this cache: {indices}. --hash shows one", indices=in_a_line(others, _digests(cache))))


def _digests(cache: Path) -> list[str]:
    """The md5s of all indices in a cache."""
    from paddle_epoch_guard.index.folder import scan

    return [files.digest for files in scan(cache).indices]


def _show(facts: dict[str, Any]) -> None:
    for dataset in facts.get("datasets", [facts]):
        print_table(_rows(dataset), title=dataset["prefix"])
    for order in facts["unified"]:
        say(tr("unified from position {from_position:,} to {to_position:,}: mix {mix}, seed {seed}", **order))
    if "datasets" in facts:
        say(_told_of_blend(len(facts["datasets"]), facts["samples_built"], facts["boundary_position"]))
    say(
        tr(
            "{format} index {hash} ({name}): description, arrays and corpus fit each other, arrays read {verified}",
            format=facts["format"],
            hash=facts["hash"],
            name=facts["name"],
            verified=tr(facts["verified"]),
        )
    )
    for note in facts["notes"]:
        say(tr("note: {note}", note=note))


def _told_of_blend(datasets: int, positions: int, boundary: int | None) -> str:
    values = {"datasets": datasets, "positions": positions}
    if boundary is None:
        return tr("blend of {datasets}, {positions:,} positions: no boundary is reached", **values)
    return tr(
        "blend of {datasets}, {positions:,} positions: the first boundary is at position {boundary:,}",
        boundary=boundary,
        **values,
    )


def _rows(dataset: dict[str, Any]) -> list[tuple[str, str]]:
    share = dataset["last_epoch_samples"] / max(dataset["samples_per_epoch"], 1)
    last = tr("all")
    if dataset["num_epochs"] > 1:
        samples = counted("{n} sample", "{n} samples", dataset["last_epoch_samples"])
        last = tr("{samples}, {share:.0%}", samples=samples, share=share)
    rows = [*layout_rows(dataset), (tr("of the last one"), last), (tr("shuffled separately"), _separation(dataset))]
    if dataset["boundary_position"] is not None:
        position, step = dataset["boundary_position"], dataset["boundary_step"]
        place = tr("position {position:,}", position=position)
        if step is not None:
            place = tr("position {position:,}, step {step:,}", position=position, step=step)
        rows += [(tr("boundary"), place), exposure_row(dataset)]
    elif dataset["separated"]:
        rows.append((tr("boundary"), tr("beyond the end of the blend")))
    else:
        rows += draws_rows(dataset)
    unseen = dataset["unseen_fraction"]["planned"]
    rows.append((tr("never drawn"), tr("{share:.2%} of the data", share=unseen)))
    return rows


def _separation(dataset: dict[str, Any]) -> str:
    if dataset["follows_threshold"]:
        return tr("yes") if dataset["separated"] else tr("no: there is no cliff")
    if dataset["separated"]:
        return tr("yes, though it is 80% or more: built with another threshold")
    return tr("no, though it is below 80%: built with another threshold. There is no cliff")
