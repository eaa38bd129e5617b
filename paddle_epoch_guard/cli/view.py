"""``view``: opens VisualDL with its run list in order."""

from pathlib import Path
from typing import Annotated

import typer

from paddle_epoch_guard.cli.output import print_text
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import tr

Logdir = Annotated[Path, typer.Argument(help="Folder with logs in it or below it.", metavar="LOGDIR")]

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Unknown options go to VisualDL."""


def view(context: typer.Context, logdir: Logdir) -> None:
    """Open VisualDL on a log folder, with its run list in order: the run, then its epochs, then its boundaries.

    VisualDL itself lists folders in the order of the file system, and shows the newest log of each alone. Here a
    resumed run has one curve: its logs are joined, without the steps that were trained again. All other options go to
    VisualDL; without --host it can be reached from this machine only. Its telemetry is off. Of a damaged log, the
    sound part is shown.

    \b
    Example:
      paddle-epoch-guard view output/logs --port 8040
    """
    if not logdir.is_dir():
        raise ArgumentsError(
            tr("{path}: no such folder. Name the run's logging_dir, or a folder above it", path=logdir)
        )
    from paddle_epoch_guard.report.board import serve

    options = list(context.args)
    if not any(option.split("=")[0] in ("--host", "-t") for option in options):
        options += ["--host", "127.0.0.1"]
    serve(str(logdir), options, lambda line: print_text(f"view: {line}"))
