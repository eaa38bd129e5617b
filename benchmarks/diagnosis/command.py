"""What the commands of both benchmarks share: options, the measuring of rows in processes, and what is printed."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diagnosis.tables import Cells, Group, Setting, columns_of, markdown, text_of


def parser_of(doc: str | None, curves: int, what: str, real: str, groups: Iterable[str]) -> argparse.ArgumentParser:
    """The options of a benchmark.

    Args:
        doc: its docstring.
        curves: how many are simulated for each row, by default.
        what: is simulated.
        real: what a folder holds instead.
        groups: names of the simulated groups.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=curves, help=f"simulated {what} for each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="groups: " + " ".join(groups))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help=f"{real} instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    return parser


def chosen_groups(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, known: Mapping[str, Group]
) -> dict[str, Group]:
    """The groups of ``--only``, or all. An unknown one ends the program."""
    unknown = set(arguments.only or ()) - set(known)
    if unknown:
        parser.error(f"no such group: {' '.join(sorted(unknown))}; there are {' '.join(known)}")
    return {name: group for name, group in known.items() if not arguments.only or name in arguments.only}


def print_tables(groups: dict[str, Group], setting: Setting, arguments: argparse.Namespace, what: str) -> None:
    """Measures all groups, prints a table for each, and writes the files that are asked for.

    Args:
        groups: to measure.
        setting: what every row is measured with.
        arguments: of the command line.
        what: was measured, for the last line.
    """
    console, start = Console(), time.perf_counter()
    rows = measure(groups, setting, arguments.processes)
    for name, group in groups.items():
        console.print(table_of(group, rows[name]))
    taken = time.perf_counter() - start
    console.print(f"{what}, seed {arguments.seed}, {taken:.0f} s, {arguments.processes} processes")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv[1:], "tables": rows}, indent=1, ensure_ascii=False))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(group, rows[name]) for name, group in groups.items()))


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
