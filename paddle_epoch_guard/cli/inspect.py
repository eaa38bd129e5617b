"""``inspect``: the facts of a plan, from an index that is built already."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.facts import facts_of, step_of
from paddle_epoch_guard.cli.output import JsonFlag, number, print_json, print_table
from paddle_epoch_guard.index import BlendIndex, Boundary, GPTIndex
from paddle_epoch_guard.index.folder import choose
from paddle_epoch_guard.index.opened import Opened, open_index
from paddle_epoch_guard.index.verify import WHOLE_UP_TO
from paddle_epoch_guard.order import PositionMap, Reorder
from paddle_epoch_guard.order.materialise import host_order, read_note

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="Folder of the index: index-cache, data_cache_path, path_to_cache.")
]
HashOption = Annotated[
    str | None,
    typer.Option("--hash", help="The md5 that names the index's files, or its beginning; where there are several."),
]
PrefixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prefix",
        help="Where the corpus lies, without .idx or .bin, if not where the index says; for a blend once per dataset.",
    ),
]


def inspect(
    cache: CacheArgument,
    digest: HashOption = None,
    prefix: PrefixOption = None,
    global_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per step: batch per device x accumulation x data-parallel ranks."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Says what an index draws that is built already, verified against its arrays and its corpus.

    Reads the caches of PaddleNLP, PaddleFormers and megatron-core (0.12 to 0.16), one dataset or a blend, and those
    that 'rebuild' has written.

    \b
    Example:
      paddle-epoch-guard inspect data/index-cache --global-batch 256
    """
    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    found = facts_of_index(opened, read_note(files.note), global_batch)
    if as_json:
        print_json(found)
    else:
        _show(found)


def facts_of_index(opened: Opened, reorders: tuple[Reorder, ...], global_batch: int | None) -> dict[str, Any]:
    """What is known of an index; for a blend, of each dataset.

    Args:
        opened: the index.
        reorders: that were written out beyond the host's own order.
        global_batch: B, where it is known.
    """
    positions = PositionMap(reorders)
    boundaries = tuple(one for one in opened.index.boundaries if not positions.dissolves(one.position))
    described = {
        "hash": opened.files.digest,
        "name": opened.described.name,
        "global_batch": global_batch,
        "unified": [
            {"from_position": one.start, "to_position": one.stop, "mix": one.mix, "seed": one.key[0]}
            for one in reorders
        ],
        "verified": "whole" if len(opened.index) <= WHOLE_UP_TO else "at its ends and in spaced blocks",
    }
    drawn = opened.index.drawn_of_each(len(opened.index)).tolist() if isinstance(opened.index, BlendIndex) else (None,)
    each = [
        _facts_of_dataset(opened, at, count, boundaries, bool(reorders), global_batch)
        for at, count in enumerate(drawn)
    ]
    if isinstance(opened.index, GPTIndex):
        return {**each[0], **described}
    first = boundaries[0].position if boundaries else None
    return {
        "format": opened.files.kind.format,
        "samples_requested": len(opened.index),
        "samples_built": len(opened.index),
        "separated": bool(boundaries),
        "boundary_position": first,
        "boundary_step": step_of(first, global_batch),
        "weights": opened.described.weights,
        **described,
        "datasets": each,
    }


def _facts_of_dataset(
    opened: Opened,
    at: int,
    drawn: int | None,
    boundaries: tuple[Boundary, ...],
    reordered: bool,
    global_batch: int | None,
) -> dict[str, Any]:
    index = opened.datasets[at]
    facts = facts_of(index.layout, opened.files.kind.format, global_batch, drawn, blended=drawn is not None)
    # The positions of a blend are its own, and it may end before a dataset's boundary.
    boundary = next((one.position for one in boundaries if one.dataset == at), None)
    facts |= {"boundary_position": boundary, "boundary_step": step_of(boundary, global_batch)}
    if boundary is None:
        facts |= {"separated": index.layout.separated and not reordered, "exposure": {"before": None, "after": None}}
    return {
        "prefix": index.description.prefix,
        **facts,
        "seq_length": index.description.seq_length,
        "seed": index.description.seed,
        "split": index.description.split,
    }


def _show(found: dict[str, Any]) -> None:
    for one in found.get("datasets", [found]):
        print_table(_rows(one), title=one["prefix"])
    for one in found["unified"]:
        typer.echo(
            f"unified from position {one['from_position']:,} to {one['to_position']:,}: mix {one['mix']}, "
            f"seed {one['seed']}"
        )
    if "datasets" in found:
        first = found["boundary_position"]
        said = "no boundary is reached" if first is None else f"the first boundary lies at position {first:,}"
        typer.echo(f"blend of {len(found['datasets'])}, {found['samples_built']:,} positions: {said}")
    typer.echo(
        f"{found['format']} index {found['hash']} ({found['name']}): description, arrays and corpus fit each other, "
        f"arrays read {found['verified']}"
    )


def _rows(one: dict[str, Any]) -> list[tuple[str, str]]:
    share = one["last_epoch_samples"] / max(one["samples_per_epoch"], 1)
    rows = [
        ("tokens per data epoch", number(one["tokens_per_epoch"])),
        ("samples per data epoch", number(one["samples_per_epoch"])),
        ("samples asked for", number(one["samples_requested"])),
        ("samples built", number(one["samples_built"])),
        ("data epochs", number(one["num_epochs"])),
        ("of the last one", f"{one['last_epoch_samples']:,} samples, {share:.0%}" if one["num_epochs"] > 1 else "all"),
        ("shuffled apart", "yes" if one["separated"] else "no: there is no cliff"),
    ]
    if one["boundary_position"] is not None:
        step = "" if one["boundary_step"] is None else f", step {one['boundary_step']:,}"
        rows += [
            ("boundary", f"position {one['boundary_position']:,}{step}"),
            ("exposure there", f"{one['exposure']['before']:.2f} before, {one['exposure']['after']:.2f} after"),
        ]
    elif one["separated"]:
        rows.append(("boundary", "beyond the end of the blend"))
    rows.append(("never drawn", f"{one['unseen_fraction']['planned']:.2%} of the data"))
    return rows
