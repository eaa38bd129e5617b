"""``plan``: what a run will draw, from the corpus alone, before anything is built."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.output import JsonFlag, exposure_row, layout_rows, print_json, print_table

if TYPE_CHECKING:
    from paddle_epoch_guard.cli.planning import Run


def plan(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="PREFIX…",
            help="Path of the corpus without .idx or .bin; for a blend: WEIGHT PREFIX WEIGHT PREFIX …",
        ),
    ],
    seq_length: Annotated[int, typer.Option(min=1, help="Tokens of a sample (max_seq_length).")],
    global_batch: Annotated[
        int, typer.Option(min=1, help="Samples per step: batch per device x accumulation x data-parallel ranks.")
    ],
    max_steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of the run.")],
    split: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = "949,50,1",
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 32) - 1, help="Of the run: nothing that is told here depends on it.")
    ] = 42,
    png: Annotated[Path | None, typer.Option(help="Write a picture of the exposure to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Says what a run will draw, before anything is built.

    From the corpus alone: data epochs, whether the last one is shuffled apart and at which step it begins, how often
    the data before and after was seen, what a unified order would give, and which max_steps have no cliff.

    \b
    Example:
      paddle-epoch-guard plan data/text --seq-length 2048 --global-batch 256 --max-steps 20000
    """
    # What help does not need is imported here: numpy takes a quarter of a second.
    from paddle_epoch_guard.cli.planning import facts_of_run, run_of

    run = run_of(data, split, seq_length, global_batch, max_steps)
    found = facts_of_run(run, max_steps) | {"seed": seed, "split": split}
    if png is not None:
        from paddle_epoch_guard.cli.plan_picture import draw_plan

        draw_plan(png, run, found)
    if as_json:
        print_json(found)
        return
    _show(run, found)
    if png is not None:
        typer.echo(f"picture: {png}")


def _show(run: "Run", found: dict[str, Any]) -> None:
    for one in found.get("datasets", [found]):
        print_table(_rows(one, found), title=one["prefix"])
    if run.blended:
        step = found["boundary_step"]
        said = "no boundary is reached" if step is None else f"the first boundary is reached at step {step:,}"
        typer.echo(f"blend of {len(run.parts)}: {said} of {found['max_steps']:,}")
    if found["separated"]:
        from paddle_epoch_guard.cli.plan_picture import print_plan

        print_plan(run, found)
    if found["advice"]:
        typer.echo("without a cliff:" if found["separated"] else "other lengths without a cliff:")
        for one in found["advice"]:
            typer.echo(f"  --max-steps {one['max_steps']}: {one['why']}")
    if found["separated"]:
        typer.echo("or, with these max_steps: --epoch_guard unified")


def _rows(one: dict[str, Any], run: dict[str, Any]) -> list[tuple[str, str]]:
    from paddle_epoch_guard.index.layout import SEPARATION_THRESHOLD

    rows = layout_rows(one)
    if "weight" in one:
        rows.insert(0, ("share of the blend", f"{one['weight']:.2%}"))
    if one["num_epochs"] > 1:
        part = one["last_epoch_samples"] / max(one["samples_per_epoch"], 1)
        needed = f"from {one['threshold_samples']:,} ({SEPARATION_THRESHOLD:.0%}) on it is shuffled with the others"
        rows.append(("of the last one", f"{one['last_epoch_samples']:,} samples, {part:.1%}; {needed}"))
    if one["boundary_position"] is not None:
        about = "" if one.get("boundary_is_exact", True) else "about "
        step = f"{about}step {one['boundary_step']:,} of {run['max_steps']:,}"
        rows += [
            ("shuffled apart", "yes. The training loss falls off a cliff"),
            ("boundary", f"{step}, position {one['boundary_position']:,}"),
            exposure_row(one),
            ("with a unified order", f"{one['unified_exposure']:.2f} on both sides"),
        ]
    elif one["separated"]:
        rows.append(("shuffled apart", "yes, but the blend does not come to it: there is no cliff"))
    else:
        rows.append(("shuffled apart", "no: there is no cliff"))
    unseen = one["unseen_fraction"]
    never = f"{unseen['planned']:.2%} of the data"
    never += "" if unseen["all"] == unseen["planned"] else f"; {unseen['all']:.2%} with --epoch_guard_pool all"
    rows.append(("never drawn", never))
    return rows
