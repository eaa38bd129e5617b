"""What commands print: one JSON object, or text for people."""

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard import language
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.terminal import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_WIDE_ENOUGH = 72  # columns, for a table of more than two
_GAP = 2  # columns between two of a table
_MOST_LINES = 3  # of a cell in a table of more than two columns
_STYLES = {
    **dict.fromkeys(("improvement", "better"), "green"),
    **dict.fromkeys(("artefact", "mixed", "worse", mark("incomplete"), "broken", mark("leftover")), "bold yellow"),
    **dict.fromkeys(("unexplained", "undecided", "not comparable"), "yellow"),
    **dict.fromkeys(
        (mark("not checked: {sentence}"), mark("left out: {fault}"), mark("warning: {warning}")), "yellow"
    ),
}
"""Style of the words that say how something stands, at the beginning of a text; of a key with a field, what stands
before it. A terminal shows it unless NO_COLOR is set; a file or a pipe gets none."""


def _speak_english(as_json: bool) -> bool:
    """JSON is read by programs: its sentences are the same in every locale, and so are the errors beside it."""
    if as_json:
        language.use("en")
    return as_json


JsonFlag = Annotated[
    bool,
    typer.Option("--json", callback=_speak_english, is_eager=True, help="Print one JSON object, and nothing else."),
]


def print_json(value: dict[str, Any]) -> None:
    """Prints one JSON object."""
    is_unicode = "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode)
    typer.echo(_UNSAFE_IN_JSON.sub(lambda match: json.dumps(match[0])[1:-1], text))


def say(text: str = "") -> None:
    """Prints a line of text as it is, but for what a terminal would obey."""
    _print(_styled(plain(text)), soft_wrap=True)


def print_text(text: str) -> None:
    """Prints a text, wrapped between words to the width of the terminal."""
    _print(_styled(plain(text)))


def complain(text: str) -> None:
    """Prints a line about what went wrong to the error stream, after the name of the command."""
    from rich.text import Text

    line = Text.assemble(("paddle-epoch-guard:", "bold red"), " ", plain(" ".join(text.split())))
    _print(line, soft_wrap=True, to_errors=True)


def print_table(rows: Sequence[Sequence[str]], title: str, head: Sequence[str] = ()) -> None:
    """Prints a table, at most as wide as the terminal.

    Args:
        rows: one text per column; the first is the row's name.
        title: above the table.
        head: names of the columns. Where they do not fit without splitting words, each row becomes a table of these
            names and its values. Empty for a table of two columns, names and values.
    """
    from rich.table import Table

    console = _console()
    title_text = _text(plain(title))
    title_text.stylize("italic")
    _print(title_text)
    texts = [[_styled(plain(cell)) for cell in row] for row in rows]
    widths = _widths([*map(_text, head)], texts, console) if head else []
    if widths is None:
        for row in rows:
            row_title = tr("{column}: {name}", column=head[0], name=row[0])
            print_table(list(zip(head[1:], row[1:], strict=True)), row_title)
        return
    table = Table(show_header=bool(head), box=None, padding=(0, _GAP, 0, 0), pad_edge=not head)
    if head:
        for number, (name, width) in enumerate(zip(head, widths, strict=True)):
            table.add_column(_text(name), style="" if number else "bold", width=width, overflow="fold")
    else:
        widest = max((row[0].cell_len for row in texts), default=0)
        table.add_column(style="bold", no_wrap=widest <= console.width * 0.6)
        table.add_column(overflow="fold")
    for row_texts in texts:
        table.add_row(*row_texts)
    _print(table)


def _widths(head: "Sequence[Text]", rows: "Sequence[Sequence[Text]]", console: "Console") -> list[int] | None:
    """The columns' widths at which a table fits without splitting a word; None if it is better shown row by row."""
    from rich.measure import Measurement

    if console.width < _WIDE_ENOUGH:
        return None
    columns = [list(column) for column in zip(head, *rows, strict=True)]
    measured = [[Measurement.get(console, console.options, cell) for cell in column] for column in columns]
    least = [max(each.minimum for each in column) for column in measured]
    widths = [max(each.maximum for each in column) for column in measured]
    if widths[0] <= console.width / 2:
        least[0] = widths[0]  # the names of the rows stay whole
    room = console.width - _GAP * (len(widths) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((width, column) for column, width in enumerate(widths) if width > least[column])[1]
        widths[widest] -= 1
    lines = [len(cell.wrap(console, width)) for column, width in zip(columns, widths, strict=True) for cell in column]
    return widths if max(lines) <= _MOST_LINES else None


def _print(what: "RenderableType", soft_wrap: bool = False, to_errors: bool = False) -> None:
    """Prints without the blanks that a table has at the ends of its lines."""
    from rich.console import Group

    console = _console(to_errors)
    with console.capture() as capture:
        console.print(Group(what), soft_wrap=soft_wrap)  # a text in a group stays of its own class
    for line in capture.get().splitlines():
        typer.echo(line.rstrip(" "), err=to_errors, color=True)  # rich has decided


def _styled(text: str) -> "Text":
    styled = _text(text)
    for begun, style in _STYLES.items():
        word = tr(begun).partition("{")[0].rstrip(" :\uff1a")
        if text.startswith(word):
            styled.stylize(style, 0, len(word))
            break
    return styled


def _text(text: str) -> "Text":
    """A text as rich wraps it; one in Chinese as Chinese is wrapped."""
    from rich.text import Text

    if language.current() == "en":
        return Text(text)
    from paddle_epoch_guard.cli.wide_text import WideText

    return WideText(text)


def _console(to_errors: bool = False) -> "Console":
    """A console that prints text from logs and folders as it is, with its brackets and colons."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, stderr=to_errors)


def number(value: float | None, unit: str = "") -> str:
    """A number with thousands separators; a dash for None."""
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    return f"{shown} {unit}".rstrip()


def layout_rows(dataset: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of a dataset's layout, for ``plan`` and ``inspect``."""
    return [
        (tr("tokens per data epoch"), number(dataset["tokens_per_epoch"])),
        (tr("samples per data epoch"), number(dataset["samples_per_epoch"])),
        (tr("samples asked for"), number(dataset["samples_requested"])),
        (tr("samples built"), number(dataset["samples_built"])),
        (tr("data epochs"), number(dataset["num_epochs"])),
    ]


def draws_rows(dataset: dict[str, Any]) -> list[tuple[str, str]]:
    """A row that says how often each token is drawn, if nothing else says that data is repeated."""
    epochs = dataset["data_epochs"]
    return [(tr("each token is drawn"), tr("{epochs:,.1f} times", epochs=epochs))] if epochs > 1 else []


def exposure_row(dataset: dict[str, Any]) -> tuple[str, str]:
    """The row of a dataset's exposure at its boundary."""
    return tr("exposure there"), tr("{before:.2f} before, {after:.2f} after", **dataset["exposure"])
