"""Loss curves with the noise of real runs.

The constants were fitted to 32 runs of github.com/KellerJordan/modded-nanogpt (MIT licence), folder
records/track_1_short, which log the loss of each step. Taken was the part from 35 to 75 % of the steps, less a cubic;
most schedules hold the learning rate there. The median over the runs of the standard deviation of means over L steps,
in nats, and of their lag-1 autocorrelation, and what the noises below give, treated alike:

    L =                        1              5              10             50
    the 32 runs, median   .113  -.03     .050  -.05     .034  -.03     .0147 +.01
    ONE_RANK              .113  -.02     .050  -.01     .035  -.00     .0153 -.03
    one run (AdamW)       .047  +.03     .023  +.19     .018  +.27     .0111 +.49
    SHARDS                .047  +.04     .022  +.16     .017  +.27     .0107 +.51
    one run (llm.c)       .043  +.01     .020  +.02     .014  +.13     .0071 +.18
    SHUFFLED              .043  +.02     .020  +.06     .014  +.10     .0074 +.23

Thirty of the runs log the loss of one rank of eight; its own noise hides the rest. Two log the mean of the whole
batch, as PaddleNLP's Trainer does: there the slow shifts show. The llm.c run and the AdamW run are 2024-10-13_llmc and
2024-06-06_AdamW. Runs of one folder read the same data, so the 32 runs hold about ten independent noises.
"""

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray


@dataclass(frozen=True)
class Noise:
    """AR(1) noise, and a level that shifts with the data."""

    name: str
    sigma: float
    """Standard deviation of the AR(1) part, nats."""
    phi: float
    """Its autocorrelation."""
    slow: float
    """Standard deviation of the level, nats."""
    length: int
    """Steps over which the level is constant or, where it is not, over which its correlation falls to 1 / e."""
    is_constant: bool = True

    def draw(self, rng: np.random.Generator, runs: int, steps: int) -> Floats:
        """Noise of so many steps, [runs, steps]."""
        fast = _ar(rng, runs, steps, self.phi) if self.phi else rng.standard_normal((runs, steps))
        if not self.slow:
            return self.sigma * fast
        if not self.is_constant:
            return self.sigma * fast + self.slow * _ar(rng, runs, steps, float(np.exp(-1 / self.length)))
        levels = rng.standard_normal((runs, steps // self.length + 2))
        shard = (np.arange(steps) + rng.integers(0, self.length, (runs, 1))) // self.length
        return self.sigma * fast + self.slow * np.take_along_axis(levels, shard, axis=1)


def _ar(rng: np.random.Generator, runs: int, steps: int, phi: float) -> Floats:
    """Stationary AR(1) noise of variance 1, [runs, steps]."""
    noise = rng.standard_normal((steps, runs))
    noise[1:] *= np.sqrt(1 - phi**2)
    for at in range(1, steps):
        noise[at] += phi * noise[at - 1]
    return noise.T


ONE_RANK = Noise("one rank", sigma=0.112, phi=-0.02, slow=0.006, length=100, is_constant=False)
SHARDS = Noise("shards", sigma=0.0455, phi=0.0, slow=0.0112, length=280)
SHUFFLED = Noise("shuffled", sigma=0.0428, phi=0.0, slow=0.005, length=190)
NOISES = (SHARDS, SHUFFLED, ONE_RANK)


def training_curve(step: Floats) -> Floats:
    """The loss without noise, nats: a power law fitted to the AdamW run, steps 300 to 7,000."""
    return 3.381 + 0.561 * (step / 1000) ** -0.874


def windows_at(points: int, length: int) -> Floats:
    """Middles of windows of ``length`` steps, ``points`` on each side of the cut, as distances from it."""
    return (np.arange(-points, points) + 0.5) * length


def settled(points: int, length: int) -> int:
    """The step of a cut in the flatter part of the curve: half of the steps before it are among the points."""
    return max(2000, 2 * points * length)


def early(points: int, length: int) -> int:
    """The step of a cut for which the points begin 300 steps after the start, where the loss still falls steeply."""
    return points * length + 300


def curve_around(cut: int, points: int, length: int) -> Floats:
    """The loss of windows around a cut, without noise, [2 points]."""
    return training_curve(windows_at(points, length) + cut)


def noise_around(noise: Noise, rng: np.random.Generator, count: int, points: int, length: int) -> Floats:
    """The noise of windows around a cut where nothing happens, [count, 2 points]."""
    parts = []
    for start in range(0, count, 250):  # small ones stay in memory
        fine = noise.draw(rng, min(250, count - start), 2 * points * length)
        parts.append(fine.reshape(len(fine), 2 * points, length).mean(axis=-1))
    return np.concatenate(parts)


def noise_of(losses: Floats, length: int) -> tuple[float, float]:
    """Standard deviation, and lag-1 autocorrelation, of the means over ``length`` steps of a curve less its cubic."""
    at = np.linspace(-1, 1, len(losses))
    rest = losses - np.polynomial.chebyshev.chebval(at, np.polynomial.chebyshev.chebfit(at, losses, 3))
    means = rest[: len(rest) // length * length].reshape(-1, length).mean(axis=-1)
    return float(means.std()), float(np.corrcoef(means[1:], means[:-1])[0, 1])
