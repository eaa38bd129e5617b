"""The table of the diagnosis: how often it reports a jump that does not exist, and how often one that does.

    .venv/bin/python benchmarks/discontinuity.py [--curves 1000] [--only placebo power ...] [--real FOLDER]

The curves are simulated with the noise of real runs (diagnosis/curves.py). Peers are measured on the same curves if
scripts/make-bench-venv has made .venv-bench. Instead, ``--real`` takes a folder of .npz files, one for each run, with
``loss`` [steps], ``first`` (the number of the first step), ``val_steps`` and ``val``.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for matrices this small, threads only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from diagnosis import peers, real_rows, rows_of_tests, shapes, verdict_rows
from diagnosis.tables import Cells, Group, Setting, columns_of, markdown, text_of
from rich.console import Console
from rich.markup import escape
from rich.table import Table

SIMULATED = rows_of_tests.GROUPS | verdict_rows.GROUPS | shapes.GROUPS
ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-bench" / "bin" / "python"


def table_of(group: Group, rows: list[Cells]) -> Table:
    """A table for the terminal; figures that miss their target are red."""
    table = Table(title=group.title, title_justify="left")
    columns = columns_of(rows)
    for column in columns:
        table.add_column(column, overflow="fold")
    for cells in rows:
        texts = [(column, escape(text_of(cells.get(column)))) for column in columns]
        table.add_row(*(f"[red]{text}[/]" if group.missed(name, cells.get(name)) else text for name, text in texts))
    return table


def measure(groups: dict[str, Group], setting: Setting, processes: int) -> dict[str, list[Cells]]:
    """All rows of all groups."""
    tasks = [(name, measured) for name, group in groups.items() for measured in group.rows]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = [(name, pool.submit(measured, setting)) for name, measured in tasks]
        rows: dict[str, list[Cells]] = {name: [] for name in groups}
        for name, future in futures:
            rows[name].append(future.result())
    return rows


def main() -> None:
    """Prints a table for each group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=1000, help="simulated curves for each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="groups: " + " ".join(SIMULATED))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real curves instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--no-peers", action="store_true", help="do not measure the peers")
    arguments = parser.parse_args()
    known = real_rows.GROUPS if arguments.real else SIMULATED
    unknown = set(arguments.only or ()) - set(known)
    if unknown:
        parser.error(f"no such group: {' '.join(sorted(unknown))}; there are {' '.join(known)}")
    groups = {name: group for name, group in known.items() if not arguments.only or name in arguments.only}
    interpreter = str(PEERS) if PEERS.exists() and peers.are_installed(PEERS) and not arguments.no_peers else None
    real = None if arguments.real is None else str(arguments.real)
    setting = Setting(arguments.curves, arguments.seed, interpreter, real)

    console, start = Console(), time.perf_counter()
    rows = measure(groups, setting, arguments.processes)
    for name, group in groups.items():
        console.print(table_of(group, rows[name]))
    if interpreter is None and not arguments.no_peers:
        console.print(peers.HOW_TO)
    taken = time.perf_counter() - start
    what = "real curves" if real else f"{arguments.curves} curves a row"
    console.print(f"{what}, seed {arguments.seed}, {taken:.0f} s, {arguments.processes} processes")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv[1:], "tables": rows}, indent=1, ensure_ascii=False))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(group, rows[name]) for name, group in groups.items()))


if __name__ == "__main__":
    main()
