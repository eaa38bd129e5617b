"""Whether the documents of an evaluation set are among those of the training data."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

EvaluationData = Literal["apart", "overlaps", "unknown"]
"""How the evaluation set relates to the training data. An evaluation loss confirms an improvement only if apart."""

Ground = Literal["same_documents", "equal_documents", "few_equal", "no_match", "too_short", "out_of_time"]
"""What the answer rests on: shared documents of one corpus, documents of equal content, few of them, a look-up without
a match; or why there is none: no document is long enough, or time ran out."""

TOLERATED = 0.05
"""Share of equal documents up to which an evaluation set is apart: corpora from the web have such duplicates. What the
model remembers of them is too little to pass for progress: a verdict of an improvement takes a third of the jump."""

SHORTEST = 32
"""Tokens; of a shorter document, an equal one says little."""
_LONGEST = 1 << 20  # tokens that are compared of a document
_DRAWN = 1 << 14  # documents that are drawn from the evaluation set at random
_LOOKED_UP = 400  # of these, how many are compared with training documents of equal length
_HEAD = 32  # tokens that are read first
_BLOCK = 1 << 20
_READ_BLOCK = 64  # documents that are read between two looks at the clock

_Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """The documents ``[start, stop)`` of a corpus."""

    corpus: Hashable
    """Equal for the same files."""
    start: int
    stop: int
    sizes: npt.NDArray[np.integer[Any]]
    """Tokens of each document of the whole corpus."""
    read: Callable[[int, int], npt.NDArray[np.integer[Any]]]
    """The first tokens of a document: takes its number in the corpus, and how many."""

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Comparison:
    """How an evaluation set relates to the training data, and what that is known from."""

    result: EvaluationData
    ground: Ground
    looked_up: int = 0
    """Documents of the evaluation set that were looked up in the training data."""
    matching: int = 0
    """How many of them are there, with equal content."""


def compare_documents(
    evaluation: Sequence[Documents], training: Sequence[Documents], is_late: Callable[[], bool]
) -> Comparison:
    """Compares an evaluation set with the training data: by ranges of documents first, by content of a sample then.

    An evaluation document matches if a training document has the same tokens. Only documents of equal length can, so
    of the training data the sizes are read, and few documents. Documents whose length is rare in the training data are
    preferred, for they cost the least; one without any document of its length is known to be absent.

    ``apart`` is a statement about the sample: it does not exclude up to :data:`TOLERATED` equal documents, or similar
    ones.

    Args:
        evaluation: the documents of each dataset of the evaluation set.
        training: those of each dataset of the training data.
        is_late: whether time is up; asked between blocks.

    Raises:
        OSError: a document cannot be read.
    """
    if _share_documents(evaluation, training):
        return Comparison("overlaps", "same_documents")
    which, documents, sizes = _drawn(evaluation)
    if not len(documents):
        return Comparison("unknown", "too_short")
    lengths, length_of = np.unique(np.minimum(sizes, _LONGEST), return_inverse=True)
    counts = _count_lengths(training, lengths, is_late)
    if counts is None:
        return Comparison("unknown", "out_of_time")
    candidates = counts[length_of]
    absent = int((candidates == 0).sum())
    chosen = np.argsort(candidates, kind="stable")[absent : absent + _LOOKED_UP]
    lookup = _Lookup()
    for row in chosen.tolist():
        if is_late():
            return Comparison("unknown", "out_of_time")
        lookup.add(evaluation[which[row]], int(documents[row]))
    whole = lookup.search(training, np.unique(lengths[length_of[chosen]]), is_late)
    looked_up, matching = absent + len(chosen), len(lookup.matching)
    if matching:
        # Those without a candidate are all known, the others by a sample.
        share = (1 - absent / len(documents)) * matching / len(chosen)
        if share > TOLERATED:
            return Comparison("overlaps", "equal_documents", looked_up, matching)
        ground: Ground = "few_equal"
    else:
        ground = "no_match"
    return Comparison("apart", ground, looked_up, matching) if whole else Comparison("unknown", "out_of_time")


def _share_documents(evaluation: Sequence[Documents], training: Sequence[Documents]) -> bool:
    """Whether a document of one corpus is in both."""
    by_corpus: dict[Hashable, list[Documents]] = {}
    for part in training:
        by_corpus.setdefault(part.corpus, []).append(part)
    return any(
        max(part.start, other.start) < min(part.stop, other.stop)
        for part in evaluation
        for other in by_corpus.get(part.corpus, ())
    )


def _drawn(evaluation: Sequence[Documents]) -> tuple[_Int64Array, _Int64Array, _Int64Array]:
    """Documents of the evaluation set that are long enough, at random: set, number in its corpus, tokens; each [n]."""
    ends = np.cumsum([len(part) for part in evaluation], dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    rows = np.random.default_rng(0).choice(total, min(total, _DRAWN), replace=False) if total else np.zeros(0, int)
    which = np.searchsorted(ends, rows, side="right")
    documents, sizes = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for number in np.unique(which).tolist():
        part, chosen = evaluation[number], which == number
        documents[chosen] = rows[chosen] - (int(ends[number]) - len(part)) + part.start
        sizes[chosen] = part.sizes[documents[chosen]]
    is_long = sizes >= SHORTEST
    return which[is_long], documents[is_long], sizes[is_long]


def _count_lengths(
    training: Sequence[Documents], lengths: _Int64Array, is_late: Callable[[], bool]
) -> _Int64Array | None:
    """``[lengths]``: how many training documents have each length; None if time is up."""
    number_of = _numbers(lengths)
    counts = np.zeros(len(lengths) + 1, dtype=np.int64)
    for part in training:
        for start in range(part.start, part.stop, _BLOCK):
            if is_late():
                return None
            sizes = part.sizes[start : min(start + _BLOCK, part.stop)]
            counts += np.bincount(number_of[np.minimum(sizes, _LONGEST)], minlength=len(counts))
    return counts[1:]


def _numbers(lengths: _Int64Array) -> _Int64Array:
    """``[_LONGEST + 1]``: the number of each length, from 1; 0 for a length that is not among them."""
    number_of = np.zeros(_LONGEST + 1, dtype=np.int64)
    number_of[lengths] = np.arange(1, len(lengths) + 1)
    return number_of


class _Lookup:
    """Evaluation documents by size and first tokens."""

    def __init__(self) -> None:
        self.matching: set[int] = set()
        """Numbers of those that are in the training data."""
        self._documents: list[tuple[Documents, int]] = []
        self._by_head: dict[tuple[int, bytes], list[int]] = {}

    def add(self, part: Documents, document: int) -> None:
        """Looks for this document, too."""
        self._by_head.setdefault(_head(part, document), []).append(len(self._documents))
        self._documents.append((part, document))

    def search(self, training: Sequence[Documents], lengths: _Int64Array, is_late: Callable[[], bool]) -> bool:
        """Compares with all training documents of these lengths; False if time was up before."""
        is_wanted = _numbers(lengths) > 0
        for part in training:
            for start in range(part.start, part.stop, _BLOCK):
                if is_late():
                    return False
                sizes = part.sizes[start : min(start + _BLOCK, part.stop)]
                for count, offset in enumerate(np.flatnonzero(is_wanted[np.minimum(sizes, _LONGEST)]).tolist()):
                    if count % _READ_BLOCK == 0 and is_late():
                        return False
                    self._compare(part, start + offset)
        return True

    def _compare(self, part: Documents, document: int) -> None:
        for number in self._by_head.get(_head(part, document), ()):
            if number not in self.matching:
                own, own_document = self._documents[number]
                if np.array_equal(own.read(own_document, _LONGEST), part.read(document, _LONGEST)):
                    self.matching.add(number)


def _head(part: Documents, document: int) -> tuple[int, bytes]:
    """Size and first tokens; corpora may have different dtypes."""
    return int(part.sizes[document]), part.read(document, _HEAD).astype("<i8").tobytes()
