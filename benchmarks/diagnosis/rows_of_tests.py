"""The test for a jump, and the gap test, on noise as of real runs: false alarms, power and coverage."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from diagnosis import peers
from diagnosis.curves import NOISES, SHARDS, Floats, Noise, curve_around, early, noise_around, settled, windows_at
from diagnosis.tables import Cells, Group, Setting, row
from paddle_epoch_guard.statistics.discontinuity import SIGNIFICANT, Jumps, find_jumps
from paddle_epoch_guard.statistics.gap import PAST, find_gaps

LENGTHS = (1, 5, 10, 50)
POINTS = (3, 6, 12, 30, 60)
LONGEST = 300
"""Points a side of a run that is logged at each step: the guard waits for 300 steps."""
SIZES = (0.02, 0.05, 0.1, 0.2)
"""Falls, nats."""
TAUS = (30, 100, 300)
FEW = 50
"""Detected falls from which a share is taken."""
EVALUATION_NOISE = 0.005
"""Standard deviation of an evaluation, nats."""
SPACING = 100
"""Steps between evaluations."""


def percent(flags: Floats) -> float:
    """Share of true, in per cent."""
    return 100 * float(np.mean(flags))


def generator(setting: Setting, *key: Any) -> np.random.Generator:
    """A generator of its own for each row."""
    return np.random.default_rng([setting.seed, zlib.crc32(repr(key).encode())])


def covers(jumps: Jumps, size: float) -> Floats:
    """Whether the intervals hold the true size."""
    return (jumps.low <= size) & (size <= jumps.high)


def detected(jumps: Jumps) -> Floats:
    """Whether a fall is reported."""
    return jumps.significant & (jumps.value < 0)


Place = Callable[[int, int], int]
"""Points and length -> the step of the cut."""


def _drawn(setting: Setting, noise: Noise, length: int, points: int, place: Place = settled) -> tuple[Floats, float]:
    """Losses around cuts where nothing happens, [curves, 2 points], and the standard deviation of their noise."""
    rng = generator(setting, noise.name, length, points)
    drawn = noise_around(noise, rng, setting.curves, points, length)
    return drawn + curve_around(place(points, length), points, length), float(drawn.std())


def jumps_of(losses: Floats, length: int) -> Jumps:
    """The jumps of curves of windows, [count, 2 points]."""
    points = losses.shape[-1] // 2
    parts = [
        find_jumps(windows_at(points, length), part, np.full(2 * points, float(length)))
        for part in np.array_split(losses, max(len(losses) // 250, 1))  # small ones stay in the processor's cache
    ]
    return Jumps(*(np.concatenate([getattr(part, name) for part in parts]) for name in Jumps.__dataclass_fields__))


def placebo(setting: Setting, noise: Noise, length: int, points: int) -> Cells:
    """Cuts where nothing happens."""
    losses, _ = _drawn(setting, noise, length, points)
    jumps = jumps_of(losses, length)
    figures: dict[str, Any] = {
        "noise": noise.name,
        "L": length,
        "points": points,
        "size": percent(jumps.p < SIGNIFICANT),
        "false alarms": percent(jumps.significant),
        "coverage": percent(covers(jumps, 0.0)),
        "detectable": f"{np.median(jumps.detectable):.3f}",
    }
    return figures | peers.shares(setting, losses, length)


def power(setting: Setting, noise: Noise, length: int, points: int) -> Cells:
    """Cuts where the loss falls."""
    losses, sigma = _drawn(setting, noise, length, points)
    after = windows_at(points, length) > 0
    figures: dict[str, Any] = {
        "noise": noise.name,
        "L": length,
        "points": points,
        "0.1 in sigmas": f"{0.1 / sigma:.1f}",
    }
    for size in SIZES:
        figures[f"-{size:g}"] = percent(detected(jumps_of(losses - size * after, length)))
    jumps = jumps_of(losses - 0.1 * after, length)
    covered, reported = covers(jumps, -0.1), detected(jumps)
    figures["coverage"] = percent(covered)
    figures["where detected"] = percent(covered[reported]) if reported.sum() >= FEW else "-"
    return figures | peers.shares(setting, losses - 0.1 * after, length, falls=True)


def steep(setting: Setting, noise: Noise, length: int, points: int) -> Cells:
    """Cuts whose points reach into the steep part of the curve."""
    losses, _ = _drawn(setting, noise, length, points, early)
    after = windows_at(points, length) > 0
    nothing = jumps_of(losses, length)
    figures: dict[str, Any] = {
        "noise": noise.name,
        "L": length,
        "points": points,
        "cut at step": early(points, length),
        "false alarms": percent(nothing.significant),
        "coverage": percent(covers(nothing, 0.0)),
    }
    for size in SIZES:
        figures[f"-{size:g}"] = percent(detected(jumps_of(losses - size * after, length)))
    return figures


def gradual(setting: Setting, noise: Noise, length: int, size: float, tau: int) -> Cells:
    """Falls that build up over ``tau`` steps, with 60 points a side and evaluations every 100 steps."""
    losses, _ = _drawn(setting, noise, length, 60)
    x = windows_at(60, length)
    fallen = losses - size * (x > 0) * -np.expm1(-np.maximum(x, 0) / tau)
    rng = generator(setting, "gradual", noise.name, length, size, tau)
    series, earlier = _gaps(noise, rng, setting.curves, 6, PAST - 6)
    series = series - size * _built_up(tau, 6)
    return {
        "noise": noise.name,
        "fall": f"-{size:g}",
        "tau": tau,
        "L": length,
        "discontinuity test": percent(detected(jumps_of(fallen, length))),
        "gap test": percent(detected(find_gaps(series, np.full(len(series), 3.5), earlier))),
    }


def _built_up(tau: int, intervals: int) -> Floats:
    """The share of a fall that is in the mean of each interval, [2 intervals]."""
    start = np.arange(intervals) * SPACING
    share = 1 - tau / SPACING * (np.exp(-start / tau) - np.exp(-(start + SPACING) / tau))
    return np.concatenate([np.zeros(intervals), share])


def _gaps(
    noise: Noise, rng: np.random.Generator, count: int, intervals: int, past: int
) -> tuple[Floats, Floats | None]:
    """Gaps on both sides of a cut where nothing happens, and those before: [count, 2 intervals], [count, past]."""
    every = past + 2 * intervals
    parts = []
    for start in range(0, count, 250):
        runs = min(250, count - start)
        training = noise.draw(rng, runs, every * SPACING).reshape(runs, every, SPACING).mean(axis=-1)
        evaluation = EVALUATION_NOISE * rng.standard_normal((runs, every + 1))
        parts.append(training - (evaluation[:, 1:] + evaluation[:, :-1]) / 2)
    gaps = np.concatenate(parts)
    return gaps[:, past:], gaps[:, :past] if past else None


def gap_size(setting: Setting, noise: Noise, intervals: int, past: int) -> Cells:
    """The gap test where nothing happens, and where only the training loss falls."""
    rng = generator(setting, "gap", noise.name, intervals, past)
    series, earlier = _gaps(noise, rng, setting.curves, intervals, past)
    nothing = find_gaps(series, np.full(len(series), 3.5), earlier)
    after = np.arange(2 * intervals) >= intervals
    figures: dict[str, Any] = {
        "noise": noise.name,
        "intervals": intervals,
        "earlier": past,
        "size": percent(nothing.p < SIGNIFICANT),
        "false alarms": percent(nothing.significant),
        "coverage": percent(covers(nothing, 0.0)),
    }
    for size in SIZES[:3]:
        shifted = find_gaps(series - size * after, np.full(len(series), 3.5), earlier)
        figures[f"-{size:g}"] = percent(detected(shifted))
    return figures


def misses(column: str, value: Any) -> bool:
    """Whether false alarms, sizes or coverage miss their targets."""
    if not isinstance(value, float):
        return False
    return value > 5 if column in ("false alarms", "size") else column == "coverage" and not 93 <= value <= 97


def _each(function: Callable[..., Cells]) -> list[Any]:
    pairs = [(length, points) for length in LENGTHS for points in (*POINTS, *((LONGEST,) if length == 1 else ()))]
    return [row(function, noise, length, points) for noise in NOISES for length, points in pairs]


GROUPS = {
    "placebo": Group(
        "Cuts where nothing happens, in %. Size: p < 0.05; false alarms: those of 0.5 % of the loss or more; coverage:"
        " of the 95 % interval; detectable: the least fall that would be detected, median, nats; peers: p < 0.05",
        _each(placebo),
        misses,
    ),
    "power": Group(
        "Falls at the cut, in nats: detected in %. Coverage, of all and of the detected ones, and the peers: a fall of"
        " 0.1. Sigmas: of the noise of a point",
        _each(power),
    ),
    "steep": Group(
        "Cuts whose points begin 300 steps after the start, where the loss falls steeply: in %",
        [row(steep, noise, length, points) for noise in NOISES for length in (10, 50) for points in (12, 30, 60)],
        misses,
    ),
    "gradual": Group(
        "Falls that build up over tau steps: detected in %; 60 points a side, 6 evaluation intervals of 100 steps",
        [row(gradual, SHARDS, 10, size, tau) for size in (0.05, 0.1, 0.2) for tau in TAUS],
    ),
    "gap": Group(
        "The gap test: size, false alarms, coverage, and power at falls of the training loss alone, in %",
        [row(gap_size, noise, count, past) for noise in NOISES for count in (3, 4, 6) for past in (0, 6, 18)],
        misses,
    ),
}
