import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import CorpusError, IndexMismatchError
from paddle_epoch_guard.index import Boundary, Description, GPTIndex, IndexLayout

KINDS = {"one epoch": corpora.ONE_EPOCH, "separated": corpora.SEPARATED, "joint": corpora.JOINT}
EPOCHS = {"one epoch": 1, "separated": 3, "joint": 3}


def build(folder, samples, sizes=corpora.SIZES, length=corpora.LENGTH, **options):
    return corpora.build_train([corpora.write_corpus(folder / "corpus", sizes)], samples, length, **options)


def epochs_by_walking(dataset, documents=slice(None)):
    """The epoch of each position, counted token by token along the concatenated documents."""
    sizes = dataset.indexed_dataset.sizes
    tokens_per_epoch = int(sizes[documents].sum())
    epoch_at, epoch, tokens = {}, 1, 0
    for entry, document in enumerate(dataset.doc_idx.tolist()):
        epoch_at[entry, 0] = epoch  # of an empty document too: the first sample can start at one
        for offset in range(sizes[document]):
            epoch_at[entry, offset] = epoch
            tokens += 1
            if tokens == tokens_per_epoch:
                epoch, tokens = epoch + 1, 0
    starts = dataset.sample_idx.tolist()
    return [epoch_at[tuple(starts[sample])] for sample in dataset.shuffle_idx.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 77])
def test_epochs_are_those_counted_along_the_documents(tmp_path, kind, seed):
    dataset = build(tmp_path, KINDS[kind], seed=seed)
    expected = epochs_by_walking(dataset)
    assert corpora.index_of(dataset).epoch_of(np.arange(len(dataset))).tolist() == expected
    assert max(expected) == EPOCHS[kind]


def test_epochs_are_counted_within_the_split(tmp_path):
    dataset = build(tmp_path, 90, split="50,50,0")
    index = corpora.index_of(dataset)
    assert index.epoch_of(np.arange(len(dataset))).tolist() == epochs_by_walking(dataset, slice(0, 20))
    assert index.epochs == (3,)


def test_any_real_index_is_accepted_and_its_epochs_are_those_counted(tmp_path_factory):
    @settings(deadline=None, max_examples=60)
    @given(
        sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any),
        length=st.integers(1, 40),
        samples=st.integers(0, 60),
    )
    def check(sizes, length, samples):
        dataset = build(tmp_path_factory.mktemp("any"), samples, sizes, length)
        index = corpora.index_of(dataset)
        assert index.epoch_of(np.arange(len(dataset))).tolist() == epochs_by_walking(dataset)

    check()


def test_a_sample_across_an_epochs_end_belongs_to_the_epoch_of_its_first_token(tmp_path):
    dataset = build(tmp_path, corpora.JOINT)
    index = corpora.index_of(dataset)
    tokens = index.layout.tokens_per_epoch
    crossing = tokens // corpora.LENGTH
    assert crossing * corpora.LENGTH < tokens < (crossing + 1) * corpora.LENGTH
    positions = [dataset.shuffle_idx.tolist().index(sample) for sample in (crossing, crossing + 1)]
    assert index.epoch_of(positions).tolist() == [1, 2]


def test_a_sample_that_starts_with_an_epoch_belongs_to_it(tmp_path):
    length = 5  # divides the 605 tokens
    dataset = build(tmp_path, 300, length=length)
    index = corpora.index_of(dataset)
    first = index.layout.tokens_per_epoch // length
    assert first * length == index.layout.tokens_per_epoch
    positions = [dataset.shuffle_idx.tolist().index(sample) for sample in (first - 1, first)]
    assert index.epoch_of(positions).tolist() == [1, 2]


def test_the_boundary_is_where_the_host_starts_its_second_shuffle(tmp_path, monkeypatch):
    from paddlenlp.data import causal_dataset

    first_shuffled_apart = []

    def record(first, total, generator):
        first_shuffled_apart.append(first)
        return shuffle(first, total, generator)

    shuffle = causal_dataset._build_shuffle_idx
    monkeypatch.setattr(causal_dataset, "_build_shuffle_idx", record)
    dataset = build(tmp_path, corpora.SEPARATED)
    boundary = corpora.index_of(dataset).boundaries[0]
    assert [boundary.position] == first_shuffled_apart


def test_before_the_boundary_exactly_the_samples_before_it_are_drawn(tmp_path):
    dataset = build(tmp_path, corpora.SEPARATED)
    index = corpora.index_of(dataset)
    assert index.boundaries == (Boundary(151, from_epoch=2),)
    assert set(dataset.shuffle_idx[:151].tolist()) == set(range(151))
    assert set(index.epoch_of(np.arange(151)).tolist()) == {1, 2}
    # The later group holds the whole last epoch, and the sample whose last token is that epoch's first.
    after = index.epoch_of(np.arange(151, len(dataset)))
    assert [position for position, epoch in enumerate(after, 151) if epoch != 3] == [
        dataset.shuffle_idx.tolist().index(151)
    ]


@pytest.mark.parametrize("kind", ["one epoch", "joint"])
def test_without_a_separated_epoch_there_is_no_boundary(tmp_path, kind):
    assert corpora.index_of(build(tmp_path, KINDS[kind])).boundaries == ()


def test_a_boundary_leads_to_the_next_epoch_and_sorts_by_position():
    assert Boundary(100, 2).to_epoch == 3
    assert Boundary(100, 2).dataset == 0
    assert sorted([Boundary(100, 1, 1), Boundary(9, 2, 2), Boundary(100, 1, 0)]) == [
        Boundary(9, 2, 2),
        Boundary(100, 1, 0),
        Boundary(100, 1, 1),
    ]


@pytest.mark.parametrize(
    "positions", [-1, 226, [0, 226], [225, -1], [[0], [10**12]], np.array([226], dtype=np.uint32)]
)
def test_positions_outside_the_index_are_refused(tmp_path, positions):
    index = corpora.index_of(build(tmp_path, corpora.SEPARATED))
    for ask in (index.epoch_of, index.locate):
        with pytest.raises(IndexMismatchError, match=r"the index has \[0, 226\)"):
            ask(positions)


def test_the_built_tail_behind_the_samples_asked_for_is_answered(tmp_path):
    dataset = build(tmp_path, corpora.SEPARATED)
    tail = np.arange(corpora.SEPARATED, len(dataset))
    expected = epochs_by_walking(dataset)[corpora.SEPARATED :]
    assert len(tail) == 46
    assert corpora.index_of(dataset).epoch_of(tail).tolist() == expected


def test_epochs_come_in_the_shape_of_the_positions(tmp_path):
    dataset = build(tmp_path, corpora.JOINT)
    index = corpora.index_of(dataset)
    expected = epochs_by_walking(dataset)
    assert index.epoch_of(7) == expected[7]
    assert index.epoch_of(range(5)).tolist() == expected[:5]
    assert index.epoch_of([7, 7, 3]).tolist() == [expected[7], expected[7], expected[3]]
    assert index.epoch_of(np.array([[0, 1], [2, 3]], dtype=np.uint8)).tolist() == [expected[:2], expected[2:4]]
    assert index.epoch_of([]).shape == (0,)
    assert index.epoch_of([0]).dtype == index.epoch_of([]).dtype == np.int64


def test_locate_gives_the_one_dataset_and_the_epochs(tmp_path):
    index = corpora.index_of(build(tmp_path, corpora.JOINT))
    datasets, epochs = index.locate([5, 0, 225])
    assert datasets.tolist() == [0, 0, 0]
    assert datasets.dtype == np.int64
    assert epochs.tolist() == index.epoch_of([5, 0, 225]).tolist()
    assert [part.tolist() for part in index.locate([])] == [[], []]


def test_tokens_beyond_32_bits_do_not_overflow():
    description = Description("corpus", "train", 2**24 + 1, 2**16, 1, "1")
    layout = IndexLayout.of(2**40, 2**16, 2**24 + 1)
    samples = np.lib.stride_tricks.as_strided(np.uint32(2**24).reshape(1), (layout.samples_built,), (0,))
    assert GPTIndex(description, layout, samples).epoch_of([0, len(samples) - 1]).tolist() == [2, 2]


def test_length_name_and_epochs(tmp_path):
    index = corpora.index_of(build(tmp_path, corpora.SEPARATED))
    assert (len(index), index.names, index.epochs) == (226, ("corpus",), (3,))
    moved = dataclasses.replace(index, description=dataclasses.replace(index.description, prefix="a/b/text.v2"))
    assert moved.names == ("text.v2",)


@pytest.mark.parametrize(
    "change",
    [{"samples_requested": 100}, {"samples_requested": 300}, {"seq_length": 9}, {"split": "1,1"}],
)
def test_arrays_of_another_description_are_refused(tmp_path, change):
    dataset = build(tmp_path, corpora.JOINT)
    description = dataclasses.replace(Description.parse(dataset.desc, "desc"), **change)
    with pytest.raises(IndexMismatchError, match=r"^<the (doc|sample|shuffle)_idx>: "):
        GPTIndex.from_arrays(description, corpora.arrays_of(dataset))


@pytest.mark.parametrize("change", [{"split": "0,1,0"}, {"split": "all"}, {"name": "other"}])
def test_a_description_without_documents_is_refused(tmp_path, change):
    dataset = build(tmp_path, corpora.SEPARATED)
    description = dataclasses.replace(Description.parse(dataset.desc, "desc"), **change)
    with pytest.raises(CorpusError):
        GPTIndex.from_arrays(description, corpora.arrays_of(dataset))
