"""A bar for long work on a terminal, and nothing in a log file."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Tell = Callable[[float], None]
"""Takes the share of the work that is done, from 0 to 1."""


@contextlib.contextmanager
def progress_bar(what: str, quiet: bool = False) -> Iterator[Tell]:
    """Shows a bar on standard error while the work goes on, where that is a terminal; it leaves no trace.

    Args:
        what: the work, in a few words.
        quiet: show nothing in any case.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
