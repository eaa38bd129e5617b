"""How megatron-core divides the documents of a corpus between train, valid and test.

Unlike PaddleNLP (``split_documents`` in ``description``), it rounds each end of a split by itself. Source: 0.12.0 to
0.16.1, which agree.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from paddle_epoch_guard.errors import CorpusError
from paddle_epoch_guard.index.description import SPLITS, checked_documents
from paddle_epoch_guard.language import tr

Matrix = tuple[tuple[float, float] | None, ...]
"""Where train, valid and test start and end, as shares of all documents; None for one that has none."""
_MISREAD = re.compile(r"[0-9.]e[+-]?[0-9]|(?<![0-9.])-", re.IGNORECASE)


def matrix_of(split: str) -> Matrix:
    """The matrix of a split such as ``949,50,1``.

    The rule is ``parse_and_normalize_split`` and ``convert_split_vector_to_split_matrix`` in
    blended_megatron_dataset_config.py: digits and points make numbers, all else stands between them.

    Raises:
        CorpusError: the split is unreadable, or megatron-core reads it as others than its numbers.
    """
    try:
        shares = np.array([float(number) for number in re.findall(r"[.0-9]+", split)])
    except ValueError:
        shares = np.array([])
    if not 1 <= len(shares) <= len(SPLITS) or not 0 < shares.sum() < np.inf:
        raise CorpusError(tr("split {split!r} is unreadable; expected shares such as '949,50,1'", split=split))
    if _MISREAD.search(split):
        read = ",".join(f"{share:g}" for share in shares.tolist())
        raise CorpusError(
            tr(
                "megatron-core reads the split {split!r} as {read!r}; expected shares without sign and exponent",
                split=split,
                read=read,
            )
        )
    padded = np.zeros(len(SPLITS))
    padded[: len(shares)] = shares
    padded /= padded.sum()
    ends = list(itertools.accumulate(padded.tolist(), initial=0.0))
    return tuple((low, high) if low < high else None for low, high in itertools.pairwise(ends))


def documents_of(matrix: Matrix, name: str, split: str, num_documents: int) -> tuple[int, int]:
    """The documents ``[start, stop)`` of a split.

    The rule is ``BlendedMegatronDatasetBuilder._build_megatron_dataset_splits``.

    Args:
        matrix: of all splits.
        name: ``train``, ``valid`` or ``test``.
        split: for the error.
        num_documents: of the whole corpus.

    Raises:
        CorpusError: the split has no documents.
    """
    bounds = _rounded(matrix[SPLITS.index(name)] or (0.0, 0.0), num_documents)
    return checked_documents(bounds, name, split, num_documents)


def empty_in_megatron(matrix: Sequence[tuple[float, float] | None], num_documents: int) -> tuple[str, ...]:
    """The splits that have a share of the documents, but none of ``num_documents``: the host never ends their build.

    `_get_num_epochs` in gpt_dataset.py adds data epochs until there are tokens enough.
    """
    return tuple(
        name
        for name, bounds in zip(SPLITS, matrix, strict=True)
        if bounds is not None and len(set(_rounded(bounds, num_documents))) == 1
    )


def _rounded(bounds: tuple[float, float], num_documents: int) -> tuple[int, int]:
    return round(bounds[0] * float(num_documents)), round(bounds[1] * float(num_documents))
