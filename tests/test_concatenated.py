import numpy as np
import pytest

from corpora import LENGTH, ONE_EPOCH, SEPARATED, SIZES, build_train, index_of, write_corpus
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import ConcatenatedIndex, GPTIndex
from paddle_epoch_guard.index.concatenated import ChainedShuffle, concatenated_arrays


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    prefix = write_corpus(tmp_path_factory.mktemp("chain") / "corpus" / "text", SIZES)
    return [
        build_train([prefix], samples, LENGTH, seed=seed)
        for samples, seed in ((SEPARATED, 1), (ONE_EPOCH, 2), (ONE_EPOCH, 3))
    ]


@pytest.fixture(scope="module")
def chain(parts):
    return ConcatenatedIndex(tuple(index_of(part) for part in parts))


def test_a_dataset_with_the_chained_arrays_draws_the_parts_one_after_the_other(parts, chain):
    expected = [part[p]["text"].tolist() for part in parts for p in range(len(part))]
    live = parts[0]
    own = {name: getattr(live, name) for name in ("doc_idx", "sample_idx", "shuffle_idx")}
    arrays = concatenated_arrays(chain)
    try:
        for name, array in arrays.items():
            setattr(live, name, array)
        live.shuffle_idx = arrays["shuffle_idx"][np.arange(len(chain))]
        assert len(live) == len(chain) == len(expected)
        assert [live[p]["text"].tolist() for p in range(len(chain))] == expected
    finally:
        for name, array in own.items():
            setattr(live, name, array)


def test_epochs_are_numbered_on(parts, chain):
    lengths = [len(part) for part in parts]
    epochs = chain.epoch_of(np.arange(len(chain)))
    first = index_of(parts[0]).epoch_of(np.arange(lengths[0]))
    assert epochs.tolist() == [*first, *[4] * lengths[1], *[5] * lengths[2]]
    assert chain.epochs == (5,)
    assert chain.locate([0])[0].tolist() == [0]


def test_boundaries_are_those_of_the_parts_and_where_each_begins(parts, chain):
    own = index_of(parts[0]).boundaries[0]
    assert [(one.position, one.from_epoch) for one in chain.boundaries] == [
        (own.position, 2),
        (len(parts[0]), 3),
        (len(parts[0]) + len(parts[1]), 4),
    ]


@pytest.mark.parametrize("position", [-1, 10**6])
def test_positions_outside_are_refused(chain, position):
    with pytest.raises(IndexMismatchError, match="the chain has"):
        chain.epoch_of([position])


def test_rows_outside_are_refused_as_an_array_would(chain):
    rows = concatenated_arrays(chain)["doc_idx"]
    with pytest.raises(IndexError):
        rows[len(rows)]
    assert ChainedShuffle(chain).shape == (len(chain),)


def test_a_chain_needs_arrays(parts):
    index = index_of(parts[0])
    with pytest.raises(IndexMismatchError, match="built from their arrays"):
        ConcatenatedIndex((GPTIndex(index.description, index.layout, index.shuffle_idx),))
