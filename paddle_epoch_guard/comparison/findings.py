"""What a comparison of runs found, as plain values."""

from dataclasses import dataclass

from paddle_epoch_guard.comparison.alignment import Place
from paddle_epoch_guard.comparison.estimates import Curves, Estimates
from paddle_epoch_guard.comparison.judging import Judgement, Rank
from paddle_epoch_guard.comparison.relation import Relation
from paddle_epoch_guard.comparison.run import Run


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs of a comparison."""

    one: Run
    other: Run
    relation: Relation
    paired: bool
    """Whether both draw the same samples at the place, step by step."""
    estimates: Estimates
    curves: Curves
    judgement: Judgement
    """Of the first run."""


@dataclass(frozen=True, eq=False)
class Findings:
    """Runs, their pairs, and the verdicts on them."""

    runs: tuple[Run, ...]
    place: Place
    pairs: tuple[Pair, ...]
    """Every two of them, in their order."""
    ranking: tuple[Rank, ...]
    """The runs that can be compared, the best first."""
