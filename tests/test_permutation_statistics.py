"""A permutation looks random. Compiled or not, it is the same one: test_permutation.py holds that."""

import numpy as np
import pytest

from paddle_epoch_guard.order import Permutation


def whole(n, key):
    return Permutation(n, key)(np.arange(n))


def _distances(image, lag):
    """Of images of values ``lag`` apart, on a circle of length one: even from 0 to 0.5 for a random permutation."""
    gone = np.abs(image[lag:] - image[:-lag])
    return np.minimum(gone, len(image) - gone) / len(image)


def _unevenness(distances):
    """Kolmogorov's and Smirnov's statistic, scaled by root n."""
    found = np.sort(distances) * 2
    return float(np.abs(found - (np.arange(len(found)) + 0.5) / len(found)).max() * len(found) ** 0.5)


def statistics(permutation_array):
    """Figures in which a poor permutation would stand out against a random one."""
    image = np.asarray(permutation_array, np.int64)
    n = len(image)
    cells = min(32, int((n / 4) ** 0.5))
    place = np.arange(n)
    counted = np.bincount(place * cells // n * cells + image * cells // n, minlength=cells**2)
    rows = int(n**0.5)  # values this far apart share a digit of the network
    near, far = _distances(image, 1), _distances(image, rows)
    pairs = image[: n // 2 * 2].reshape(-1, 2)
    return {
        "chi-square": float(((counted - n / cells**2) ** 2).sum() / (n / cells**2)),
        "neighbours' distance": float(near.mean()),
        "neighbours' distance, deviation": float(near.std()),
        "neighbours' distance, KS": _unevenness(near),
        "distance across a digit": float(far.mean()),
        "distance across a digit, KS": _unevenness(far),
        "rises": int((np.diff(image) > 0).sum()),
        "fixed points": int((image == place).sum()),
        "correlation with the identity": float(np.corrcoef(place, image)[0, 1]),
        "XORs of pairs": len(np.unique(pairs[:, 0] ^ pairs[:, 1])),
        "XORs of neighbours": len(np.unique(image[1:] ^ image[:-1])),
        "XORs across a digit": len(np.unique(image[rows:] ^ image[:-rows])),
        "differences of pairs": len(np.unique((pairs[:, 0] - pairs[:, 1]) % n)),
    }


def measured(permutations):
    figures = [statistics(one) for one in permutations]
    return {name: np.array([one[name] for one in figures], float) for name in figures[0]}


def sides(n, keys=40):
    ours = measured(whole(n, (seed, 1, 0)) for seed in range(keys))
    reference = measured(np.random.default_rng(seed).permutation(n) for seed in range(keys))
    return ours, reference


@pytest.mark.parametrize("n", [1000, 4096, 4097, 4161, 2**16, 100_003])
def test_statistics_are_those_of_a_random_permutation(n):
    ours, reference = sides(n)
    for name, values in ours.items():
        expected = reference[name]
        error = ((values.var() + expected.var()) / len(values)) ** 0.5
        assert abs(values.mean() - expected.mean()) < 5 * error, (name, values.mean(), expected.mean())
        # Too even is as wrong as too uneven.
        assert 0.5 < values.std() / expected.std() < 2, (name, values.std(), expected.std())


@pytest.mark.parametrize("n", [2**16, 100_003, 4097])
def test_single_permutations_look_random(n):
    freedom = 31 * 31
    for seed in range(8):
        found = statistics(whole(n, (seed,)))
        assert abs(found["chi-square"] - freedom) < 6 * (2 * freedom) ** 0.5
        assert abs(found["correlation with the identity"]) < 5 / n**0.5
        assert abs(found["neighbours' distance"] - 0.25) < 5 * (1 / 48 / n) ** 0.5
        assert found["neighbours' distance, KS"] < 2.2


def test_differences_of_neighbours_are_as_many_as_in_a_random_permutation():
    for seed in range(4):
        found = statistics(whole(2**16, (seed,)))
        # Measured on numpy's permutations. m random pairs make 65,535 * (1 - exp(-m / 65,535)) differences.
        assert abs(found["XORs of pairs"] - 25_786) < 5 * 55
        assert abs(found["XORs of neighbours"] - 41_427) < 5 * 80


@pytest.mark.parametrize("n", [100, 4096, 4097, 2**16])
def test_fixed_points_are_one_on_average(n):
    found = [int((whole(n, (seed,)) == np.arange(n)).sum()) for seed in range(200)]
    assert 0.7 <= np.mean(found) <= 1.3
    assert 0.5 <= np.var(found) <= 1.7


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("n", [4096, 4097, 2**16])
def test_neighbouring_keys_agree_at_one_position_on_average(n, part):
    agreements = []
    leaps = np.zeros(64)
    for seed in range(60):
        key = [seed * 10, 1, 0]
        image = whole(n, key)
        key[part] += 1
        other = whole(n, key)
        agreements.append(int((image == other).sum()))
        leaps += np.bincount((image - other) % n * 64 // n, minlength=64)
    assert 0.45 <= np.mean(agreements) <= 1.6
    expected = 60 * np.diff(-(-np.arange(65) * n // 64))
    assert abs(((leaps - expected) ** 2 / expected).sum() - 63) < 6 * (2 * 63) ** 0.5


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_permutations_of_few_values_are_equally_likely(n):
    keys = 2400
    found, counts = np.unique([whole(n, (seed, 1, 0)) for seed in range(keys)], axis=0, return_counts=True)
    possible = [0, 1, 2, 6, 24][n]
    assert len(found) == possible
    expected = keys / possible
    assert ((counts - expected) ** 2 / expected).sum() < possible - 1 + 6 * (2 * (possible - 1)) ** 0.5
