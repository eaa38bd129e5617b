"""A progress bar on a terminal; nothing in a log file."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Tell = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


@contextlib.contextmanager
def progress_bar(what: str, quiet: bool = False) -> Iterator[Tell]:
    """Shows a progress bar on standard error if that is a terminal, and removes it at the end.

    Args:
        what: a short description of the work.
        quiet: show nothing.

    Yields:
        A function that updates the bar.
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
