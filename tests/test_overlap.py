"""Whether an evaluation set is among the training documents: the comparison, without the host."""

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.index import overlap
from paddle_epoch_guard.index.overlap import Comparison, Documents, compare_documents

SIZES = [40 + 7 * number % 50 for number in range(60)]


class Corpus:
    """Documents in memory, with a count of what was read."""

    def __init__(self, texts, name="corpus"):
        self.texts, self.name, self.reads = [np.asarray(text) for text in texts], name, 0

    def read(self, document, tokens):
        self.reads += 1
        return self.texts[document][:tokens]

    def split(self, start=0, stop=None):
        sizes = np.array([len(text) for text in self.texts], dtype=np.int32)
        return Documents(self.name, start, len(sizes) if stop is None else stop, sizes, self.read)


def texts_of(sizes, seed, dtype=np.uint16):
    random = np.random.default_rng(seed)
    return [random.integers(0, 60000, size).astype(dtype) for size in sizes]


def never():
    return False


def compared(evaluation, training, is_late=never):
    return compare_documents([evaluation.split()], [training.split()], is_late)


def test_overlapping_ranges_of_one_corpus_overlap_and_nothing_is_read():
    corpus = Corpus(texts_of(SIZES, 1))
    answer = compare_documents([corpus.split(30)], [corpus.split(0, 31)], never)
    assert answer == Comparison("overlaps", "same_documents")
    assert corpus.reads == 0


def test_disjoint_ranges_of_one_corpus_are_apart():
    corpus = Corpus(texts_of(SIZES, 1))
    assert compare_documents([corpus.split(30)], [corpus.split(0, 30)], never) == Comparison("apart", "no_match", 30)


def test_disjoint_ranges_with_the_same_text_in_both_overlap():
    half = texts_of(SIZES[:30], 1)
    corpus = Corpus([*half, *half])
    answer = compare_documents([corpus.split(30)], [corpus.split(0, 30)], never)
    assert answer == Comparison("overlaps", "equal_documents", 30, 30)


def test_a_copy_under_another_name_and_with_other_integers_overlaps():
    training, evaluation = Corpus(texts_of(SIZES, 1)), Corpus(texts_of(SIZES, 1, np.int32), "copy")
    assert compared(evaluation, training) == Comparison("overlaps", "equal_documents", 60, 60)


def test_other_text_of_the_same_lengths_is_apart():
    assert compared(Corpus(texts_of(SIZES, 2), "other"), Corpus(texts_of(SIZES, 1))).result == "apart"


def test_documents_that_begin_alike_are_not_equal():
    texts = texts_of(SIZES, 1)
    other = [np.append(text[:-1], text[-1] + 1) for text in texts]
    assert compared(Corpus(other, "other"), Corpus(texts)).result == "apart"


@given(st.sets(st.integers(0, 59)), st.integers(0, 3))
def test_exactly_the_documents_that_are_in_the_training_data_match(leaked, seed):
    training, own = texts_of(SIZES, 1), texts_of(SIZES, 2)
    evaluation = [training[number] if number in leaked else own[number] for number in range(60)]
    np.random.default_rng(seed).shuffle(evaluation)
    answer = compared(Corpus(evaluation, "other"), Corpus(training))
    assert (answer.looked_up, answer.matching) == (60, len(leaked))
    assert answer.result == ("overlaps" if len(leaked) > 3 else "apart")  # 5 % of 60


def test_short_documents_are_not_looked_up():
    short = Corpus([[1, 2, 3]] * 20, "short")
    assert compared(short, Corpus([[1, 2, 3]] * 20)) == Comparison("unknown", "too_short")
    mixed = Corpus([[1, 2, 3], *texts_of(SIZES, 2)], "mixed")
    assert compared(mixed, Corpus([[1, 2, 3], *texts_of(SIZES, 1)])).result == "apart"


def test_no_documents_are_unknown():
    assert compare_documents([], [Corpus(texts_of(SIZES, 1)).split()], never).result == "unknown"


def test_all_datasets_of_blends_are_compared():
    parts = [Corpus(texts_of(SIZES, seed), f"corpus {seed}") for seed in range(4)]
    training = [part.split() for part in parts]
    other = [Corpus(texts_of(SIZES, seed), f"other {seed}").split() for seed in (7, 8)]
    assert compare_documents(other, training, never).result == "apart"
    copy = Corpus(texts_of(SIZES, 2), "copy").split()
    assert compare_documents([*other, copy], training, never) == Comparison("overlaps", "equal_documents", 180, 60)
    assert compare_documents([*other, parts[3].split()], training, never).ground == "same_documents"


def test_only_documents_of_equal_length_are_read():
    training = Corpus(texts_of([50] * 1000 + [60, 61, 62], 1))
    evaluation = Corpus(texts_of([60, 61, 62, 70], 2), "other")
    assert compared(evaluation, training) == Comparison("apart", "no_match", 4)
    assert training.reads == 3


def test_a_large_evaluation_set_is_sampled_by_rare_lengths(monkeypatch):
    monkeypatch.setattr(overlap, "_LOOKED_UP", 20)
    lengths = [*range(100, 150), *[50] * 500]
    training = Corpus(texts_of(lengths, 1))
    answer = compared(Corpus(texts_of(lengths, 2), "other"), training)
    assert (answer.result, answer.looked_up, training.reads) == ("apart", 20, 20)
    copy = compared(Corpus(texts_of(lengths, 1), "copy"), training)
    assert copy == Comparison("overlaps", "equal_documents", 20, 20)


@pytest.mark.parametrize("asked", range(1, 30))
def test_what_was_not_looked_at_in_time_is_unknown_unless_an_overlap_was_seen(asked):
    sizes = [40] * 300
    calls = count(1)
    training = Corpus(texts_of(sizes, 1))
    answer = compared(Corpus(texts_of(sizes, 2)[:12], "other"), training, lambda: next(calls) > asked)
    needed = 1 + 12 + 1 + -(-300 // 64)  # counting lengths, 12 heads, the block of sizes, the blocks that are read
    assert answer.result == ("apart" if asked >= needed else "unknown")
    calls = count(1)
    leaked = Corpus([training.texts[100], *texts_of(sizes, 2)[:11]], "other")
    answer = compared(leaked, training, lambda: next(calls) > asked)
    seen = 1 + 12 + 1 + 2  # the document lies in the second block
    assert answer.result == ("overlaps" if asked >= seen else "unknown")
