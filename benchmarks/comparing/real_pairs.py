"""Pairs of real runs with equal settings: how far they are apart, what pairing cancels, and what the intervals do.

A folder of .npz files as for the diagnosis, named ``<settings>-<number>.npz``: runs of equal settings share what
stands before the last hyphen. ``loss`` may be empty; such runs count by their evaluations.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from diagnosis.tables import Cells, Group, Setting, row

from comparing.pairs import Floats, covers, estimated, generator, paired_p, percent
from paddle_epoch_guard.ledger.students_t import t_quantile
from paddle_epoch_guard.statistics.difference import RELEVANT_DIFFERENCE

MARGINS = (0.001, 0.002, 0.003, 0.005)
"""Shares of the loss."""
PAIRS = 200
"""Pairs of one kind of settings, at most."""
LENGTHS = (1, 5, 10)
POINTS = (6, 12, 30, 60, 150)
SMOOTH = 51
"""Steps of the running mean that stands for the trend of a loss."""

MANY = 10
"""Runs of one kind of settings from which its own share is taken."""

Run = dict[str, Floats]


def settings_of(setting: Setting) -> dict[str, list[Run]]:
    """The runs of each kind of settings, at least two."""
    assert setting.real is not None
    runs = defaultdict(list)
    for file in sorted(Path(setting.real).glob("*.npz")):
        with np.load(file) as arrays:
            runs[file.stem.rpartition("-")[0]].append(dict(arrays))
    found = {name: same for name, same in runs.items() if len(same) > 1}
    if not found:
        raise SystemExit(f"no two files <settings>-<number>.npz with equal settings in {setting.real}")
    return found


def trained(setting: Setting) -> Iterator[tuple[str, Floats]]:
    """The training losses of each kind of settings, [runs, steps]; those that log none are left out."""
    for name, runs in settings_of(setting).items():
        steps = min(len(run["loss"]) for run in runs)
        if steps:
            yield name, np.array([run["loss"][:steps] for run in runs], np.float64)


def pairs_of(setting: Setting, name: str, losses: Floats) -> Floats:
    """Differences of pairs of runs, [pairs, steps]."""
    chosen = np.array(list(itertools.combinations(range(len(losses)), 2)))
    chosen = generator(setting, name).permutation(chosen)[:PAIRS]
    return losses[chosen[:, 0]] - losses[chosen[:, 1]]


def means(values: Floats, length: int) -> Floats:
    """Means over so many steps, [..., windows]."""
    kept = values[..., : values.shape[-1] // length * length]
    return kept.reshape(*kept.shape[:-1], -1, length).mean(axis=-1)


def pairing(setting: Setting) -> Cells:
    """What pairing cancels, from a third of the run on; the median over the kinds of settings."""
    rows = []
    for name, losses in trained(setting):
        late = losses[:, losses.shape[1] // 3 :]
        trend = np.convolve(late.mean(axis=0), np.ones(SMOOTH) / SMOOTH, "valid")
        single = float((late[:, SMOOTH // 2 : -(SMOOTH // 2)] - trend).std())
        differences = pairs_of(setting, name, late)
        differences = differences - differences.mean(axis=1, keepdims=True)
        lags = []
        for length in (1, 10, 50):
            shorter = means(differences, length)
            lags.append(float((shorter[:, 1:] * shorter[:, :-1]).mean() / np.square(shorter).mean()))
        rows.append((len(losses), single, float(differences.std()), *lags))
    if not rows:
        return {"kinds of settings": 0}
    runs, single, paired, *lags = np.median(rows, axis=0)
    return {
        "kinds of settings": len(rows),
        "runs, median": int(runs),
        "a loss about its trend": f"{single:.4f}",
        "a paired difference": f"{paired:.4f}",
        "variance left": f"{100 * paired**2 / (2 * single**2):.2f} %",
        **{f"lag-1, L = {length}": f"{lag:+.2f}" for length, lag in zip((1, 10, 50), lags, strict=True)},
    }


def offsets(setting: Setting, share: float) -> Cells:
    """How far the evaluations of equal runs are apart after a share of the run; settings count by their pairs."""
    parts, spreads, runs, farthest = [], [], 0, 0.0
    for same in settings_of(setting).values():
        steps = set.intersection(*(set(run["val_steps"].tolist()) for run in same))
        if not steps:
            continue
        at = min(steps, key=lambda step: abs(step - share * max(steps)))
        values = np.array([float(run["val"][run["val_steps"].tolist().index(at)]) for run in same])
        pairs = np.array(list(itertools.combinations(values / values.mean(), 2)))
        parts.append(np.abs(pairs[:, 0] - pairs[:, 1]))
        spreads.append(np.sqrt(2) * values.std(ddof=1) / values.mean())
        runs += len(same)
        if len(same) >= MANY:
            farthest = max(farthest, percent(parts[-1] > RELEVANT_DIFFERENCE))
    apart = np.concatenate(parts)
    return {
        "after": f"{share:.0%}",
        "kinds of settings": len(parts),
        "runs": runs,
        "pairs": len(apart),
        "sd of a difference, median": f"{100 * np.median(spreads):.3f} %",
        "95 % are within": f"{100 * np.quantile(apart, 0.95):.2f} %",
        "99 %": f"{100 * np.quantile(apart, 0.99):.2f} %",
        **{f"over {100 * margin:g} %": percent(apart > margin) for margin in MARGINS},
        f"over {100 * RELEVANT_DIFFERENCE:g} %, worst kind": farthest,
    }


def equal(setting: Setting, length: int, points: int) -> Cells:
    """Pairs of equal settings, at five places of the second half of the run."""
    kinds, columns = 0, defaultdict(list)
    for name, losses in trained(setting):
        differences = means(pairs_of(setting, name, losses[:, losses.shape[1] // 4 :]), length)
        level, count = float(losses[:, losses.shape[1] // 2 :].mean()), differences.shape[1]
        if count < 3 * points:
            continue
        kinds += 1
        for end in np.linspace(max(2 * points, count // 2), count - points, 5).astype(int):
            for column, flags in _at(differences, end, points, level).items():
                columns[column].append(flags)
        columns["counts at the end"].append(estimated(differences, points).counts(level))
    cells: dict[str, Any] = {"L": length, "points": points, "kinds of settings": kinds}
    if not kinds:
        return cells
    whole = {column: np.concatenate(flags) for column, flags in columns.items()}
    cells["pairs and places"] = len(whole["error"])
    cells["error"] = f"{np.median(whole.pop('error')):.5f}"
    return cells | {column: percent(flags) for column, flags in whole.items()}


def _at(differences: Floats, end: int, points: int, level: float) -> dict[str, Floats]:
    """What is said of each pair at the place that ends at a point."""
    found = estimated(differences[:, :end], points)
    later = estimated(differences[:, : end + points], points)
    around = differences[:, max(end - 2 * points, 0) : end + points].mean(axis=1)
    apart = np.abs(found.value - later.value)
    width = t_quantile(0.95, found.freedom + later.freedom) * np.hypot(found.error, later.error)
    place = differences[:, end - points : end]
    even, odd = estimated(place[:, ::2], len(place[0, ::2])), estimated(place[:, 1::2], len(place[0, 1::2]))
    halves = t_quantile(0.95, np.maximum(even.freedom + odd.freedom, 1)) * np.hypot(even.error, odd.error)
    p = paired_p(place)
    return {
        "error": found.error,
        "excludes 0": ~covers(found, 0.0),
        "paired t-test": np.full(len(place), np.nan) if p is None else p < 0.05,
        f"counts, {100 * RELEVANT_DIFFERENCE:g} %": found.counts(level),
        "holds the mean around": covers(found, around),
        "odd and even points agree": np.abs(even.value - odd.value) <= halves,
        "agrees with the next place": apart <= width,
    }


GROUPS = {
    "pairing": Group(
        "Runs of equal settings that log each step: standard deviations of a step's loss about its trend and of a"
        " paired difference about its mean, in nats; variance left: of the paired in that of the unpaired difference",
        [row(pairing)],
    ),
    "offsets": Group(
        "Runs of equal settings: how far their evaluations are apart after a share of the run, in % of the loss; pairs"
        " that are further apart than a margin, in %",
        [row(offsets, share) for share in (0.5, 0.75, 1.0)],
    ),
    "equal": Group(
        "Runs of equal settings that log each step, means over L steps, places in the second half: in %",
        [row(equal, length, points) for length in LENGTHS for points in POINTS],
    ),
}
