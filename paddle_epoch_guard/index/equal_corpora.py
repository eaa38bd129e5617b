"""Which corpora of a blend are the same: a corpus that is listed twice, or a copy of it.

Equal document sizes alone prove nothing: all corpora of fixed-length documents with as many documents have them. So
two corpora are the same only if their document sizes and a sample of their text agree: 64 evenly spaced blocks of
64 KiB of the ``.bin`` file, 4 MiB in all, or all of a smaller file. More than the two ends is read only where these
agree: a blend may have a thousand shards with the same sizes. If the text of one cannot be read, they count as
different, since exposure that is too low misleads less than repeats that never happened; they are told as a pair with
the same document sizes. Equal paths are the same corpus, whether it can be read or not.

Corpora with the same sizes that differ in a few documents only pass as the same: most of their tokens are. Not
recognised are a corpus that is part of another, one in another order, and one with tokens of another width.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.index.fingerprint import digest_array
from paddle_epoch_guard.index.mapped import open_regular

_BLOCK_BYTES = 1 << 16
BLOCKS = 64
"""Blocks of a text that are read, at most, both ends included."""
SAMPLED = 16
"""Corpora of which so much is read: 64 MiB in all."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus as an index names it."""

    prefix: str
    """Path without ``.idx`` and ``.bin``; its files may be missing."""
    sizes: npt.NDArray[np.integer[Any]]
    """``[documents]``: tokens of each document."""


@dataclass(frozen=True)
class EqualCorpora:
    """Which of several corpora, numbered from 0, are the same."""

    groups: tuple[tuple[int, ...], ...] = ()
    """The numbers of corpora that are the same, two or more, ascending."""
    unsure: tuple[tuple[int, int], ...] = ()
    """Pairs with the same document sizes, of which the text of one could not be read."""

    def like(self, number: int) -> tuple[int, ...]:
        """The numbers of all corpora that are the same as this one, with its own."""
        return next((group for group in self.groups if number in group), (number,))


def equal_corpora(corpora: Sequence[Corpus]) -> EqualCorpora:
    """Finds the corpora that are the same. Files are read only of those whose document sizes agree."""
    groups: list[tuple[int, ...]] = []
    unsure: list[tuple[int, int]] = []
    for alike in _alike(corpora):
        paths = [os.path.abspath(f"{corpora[number].prefix}.bin") for number in alike]
        texts = _texts_of(set(paths))
        same: dict[str, list[int]] = {}
        for number, path in zip(alike, paths, strict=True):
            same.setdefault(texts[path] or path, []).append(number)
        groups += [tuple(numbers) for numbers in same.values() if len(numbers) > 1]
        firsts = [numbers[0] for numbers in same.values()]
        unknown = [same[path][0] for path in texts if path in same]
        for one in unknown:
            other = next((first for first in firsts if first != one), one)
            unsure += [(min(one, other), max(one, other))] if other != one else []
    return EqualCorpora(tuple(sorted(groups)), tuple(sorted(set(unsure))))


def _alike(corpora: Sequence[Corpus]) -> list[list[int]]:
    """The numbers of corpora with the same document sizes, two or more."""
    by_count: dict[int, list[int]] = {}
    for number, corpus in enumerate(corpora):
        by_count.setdefault(len(corpus.sizes), []).append(number)
    by_sizes: dict[str, list[int]] = {}
    for numbers in by_count.values():
        for number in numbers if len(numbers) > 1 else ():
            by_sizes.setdefault(digest_array(corpora[number].sizes), []).append(number)
    return [numbers for numbers in by_sizes.values() if len(numbers) > 1]


def _texts_of(paths: set[str]) -> dict[str, str]:
    """What tells the texts of some files apart: both ends of each; of those that agree in these, a sample."""
    ends = {path: text_of(path, 2) for path in paths}
    count = Counter(ends.values())
    return {path: text_of(path, BLOCKS) if text and count[text] > 1 else text for path, text in ends.items()}


def texts_of(prefixes: Sequence[str]) -> tuple[str, ...]:
    """What tells the text of each corpus apart from others: equal strings stand for the same text.

    Of up to :data:`SAMPLED` corpora a sample is read, of more only both ends of each. The strings say which.

    Args:
        prefixes: paths without ``.idx`` and ``.bin``.

    Returns:
        A string for each; empty if the file cannot be read.
    """
    blocks = BLOCKS if len(prefixes) <= SAMPLED else 2
    return tuple(text_of(f"{prefix}.bin", blocks) for prefix in prefixes)


def text_of(path: str, blocks: int) -> str:
    """The size of a file and a digest of some blocks, both ends included; empty if it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open_regular(Path(path)) as stream:
            size = os.fstat(stream.fileno()).st_size
            count = -(-size // _BLOCK_BYTES)
            for block in np.unique(np.linspace(0, max(count - 1, 0), min(blocks, count)).astype(np.int64)).tolist():
                # The last block ends at the last byte.
                stream.seek(max(min(block * _BLOCK_BYTES, size - _BLOCK_BYTES), 0))
                digest.update(stream.read(_BLOCK_BYTES))
    except OSError:
        return ""
    return f"{size} bytes, {blocks} blocks, {digest.hexdigest()}"
