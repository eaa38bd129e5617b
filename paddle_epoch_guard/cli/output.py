"""What commands print: one JSON object, or text for people."""

import json
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

_WIDE_ENOUGH = 72  # columns, for a table of more than two

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]


def print_json(found: dict[str, Any]) -> None:
    """Prints one JSON object."""
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Prints a text in whole words, as wide as the terminal at most."""
    _console().print(_plain(text))


def print_table(rows: Sequence[Sequence[str]], title: str, head: Sequence[str] = ()) -> None:
    """Prints a table, as wide as the terminal at most.

    Args:
        rows: as many texts each as there are columns; of the first one, names.
        title: above it.
        head: names of the columns, which become names of values where the terminal is narrow; none where there are
            two columns, of names and values.
    """
    from rich.table import Table

    console = _console()
    console.print(_plain(title), style="italic")
    if head and console.width < _WIDE_ENOUGH:
        for row in rows:
            print_table(list(zip(head[1:], row[1:], strict=True)), f"{head[0]}: {row[0]}")
        return
    table = Table(show_header=bool(head), box=None, padding=(0, 2, 0, 0))
    widest = max((len(row[0]) for row in rows), default=0)
    table.add_column(*head[:1], style="bold", no_wrap=widest <= console.width * 0.6)
    for name in head[1:] or ("",):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_plain, row))
    console.print(table)


def _console() -> "Console":
    """What comes from logs and folders is text, whatever brackets and colons it holds."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(" " if unicodedata.category(one) == "Cc" else one for one in text)


def number(value: float | None, unit: str = "") -> str:
    """A number as people write it; a dash where there is none."""
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    return f"{shown} {unit}".rstrip()


def layout_rows(one: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of a dataset's layout, from the facts that ``plan`` and ``inspect`` share."""
    return [
        ("tokens per data epoch", number(one["tokens_per_epoch"])),
        ("samples per data epoch", number(one["samples_per_epoch"])),
        ("samples asked for", number(one["samples_requested"])),
        ("samples built", number(one["samples_built"])),
        ("data epochs", number(one["num_epochs"])),
    ]


def exposure_row(one: dict[str, Any]) -> tuple[str, str]:
    """The row of a dataset's exposure at its boundary."""
    before, after = one["exposure"]["before"], one["exposure"]["after"]
    return "exposure there", f"{before:.2f} before, {after:.2f} after"
