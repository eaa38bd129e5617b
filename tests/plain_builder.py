"""The host's corpus format and its index, written in numpy, for environments without a host (``make test-python``).

Where a host is installed, the tests use that one, and ``test_plain_builder.py`` holds this one to it, byte by byte.
Names and arguments are those of paddlenlp 3.0.0b4: ``data/indexed_dataset.py``, ``data/causal_dataset.py`` and
``data/blendable_dataset.py``.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

CODES = {
    np.uint8: 1, np.int8: 2, np.int16: 3, np.int32: 4, np.int64: 5, np.float64: 6, np.float32: 7, np.uint16: 8,
    np.uint32: 9, np.uint64: 10,
}  # fmt: skip
"""Of the types of tokens, in an ``.idx`` file of format ``mmap``."""


class Builder:
    """Writes a corpus of format ``mmap``."""

    def __init__(self, path, dtype):
        self._tokens = open(path, "wb")  # noqa: SIM115 - `finalize` closes it
        self._dtype = dtype
        self._sizes = []
        self._documents = [0]

    def add_item(self, tokens):
        tokens = np.asarray(tokens, self._dtype)
        self._tokens.write(tokens.tobytes())
        self._sizes.append(tokens.size)

    def end_document(self):
        self._documents.append(len(self._sizes))

    def finalize(self, path):
        self._tokens.close()
        sizes = np.array(self._sizes, np.int32)
        pointers = np.zeros(sizes.size, np.int64)
        pointers[1:] = np.cumsum(sizes[:-1], dtype=np.int64) * np.dtype(self._dtype).itemsize
        with open(path, "wb") as stream:
            stream.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, CODES[self._dtype]))
            stream.write(struct.pack("<QQ", sizes.size, len(self._documents)))
            stream.write(sizes.tobytes() + pointers.tobytes() + np.array(self._documents, np.int64).tobytes())


def make_builder(path, _format, dtype):
    return Builder(path, dtype)


class IndexedDataset:
    """A corpus of format ``mmap``."""

    def __init__(self, prefix):
        content = Path(f"{prefix}.idx").read_bytes()
        (code,) = struct.unpack_from("<B", content, 17)
        (count,) = struct.unpack_from("<Q", content, 18)
        self._dtype = next(dtype for dtype, each in CODES.items() if each == code)
        self._prefix = prefix
        self.sizes = np.frombuffer(content, np.int32, count, 34)
        self._pointers = np.frombuffer(content, np.int64, count, 34 + 4 * count)

    def get(self, document, offset=0, length=None):
        """Tokens of a document, from ``offset`` on; ``length`` of them, or all."""
        first = self._pointers[document] + offset * np.dtype(self._dtype).itemsize
        count = self.sizes[document] - offset if length is None else length
        return np.fromfile(f"{self._prefix}.bin", self._dtype, count, offset=first)


@dataclass
class GPTDataset:
    """An index and its corpus; ``dataset[p]["text"]`` is what position ``p`` draws.

    Its arrays can be replaced, as those of the host's dataset can: so the guard installs an order.
    """

    desc: str
    desc_hash: str
    doc_idx: np.ndarray
    sample_idx: np.ndarray
    shuffle_idx: np.ndarray
    indexed_dataset: IndexedDataset

    def __len__(self):
        return len(self.sample_idx) - 1

    def __getitem__(self, position):
        sample = int(self.shuffle_idx[position])
        (first, offset), (last, end) = (self.sample_idx[row].tolist() for row in (sample, sample + 1))
        parts = []
        for place in range(first, last + 1):
            start = offset if place == first else 0
            length = end + 1 - start if place == last else None
            parts.append(self.indexed_dataset.get(self.doc_idx[place], start, length))
        return {"text": np.concatenate(parts).astype(np.int64)}


@dataclass
class BlendableDataset:
    """Several datasets, drawn by weight. Its arrays can be replaced, too."""

    desc: str
    datasets: list
    dataset_index: np.ndarray
    dataset_sample_index: np.ndarray

    def __len__(self):
        return len(self.dataset_index)

    def __getitem__(self, position):
        number = self.dataset_index[position]
        if position >= len(self):
            raise IndexError(position)
        return {"dataset_idx": number, **self.datasets[number][self.dataset_sample_index[position]]}


def build_train_valid_test_datasets(
    prefixes, _format, split, samples, seq_length, seed, skip_warmup, *, data_cache_path=None, need_data=True
):
    """Builds the datasets train, valid and test, or loads them where their cache is there already."""
    del skip_warmup, need_data  # they change nothing in one process
    if len(prefixes) == 1:
        return _datasets(prefixes[0], split, samples, seq_length, seed, data_cache_path)
    total = 0.0
    for weight in prefixes[::2]:  # as the host does: from Python 3.12 on, sum() rounds once
        total += float(weight)
    weights = [float(weight) / total for weight in prefixes[::2]]
    parts = [
        _datasets(
            prefix.strip(), split, [math.ceil(wanted * weight * 1.005) + 20 for wanted in samples],
            seq_length, seed, data_cache_path,
        )
        for prefix, weight in zip(prefixes[1::2], weights, strict=True)
    ]  # fmt: skip
    blends = []
    for name, wanted in enumerate(samples):
        datasets = [part[name] for part in parts if part[name] is not None]
        blends.append(_blend(datasets, weights, wanted, data_cache_path) if datasets and wanted else None)
    return tuple(blends)


def _datasets(prefix, split, samples, seq_length, seed, data_cache_path):
    corpus = IndexedDataset(prefix)
    ends = _split(split, len(corpus.sizes))
    return tuple(
        _dataset(name, prefix, corpus, np.arange(start, end, dtype=np.int32), split, wanted, seq_length, seed,
                 data_cache_path)
        if end > start else None
        for name, start, end, wanted in zip(("train", "valid", "test"), ends, ends[1:], samples, strict=False)
    )  # fmt: skip


def _split(split, size):
    shares = [float(share) for share in split.replace("/", ",").split(",")]
    shares = [share / sum(shares[:3]) for share in [*shares, 0.0, 0.0][:3]]
    ends = [0]
    for share in shares:
        ends.append(ends[-1] + round(share * float(size)))
    over = ends[-1] - size
    return [0] + [end - over for end in ends[1:]]


def _dataset(name, prefix, corpus, documents, split, samples, seq_length, seed, data_cache_path):
    desc = (
        f"GPT Dataset\n\nData prefix {prefix}\nDataset name {name}\nNumber of samples {samples}\n"
        f"Sequence length {seq_length}\nRandom seed {seed}\nSplit {split}\n"
    )
    stem = hashlib.md5(desc.encode()).hexdigest()
    folders = [Path(folder) for folder in (Path(prefix).parent / "index-cache", data_cache_path) if folder is not None]
    files = {name: f"{stem}_{name}_idx.npy" for name in ("doc", "sample", "shuffle")}
    complete = [folder for folder in folders if all((folder / file).is_file() for file in files.values())]
    folder = complete[0] if complete else folders[-1]
    if not complete:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.dsc").write_text(desc)
        arrays = _arrays(corpus.sizes, documents, samples, seq_length, seed)
        for file, array in zip(files.values(), arrays, strict=True):
            np.save(folder / file, array)
    return GPTDataset(desc, stem, *(np.load(folder / file, mmap_mode="r") for file in files.values()), corpus)


def _arrays(sizes, documents, samples, seq_length, seed):
    random = np.random.RandomState(seed)
    tokens = int(sizes[documents].sum())
    epochs = 1
    while (epochs * tokens - 1) // seq_length < samples:
        epochs += 1
    early = ((epochs - 1) * tokens - 1) // seq_length
    separated = epochs > 1 and samples - early < int(0.80 * ((tokens - 1) // seq_length))
    drawn = [np.tile(documents, count) for count in ((epochs - 1, 1) if separated else (epochs,))]
    for part in drawn:
        random.shuffle(part)
    doc_idx = np.concatenate(drawn)
    # Sample s starts at token s * L of the documents in their order; the first, at the first of them, even if empty.
    last = (epochs * tokens - 1) // seq_length
    ends = np.cumsum(sizes[doc_idx], dtype=np.int64)
    starts = np.arange(last + 1, dtype=np.int64) * seq_length
    places = np.searchsorted(ends, starts, side="right")
    offsets = starts - (ends[places] - sizes[doc_idx][places])
    sample_idx = np.stack([places, offsets], axis=1).astype(np.int32)
    sample_idx[0] = 0
    bounds = [0, early, last] if separated else [0, last]
    shuffled = [np.arange(start, end, dtype=np.uint32) for start, end in pairwise(bounds)]
    for part in shuffled:
        random.shuffle(part)
    return doc_idx, sample_idx, np.concatenate(shuffled)


def _blend(datasets, weights, size, data_cache_path):
    weights = np.array(weights)
    weights /= weights.sum()
    desc = "Blendable dataset\n\nDatasets:\n" + "".join(dataset.desc + "\n\n" for dataset in datasets)
    desc += f"Weights: {weights}\nSize: {size}\n"
    drawn = np.zeros(len(datasets), np.int64)
    dataset_index, dataset_sample_index = np.zeros(size, np.int16), np.zeros(size, np.int64)
    for position in range(size):
        # The dataset that lags most behind its share; the first of equals.
        number = int(np.argmax(weights * max(position, 1) - drawn))
        dataset_index[position], dataset_sample_index[position] = number, drawn[number]
        drawn[number] += 1
    if data_cache_path is not None:
        folder = Path(data_cache_path)
        stem = hashlib.md5(desc.encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.dsc").write_text(desc)
        np.save(folder / f"{stem}_index.npy", dataset_index)
        np.save(folder / f"{stem}_sample_index.npy", dataset_sample_index)
    return BlendableDataset(desc, datasets, dataset_index, dataset_sample_index)
