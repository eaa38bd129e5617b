"""Megatron-core's sample indices: their descriptions, and how they differ from PaddleNLP's.

Source: ``megatron/core/datasets`` of megatron-core 0.12.0 to 0.16.1, which agree. A description is JSON; its md5, the
class and the split name the files. The three arrays are those of PaddleNLP, byte for byte, except that

- documents are divided by ``split_matrix``, and each end of a split is rounded independently;
- ``num_samples`` null means one data epoch;
- two settings change the arrays but are **not** in the description, so they must be inferred from the arrays:
  ``add_extra_token_to_sequence`` off (samples of L tokens that share none, and may end where a document ends), and
  ``drop_last_partial_validation_sequence`` off (the leftover tokens make the last sample of ``valid``).
"""

import bisect
import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import ForeignIndexError, IndexFileError, IndexMismatchError
from paddle_epoch_guard.index.corpus import count_tokens
from paddle_epoch_guard.index.description import SPLITS, Description
from paddle_epoch_guard.index.gpt import GPTIndex
from paddle_epoch_guard.index.grouping import as_shuffled
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.index.megatron_split import Matrix, documents_of
from paddle_epoch_guard.index.verify import (
    IndexArrays,
    check_documents,
    check_shapes,
    check_shuffle,
    fail,
    rows_of_samples,
    verify,
)
from paddle_epoch_guard.language import mark, tr

_MAX_INTEGER = 10**18
_ROUNDING = 1e-12
_FORM = mark("expected the JSON that megatron-core 0.12 to 0.16 writes")


@dataclass(frozen=True)
class MegatronDescription:
    """The fields from which megatron-core builds an index of one corpus."""

    prefix: str
    """Path of the corpus, without ``.idx``/``.bin``, as the run gave it."""
    name: str
    """``train``, ``valid`` or ``test``."""
    samples_requested: int | None
    """None for one data epoch."""
    seq_length: int
    seed: int
    split: str
    """Shares of the splits; empty if each split has its own corpora."""
    matrix: Matrix
    """Of all three splits."""
    text: str
    """The whole description."""

    @classmethod
    def parse(cls, text: str, source: str) -> "MegatronDescription":
        """Parses a ``description.txt`` of a ``GPTDataset``.

        Args:
            text: the whole text.
            source: names the text in errors.

        Raises:
            IndexFileError: the text is not in megatron-core's format.
            ForeignIndexError: it describes a dataset of another class.
        """
        return cls.from_json(_loads(text, source), text, source)

    @classmethod
    def from_json(cls, fields: object, text: str, source: str) -> "MegatronDescription":
        """Checks the decoded JSON ``fields`` of ``text``; otherwise as :meth:`parse`."""
        kind = fields.get("class") if isinstance(fields, dict) else type(fields).__name__
        if isinstance(fields, dict) and isinstance(kind, str) and kind.isidentifier() and kind != "GPTDataset":
            raise ForeignIndexError(
                tr(
                    "{source}: describes a dataset of the class {kind}; expected GPTDataset, the only class that is "
                    "read",
                    source=source,
                    kind=kind,
                )
            )
        if not isinstance(fields, dict) or kind != "GPTDataset":
            values = {"source": source, "kind": str(kind)[:80]}
            raise IndexFileError(tr("{source}: describes {kind!r}; expected 'GPTDataset'", **values))
        path, name, split = fields.get("dataset_path"), fields.get("index_split"), fields.get("split")
        samples = fields.get("num_samples", -1)
        if not isinstance(path, str) or name not in SPLITS or not isinstance(split, str | None):
            raise IndexFileError(
                tr(
                    "{source}: its dataset_path, index_split or split is not as expected; {expected}",
                    source=source,
                    expected=tr(_FORM),
                )
            )
        return cls(
            prefix=path,
            name=name,
            samples_requested=None if samples is None else _integer(samples, "num_samples", 0, source),
            seq_length=_integer(fields.get("sequence_length"), "sequence_length", 1, source),
            seed=_integer(fields.get("random_seed"), "random_seed", 0, source),
            split=split or "",
            matrix=_matrix(fields.get("split_matrix"), name, source),
            text=text,
        )

    @property
    def digest(self) -> str:
        """The md5 that names the index's files."""
        return _md5(self.text)

    def documents(self, num_documents: int) -> tuple[int, int]:
        """The documents ``[start, stop)`` of the split, of ``num_documents`` in total.

        Raises:
            CorpusError: the split has no documents.
        """
        return documents_of(self.matrix, self.name, self.split, num_documents)


@dataclass(frozen=True)
class MegatronBlend:
    """The fields from which megatron-core builds a blend."""

    name: str
    datasets: tuple[MegatronDescription, ...]
    weights: str
    size: int | None
    """The number of positions; None if each dataset is drawn once, completely."""
    text: str
    """The whole description."""

    @classmethod
    def parse(cls, text: str, source: str) -> "MegatronBlend":
        """Parses a ``description.txt`` of a ``BlendedDataset``.

        For their md5, the datasets' descriptions are encoded again with ``json.dumps(…, indent=4)``, as the host does.

        Args:
            text: the whole text.
            source: names the text in errors.

        Raises:
            IndexFileError: the text is not in megatron-core's format.
            ForeignIndexError: its datasets are of another class than GPTDataset.
        """
        fields = _loads(text, source)
        if not isinstance(fields, dict) or fields.get("class") != "BlendedDataset":
            raise IndexFileError(
                tr(
                    "{source}: is not the description of a BlendedDataset; {expected}",
                    source=source,
                    expected=tr(_FORM),
                )
            )
        listed, weights, size = fields.get("datasets"), fields.get("weights"), fields.get("size", -1)
        if not isinstance(listed, list) or not isinstance(weights, list) or len(listed) != len(weights) or not listed:
            raise IndexFileError(
                tr(
                    "{source}: its datasets and weights are not lists of one length; {expected}",
                    source=source,
                    expected=tr(_FORM),
                )
            )
        if fields.get("split") not in SPLITS:
            raise IndexFileError(
                tr(
                    "{source}: its split is {split!r}; {expected}",
                    source=source,
                    split=str(fields.get("split"))[:80],
                    expected=tr(_FORM),
                )
            )
        datasets = tuple(
            MegatronDescription.from_json(
                dataset, json.dumps(dataset, indent=4), tr("{source}, dataset {number}", source=source, number=number)
            )
            for number, dataset in enumerate(listed)
        )
        positions = None if size is None else _integer(size, "size", 0, source)
        return cls(fields["split"], datasets, json.dumps(weights), positions, text)

    @property
    def digest(self) -> str:
        """The md5 that names the blend's files."""
        return _md5(self.text)

    @property
    def drawn(self) -> tuple[int, int] | None:
        """The fewest and the most samples that the run may have asked for; None if that is the number of positions.

        Asked for N samples, the host rounds each dataset's share of N up, and makes the blend as long as their sum:
        `_get_size_per_split_per_dataset` in blended_megatron_dataset_builder.py (0.16.1). Earlier releases first added
        0.5 % to each share; then the datasets were asked for as many samples as the blend has positions.
        """
        asked = [dataset.samples_requested for dataset in self.datasets]
        shares = _shares(self.weights)
        if self.size is None or None in asked or shares is None:
            return None  # each dataset is drawn once, or the size is the number asked for
        margin = 1.005 if sum(samples or 0 for samples in asked) == self.size else 1.0
        size = self.size

        def positions(samples: int, factor: float, slack: float) -> int:
            return int(np.ceil(samples * shares * factor * (1 + slack)).sum())

        # The host's weights have been through a division or two more: a share may be a whole number, or just above.
        least = bisect.bisect_left(range(size), size, key=lambda samples: positions(samples, margin, _ROUNDING))
        most = bisect.bisect_right(range(size + 1), size, key=lambda samples: positions(samples, 1.0, -_ROUNDING)) - 1
        return min(least, most), max(least, most)


def _shares(weights: str) -> npt.NDArray[np.float64] | None:
    """The weights of a blend, normalised; None if they are no weights."""
    values = json.loads(weights)
    if not all(type(value) in (int, float) and 0 < value < 1e300 for value in values):
        return None
    found: npt.NDArray[np.float64] = np.array(values, dtype=np.float64)
    found /= found.sum()
    return found


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def _loads(text: str, source: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise IndexFileError(
            tr("{source}: not JSON ({cause}); {expected}", source=source, cause=cause, expected=tr(_FORM))
        ) from cause


def _integer(value: object, name: str, least: int, source: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_INTEGER:
        values = {"source": source, "name": name, "value": str(value)[:80], "least": least}
        raise IndexFileError(tr("{source}: {name} is {value!r}; expected an integer of at least {least}", **values))
    return value


def _matrix(matrix: object, name: str, source: str) -> Matrix:
    if matrix is None:  # `blend_per_split`: the split is all of its own corpora
        return tuple((0.0, 1.0) if which == name else None for which in SPLITS)
    if not isinstance(matrix, list) or len(matrix) != len(SPLITS):
        raise IndexFileError(
            tr(
                "{source}: its split_matrix is not three pairs of shares; {expected}",
                source=source,
                expected=tr(_FORM),
            )
        )
    return tuple(None if ends is None else _bounds(ends, source) for ends in matrix)


def _bounds(ends: object, source: str) -> tuple[float, float]:
    if isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends):
        low, high = ends
        if 0 <= low <= high <= 1 + 1e-9:
            return float(low), float(high)
    raise IndexFileError(
        tr("{source}: its split_matrix is not three pairs of shares; {expected}", source=source, expected=tr(_FORM))
    )


@dataclass(frozen=True)
class _Rule:
    """The settings that are not in a description."""

    extra: int = 1
    """Tokens of a sample beyond L, shared with the next sample."""
    keeps_partial: bool = False
    """Whether the leftover tokens at the end make a sample."""

    def layout(self, tokens: int, seq_length: int, samples: int | None) -> IndexLayout:
        """The arithmetic of ``_build_document_sample_shuffle_indices`` in gpt_dataset.py (megatron-core 0.16.1)."""
        if tokens < 1:
            raise IndexMismatchError(tr("the split's documents have no tokens; expected at least 1"))
        layout = IndexLayout.of(tokens, seq_length, samples or 0, self.extra, self.keeps_partial)
        if samples is None:  # one data epoch
            return replace(layout, samples_requested=layout.samples_built, last_epoch_samples=layout.samples_built)
        return layout


def read_megatron(description: MegatronDescription, arrays: IndexArrays) -> GPTIndex:
    """Derives the layout from description and corpus, and verifies the arrays against it.

    Args:
        description: the fields the index was built from.
        arrays: the arrays of the index and the sizes of all documents.

    Raises:
        CorpusError: the split has no documents.
        IndexMismatchError: the arrays do not match description and corpus under any settings.
    """
    documents = description.documents(len(arrays.sizes))
    tokens = count_tokens(arrays.sizes, *documents)
    rules = [_Rule(), _Rule(extra=0)]
    if description.name == "valid":
        rules += [_Rule(keeps_partial=True), _Rule(extra=0, keeps_partial=True)]
    first_error: IndexMismatchError | None = None
    for rule in rules:
        layout = rule.layout(tokens, description.seq_length, description.samples_requested)
        try:
            check_shapes(arrays, layout, documents)
            layout = as_shuffled(layout, arrays, documents)
            _verify(rule, arrays, layout, documents)
        except IndexMismatchError as error:
            first_error = first_error or error
            continue
        plain = Description(
            prefix=description.prefix, name=description.name, samples_requested=layout.samples_requested,
            seq_length=description.seq_length, seed=description.seed, split=description.split,
        )  # fmt: skip
        return GPTIndex(plain, layout, arrays.shuffle_idx, arrays)
    assert first_error is not None
    raise first_error


def _verify(rule: _Rule, arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    if rule == _Rule():
        verify(arrays, layout, documents)
        return
    check_shapes(arrays, layout, documents)
    check_documents(arrays, layout, documents)
    _check_rows(rule, arrays, layout, documents)
    check_shuffle(arrays, layout)


def _check_rows(rule: _Rule, arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks that samples start L tokens apart, possibly at the end of a document, and where the last row points."""
    rows = layout.samples_built + 1
    end = layout.num_epochs * layout.tokens_per_epoch - rule.extra
    for first, last, offset, spanned, steps in rows_of_samples(arrays, layout, documents):
        expected = np.full(len(steps), layout.seq_length)
        if last == rows and len(steps):
            expected[-1] = min(layout.seq_length, end - (layout.samples_built - 1) * layout.seq_length)
        if (offset < 0).any() or (offset > spanned).any() or (steps != expected).any():
            values = {"first": first, "last": last, "length": layout.seq_length}
            found = tr("rows {first} to {last} are not {length} tokens apart", **values)
            fail(arrays, "sample_idx", found, tr("that"))
