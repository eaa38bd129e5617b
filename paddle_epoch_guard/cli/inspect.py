"""``inspect``: the facts of a plan, from an index that is built already."""

from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.options import CacheArgument, HashOption, PrefixOption
from paddle_epoch_guard.cli.output import JsonFlag, exposure_row, layout_rows, print_json, print_table


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
    # What help does not need is imported here: numpy takes a quarter of a second.
    from paddle_epoch_guard.cli.built_index_facts import facts_of_index
    from paddle_epoch_guard.index.folder import choose
    from paddle_epoch_guard.index.from_files import open_index
    from paddle_epoch_guard.order.materialise import host_order, read_note

    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    found = facts_of_index(opened, read_note(files.note), global_batch)
    if as_json:
        print_json(found)
    else:
        _show(found)


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
        *layout_rows(one),
        ("of the last one", f"{one['last_epoch_samples']:,} samples, {share:.0%}" if one["num_epochs"] > 1 else "all"),
        ("shuffled apart", "yes" if one["separated"] else "no: there is no cliff"),
    ]
    if one["boundary_position"] is not None:
        step = "" if one["boundary_step"] is None else f", step {one['boundary_step']:,}"
        rows += [
            ("boundary", f"position {one['boundary_position']:,}{step}"),
            exposure_row(one),
        ]
    elif one["separated"]:
        rows.append(("boundary", "beyond the end of the blend"))
    rows.append(("never drawn", f"{one['unseen_fraction']['planned']:.2%} of the data"))
    return rows
