"""The guard beside what would be used instead, on one machine, in one go: what it costs, and how that grows.

    .venv/bin/python benchmarks/run.py [--only NAME ...] [--quick]

Or ``make bench``. It takes twenty minutes and 4 GB on the disk; ``--quick`` is smaller by a hundred, to see that
it works. How each row is measured, and the last table, are in benchmarks/README.md.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for each, so that two ways in turn are alike

from measuring import Row
from order_rows import ROWS as ORDER_ROWS
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from share_rows import ROWS as SHARE_ROWS
from start_rows import ROWS as START_ROWS
from training_rows import ROWS as TRAINING_ROWS

ROWS = ORDER_ROWS | START_ROWS | TRAINING_ROWS | SHARE_ROWS
HOURS = {"instructions"}
"""Rows that take an hour or more: only where they are named."""


def table_of(rows: list[Row]) -> Table:
    """The rows, side by side with their targets."""
    table = Table(title="paddle-epoch-guard beside its peers", title_justify="left", show_lines=True)
    for column in ("what", "peer", "ours", "theirs", "ratio", "target", "met", "growth", "limit"):
        table.add_column(column, overflow="fold")
    for row in rows:
        met = "" if row.met is None else "[green]yes[/green]" if row.met else "[red]no[/red]"
        cells = (row.what, row.peer, row.figure, row.theirs, row.ratio, row.target, met, row.growth, row.limit)
        table.add_row(*(cell if cell is met else escape(cell) for cell in cells))
    return table


def main() -> None:
    """Runs the rows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*ROWS], metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    given = parser.parse_args()
    start, found, failed = time.monotonic(), [], []
    progress = Console(stderr=True)
    for name in given.only or [name for name in ROWS if name not in HOURS]:
        progress.print(f"[{time.monotonic() - start:5.0f} s] {name} ...")
        try:
            rows = ROWS[name](given.quick)
            found += rows
            for row in rows:
                progress.print(
                    f"    {row.what}: {row.figure}; {row.peer}: {row.theirs}; {row.ratio}",
                    soft_wrap=True,
                    markup=False,
                )
        except Exception:
            progress.print_exception()
            failed.append(name)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table_of(found))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    console.print(
        f"{time.monotonic() - start:.0f} s, {os.cpu_count()} cores, load {load}, Python {platform.python_version()}. "
        "Times are of this machine, and of this hour; ratios are what counts."
    )
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    assert Path(__file__).parent == Path(sys.path[0])
    main()
