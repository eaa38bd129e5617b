"""Fingerprints of the data that a run draws from: what tells an index, a dataset and a blend apart from others."""

from dataclasses import dataclass

from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, GPTIndex
from paddle_epoch_guard.index.fingerprint import digest_array


@dataclass(frozen=True)
class IndexRecord:
    """One index of a dataset: the one it was planned with, or one that was appended."""

    samples_requested: int
    seed: int
    order_digest: str = ""
    """Of document, sample and shuffle index; see :func:`~paddle_epoch_guard.index.fingerprint.digest_array`."""

    @classmethod
    def of(cls, index: GPTIndex) -> "IndexRecord":
        """The record of a verified index, at a cost that does not grow with its size."""
        assert index.arrays is not None
        arrays = index.arrays.doc_idx, index.arrays.sample_idx, index.arrays.shuffle_idx
        digest = "-".join(digest_array(array)[:16] for array in arrays)
        return cls(index.description.samples_requested, index.description.seed, digest)


@dataclass(frozen=True)
class DatasetRecord:
    """The fingerprint of one dataset. The corpus's path is left out: a corpus may move."""

    name: str
    seq_length: int
    split: str
    tokens_per_epoch: int
    corpus_digest: str
    """Of the document sizes."""
    indices: tuple[IndexRecord, ...]
    """Drawn one after the other."""

    @classmethod
    def of(cls, index: GPTIndex | ConcatenatedIndex) -> "DatasetRecord":
        """The fingerprint of a verified index, at a cost that does not grow with its size."""
        indices = index.indices if isinstance(index, ConcatenatedIndex) else (index,)
        first = indices[0]
        assert first.arrays is not None
        return cls(
            name=first.description.name,
            seq_length=first.description.seq_length,
            split=first.description.split,
            tokens_per_epoch=first.layout.tokens_per_epoch,
            corpus_digest=digest_array(first.arrays.sizes),
            indices=tuple(IndexRecord.of(index) for index in indices),
        )


@dataclass(frozen=True)
class BlendRecord:
    """The order of a blend as the host built it; beyond it, by the same weights, lies what was appended."""

    weights: str
    """As the host's description of the blend gives them, rounded."""
    positions: int
    digest: str
    """Of dataset and position in it."""

    @classmethod
    def of(cls, blend: BlendIndex, positions: int | None = None) -> "BlendRecord":
        """The record of a blend's first ``positions``, or of all of it."""
        count = len(blend) if positions is None else positions
        arrays = blend.dataset_index, blend.dataset_sample_index
        return cls(blend.weights, count, "-".join(digest_array(array, count)[:16] for array in arrays))
