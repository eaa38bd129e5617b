"""Whole verdicts: shares of each kind, by what happens at the cut and by what is known of it.

A run has 3,000 steps before the cut and 1,000 after it, is logged every 10 steps and, where it is evaluated, every 100
steps at a random phase. The guard's own code judges it.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diagnosis.curves import NOISES, SHARDS, Floats, Noise, training_curve
from diagnosis.rows_of_tests import EVALUATION_NOISE, SPACING, generator, jumps_of, percent
from diagnosis.tables import Cells, Group, Setting, row
from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.boundary_steps import BoundaryStep
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.ledger.intervals import OpenInterval
from paddle_epoch_guard.ledger.losses import Weighted
from paddle_epoch_guard.statistics.discontinuity import SIGNIFICANT
from paddle_epoch_guard.statistics.families import holm
from paddle_epoch_guard.statistics.gap import find_gaps
from paddle_epoch_guard.statistics.verdicts import Surroundings, among_all, report_on

CUT, STEPS, LENGTH = 3000, 4000, 10
"""The last step before the cut, the last step, and the steps of a log window."""
KINDS = ("artefact", "mixed", "improvement", "unexplained", "undecided", "none", "unknown")
RUNS_SHARE = 0.25
"""Runs of a row, as a share of ``--curves``: the guard judges each by itself, in some 5 ms."""

Curve = Callable[[Floats], Floats]
"""Steps since the cut, from 1 -> what is added to the loss."""


@dataclass(frozen=True)
class Jumping:
    """The exposure steps from 1 to 2 draws at the cut."""

    cut: int = CUT

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate:
        """The mean exposure of steps."""
        return Estimate(1.0 + (first_step > self.cut), 0.02)


@dataclass(frozen=True)
class Case:
    """What happens at a cut."""

    name: str
    alone: Curve | None = None
    """What is added to the training loss alone."""
    shared: Curve | None = None
    """What is added to training and evaluation loss."""
    leaks: float = 0.0
    """The share of ``alone`` that evaluation shows as well, because it overlaps the training data."""
    rate: Curve | None = None
    """The learning rate, relative to that before the cut; constant by default."""


def falls(size: float, tau: float = 0.0) -> Curve:
    """A fall at once, or over ``tau`` steps."""
    return lambda x: -size * (-np.expm1(-x / tau) if tau else np.ones_like(x))


def rate_step(x: Floats) -> Floats:
    """The learning rate falls to a tenth."""
    return np.full_like(x, 0.1)


def cooldown(x: Floats) -> Floats:
    """The learning rate falls by 1 - sqrt to zero over 1,000 steps (Haegele et al., arXiv 2405.18392)."""
    return 1 - np.sqrt(np.minimum(x / 1000, 1))


def cooled(x: Floats) -> Floats:
    """The loss during it: it follows the rate, 50 steps late."""
    return -0.2 * np.sqrt(np.maximum(x - 50, 0) / 1000)


CASES = (
    Case("nothing"),
    Case("artefact of -0.05", alone=falls(0.05)),
    Case("artefact of -0.1", alone=falls(0.1)),
    Case("artefact of -0.2", alone=falls(0.2)),
    Case("artefact of -0.1, over tau = 30", alone=falls(0.1, 30)),
    Case("artefact of -0.1, over tau = 100", alone=falls(0.1, 100)),
    Case("artefact of -0.1, over tau = 300", alone=falls(0.1, 300)),
    Case("improvement of -0.1", shared=falls(0.1)),
    Case("improvement of -0.1, over tau = 100", shared=falls(0.1, 100)),
    Case("both, -0.1 each", alone=falls(0.1), shared=falls(0.1)),
    Case("rate / 10, -0.1 over tau = 30", shared=falls(0.1, 30), rate=rate_step),
    Case("rate / 10, and artefact of -0.1", alone=falls(0.1), shared=falls(0.1, 30), rate=rate_step),
    Case("1 - sqrt decay, -0.2", shared=cooled, rate=cooldown),
    Case("1 - sqrt decay, and artefact of -0.1", alone=falls(0.1), shared=cooled, rate=cooldown),
)


@dataclass(frozen=True)
class Run:
    """The losses of a run."""

    training: Floats
    """Of each step, from step 1."""
    evaluations: list[tuple[int, float]]
    rates: Floats


def simulated(rng: np.random.Generator, case: Case, noise: Noise, evaluated: bool) -> Run:
    """A run with what happens in a case."""
    step = np.arange(1.0, STEPS + 1)
    since = step[CUT:] - CUT
    shared, alone, rates = np.zeros(STEPS), np.zeros(STEPS), np.ones(STEPS)
    for target, curve in ((shared, case.shared), (alone, case.alone), (rates, case.rate)):
        if curve is not None:
            target[CUT:] = curve(since)
    mean = training_curve(np.maximum(step, 100))
    training = mean + shared + alone + noise.draw(rng, 1, STEPS)[0]
    evaluations = []
    if evaluated:
        after = np.arange(int(rng.integers(1, SPACING + 1)), STEPS + 1, SPACING)
        values = (mean + shared + case.leaks * alone)[after - 1] + EVALUATION_NOISE * rng.standard_normal(len(after))
        evaluations = list(zip(after.tolist(), values.tolist(), strict=True))
    return Run(training, evaluations, 1e-3 * rates)


def buffer_of(run: Run, change: ChangePoint, own: Floats | None = None) -> ChangePointBuffer:
    """The losses around the cut, as the guard collects them.

    Args:
        run: the run.
        change: the cut.
        own: the loss of the boundary's dataset at each window.
    """
    means = run.training.reshape(-1, LENGTH).mean(axis=-1)
    windows = [
        LossWindow(
            at * LENGTH + 1, (at + 1) * LENGTH, float(mean), LENGTH * 512, float(run.rates[(at + 1) * LENGTH - 1]),
            () if own is None else (Weighted(1.0, float(own[at])),),
        )
        for at, mean in enumerate(means)
    ]  # fmt: skip
    intervals = []
    for (start, before), (end, after) in zip(run.evaluations, run.evaluations[1:], strict=False):
        interval = OpenInterval(start, before)
        interval.training.add(Weighted(end - start, float(run.training[start:end].sum())))
        if start < change.last_before < end:
            interval.cut_before = change.first_after
        closed = interval.closed(end, after)
        intervals += [] if closed is None else [closed]
    buffer = ChangePointBuffer(change)
    buffer.begin([each for each in windows if each.last_step <= CUT], run.evaluations, intervals)
    for window in windows:
        buffer.take(window)
    return buffer


def _shares(verdicts: list[str]) -> dict[str, float]:
    counts = Counter(verdicts)
    return {kind: 100 * counts[kind] / len(verdicts) for kind in KINDS}


def _number(setting: Setting) -> int:
    return max(round(RUNS_SHARE * setting.curves), 10)


def verdict(setting: Setting, at: int, evaluated: bool) -> Cells:
    """Shares of the verdicts in a case; the data repeats after the cut."""
    case = CASES[at]
    rng = generator(setting, "verdict", case.name, evaluated)
    change = ChangePoint("boundary", CUT + 1, CUT, CUT + 1)
    around = Surroundings(Jumping(), True)
    verdicts = [
        among_all([report_on(buffer_of(simulated(rng, case, SHARDS, evaluated), change), around, True)])[0].verdict
        for _ in range(_number(setting))
    ]
    return {"what happens": case.name, "evaluation": "every 100" if evaluated else "none", **_shares(verdicts)}


LEAKS = (("held out", 0.0, True), ("overlaps", 0.8, False), ("overlaps", 0.8, None), ("overlaps", 0.8, True))
KNOWN = {True: "held out", False: "overlap known", None: "not known"}


def overlap(setting: Setting, at: int) -> Cells:
    """An artefact, with an evaluation set that overlaps the training data."""
    name, leaks, known = LEAKS[at]
    case = Case(f"artefact of -0.1, evaluation {name}", alone=falls(0.1), leaks=leaks)
    rng = generator(setting, "overlap", name, leaks)  # the same runs, whatever is known
    change = ChangePoint("boundary", CUT + 1, CUT, CUT + 1)
    verdicts = [
        report_on(buffer_of(simulated(rng, case, SHARDS, True), change), Surroundings(Jumping(), known), True).verdict
        for _ in range(_number(setting))
    ]
    return {"what happens": case.name, "the guard believes": KNOWN[known], **_shares(verdicts)}


WEIGHTS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
SAMPLES = 512
"""Of a step: half a million tokens in samples of 1,024, as in the run whose noise SHARDS is."""


def blend(setting: Setting, weight: float, size: float) -> Cells:
    """One dataset of a blend repeats: judged by its own loss, and by the loss of all samples."""
    rng = generator(setting, "blend", weight, size)
    boundary = BoundaryStep(CUT + 1, 1, 0)
    change = ChangePoint.at(boundary, "boundary_1_to_2")
    case = Case("", alone=falls(weight * size))
    of_sample = SHARDS.sigma * math.sqrt(SAMPLES)
    own, whole = [], []
    for _ in range(_number(setting)):
        run = simulated(rng, case, SHARDS, False)
        step = (np.arange(STEPS // LENGTH) + 0.5) * LENGTH
        level = replace(SHARDS, sigma=0.0).draw(rng, 1, STEPS).reshape(-1, LENGTH).mean(axis=-1)
        drawn = np.maximum(rng.binomial(SAMPLES * LENGTH, weight, len(step)), 1)
        loss = training_curve(np.maximum(step, 100)) + level - size * (step > CUT)
        loss = loss + of_sample * rng.standard_normal(len(step)) / np.sqrt(drawn)
        for verdicts, known in ((own, loss), (whole, None)):
            verdicts.append(report_on(buffer_of(run, change, known), Surroundings(Jumping(), True), True).verdict)
    return {
        "weight": f"{weight:g}",
        "its loss falls by": f"{size:g}",
        "all fall by": f"{weight * size:g}",
        "artefact, own loss": percent(np.array(own) == "artefact"),
        "undecided, own loss": percent(np.array(own) == "undecided"),
        "artefact, whole loss": percent(np.array(whole) == "artefact"),
        "undecided, whole loss": percent(np.array(whole) == "undecided"),
    }


BOUNDARIES, APART = 100, 700


def many(setting: Setting, noise: Noise, evaluated: bool) -> Cells:
    """Runs with 100 boundaries where nothing happens, 700 steps apart, logged every 5 steps."""
    rng = generator(setting, "many", noise.name, evaluated)
    runs = max(setting.curves // 10, 10)
    alarms, after_holm = [], []
    for _ in range(runs):
        steps = (BOUNDARIES + 1) * APART
        loss = noise.draw(rng, 1, steps)[0] + training_curve(np.arange(steps) + 3000.0)
        means = loss.reshape(-1, 5).mean(axis=-1)
        cuts = np.arange(1, BOUNDARIES + 1) * APART
        jumps = jumps_of(np.stack([means[cut // 5 - 60 : cut // 5 + 60] for cut in cuts]), 5)
        flags, p = jumps.significant, jumps.p
        if evaluated:
            evaluation = EVALUATION_NOISE * rng.standard_normal(steps // SPACING + 1)
            curve = training_curve(np.arange(0, steps + 1, SPACING) + 3000.0)
            ends = evaluation + curve
            gaps = loss.reshape(-1, SPACING).mean(axis=-1) - (ends[1:] + ends[:-1]) / 2
            places = cuts // SPACING
            series = np.stack([gaps[at - 6 : at + 6] for at in places])
            past = np.stack([gaps[max(at - 7, 0) : at - 6] for at in places])
            shifts = find_gaps(series, np.full(BOUNDARIES, 3.4), past)
            flags, p = flags | shifts.significant, np.minimum(2 * np.minimum(p, shifts.p), 1)
        alarms.append(int(flags.sum()))
        after_holm.append(bool((flags & holm(p, SIGNIFICANT)).any()))
    return {
        "noise": noise.name,
        "evaluation": "every 100" if evaluated else "none",
        "runs": runs,
        "false verdicts a run, each alone": f"{np.mean(alarms):.2f}",
        "runs with one, each alone": percent(np.array(alarms) > 0),
        "false alarms": percent(np.array(after_holm)),
    }


def _misses_many(column: str, value: Any) -> bool:
    return column == "false alarms" and value > 5


GROUPS = {
    "verdicts": Group(
        "What the guard says, in % of runs; the data repeats after the cut (noise: shards)",
        [row(verdict, at, evaluated) for at in range(len(CASES)) for evaluated in (False, True)],
    ),
    "overlap": Group(
        "An evaluation set that overlaps the training data, in % of runs",
        [row(overlap, at) for at in range(len(LEAKS))],
    ),
    "blend": Group(
        "One dataset of a blend repeats, in % of runs, without evaluation",
        [row(blend, weight, size) for size in (0.1, 0.2, 0.5) for weight in WEIGHTS],
    ),
    "many": Group(
        "100 boundaries where nothing happens: share of runs with at least one jump that counts, in %; false alarms:"
        " after Holm",
        [row(many, noise, evaluated) for noise in NOISES for evaluated in (False, True)],
        _misses_many,
    ),
}
