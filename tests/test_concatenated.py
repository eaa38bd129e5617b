import numpy as np
import pytest

from corpora import LENGTH, ONE_EPOCH, SEPARATED, SIZES, build_train, index_of, write_corpus
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import ConcatenatedIndex, GPTIndex
from paddle_epoch_guard.index.concatenated import ConcatenatedShuffle, concatenated_arrays


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    prefix = write_corpus(tmp_path_factory.mktemp("concatenated") / "corpus" / "text", SIZES)
    return [
        build_train([prefix], samples, LENGTH, seed=seed)
        for samples, seed in ((SEPARATED, 1), (ONE_EPOCH, 2), (ONE_EPOCH, 3))
    ]


@pytest.fixture(scope="module")
def concatenated(datasets):
    return ConcatenatedIndex(tuple(index_of(dataset) for dataset in datasets))


def test_a_dataset_with_concatenated_arrays_draws_one_index_after_the_other(datasets, concatenated):
    expected = [dataset[p]["text"].tolist() for dataset in datasets for p in range(len(dataset))]
    live = datasets[0]
    own = {name: getattr(live, name) for name in ("doc_idx", "sample_idx", "shuffle_idx")}
    arrays = concatenated_arrays(concatenated)
    try:
        for name, array in arrays.items():
            setattr(live, name, array)
        live.shuffle_idx = arrays["shuffle_idx"][np.arange(len(concatenated))]
        assert len(live) == len(concatenated) == len(expected)
        assert [live[p]["text"].tolist() for p in range(len(concatenated))] == expected
    finally:
        for name, array in own.items():
            setattr(live, name, array)


def test_epochs_are_numbered_on(datasets, concatenated):
    lengths = [len(dataset) for dataset in datasets]
    epochs = concatenated.epoch_of(np.arange(len(concatenated)))
    first = index_of(datasets[0]).epoch_of(np.arange(lengths[0]))
    assert epochs.tolist() == [*first, *[4] * lengths[1], *[5] * lengths[2]]
    assert concatenated.epochs == (5,)
    assert concatenated.locate([0])[0].tolist() == [0]


def test_boundaries_are_those_within_each_index_and_between_them(datasets, concatenated):
    own = index_of(datasets[0]).boundaries[0]
    assert [(boundary.position, boundary.from_epoch) for boundary in concatenated.boundaries] == [
        (own.position, 2),
        (len(datasets[0]), 3),
        (len(datasets[0]) + len(datasets[1]), 4),
    ]


@pytest.mark.parametrize("position", [-1, 10**6])
def test_positions_outside_are_refused(concatenated, position):
    with pytest.raises(IndexMismatchError, match="the concatenated index has"):
        concatenated.epoch_of([position])


def test_rows_outside_are_refused_as_an_array_would(concatenated):
    rows = concatenated_arrays(concatenated)["doc_idx"]
    with pytest.raises(IndexError):
        rows[len(rows)]
    assert ConcatenatedShuffle(concatenated).shape == (len(concatenated),)


def test_a_concatenated_index_needs_arrays(datasets):
    index = index_of(datasets[0])
    with pytest.raises(IndexMismatchError, match="built from their arrays"):
        ConcatenatedIndex((GPTIndex(index.description, index.layout, index.shuffle_idx),))
