"""A permutation that is computed, not stored: any size costs the same to make, and nothing to keep."""

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError

try:
    from paddle_epoch_guard.order import _network
except ImportError:  # not built, for want of a C compiler: numpy computes the same, some ten times more slowly
    _network = None  # type: ignore[assignment]

COMPILED = _network is not None
"""Whether permutations of up to 2**32 values are computed by compiled code."""

Words = npt.NDArray[np.unsignedinteger[Any]]

ROUNDS = 8
_TABLE_UP_TO = 1 << 12  # below, two tables of 32 KiB at most: exact, and no network on a tiny domain
# Odd constants without structure: the golden ratio in 32 bits (Knuth) and in 64 (Vigna's SplitMix64).
_MIX = {32: 0x9E3779B1, 64: 0x9E3779B97F4A7C15}


class Permutation:
    """A bijection on ``[0, n)``, evaluated on demand, with its inverse.

    It is a Feistel network over the digits of ``x = left * b + right`` with ``a * b >= n``, ``a`` and ``b`` next to
    the root of n, added modulo ``a`` and ``b`` in turn (the "generalized Feistel" of Black and Rogaway, "Ciphers
    with Arbitrary Finite Domains", CT-RSA 2002). Because ``a * b - n < a``, walking on from a value outside
    ``[0, n)`` happens to less than one value in root n. Small n are a table, sorted by a keyed hash.

    The same ``n`` and ``key`` give the same permutation on every platform, with every release of numpy and of this
    package, and whether or not its compiled part was built.

    Args:
        n: size of the domain, from 1 to 2**63.
        key: non-negative integers, such as ``(seed, purpose, ordinal)``; each other key is another permutation.

    Raises:
        OrderError: ``n`` or ``key`` is out of range.
    """

    def __init__(self, n: int, key: Sequence[int]) -> None:
        if n < 1 or n > 1 << 63:
            raise OrderError(f"a permutation of {n} values; expected 1 to 2**63")
        if not key or min(key) < 0:
            raise OrderError(f"the key {tuple(key)}; expected one or more integers from 0 on")
        self.n = int(n)
        self.key = tuple(int(part) for part in key)
        self._left = math.isqrt(self.n - 1) + 1
        self._right = -(-self.n // self._left)
        # A digit is scaled from half a word: words of 32 bits, which are faster, serve up to n = 2**32.
        bits = 32 if self._left <= 1 << 16 else 64
        self._dtype: Any = np.dtype(f"uint{bits}").type
        self._half = bits // 2
        self._mask = (1 << bits) - 1
        self._mix = _MIX[bits]
        words = np.random.SeedSequence(_entropy(self.key)).generate_state(2 * ROUNDS, self._dtype).tolist()
        self._multipliers: list[int] = [word | 1 for word in words[:ROUNDS]]
        self._offsets: list[int] = words[ROUNDS:]
        # Arrays of one value: numpy takes a scalar operand more slowly than an array that it broadcasts.
        self._arrays = {
            name: [np.array([value], self._dtype) for value in values]
            for name, values in {
                "multipliers": self._multipliers,
                "offsets": self._offsets,
                "sizes": [self._left, self._right],
                "half_mix": [self._half, self._mix],
            }.items()
        }
        self._words = np.array(self._multipliers + self._offsets, self._dtype)
        self._compiles = COMPILED and bits == 32
        self._tables = self._sorted_tables() if self.n <= _TABLE_UP_TO else None

    def __repr__(self) -> str:
        return f"Permutation({self.n}, {self.key})"

    @overload
    def __call__(self, x: int) -> int: ...
    @overload
    def __call__(self, x: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]: ...
    def __call__(self, x: Any) -> Any:
        """The image of each value.

        Args:
            x: an integer, or an array of integers of any shape, in ``[0, n)``.

        Returns:
            An integer for an integer, an int64 array of the same shape for an array.

        Raises:
            OrderError: a value outside ``[0, n)``.
        """
        return self._apply(x, inverse=False)

    @overload
    def inverse(self, x: int) -> int: ...
    @overload
    def inverse(self, x: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]: ...
    def inverse(self, x: Any) -> Any:
        """The value whose image is ``x``; arguments and errors as for a call."""
        return self._apply(x, inverse=True)

    def _apply(self, x: Any, inverse: bool) -> Any:
        if isinstance(x, np.ndarray):
            if self._tables is None and self._compiles:
                found = x.astype(np.int64, order="C")
                if not _network.apply(found, found, self._words, self._left, self._right, self.n, inverse):
                    raise self._outside(x)
                return found
            if x.size and not (int(x.min()) >= 0 and int(x.max()) < self.n):
                raise self._outside(x)
            if self._tables is not None:
                return np.asarray(self._tables[inverse][x])
            return self._walk(x.astype(np.uint64).ravel(), inverse).reshape(x.shape)
        value = int(x)
        if not 0 <= value < self.n:
            raise OrderError(f"the value {value}; the permutation has [0, {self.n})")
        if self._tables is not None:
            return int(self._tables[inverse][value])
        value = self._once_int(value, inverse)
        while value >= self.n:
            value = self._once_int(value, inverse)
        return value

    def _outside(self, x: npt.NDArray[Any]) -> OrderError:
        return OrderError(f"values from {x.min()} to {x.max()}; the permutation has [0, {self.n})")

    def _walk(self, values: Any, inverse: bool) -> npt.NDArray[np.int64]:
        found = self._once(values, inverse)
        outside = np.flatnonzero(found >= self.n)
        while outside.size:
            found[outside] = self._once(found[outside], inverse)
            outside = outside[found[outside] >= self.n]
        return found.astype(np.int64)

    def _rounds(self, inverse: bool) -> range:
        return range(ROUNDS - 1, -1, -1) if inverse else range(ROUNDS)

    def _once(self, values: npt.NDArray[np.uint64], inverse: bool) -> npt.NDArray[np.uint64]:
        """One pass through the network: values in ``[0, a * b)`` to values in ``[0, a * b)``."""
        right_size = np.uint64(self._right)
        quotient = values // right_size
        digits: list[Words] = [quotient.astype(self._dtype), (values - quotient * right_size).astype(self._dtype)]
        multipliers, offsets, sizes = (self._arrays[name] for name in ("multipliers", "offsets", "sizes"))
        half, mix = self._arrays["half_mix"]
        scratch = np.empty_like(digits[0])
        hashed = np.empty_like(digits[0])
        for at in self._rounds(inverse):
            changed, size = digits[at % 2], sizes[at % 2]
            # The digit to add, from the other one: the upper half of a keyed hash, scaled to [0, size).
            np.multiply(digits[1 - at % 2], multipliers[at], out=hashed)
            np.add(hashed, offsets[at], out=hashed)
            np.right_shift(hashed, half, out=scratch)
            np.bitwise_xor(hashed, scratch, out=hashed)
            np.multiply(hashed, mix, out=hashed)
            np.right_shift(hashed, half, out=hashed)
            np.multiply(hashed, size, out=hashed)
            np.right_shift(hashed, half, out=hashed)
            if inverse:
                np.subtract(changed, hashed, out=changed)  # where it is negative it wraps, and adding brings it back
                np.add(changed, size, out=scratch)
            else:
                np.add(changed, hashed, out=changed)
                np.subtract(changed, size, out=scratch)  # where it is negative it wraps to a huge number
            np.minimum(changed, scratch, out=changed)
        return digits[0].astype(np.uint64) * right_size + digits[1]

    def _once_int(self, value: int, inverse: bool) -> int:
        """The same for one value, in Python's own integers."""
        digits = [value // self._right, value % self._right]
        sizes = self._left, self._right
        for at in self._rounds(inverse):
            hashed = (digits[1 - at % 2] * self._multipliers[at] + self._offsets[at]) & self._mask
            hashed = ((hashed ^ (hashed >> self._half)) * self._mix & self._mask) >> self._half
            step = (hashed * sizes[at % 2]) >> self._half
            digits[at % 2] = (digits[at % 2] + (-step if inverse else step)) % sizes[at % 2]
        return digits[0] * self._right + digits[1]

    def _sorted_tables(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For small n: the values in the order of a keyed hash, and the inverse."""
        hashes = np.arange(self.n, dtype=np.uint64)
        words = np.random.SeedSequence(_entropy(self.key)).generate_state(4, np.uint64)
        for word in words:
            hashes += word
            hashes *= np.uint64(_MIX[64])
            hashes ^= hashes >> np.uint64(32)
        forward = np.argsort(hashes, kind="stable").astype(np.int64)
        return forward, np.argsort(forward, kind="stable").astype(np.int64)


def _entropy(key: tuple[int, ...]) -> list[int]:
    """The key as words of 32 bits from which it can be read back, so that no two keys are the same to SeedSequence.

    By itself SeedSequence takes ``(1,)`` for ``(1, 0)``, and ``(2**32,)`` for ``(0, 1)``.
    """
    words = [len(key)]
    for part in key:
        count = max(-(-part.bit_length() // 32), 1)
        words += [count, *(part >> (32 * at) & 0xFFFFFFFF for at in range(count))]
    return words
