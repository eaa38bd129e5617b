"""The index that the tests build without a host is that of the host, file by file and byte by byte."""

from pathlib import Path

import numpy as np
import pytest

import hosts
import plain_builder
from corpora import JOINT, LENGTH, ONE_EPOCH, SEPARATED, SIZES

BUILDERS = (hosts, plain_builder)


def files():
    """Content of each file below this folder."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def write(builders, prefix, sizes, dtype=np.uint16):
    Path(prefix).parent.mkdir(exist_ok=True)
    builder = builders.make_builder(f"{prefix}.bin", "mmap", dtype)
    for size in sizes:
        builder.add_item(np.arange(size) % 120)
        builder.end_document()
    builder.finalize(f"{prefix}.idx")


def built(
    place, monkeypatch, prefixes, split="100,0,0", samples=(SEPARATED, 0, 0), cache=None, dtype=np.uint16, sizes=SIZES
):
    """For each of both builders, in folders of their own: what it wrote, and the texts of the train dataset."""
    for builders in BUILDERS:
        folder = place / builders.__name__
        folder.mkdir()
        monkeypatch.chdir(folder)
        for number, prefix in enumerate(prefixes[-1::-2]):
            write(builders, prefix, sizes[number * 10 :], dtype)
        train, _, _ = builders.build_train_valid_test_datasets(
            prefixes, "mmap", split, list(samples), LENGTH, 1, True, data_cache_path=cache
        )
        yield files(), [train[position]["text"].tolist() for position in range(len(train))], train.desc


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16, np.int64])
def test_a_corpus(tmp_path, monkeypatch, dtype):
    theirs, ours = built(tmp_path, monkeypatch, ["text"], dtype=dtype)
    assert ours == theirs


@pytest.mark.parametrize("samples", [1, ONE_EPOCH, SEPARATED, JOINT])
@pytest.mark.parametrize("split", ["100,0,0", "95,5,0", "949,50,1", "8/2"])
def test_an_index(tmp_path, monkeypatch, split, samples):
    theirs, ours = built(tmp_path, monkeypatch, ["data/text"], split, (samples, 7, 0))
    assert len(theirs[0]) >= 6
    assert ours == theirs


@pytest.mark.parametrize("split", ["100,0,0", "70,30,0"])
def test_empty_documents(tmp_path, monkeypatch, split):
    sizes = [0, 0, 9, 0, 30, 1, 0, 12, 5, 0]
    theirs, ours = built(tmp_path, monkeypatch, ["data/text"], split, (20, 3, 0), sizes=sizes)
    assert ours == theirs


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_blend(tmp_path, monkeypatch, cache):
    prefixes = ["0.3", "data/text", "0.5", "data/code", "0.4", "data/books"]
    theirs, ours = built(tmp_path, monkeypatch, prefixes, "9,1,0", (SEPARATED, 20, 0), cache=cache)
    assert ours == theirs
