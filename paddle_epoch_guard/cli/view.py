"""``view``: VisualDL with its run list in order."""

from pathlib import Path
from typing import Annotated

import typer

Logdir = Annotated[Path, typer.Argument(help="A folder with logs in it or below.", exists=True, file_okay=False)]


def view(context: typer.Context, logdir: Logdir) -> None:
    """Opens VisualDL on a log folder, with its run list in order: the run, then its epochs, then its boundaries.

    VisualDL by itself lists folders as the file system does. All further options are VisualDL's own; without --host it
    is seen from this machine only.

    Example: paddle-epoch-guard view output/logs --port 8040
    """
    from paddle_epoch_guard.report.board import serve

    options = list(context.args)
    if not any(option.split("=")[0] in ("--host", "-t") for option in options):
        options += ["--host", "127.0.0.1"]
    serve(str(logdir), options)
