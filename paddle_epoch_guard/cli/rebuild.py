"""``rebuild``: writes a unified order as a plain index, for hosts without the guard."""

import functools
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.options import CacheArgument, HashOption, PrefixOption
from paddle_epoch_guard.cli.output import JsonFlag, print_json, say
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.progress import Tell, progress_bar


class Mix(str, Enum):
    """How to mix the last data epoch in."""

    auto = "auto"
    uniform = "uniform"
    ramp = "ramp"


def rebuild(  # noqa: PLR0913 - its options
    cache: CacheArgument,
    from_position: Annotated[
        int,
        typer.Option(
            metavar="SAMPLES",
            min=0,
            help="Samples that the run has drawn: global step x samples per step; 0 for a new run.",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the new cache; created if missing.")],
    digest: HashOption = None,
    mix: Annotated[
        Mix, typer.Option(metavar="auto|uniform|ramp", help="auto: uniform from position 0, ramp later.")
    ] = Mix.auto,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",  # else typer 0.27 takes --SEED, the metavar, for it
            metavar="SEED",
            min=0,
            help="Seed of the unified order; by default that of the index.",
        ),
    ] = None,
    stop: Annotated[
        int | None,
        typer.Option(
            metavar="SAMPLES",
            min=1,
            help="Samples that the run draws in total; by default as many as the index was built for. A blend of "
            "megatron-core is longer: by default the fewest that it may have been built for.",
        ),
    ] = None,
    prefix: PrefixOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a cache that draws all remaining samples in one unified order.

    The order is the one that a run draws with --epoch_guard unified from this position on. The new cache has the
    format of CACHE: PaddleNLP, PaddleFormers and megatron-core load it without the guard. CACHE stays as it is. A run
    with the guard recognises the new cache by the note beside it and continues in its order, tracking or unified.

    \b
    Example:
      paddle-epoch-guard rebuild data/index-cache --hash 0f3c --from-position 256000 --output unified
    """
    # Not needed for --help: numpy takes a quarter of a second to import.
    from paddle_epoch_guard.cli.rewriting import new_reorder, refuse_inside, shadow, write_cache
    from paddle_epoch_guard.index.choosing import choose
    from paddle_epoch_guard.index.from_files import open_index
    from paddle_epoch_guard.order.materialise import host_order

    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    refuse_inside(output, (files, *opened.dataset_files))
    reorder = new_reorder(opened, from_position, stop, mix.value, seed)
    drawn = opened.described.drawn
    with progress_bar(tr("writing"), quiet=as_json) as tell:
        written = write_cache(opened, reorder, output, functools.partial(_counted, tell))
    result = {
        "output": str(output),
        "format": files.kind.format,
        "hash": files.digest,
        "files": sorted(written),
        "reorder": asdict(reorder),
        "drawn": None if stop is not None or drawn is None else {"least": drawn[0], "most": drawn[1]},
        "shadowed_by": shadow(opened, output),
    }
    if as_json:
        print_json(result)
    else:
        _show(result)


def _counted(tell: Tell, total: int) -> Callable[[int], None]:
    """A function that takes the bytes just written and reports the share that is done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell(done / max(total, 1))

    return advance


def _told_of_drawn(least: int, most: int) -> str:
    """What was inferred of the samples that a run draws of a blend that is longer."""
    if least == most:
        return tr(
            "by the blend's size and weights, the run draws {least:,} samples (else name their number with --stop)",
            least=least,
        )
    return tr(
        "by the blend's size and weights, the run draws {least:,} to {most:,} samples. From position {least:,} on, "
        "the order is the host's. Name their number with --stop",
        least=least,
        most=most,
    )


def _show(result: dict[str, Any]) -> None:
    reorder = result["reorder"]
    say(
        tr(
            "{output}: positions {start:,} to {stop:,} in one order (mix {mix}, seed {seed}), {files} files",
            output=result["output"],
            start=reorder["start"],
            stop=reorder["stop"],
            mix=reorder["mix"],
            seed=reorder["key"][0],
            files=len(result["files"]),
        )
    )
    if result["drawn"] is not None:
        say(_told_of_drawn(**result["drawn"]))
    if result["format"] == "megatron":
        output = result["output"]
        say(tr("to train on it with megatron-core: --data-cache-path {output}, all else as before", output=output))
        return
    told = tr(
        "to train on it with PaddleNLP or PaddleFormers: --data_cache {output}, all else as before,\n"
        "with the guard (which reads the note beside the index) or without",
        output=result["output"],
    )
    for line in told.splitlines():
        say(line)
    if result["shadowed_by"] is not None:
        say(
            tr(
                "but PaddleNLP looks in {folder} first: move {hash}* out of it, or it draws in the old order",
                folder=result["shadowed_by"],
                hash=result["hash"],
            )
        )
