"""``rebuild``: a unified order written out as a plain index, for hosts without the guard."""

import functools
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.options import CacheArgument, HashOption, PrefixOption
from paddle_epoch_guard.cli.output import JsonFlag, print_json
from paddle_epoch_guard.progress import Tell, progress_bar


class Mix(str, Enum):
    """How the last data epoch is mixed in."""

    auto = "auto"
    uniform = "uniform"
    ramp = "ramp"


def rebuild(
    cache: CacheArgument,
    from_position: Annotated[
        int,
        typer.Option(min=0, help="Samples that the run has drawn: global step x samples per step; 0 for a new run."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the new cache; it is made.")],
    digest: HashOption = None,
    mix: Annotated[Mix, typer.Option(help="auto: uniform from position 0, ramp later.")] = Mix.auto,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the unified order; the index's own by default.")] = None,
    stop: Annotated[
        int | None,
        typer.Option(min=1, help="Samples that the run draws in all; as many as were asked for by default."),
    ] = None,
    prefix: PrefixOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Writes a cache that draws all remaining samples in one unified order.

    It is what a run draws with --epoch_guard unified from this position on, as a plain index in the format that was
    read: PaddleNLP, PaddleFormers and megatron-core load it without the guard. The cache that is read stays as it is.
    A run with the guard knows it by the note beside it, and goes on in its order, tracking or unified.

    \b
    Example:
      paddle-epoch-guard rebuild data/index-cache --hash 0f3c --from-position 256000 --output unified
    """
    # What help does not need is imported here: numpy takes a quarter of a second.
    from paddle_epoch_guard.cli.rewriting import begin, refuse_inside, shadow, write_cache
    from paddle_epoch_guard.index.folder import choose
    from paddle_epoch_guard.index.from_files import open_index
    from paddle_epoch_guard.order.materialise import host_order

    files = choose(cache, digest)
    opened = open_index(files, prefix or (), host_order)
    sources = (files, *opened.dataset_files)
    refuse_inside(output, sources)
    begun = begin(opened, from_position, stop, mix.value, seed)
    with progress_bar("writing", quiet=as_json) as tell:
        written = write_cache(opened, begun, output, functools.partial(_counted, tell))
    found = {
        "output": str(output),
        "format": files.kind.format,
        "hash": files.digest,
        "files": sorted(written),
        "reorder": asdict(begun) | {"key": list(begun.key)},
        "shadowed_by": shadow(opened, output),
    }
    if as_json:
        print_json(found)
    else:
        _show(found)


def _counted(tell: Tell, total: int) -> Callable[[int], None]:
    """Takes bytes as they are written, and tells the share that is done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell(done / max(total, 1))

    return advance


def _show(found: dict[str, Any]) -> None:
    reorder = found["reorder"]
    typer.echo(
        f"{found['output']}: positions {reorder['start']:,} to {reorder['stop']:,} in one order "
        f"(mix {reorder['mix']}, seed {reorder['key'][0]}), {len(found['files'])} files"
    )
    if found["format"] == "megatron":
        typer.echo(f"to train on it with megatron-core: --data-cache-path {found['output']}, all else as before")
        return
    typer.echo(f"to train on it with PaddleNLP or PaddleFormers: --data_cache {found['output']}, all else as before,")
    typer.echo("with the guard (which reads the note beside the index) or without")
    if found["shadowed_by"] is not None:
        typer.echo(
            f"but PaddleNLP looks in {found['shadowed_by']} first: move {found['hash']}* out of it, or it draws in "
            "the old order"
        )
