"""Which corpora are the same: by document sizes and text, never by sizes alone."""

import os
import shutil

import numpy as np
import pytest

from corpora import SIZES, write_corpus
from paddle_epoch_guard.index import equal_corpora as equal_corpora_module
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.equal_corpora import Corpus, EqualCorpora, equal_corpora

FIXED = (50,) * 40
text_of = equal_corpora_module.text_of


def corpora_at(*prefixes):
    return [Corpus(str(prefix), read_sizes(prefix)) for prefix in prefixes]


@pytest.fixture
def text(tmp_path):
    return write_corpus(tmp_path / "text", FIXED)


def test_a_path_that_is_listed_twice_is_one_corpus(text):
    assert equal_corpora(corpora_at(text, text)) == EqualCorpora(((0, 1),))


def test_copies_and_links_are_one_corpus_wherever_they_lie(tmp_path, text, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    for end in (".bin", ".idx"):
        shutil.copy(text + end, tmp_path / "elsewhere" / f"copy{end}")
        os.symlink(text + end, tmp_path / f"link{end}")
    other = write_corpus(tmp_path / "other", SIZES)
    monkeypatch.chdir(tmp_path)
    listed = corpora_at(text, other, "elsewhere/copy", "link", other)
    equal = equal_corpora(listed)
    assert equal == EqualCorpora(((0, 2, 3), (1, 4)))
    assert [equal.like(number) for number in range(5)] == [(0, 2, 3), (1, 4), (0, 2, 3), (0, 2, 3), (1, 4)]


def test_fixed_length_documents_of_another_text_are_another_corpus(tmp_path, text):
    other = write_corpus(tmp_path / "other", FIXED, first=7)
    equal = equal_corpora(corpora_at(text, other))
    assert equal == EqualCorpora()
    assert equal.like(1) == (1,)


def test_other_sizes_of_as_many_documents_are_another_corpus(tmp_path, text):
    assert equal_corpora(corpora_at(text, write_corpus(tmp_path / "other", (*FIXED[:-1], 51)))) == EqualCorpora()


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_sample_of_a_large_text_covers_all_of_it(tmp_path, place):
    """Far more than the sample; the second differs only in a hundredth of it."""
    sizes, tokens = np.full(1000, 8000, np.int32), np.arange(8_000_000, dtype=np.uint16)
    tokens.tofile(tmp_path / "a.bin")
    start = int(place * (len(tokens) - 80_000))
    tokens[start : start + 80_000] += 1
    tokens.tofile(tmp_path / "b.bin")
    listed = [Corpus(str(tmp_path / name), sizes) for name in "aba"]
    assert (tmp_path / "a.bin").stat().st_size == 16_000_000
    assert equal_corpora(listed) == EqualCorpora(((0, 2),))


def test_where_the_text_cannot_be_read_the_corpora_are_not_joined_but_told(tmp_path, text):
    prefixes = [text, *(write_corpus(tmp_path / name, FIXED) for name in "abc")]
    listed = corpora_at(*prefixes, prefixes[3], write_corpus(tmp_path / "longer", SIZES))
    (tmp_path / "b.bin").unlink()
    (tmp_path / "c.bin").unlink()
    (tmp_path / "c.bin").mkdir()
    assert equal_corpora(listed) == EqualCorpora(((0, 1), (3, 4)), ((0, 2), (0, 3)))
    assert equal_corpora(listed[2:3] * 2) == EqualCorpora(((0, 1),))
    assert equal_corpora(listed[2:4]) == EqualCorpora((), ((0, 1),))


def test_one_corpus_or_none_has_no_equal(text):
    assert equal_corpora([]) == equal_corpora(corpora_at(text)) == EqualCorpora()


def test_files_are_read_only_where_sizes_agree(tmp_path, text, monkeypatch):
    other = write_corpus(tmp_path / "other", SIZES)
    monkeypatch.setattr("paddle_epoch_guard.index.equal_corpora.open_regular", None)
    assert equal_corpora(corpora_at(text, other)) == EqualCorpora()


def test_of_shards_with_the_same_sizes_only_the_ends_are_read(tmp_path, monkeypatch):
    sizes = np.full(100, 8000, np.int32)
    for number in range(5):
        np.full(800_000, number % 4, np.uint16).tofile(tmp_path / f"{number}.bin")
    read = []
    monkeypatch.setattr(
        equal_corpora_module, "text_of", lambda path, blocks: read.append((path, blocks)) or text_of(path, blocks)
    )
    listed = [Corpus(str(tmp_path / str(number)), sizes) for number in range(5)]
    assert equal_corpora(listed) == EqualCorpora(((0, 4),))
    assert sorted(path for path, blocks in read if blocks > 2) == [
        str(tmp_path / f"{number}.bin") for number in (0, 4)
    ]
