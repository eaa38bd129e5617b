"""What commands print: one JSON object, or text for people."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]


def print_json(found: dict[str, Any]) -> None:
    """Prints one JSON object."""
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[tuple[str, str]], title: str) -> None:
    """Prints names and values."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def number(value: float | None, unit: str = "") -> str:
    """A number as people write it; a dash where there is none."""
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    return f"{shown} {unit}".rstrip()
