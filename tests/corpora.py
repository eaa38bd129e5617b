"""Real corpora and sample indices for the tests, written and built by PaddleNLP itself where it is installed."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddle_epoch_guard.index import Description, GPTIndex
from paddle_epoch_guard.index.verify import IndexArrays

try:
    from hosts import build_train_valid_test_datasets, make_builder
except ModuleNotFoundError:
    from plain_builder import build_train_valid_test_datasets, make_builder

SIZES = tuple(3 + 7 * document % 25 for document in range(40))
"""40 documents of 3 to 27 tokens, 605 in all."""
LENGTH = 8
"""The sequence length at which the numbers of samples below mean what their names say, for SIZES."""
ONE_EPOCH, SEPARATED, JOINT = 60, 180, 220
"""Samples for an index of one data epoch; of three, the last shuffled separately; of three, all shuffled together."""


def write_corpus(prefix: Path, sizes: Sequence[int], first: int = 0) -> str:
    """Writes ``<prefix>.bin`` and ``<prefix>.idx``; tokens count up from ``first``, modulo 60000.

    Args:
        prefix: path without ending; its folder is made.
        sizes: tokens of each document.
        first: the first token.

    Returns:
        The prefix, as the host takes it.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
    for size in sizes:
        builder.add_item(np.arange(first, first + size) % 60000)
        builder.end_document()
        first += size
    with contextlib.redirect_stdout(io.StringIO()):  # statistics
        builder.finalize(f"{prefix}.idx")
    return str(prefix)


def shift_pointers(prefix: str | Path, rows: slice, change: int) -> None:
    """Breaks pointers of a corpus: the bytes at which the documents ``rows`` start."""
    with open(f"{prefix}.idx", "r+b") as stream:
        stream.seek(18)  # magic 9, version 8, dtype code 1
        count = int.from_bytes(stream.read(8), "little")
        stream.seek(34 + 4 * count)  # the number of documents, and the sizes
        pointers = np.frombuffer(stream.read(8 * count), np.int64).copy()
        pointers[rows] += change
        stream.seek(34 + 4 * count)
        stream.write(pointers.tobytes())


def end_document_list(prefix: str | Path, end: int) -> None:
    """Writes another last entry into the document list of a corpus."""
    with open(f"{prefix}.idx", "r+b") as stream:
        stream.seek(-8, 2)
        stream.write(end.to_bytes(8, "little", signed=True))


def build_train(
    prefixes: list[Any],
    samples: int,
    seq_length: int,
    seed: int = 1,
    split: str = "100,0,0",
    cache: Path | None = None,
    need_data: bool = True,
) -> Any:
    """Builds the host's train dataset, or loads it where its cache is there already.

    Args:
        prefixes: one prefix, or ``[weight, prefix, weight, prefix, ...]`` for a blend.
        samples: N.
        seq_length: L.
        seed: of the shuffles.
        split: shares of train, valid and test.
        cache: ``data_cache_path``; None for ``index-cache`` beside the corpus.
        need_data: False on a rank that reads none, and takes part all the same.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        train, _, _ = build_train_valid_test_datasets(
            [str(part) for part in prefixes],
            "mmap",
            split,
            [samples, 0, 0],
            seq_length,
            seed,
            skip_warmup=True,
            data_cache_path=None if cache is None else str(cache),
            need_data=need_data,
        )
    return train


def arrays_of(dataset: Any) -> IndexArrays:
    """The arrays of a live ``GPTDataset``, each named ``<the …_idx>``."""
    names = ("doc_idx", "sample_idx", "shuffle_idx")
    return IndexArrays(
        **{name: getattr(dataset, name) for name in names},
        sizes=dataset.indexed_dataset.sizes,
        sources={name: f"<the {name}>" for name in names},
    )


def index_of(dataset: Any) -> GPTIndex:
    """The verified index of a live ``GPTDataset``."""
    return GPTIndex.from_arrays(Description.parse(dataset.desc, "desc"), arrays_of(dataset))


def write_as_in_the_demo():
    """In this folder: a corpus of as many tokens and documents as the demo's, its index, and another corpus."""
    write_corpus(Path("data/text"), [1319] * 94 + [1360] + [1000] * 5)
    write_corpus(Path("data/code"), [1010] * 421)
    build_train(["data/text"], 709 * 8, 32, seed=42, split="95,5,0")
