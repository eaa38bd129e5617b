"""Rows, the tables they make, and how a table is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Cells = Mapping[str, Any]
"""Column -> a share in per cent, another figure, or text."""


@dataclass(frozen=True)
class Setting:
    """What every row is measured with."""

    curves: int
    seed: int
    peers: str | None = None
    """The interpreter that has the peers; None without them."""
    real: str | None = None
    """A folder of real curves."""


Measure = Callable[[Setting], Cells]


@dataclass(frozen=True)
class Group:
    """Rows that make one table."""

    title: str
    rows: Sequence[Measure]
    missed: Callable[[str, Any], bool] = lambda column, value: False
    """Whether a figure misses the target of its column."""


def row(function: Callable[..., Cells], *arguments: Any) -> Measure:
    """A row, measured by ``function(setting, *arguments)``; it can be sent to another process."""
    return partial(_call, function, arguments)


def _call(function: Callable[..., Cells], arguments: tuple[Any, ...], setting: Setting) -> Cells:
    return function(setting, *arguments)


def over(limit: float, *columns: str) -> Callable[[str, Any], bool]:
    """Misses if a figure in one of the columns is over the limit."""
    return lambda column, value: column in columns and isinstance(value, float) and value > limit


def columns_of(rows: Sequence[Cells]) -> list[str]:
    """All columns, in order of appearance."""
    return list(dict.fromkeys(column for cells in rows for column in cells))


def text_of(value: Any) -> str:
    """A cell."""
    if value is None:
        return ""
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def markdown(group: Group, rows: Sequence[Cells]) -> str:
    """A table in Markdown; figures that miss their target are bold."""
    columns = columns_of(rows)
    right = {column for column in columns if all(not isinstance(cells.get(column), str) for cells in rows)}
    lines = [
        f"**{group.title}**",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("--:" if column in right else "---" for column in columns) + "|",
    ]
    for cells in rows:
        texts = []
        for column in columns:
            text = text_of(cells.get(column))
            texts.append(f"**{text}**" if group.missed(column, cells.get(column)) else text)
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"
