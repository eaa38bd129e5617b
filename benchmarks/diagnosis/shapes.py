"""Kinds of loss curves by shape: without a jump, beyond the reach of any test, and with one.

Units are standard deviations of the noise (sigma = 1 about a loss of 10) unless a row says otherwise. AR(1) is noise
whose neighbours correlate by phi; "before" and "after" count steps from the change point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diagnosis.rows_of_tests import generator, percent
from diagnosis.tables import Cells, Group, Setting, over, row
from paddle_epoch_guard.statistics.discontinuity import find_jumps


@dataclass(frozen=True)
class Scenario:
    """A kind of loss curve, with a change point between x <= 0 and x >= 1."""

    name: str
    x: np.ndarray
    """Steps of the points, [n]."""
    mean: np.ndarray | float = 10.0
    """The curve without noise, [n]."""
    sigma: np.ndarray | float = 1.0
    """Standard deviation of the noise, [n]."""
    phi: float = 0.0
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray] = np.random.Generator.standard_normal

    def curves(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Simulated losses, [count, n]."""
        noise = self.draw(rng, (count, len(self.x)))
        for at in range(1, len(self.x)):
            noise[:, at] = self.phi * noise[:, at - 1] + math.sqrt(1 - self.phi**2) * noise[:, at]
        return self.mean + self.sigma * noise


def every_step(points: int) -> np.ndarray:
    """Steps of a curve that is logged at every step."""
    return np.arange(1.0 - points, points + 1)


def windows(points: int, length: int) -> np.ndarray:
    """Middles of windows of ``length`` steps that end and begin at the change point."""
    return (np.arange(-points, points) + 0.5) * length + 0.5


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise with heavy tails: Student's t with three degrees of freedom."""
    return rng.standard_t(3, shape)


def spiky(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise with a spike of eight standard deviations at 3 % of the steps."""
    return rng.standard_normal(shape) + 8 * (rng.random(shape) < 0.03)


def learning_curve(steps: np.ndarray) -> np.ndarray:
    """The loss early in a run."""
    return 3 + 5 * np.exp(-steps / 80)


def evaluation_curve(steps: np.ndarray) -> np.ndarray:
    """The evaluation loss, 600 steps into a run."""
    return 3 + 2 * ((steps + 600) / 100) ** -0.5


def without_jump() -> list[Scenario]:
    """Curves without a jump at the change point."""
    x, dozen, tens = every_step(60), every_step(12), windows(12, 10)
    early = "3 + 5 exp(-x/80)"
    shared = []
    for phi in (0.0, 0.5, 0.8):
        noise = f"AR(1), phi {phi}" if phi else "white noise"
        shared += [Scenario(f"{noise}, {n} points a side", every_step(n), phi=phi) for n in (60, 30, 20, 12, 6)]
    for step, sigma in ((60, 0.02), (60, 0.1), (100, 0.05), (200, 0.05), (300, 0.05)):
        shared.append(Scenario(f"{early}, change at {step}, sigma {sigma}", x, learning_curve(x + step), sigma))
    for step in (120, 200, 300):
        shared.append(
            Scenario(f"{early}, change at {step}, 12 windows of 10", tens, learning_curve(tens + step), 0.03)
        )
    shared += [
        Scenario("linear trend, 0.1 a step", x, 20 - 0.1 * x),
        Scenario("kink at the change, 0.3 a step", x, 20 - 0.3 * np.maximum(x, 0)),
        Scenario("kink at the change, AR(1), phi 0.8", x, 20 - 0.3 * np.maximum(x, 0), phi=0.8),
        Scenario("noise triples at the change", x, sigma=np.where(x > 0, 3.0, 1.0)),
        Scenario("noise triples at the change, 12 points a side", dozen, sigma=np.where(dozen > 0, 3.0, 1.0)),
        Scenario("noise largest at the change, fourfold", x, sigma=4 - np.abs(x) / 20),
        Scenario("heavy tails: Student's t, 3 degrees", x, draw=heavy),
        Scenario("spikes of 8 at 3 % of the steps", x, draw=spiky),
    ]
    shared += [Scenario(f"spike of {size} just after the change", x, 10 + size * (x == 1)) for size in (3.5, 10, 30)]
    shared += [
        Scenario("spike of 10 just before the change", x, 10 + 10 * (x == 0)),
        Scenario("spike of 10 just after the change, 12 points a side", dozen, 10 + 10 * (dozen == 1)),
    ]
    for at in (-25, 25, -10, 10):
        where = f"{abs(at)} steps {'before' if at < 0 else 'after'}"
        shared += [Scenario(f"level falls by {size}, {where}", x, 20 - size * (x > at)) for size in (1, 3)]
        if abs(at) == 25:
            falling = 1 - np.exp(-np.maximum(x - at, 0) / 10)
            shared += [
                Scenario(f"level falls by 3, {where}, AR(1), phi 0.5", x, 20 - 3 * (x > at), phi=0.5),
                Scenario(f"slope changes by 0.1, {where}", x, 20 - 0.1 * np.maximum(x - at, 0)),
                Scenario(f"rate drop: falls by 3 over 10 steps, {where}", x, 20 - 3 * falling),
            ]
    for points in (3, 4, 6, 10):
        at = windows(points, 50)
        shared.append(Scenario(f"evaluation curve, {points} points a side", at, evaluation_curve(at), 0.005))
    return shared


def beyond_reach() -> list[Scenario]:
    """Curves without a jump at the change point that look as if they had one."""
    x = every_step(60)
    steps = [
        Scenario(f"level falls by {size}, {at} steps after", x, 20 - size * (x > at))
        for at in (3, 5, 8)
        for size in (2, 5)
    ]
    decay = np.where(x > 0, np.exp(-(x - 1) / 3), 0)
    return [
        *steps,
        Scenario(
            "falls by 2 in an S of 30 steps, 10 steps after, sigma 0.05", x, 6 + 2 / (1 + np.exp((x - 10) / 8)), 0.05
        ),
        Scenario("spike of 8 at the change that decays over 3 steps", x, 10 + 8 * decay),
    ]


def with_jump() -> list[Scenario]:
    """Curves that fall at the change point."""
    x = every_step(60)
    scenarios = [
        Scenario(f"falls by {size:g}, {n} points a side, AR(1), phi {phi:g}", side, 20 - size * (side > 0), phi=phi)
        for size in (2.0, 4.0)
        for phi in (0.0, 0.5, 0.8)
        for n, side in ((n, every_step(n)) for n in (60, 30, 20, 12))
    ]
    scenarios += [
        Scenario(f"falls by {size} over 10 steps", x, 20 - size * np.clip(x / 10, 0, 1)) for size in (2, 4, 6)
    ]
    scenarios.append(Scenario("falls by 3, and again 25 steps after", x, 20 - 3 * (x > 0) - 3 * (x > 25)))
    for points in (3, 4, 6):
        at = windows(points, 50)
        mean = evaluation_curve(at) - 0.1 * (at > 0)
        scenarios.append(Scenario(f"evaluation curve, falls by 20 sigma, {points} points a side", at, mean, 0.005))
    return scenarios


SHAPES = {"without": without_jump, "beyond": beyond_reach, "with": with_jump}


def reported(setting: Setting, shape: str, at: int) -> Cells:
    """In how many of 100 curves of a scenario a jump is reported."""
    scenario = SHAPES[shape]()[at]
    rng = generator(setting, shape, at)
    x = scenario.x - 0.5
    parts = np.array_split(scenario.curves(rng, setting.curves), 10)  # small ones stay in the processor's cache
    flags = np.concatenate([find_jumps(x, part, np.ones_like(x)).significant for part in parts])
    return {"curve": scenario.name, "reported": percent(flags)}


def _group(shape: str, title: str, limit: float = 100.0) -> Group:
    rows = [row(reported, shape, at) for at in range(len(SHAPES[shape]()))]
    return Group(title, rows, over(limit, "reported"))


GROUPS = {
    "without": _group("without", "No jump: reported in % of curves", 5.0),
    "beyond": _group("beyond", "No jump at the change, but hard or impossible to tell from one: reported in %"),
    "with": _group("with", "A jump: reported in %"),
}
