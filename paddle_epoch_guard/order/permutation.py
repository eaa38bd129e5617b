"""A permutation that is computed on demand: its cost and memory do not depend on its size."""

import math
import operator
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.language import tr

try:
    from paddle_epoch_guard.order import _network
except ImportError:  # not built, for lack of a C compiler: numpy computes the same, about ten times slower
    _network = None  # type: ignore[assignment]

COMPILED = _network is not None
"""Whether compiled code computes permutations of up to 2**32 values."""

Words = npt.NDArray[np.unsignedinteger[Any]]

ROUNDS = 8
PLACED = np.dtype(
    {
        "names": ["start", "n", "left", "right", "words"],
        "formats": ["i8", "u8", "u4", "u4", ("u4", 2 * ROUNDS)],
    }
)
"""A compiled permutation of the positions from ``start`` on, as :func:`compose` takes it."""
_TABLE_UP_TO = 1 << 12  # values; two tables of at most 32 KiB instead of a network on a tiny domain
# Odd constants without structure: the golden ratio in 32 bits (Knuth) and in 64 (Vigna's SplitMix64).
_MIX = {32: 0x9E3779B1, 64: 0x9E3779B97F4A7C15}


class Permutation:
    """A bijection on ``[0, n)`` and its inverse.

    It is a Feistel network over the digits of ``x = left * b + right``, added modulo ``a`` and ``b`` in turn, with
    ``a * b >= n`` and ``a`` and ``b`` close to the root of n (the "generalized Feistel" of Black and Rogaway, "Ciphers
    with Arbitrary Finite Domains", CT-RSA 2002). Because ``a * b - n < a``, fewer than one value in root n needs cycle
    walking. For small n, it is a table sorted by a keyed hash.

    The same ``n`` and ``key`` give the same permutation on every platform, with every release of numpy and of this
    package, with or without the compiled code.

    Args:
        n: size of the domain, from 1 to 2**63.
        key: non-negative integers, such as ``(seed, purpose, ordinal)``; each key gives another permutation.

    Raises:
        OrderError: ``n`` or ``key`` is out of range.
    """

    def __init__(self, n: int, key: Sequence[int]) -> None:
        if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 or n > 1 << 63:
            raise OrderError(tr("a permutation of {n!r} values; expected an integer from 1 to 2**63", n=n))
        if not key or min(key) < 0:
            raise OrderError(tr("the key {key}; expected one or more integers from 0 on", key=tuple(key)))
        self.n = int(n)
        self.key = tuple(map(int, key))
        self._left = math.isqrt(self.n - 1) + 1
        self._right = -(-self.n // self._left)
        # A digit is scaled from half a word, so 32-bit words, which are faster, suffice up to n = 2**32.
        bits = 32 if self._left <= 1 << 16 else 64
        self._dtype: Any = np.dtype(f"uint{bits}").type
        self._half = bits // 2
        self._mask = (1 << bits) - 1
        self._mix = _MIX[bits]
        words = np.random.SeedSequence(_entropy(self.key)).generate_state(2 * ROUNDS, self._dtype).tolist()
        self._multipliers: list[int] = [word | 1 for word in words[:ROUNDS]]
        self._offsets: list[int] = words[ROUNDS:]
        # Arrays of one value: numpy is faster at broadcasting an array than at converting a scalar.
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

    def placed(self, start: int) -> npt.NDArray[np.void] | None:
        """The permutation of the positions from ``start`` on, ``[1]`` of :data:`PLACED`; None if not compiled."""
        if self._tables is not None or not self._compiles:
            return None
        return np.array([(start, self.n, self._left, self._right, self._words)], PLACED)

    @overload
    def __call__(self, x: int) -> int: ...
    @overload
    def __call__(self, x: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]: ...
    def __call__(self, x: int | npt.NDArray[np.integer[Any]]) -> int | npt.NDArray[np.int64]:
        """The image of each value.

        Args:
            x: an integer, or an array of integers of any shape, in ``[0, n)``.

        Returns:
            An integer for an integer, an int64 array of the same shape for an array.

        Raises:
            OrderError: a value outside ``[0, n)``, or one that is no integer.
        """
        return self._apply(x, inverse=False)

    @overload
    def inverse(self, x: int) -> int: ...
    @overload
    def inverse(self, x: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]: ...
    def inverse(self, x: int | npt.NDArray[np.integer[Any]]) -> int | npt.NDArray[np.int64]:
        """The values whose images are ``x``; arguments and errors as for a call."""
        return self._apply(x, inverse=True)

    def _apply(self, x: int | npt.NDArray[np.integer[Any]], inverse: bool) -> int | npt.NDArray[np.int64]:
        if isinstance(x, np.ndarray):
            if x.dtype.kind not in "iu":
                raise OrderError(tr("values of dtype {dtype}; expected integers", dtype=x.dtype))
            return self._apply_array(x, inverse)
        try:
            return self._apply_int(operator.index(x), inverse)
        except TypeError as cause:
            raise OrderError(tr("the value {value!r}; expected an integer", value=x)) from cause

    def _apply_array(self, x: npt.NDArray[np.integer[Any]], inverse: bool) -> npt.NDArray[np.int64]:
        if self._tables is None and self._compiles:
            images = x.astype(np.int64, order="C")
            if not _network.apply(images, images, self._words, self._left, self._right, self.n, inverse):
                raise self._outside(x)
            return images
        if x.size and not (int(x.min()) >= 0 and int(x.max()) < self.n):
            raise self._outside(x)
        if self._tables is not None:
            return np.asarray(self._tables[inverse][x])
        return self._walk(x.astype(np.uint64).ravel(), inverse).reshape(x.shape)

    def _apply_int(self, value: int, inverse: bool) -> int:
        if not 0 <= value < self.n:
            raise OrderError(tr("the value {value}; the permutation has [0, {n})", value=value, n=self.n))
        if self._tables is not None:
            return int(self._tables[inverse][value])
        value = self._once_int(value, inverse)
        while value >= self.n:
            value = self._once_int(value, inverse)
        return value

    def _outside(self, x: npt.NDArray[Any]) -> OrderError:
        values = {"low": x.min(), "high": x.max(), "n": self.n}
        return OrderError(tr("values from {low} to {high}; the permutation has [0, {n})", **values))

    def _walk(self, values: npt.NDArray[np.uint64], inverse: bool) -> npt.NDArray[np.int64]:
        """Cycle walking: repeats the network for values outside ``[0, n)``."""
        images = self._once(values, inverse)
        outside = np.flatnonzero(images >= self.n)
        while outside.size:
            images[outside] = self._once(images[outside], inverse)
            outside = outside[images[outside] >= self.n]
        return images.astype(np.int64)

    def _rounds(self, inverse: bool) -> range:
        return range(ROUNDS - 1, -1, -1) if inverse else range(ROUNDS)

    def _once(self, values: npt.NDArray[np.uint64], inverse: bool) -> npt.NDArray[np.uint64]:
        """Applies the network once: maps ``[0, a * b)`` to itself."""
        right_size = np.uint64(self._right)
        quotient = values // right_size
        digits: list[Words] = [quotient.astype(self._dtype), (values - quotient * right_size).astype(self._dtype)]
        multipliers, offsets, sizes = (self._arrays[name] for name in ("multipliers", "offsets", "sizes"))
        half, mix = self._arrays["half_mix"]
        scratch = np.empty_like(digits[0])
        hashed = np.empty_like(digits[0])
        for number in self._rounds(inverse):
            changed, size = digits[number % 2], sizes[number % 2]
            # What to add: the upper half of a keyed hash of the other digit, scaled to [0, size).
            np.multiply(digits[1 - number % 2], multipliers[number], out=hashed)
            np.add(hashed, offsets[number], out=hashed)
            np.right_shift(hashed, half, out=scratch)
            np.bitwise_xor(hashed, scratch, out=hashed)
            np.multiply(hashed, mix, out=hashed)
            np.right_shift(hashed, half, out=hashed)
            np.multiply(hashed, size, out=hashed)
            np.right_shift(hashed, half, out=hashed)
            if inverse:
                np.subtract(changed, hashed, out=changed)  # a negative result wraps, and adding undoes it
                np.add(changed, size, out=scratch)
            else:
                np.add(changed, hashed, out=changed)
                np.subtract(changed, size, out=scratch)  # a negative result wraps to a huge number
            np.minimum(changed, scratch, out=changed)
        return digits[0].astype(np.uint64) * right_size + digits[1]

    def _once_int(self, value: int, inverse: bool) -> int:
        """The same for a single value, in Python's integers."""
        digits = [value // self._right, value % self._right]
        sizes = self._left, self._right
        for number in self._rounds(inverse):
            changed, size = number % 2, sizes[number % 2]
            hashed = (digits[1 - changed] * self._multipliers[number] + self._offsets[number]) & self._mask
            hashed = ((hashed ^ (hashed >> self._half)) * self._mix & self._mask) >> self._half
            step = (hashed * size) >> self._half
            digits[changed] = (digits[changed] + (-step if inverse else step)) % size
        return digits[0] * self._right + digits[1]

    def _sorted_tables(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """``[n]`` each: the values in the order of a keyed hash, and the inverse."""
        hashes = np.arange(self.n, dtype=np.uint64)
        words = np.random.SeedSequence(_entropy(self.key)).generate_state(4, np.uint64)
        for word in words:
            hashes += word
            hashes *= np.uint64(_MIX[64])
            hashes ^= hashes >> np.uint64(32)
        forward = np.argsort(hashes, kind="stable").astype(np.int64)
        return forward, np.argsort(forward, kind="stable").astype(np.int64)


def compose(positions: npt.NDArray[np.int64], placed: npt.NDArray[np.void], inverse: bool) -> None:
    """Moves positions in place, by one compiled permutation after the other; each moves those in its range.

    Args:
        positions: ``[k]``, contiguous.
        placed: ``[m]`` of :data:`PLACED`, in the order in which they act.
        inverse: whether each goes back.
    """
    _network.compose(positions, placed, inverse)


def _entropy(key: tuple[int, ...]) -> list[int]:
    """Encodes a key as 32-bit words, uniquely, so that SeedSequence tells all keys apart.

    By itself, SeedSequence does not distinguish ``(1,)`` from ``(1, 0)``, nor ``(2**32,)`` from ``(0, 1)``.
    """
    words = [len(key)]
    for number in key:
        count = max(-(-number.bit_length() // 32), 1)
        words += [count, *(number >> (32 * word) & 0xFFFFFFFF for word in range(count))]
    return words
