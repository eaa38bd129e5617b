"""Compares two runs or more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddle_epoch_guard.comparison.alignment import Place, aligned, place_of
from paddle_epoch_guard.comparison.estimates import Curves, estimates_of
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.judging import Evidence, Rank, judge_all, ranking
from paddle_epoch_guard.comparison.reading import read_run
from paddle_epoch_guard.comparison.relation import relation_of, same_draws
from paddle_epoch_guard.comparison.run import Run
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.language import counted, tr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_RUNS = 20
"""Runs of one comparison, at most: it holds a pair for every two of them."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison of runs found, with its table, figure and page. A notebook shows it."""

    findings: Findings

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, in the order given."""
        return self.findings.runs

    @property
    def place(self) -> Place:
        """The part that is compared."""
        return self.findings.place

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two runs, with their differences and the verdict on the first."""
        return self.findings.pairs

    @property
    def ranking(self) -> tuple[Rank, ...]:
        """The runs that can be compared, the best first."""
        return self.findings.ranking

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``paddle-epoch-guard compare --json``."""
        from paddle_epoch_guard.comparison.facts import facts_of

        return facts_of(self.findings)

    def figure(self) -> "Figure":
        """The losses of all runs, their differences and their exposure, as a figure of matplotlib."""
        from paddle_epoch_guard.comparison.figures import comparison_figure

        return comparison_figure(self.findings)

    def write_page(self, path: str | Path) -> Path:
        """Writes the page: one HTML file that needs nothing else.

        Raises:
            ReportError: it cannot be written.
        """
        from paddle_epoch_guard.comparison.page import write_page

        return write_page(Path(path), self.findings)

    def write_png(self, path: str | Path) -> Path:
        """Writes the figure as PNG.

        Raises:
            ReportError: it cannot be written.
        """
        from paddle_epoch_guard.comparison.page import write_png

        return write_png(Path(path), self.findings)

    def write_visualdl(self, folder: str | Path) -> list[Path]:
        """Writes the difference curves as VisualDL logs, a folder ``compare_<a>_<b>`` for each pair.

        Raises:
            ReportError: they cannot be written.
        """
        from paddle_epoch_guard.comparison.visualdl import write_visualdl

        return write_visualdl(Path(folder), self.findings)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdicts, the tables and the figure."""
        from paddle_epoch_guard.comparison.page import notebook_html

        return notebook_html(self.findings)


def compare(
    *runs: Run | str | Path, at: int | None = None, last: int | None = None, margin: float | None = None
) -> Comparison:
    """Compares runs: which is better, once the data that they drew is taken out of it.

    Args:
        runs: two or more, read or as folders (see :func:`~paddle_epoch_guard.comparison.reading.read_run`).
        at: the step of the first run at which the compared part ends; the last that all have reached by default.
        last: the length of that part, in steps of the first run; a tenth of what they have in common by default.
        margin: the least difference that counts, in nats per token; a share of the loss by default.

    Raises:
        ReportError: a folder holds no run with a record of the guard, the runs have nothing in common, or ``margin``
            is negative or not finite.
    """
    if margin is not None and not 0 <= margin < math.inf:
        raise ReportError(tr("a margin of {margin}; expected nats per token, 0 or more", margin=margin))
    found = tuple(run if isinstance(run, Run) else read_run(run) for run in runs)
    if not 2 <= len(found) <= MOST_RUNS:
        raise ReportError(
            counted(
                "{n} run to compare; expected 2 to {most}. Name the log folder of each run",
                "{n} runs to compare; expected 2 to {most}. Name the log folder of each run",
                len(found),
                most=MOST_RUNS,
            )
        )
    found = _told_apart(found)
    place = place_of(found, at, last)
    numbers = list(combinations(range(len(found)), 2))
    measured = [_measured(found[one], found[other], place) for one, other in numbers]
    judgements = judge_all([evidence for evidence, _, _ in measured], margin)
    pairs = tuple(
        Pair(found[one], found[other], evidence.relation, paired, evidence.estimates, curves, judgement)
        for (one, other), (evidence, paired, curves), judgement in zip(numbers, measured, judgements, strict=True)
    )
    return Comparison(Findings(found, place, pairs, tuple(ranking(len(found), numbers, judgements))))


def _measured(one: Run, other: Run, place: Place) -> tuple[Evidence, bool, Curves]:
    relation = relation_of(one, other)
    paired = same_draws(one, other, relation, place.first_step, place.last_step)
    pair = aligned(one, other, paired)
    estimates, curves = estimates_of((one, other), pair, place, relation, paired)
    known = [run.evaluation_set.apart for run in (one, other) if run.evaluation_set is not None]
    apart = False if False in known else None if None in known or len(known) < 2 else True
    return Evidence(estimates, relation, apart), paired, curves


def _told_apart(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Runs with names of their own: folders of equal names get the folder above, else a number."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.logging_dir.resolve().parent.name}/{run.name}" for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return tuple(replace(run, name=name) for run, name in zip(runs, names, strict=True))
