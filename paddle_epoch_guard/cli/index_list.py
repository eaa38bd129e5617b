"""The indices of a cache as a table and as JSON, the newest first."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paddle_epoch_guard.cli.output import number, print_table, say
from paddle_epoch_guard.index.choosing import Listed
from paddle_epoch_guard.language import counted, tr
from paddle_epoch_guard.terminal import joined

_SHORTEST = 8  # digits of an md5
_SHOWN = 30  # rows
_IN_A_LINE = 5  # indices


def list_facts(indices: Sequence[Listed]) -> list[dict[str, Any]]:
    """What tells indices apart, as JSON objects.

    Args:
        indices: the newest first.
    """
    return [_facts_of(each) for each in indices]


def _facts_of(each: Listed) -> dict[str, Any]:
    described = each.described
    is_blend = each.files.kind.is_blend
    first = described.datasets[0]
    return {
        "hash": each.files.digest,
        "name": described.name,
        "format": each.files.kind.format,
        "built": datetime.fromtimestamp(int(each.built), timezone.utc).isoformat(),
        "samples_requested": described.size if is_blend else first.samples_requested,
        "seq_length": first.seq_length,
        "seed": first.seed,
        "split": first.split,
        "prefixes": [dataset.prefix for dataset in described.datasets],
    }


def print_list(indices: Sequence[Listed], title: str, among: Sequence[str]) -> None:
    """Prints a table of indices.

    Args:
        indices: the newest first.
        title: above the table.
        among: the md5s of all indices in the cache, which the beginnings shown tell apart.
    """
    short = _shortest(among)
    rows = [_row(each, short) for each in indices[:_SHOWN]]
    head = ("--hash", tr("built"), tr("set"), tr("samples"), tr("length"), tr("seed"), tr("split"), tr("corpus"))
    print_table(rows, title, head)
    if len(indices) > _SHOWN:
        say(counted("and {n} older one (--json lists all)", "and {n} older ones (--json lists all)",
                    len(indices) - _SHOWN))  # fmt: skip


def in_a_line(indices: Sequence[Listed], among: Sequence[str]) -> str:
    """Sets and beginnings of the md5s of a few indices.

    Args:
        indices: the newest first.
        among: as of :func:`print_list`.
    """
    short = _shortest(among)
    shown = [f"{each.described.name} {each.files.digest[:short]}" for each in indices]
    if len(shown) > _IN_A_LINE:
        more = len(shown) - _IN_A_LINE
        shown[_IN_A_LINE:] = [counted("{n} older one", "{n} older ones", more)]
    return joined(shown)


def _row(each: Listed, digits: int) -> tuple[str, ...]:
    facts = _facts_of(each)
    names = [Path(prefix).name for prefix in facts["prefixes"]]
    corpus = tr("blend of {datasets}", datasets=len(names)) if each.files.kind.is_blend else names[0]
    return (
        facts["hash"][:digits],
        datetime.fromtimestamp(each.built).strftime("%Y-%m-%d %H:%M"),
        facts["name"],
        number(facts["samples_requested"]),
        str(facts["seq_length"]),
        str(facts["seed"]),
        facts["split"] or "-",
        corpus,
    )


def _shortest(digests: Sequence[str]) -> int:
    """The number of digits by which md5s are told apart."""
    digits = range(_SHORTEST, 32)
    return next((n for n in digits if len({digest[:n] for digest in digests}) == len(set(digests))), 32)
