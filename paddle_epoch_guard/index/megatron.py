"""Megatron-core's sample indices: what their descriptions say, and how they differ from PaddleNLP's.

Read in megatron-core 0.12.0 to 0.16.1 (``megatron/core/datasets``), which agree in all of this. A description is JSON;
its md5, the class and the split name the files. The three arrays are PaddleNLP's, byte for byte, but

- documents are divided by ``split_matrix``, each end of a split rounded by itself;
- ``num_samples`` null stands for one data epoch;
- two settings change the arrays and are **not** in the description, so that the arrays must tell:
  ``add_extra_token_to_sequence`` off (samples of L tokens that share none, and may end at a document's very end), and
  ``drop_last_partial_validation_sequence`` off (of ``valid``, the last sample is what is left over).
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paddle_epoch_guard.errors import CorpusError, IndexFileError, IndexMismatchError
from paddle_epoch_guard.index.corpus import count_tokens
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.index.verify import (
    IndexArrays,
    check_documents,
    check_shapes,
    check_shuffle,
    fail,
    rows_of_samples,
    verify,
)

_SPLITS = ("train", "valid", "test")
_UP_TO = 10**18
_FORM = "expected the JSON that megatron-core 0.12 to 0.16 writes"


@dataclass(frozen=True)
class MegatronDescription:
    """The fields from which megatron-core builds an index of one corpus."""

    prefix: str
    """Path of the corpus without ``.idx``/``.bin``, as the run named it."""
    name: str
    """``train``, ``valid`` or ``test``."""
    samples_requested: int | None
    """None for one data epoch."""
    seq_length: int
    seed: int
    split: str
    """Shares of the splits; empty where each has a corpus of its own."""
    bounds: tuple[float, float] | None
    """Where the split begins and ends, as shares of all documents; None where it has none."""
    text: str
    """The whole description."""

    @classmethod
    def parse(cls, text: str, source: str) -> "MegatronDescription":
        """Reads a ``description.txt`` of a ``GPTDataset``.

        Args:
            text: the whole text.
            source: where it came from, for the error.

        Raises:
            IndexFileError: the text is not of the form that megatron-core writes.
        """
        return cls._of(_loads(text, source), text, source)

    @classmethod
    def _of(cls, found: Any, text: str, source: str) -> "MegatronDescription":
        if not isinstance(found, dict) or found.get("class") != "GPTDataset":
            kind = found.get("class") if isinstance(found, dict) else type(found).__name__
            raise IndexFileError(f"{source}: describes {kind!r}; expected 'GPTDataset'. Other classes are not read")
        split = found.get("split")
        name = found.get("index_split")
        samples = found.get("num_samples", -1)
        if not isinstance(found.get("dataset_path"), str) or name not in _SPLITS or not isinstance(split, str | None):
            raise IndexFileError(f"{source}: its dataset_path, index_split or split is not as expected; {_FORM}")
        return cls(
            prefix=found["dataset_path"],
            name=name,
            samples_requested=None if samples is None else _integer(samples, "num_samples", 0, source),
            seq_length=_integer(found.get("sequence_length"), "sequence_length", 1, source),
            seed=_integer(found.get("random_seed"), "random_seed", 0, source),
            split=split or "",
            bounds=_bounds(found.get("split_matrix"), _SPLITS.index(name), source),
            text=text,
        )

    @property
    def digest(self) -> str:
        """The md5 by which the host names the index's files."""
        return _md5(self.text)

    def documents(self, num_documents: int) -> tuple[int, int]:
        """The documents ``[start, stop)`` of the split, of ``num_documents`` in all.

        As ``BlendedMegatronDatasetBuilder._build_megatron_dataset_splits`` has it (megatron-core 0.16.1).

        Raises:
            CorpusError: the split has no documents.
        """
        low, high = self.bounds or (0.0, 0.0)
        start, stop = round(low * float(num_documents)), round(high * float(num_documents))
        if not 0 <= start < stop <= num_documents:
            raise CorpusError(
                f"the {self.name} split of {self.split!r} has no documents: the corpus has {num_documents}. "
                "Use a larger corpus or give the split a larger share"
            )
        return start, stop


@dataclass(frozen=True)
class MegatronBlend:
    """The fields from which megatron-core builds a blend."""

    name: str
    datasets: tuple[MegatronDescription, ...]
    weights: str
    size: int | None
    """None where each dataset is drawn once, from end to end."""
    text: str

    @classmethod
    def parse(cls, text: str, source: str) -> "MegatronBlend":
        """Reads a ``description.txt`` of a ``BlendedDataset``.

        The datasets' own descriptions are written out again, as ``json.dumps(…, indent=4)`` does in the host, for
        their md5.

        Raises:
            IndexFileError: the text is not of the form that megatron-core writes.
        """
        found = _loads(text, source)
        if not isinstance(found, dict) or found.get("class") != "BlendedDataset":
            raise IndexFileError(f"{source}: is not the description of a BlendedDataset; {_FORM}")
        parts, weights, size = found.get("datasets"), found.get("weights"), found.get("size", -1)
        if not isinstance(parts, list) or not isinstance(weights, list) or len(parts) != len(weights) or not parts:
            raise IndexFileError(f"{source}: its datasets and weights are not lists of one length; {_FORM}")
        if found.get("split") not in _SPLITS:
            raise IndexFileError(f"{source}: its split is {str(found.get('split'))[:80]!r}; {_FORM}")
        datasets = tuple(
            MegatronDescription._of(part, json.dumps(part, indent=4), f"{source}, dataset {at}")
            for at, part in enumerate(parts)
        )
        whole = None if size is None else _integer(size, "size", 0, source)
        return cls(found["split"], datasets, json.dumps(weights), whole, text)

    @property
    def digest(self) -> str:
        """The md5 by which the host names the blend's files."""
        return _md5(self.text)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def _loads(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise IndexFileError(f"{source}: not JSON ({cause}); {_FORM}") from cause


def _integer(value: Any, name: str, least: int, source: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _UP_TO:
        raise IndexFileError(f"{source}: {name} is {str(value)[:80]!r}; expected an integer from {least} on")
    return value


def _bounds(matrix: Any, which: int, source: str) -> tuple[float, float] | None:
    if matrix is None:
        return (0.0, 1.0)  # `blend_per_split`: the split has all documents of its own corpora
    if isinstance(matrix, list) and len(matrix) == len(_SPLITS):
        ends = matrix[which]
        if ends is None:
            return None
        if isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends):
            low, high = ends
            if 0 <= low <= high <= 1 + 1e-9:
                return float(low), float(high)
    raise IndexFileError(f"{source}: its split_matrix is not three pairs of shares; {_FORM}")


@dataclass(frozen=True)
class _Rule:
    """The settings that a description does not hold."""

    extra: int = 1
    """Tokens beyond L that a sample has, and shares with the next."""
    keeps_partial: bool = False
    """Whether what is left over at the end is a sample, too."""

    def layout(self, tokens: int, seq_length: int, samples: int | None) -> IndexLayout:
        """The arithmetic of ``_build_document_sample_shuffle_indices`` in gpt_dataset.py (megatron-core 0.16.1)."""
        if tokens < 1:
            raise IndexMismatchError("the split's documents have no tokens; expected at least 1")
        found = IndexLayout.of(tokens, seq_length, samples or 0, self.extra, self.keeps_partial)
        if samples is None:  # one data epoch, as it is
            return replace(found, samples_requested=found.samples_built, last_epoch_samples=found.samples_built)
        return found


def read_megatron(description: MegatronDescription, arrays: IndexArrays) -> GPTIndex:
    """Derives the layout from description and corpus, and verifies the arrays against it.

    Args:
        description: the fields the index was built from.
        arrays: the index, and the sizes of all documents of the corpus.

    Raises:
        CorpusError: the split has no documents.
        IndexMismatchError: the arrays are not those of this description and corpus, whatever the settings that the
            description does not hold.
    """
    documents = description.documents(len(arrays.sizes))
    tokens = count_tokens(arrays.sizes, *documents)
    rules = [_Rule(), _Rule(extra=0)]
    if description.name == "valid":
        rules += [_Rule(keeps_partial=True), _Rule(extra=0, keeps_partial=True)]
    first: IndexMismatchError | None = None
    for rule in rules:
        layout = rule.layout(tokens, description.seq_length, description.samples_requested)
        try:
            _verify(rule, arrays, layout, documents)
        except IndexMismatchError as wrong:
            first = first or wrong
            continue
        plain = Description(
            description.prefix,
            description.name,
            layout.samples_requested,
            description.seq_length,
            description.seed,
            description.split,
        )
        return GPTIndex(plain, layout, arrays.shuffle_idx, arrays)
    assert first is not None
    raise first


def _verify(rule: _Rule, arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    if rule == _Rule():
        verify(arrays, layout, documents)
        return
    check_shapes(arrays, layout, documents)
    check_documents(arrays, layout, documents)
    _check_rows(rule, arrays, layout, documents)
    check_shuffle(arrays, layout)


def _check_rows(rule: _Rule, arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Each sample starts L tokens after the one before, at a document's very end too; the last row where it should."""
    rows = layout.samples_built + 1
    end = layout.num_epochs * layout.tokens_per_epoch - rule.extra
    for first, last, offset, spanned, steps in rows_of_samples(arrays, layout, documents):
        expected = np.full(len(steps), layout.seq_length)
        if last == rows and len(steps):
            expected[-1] = min(layout.seq_length, end - (layout.samples_built - 1) * layout.seq_length)
        if (offset < 0).any() or (offset > spanned).any() or (steps != expected).any():
            fail(arrays, "sample_idx", f"rows {first} to {last} are not {layout.seq_length} tokens apart", "that")
