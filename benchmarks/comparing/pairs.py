"""Simulated pairs of runs: coverage, false differences and power, beside both t-tests and the last loss.

A unit is the standard deviation of a point's difference. Both runs share the noise of their batches. It makes the
unpaired difference :data:`SHARED` times as large. In real runs of equal settings on equal data, pairing leaves 0.15 %
of the variance (``--real``).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnosis.tables import Cells, Group, Setting, row

from paddle_epoch_guard.statistics.difference import (
    FEW_EVALUATIONS_AUTOCORRELATION,
    RELEVANT_DIFFERENCE,
    LossDifferences,
    find_differences,
)

Floats = np.ndarray
POINTS = (12, 30, 60, 150)
HISTORY = 300
SHARED = 26.0
"""Standard deviation of an unpaired difference."""
PARTS = 500
"""Pairs that are drawn at once: small ones stay in memory."""
NO_FLOOR = -1.0
LEVEL = 3.3
LOWER = (0.0, 0.002, 0.003, 0.004, 0.005, 0.01)
"""Shares of the loss by which run A is lower."""
VARIES = (0.0025, 0.0066, 0.065, 0.17)
"""Standard deviations of a difference, nats: real runs on equal data, means over 10 steps and single steps; on other
data, the mean of a whole batch, and one rank of eight."""
OTHER = {"weights of 1 to 8": (12, 60), "a trend of 2 over the place": (12, 60, 150), "merged": (151, 400, 1000)}
"""What else pairs may have, and the points of their places."""

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student's t with three degrees of freedom, of variance 1."""
    return rng.standard_t(3, shape) / np.sqrt(3)


@dataclass(frozen=True)
class Noise:
    """Noise of the difference, of variance 1 at the end."""

    name: str
    phi: float = 0.0
    draw: Draw = np.random.Generator.standard_normal
    falls: bool = False
    """Whether the standard deviation falls to a third over the last 150 points."""

    def differences(self, rng: np.random.Generator, pairs: int, points: int) -> Floats:
        """Differences of pairs of runs that do not differ in the long run, [pairs, points]."""
        noise = autoregressive(self.draw(rng, (pairs, points)), self.phi)
        return noise * np.interp(np.arange(-points, 0), [-HISTORY / 2, 0], [3, 1]) if self.falls else noise


NOISES = (
    *(Noise(f"AR(1), phi {phi:g}" if phi else "white", phi) for phi in (0.0, 0.2, 0.5, 0.8)),
    Noise("AR(1), phi -0.2", -0.2),
    Noise("heavy tails (t, 3)", draw=heavy),
    Noise("heavy tails, phi 0.5", 0.5, heavy),
    Noise("spread falls to a third", falls=True),
    Noise("spread falls, phi 0.5", 0.5, falls=True),
)


def autoregressive(noise: Floats, phi: float) -> Floats:
    """Stationary AR(1) noise of variance 1 from independent noise of variance 1, [pairs, points]."""
    if phi:
        for at in range(1, noise.shape[1]):
            noise[:, at] = phi * noise[:, at - 1] + np.sqrt(1 - phi**2) * noise[:, at]
    return noise


def percent(flags: Floats) -> float:
    """Share of true, in per cent."""
    return 100 * float(np.mean(flags))


def generator(setting: Setting, *key: Any) -> np.random.Generator:
    """A generator of its own for each row."""
    return np.random.default_rng([setting.seed, zlib.crc32(repr(key).encode())])


def estimated(differences: Floats, points: int, least: float = NO_FLOOR) -> LossDifferences:
    """The differences at the last points, one a step."""
    count = differences.shape[-1]
    x, weights = np.arange(count) + 0.5, np.ones(count)
    parts = [
        find_differences(x, part, weights, (count - points, count), least)
        for part in np.array_split(differences, max(len(differences) // PARTS, 1))
    ]
    return LossDifferences(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in LossDifferences.__dataclass_fields__)
    )


def covers(found: LossDifferences, size: float | Floats) -> Floats:
    """Whether the intervals hold the true difference."""
    return (found.low <= size) & (size <= found.high)


def paired_p(differences: Floats) -> Floats | None:
    """The p-values of SciPy's paired t-test; None without SciPy, which PaddleNLP brings along."""
    try:
        from scipy.stats import ttest_rel
    except ImportError:
        return None
    return np.asarray(ttest_rel(differences, np.zeros_like(differences), axis=-1).pvalue)


def unpaired_p(rng: np.random.Generator, differences: Floats) -> Floats | None:
    """The p-values of Welch's t-test on the two runs' losses, which share the noise of their batches."""
    try:
        from scipy.stats import ttest_ind
    except ImportError:
        return None
    shared = SHARED / np.sqrt(2) * rng.standard_normal(differences.shape)
    return np.asarray(ttest_ind(shared + differences, shared, axis=-1, equal_var=False).pvalue)


def rejected(p: Floats | None) -> float | None:
    """How often a test at 5 % says that the runs differ, in %."""
    return None if p is None else percent(p < 0.05)


def coverage(setting: Setting, at: int, points: int, history: int) -> Cells:
    """Pairs without a difference."""
    noise = NOISES[at]
    rng = generator(setting, noise.name, points, history)
    differences = noise.differences(rng, setting.curves, max(points, history))
    found, place = estimated(differences, points), differences[:, -points:]
    return {
        "noise": noise.name,
        "points": points,
        "history": history or "none",
        "coverage": percent(covers(found, 0.0)),
        "false differences": percent(~covers(found, 0.0)),
        "half width": f"{np.median((found.high - found.low) / 2):.2f}",
        "paired t-test": rejected(paired_p(place)),
        "Welch's": rejected(unpaired_p(rng, place)),
        "last loss": 100.0,
    }


def power(setting: Setting, points: int, history: int, size: float) -> Cells:
    """Pairs that differ by so many standard errors of the mean, with independent noise."""
    rng = generator(setting, "power", points, history)
    differences = NOISES[0].differences(rng, setting.curves, max(points, history)) + size / np.sqrt(points)
    found, place = estimated(differences, points), differences[:, -points:]
    ours, theirs = percent(~covers(found, 0.0)), rejected(paired_p(place))
    return {
        "points": points,
        "history": history or "none",
        "standard errors": f"{size:g}",
        "ours": ours,
        "paired t-test": theirs,
        "loss of power": None if theirs is None else theirs - ours,
        "Welch's": rejected(unpaired_p(rng, place)),
        "last loss has the right sign": percent(place[:, -1] > 0),
        "estimate has it": percent(found.value > 0),
    }


def verdicts(setting: Setting, noise: float, phi: float, points: int) -> Cells:
    """What is said of a run whose loss of 3.3 is lower by so much."""
    rng = generator(setting, "verdicts", phi, points)
    differences = noise * autoregressive(rng.standard_normal((setting.curves, HISTORY)), phi)
    cells: dict[str, Any] = {"a point varies by": f"{noise:g}", "phi": f"{phi:g}", "points": points}
    for share in LOWER:
        found = estimated(differences - share * LEVEL, points)
        said = found.counts(LEVEL)
        if not share:
            cells["better or worse, equal"] = percent(said)
        else:
            cells[f"better, lower by {100 * share:g} %"] = percent(said & (found.value < 0))
    return cells


def evaluations(setting: Setting, points: int, history: int, least: float) -> Cells:
    """Few points: coverage by the autocorrelation of the noise."""
    cells: dict[str, Any] = {
        "points": points,
        "history": history or "none",
        "least autocorrelation": "none" if least == NO_FLOOR else f"{least:g}",
    }
    for phi in (0.0, 0.2, 0.4, 0.6, 0.8):
        rng = generator(setting, "evaluations", points, history, phi)
        noise = autoregressive(rng.standard_normal((setting.curves, max(points, history))), phi)
        found = estimated(noise, points, least)
        cells[f"phi {phi:g}"] = percent(covers(found, 0.0))
        if not phi:
            cells["half width"] = f"{np.median((found.high - found.low) / 2):.2f}"
    return cells


def other(setting: Setting, what: str, points: int, phi: float) -> Cells:
    """Pairs with a trend, with unequal weights, or with places so long that their points are merged."""
    rng = generator(setting, "other", what, points, phi)
    count = max(2 * points, HISTORY)
    x, weights = np.arange(count) + 0.5, np.ones(count)
    noise = autoregressive(rng.standard_normal((setting.curves, count)), phi)
    if what == "weights of 1 to 8":
        weights = rng.integers(1, 9, count).astype(float)
        noise = noise * np.sqrt(weights.mean() / weights)
    if what == "a trend of 2 over the place":
        noise = noise + 2 * (x - (count - points / 2)) / points
    found = find_differences(x, noise, weights, (count - points, count))
    p = paired_p(noise[:, -points:])
    return {
        "pairs": what,
        "points": points,
        "phi": f"{phi:g}",
        "coverage": percent(covers(found, 0.0)),
        "half width": f"{np.median((found.high - found.low) / 2):.2f}",
        "paired t-test": rejected(p),
    }


def misses(column: str, value: Any) -> bool:
    """Coverage outside 93 to 97 %, over 5 % of false verdicts, and a loss of power over 2 points."""
    if not isinstance(value, float):
        return False
    limit = {"loss of power": 2, "better or worse, equal": 5}.get(column, 100)
    return value > limit or (column == "coverage" and not 93 <= value <= 97)


def misses_few(column: str, value: Any) -> bool:
    """Coverage below 93 %: with few points, too much is better than too little."""
    return column.startswith("phi") and isinstance(value, float) and value < 93


GROUPS = {
    "coverage": Group(
        "Pairs that do not differ, in %. Coverage: of the 95 % interval; false differences: it excludes 0; half width:"
        " of the interval, median, in standard deviations of a point; peers: p < 0.05, or another last loss",
        [
            row(coverage, at, points, history)
            for history in (HISTORY, 0)
            for at in range(len(NOISES))
            for points in POINTS
        ],
        misses,
    ),
    "power": Group(
        "Pairs that differ, independent noise: the difference is found, in %. Standard errors: of the mean",
        [row(power, points, history, size) for history in (HISTORY, 0) for points in POINTS for size in (2.0, 3.0)],
        misses,
    ),
    "verdicts": Group(
        "Verdicts on run A at a loss of 3.3, in %. Better or worse: the interval excludes 0, and the difference is"
        f" {100 * RELEVANT_DIFFERENCE:g} % of the loss or more; varies: standard deviation of a difference, nats",
        [row(verdicts, noise, phi, points) for noise in VARIES for phi in (0.0, 0.5) for points in (12, 60)],
        misses,
    ),
    "other": Group(
        "Other pairs, no difference in the middle of the place, in %",
        [row(other, what, points, phi) for what, numbers in OTHER.items() for points in numbers for phi in (0.0, 0.5)],
        misses,
    ),
    "evaluations": Group(
        "Few points: coverage in %, by the autocorrelation of the noise; half width: at phi 0",
        [
            row(evaluations, points, history, least)
            for history in (0, 12, 24, HISTORY)
            for least in (NO_FLOOR, FEW_EVALUATIONS_AUTOCORRELATION)
            for points in (3, 4, 6, 10)
        ],
        misses_few,
    ),
}
