import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import Description, GPTIndex, IndexLayout, verify
from paddle_epoch_guard.index.verify import IndexArrays

ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")
DOCUMENTS = len(corpora.SIZES)
TWIN = 25
"""Documents so many apart have the same size, so that their exchange leaves all samples in place."""


def real(folder, samples=corpora.SEPARATED, sizes=corpora.SIZES, length=corpora.LENGTH, **options):
    """Description and arrays of an index that the host built, in memory and writable."""
    dataset = corpora.build_train([corpora.write_corpus(folder / "corpus", sizes)], samples, length, **options)
    mapped = corpora.arrays_of(dataset)
    copies = {name: np.array(getattr(mapped, name)) for name in (*ARRAYS, "sizes")}
    return Description.parse(dataset.desc, "desc"), dataclasses.replace(mapped, **copies)


def finding(description, arrays):
    """The array that the refusal names, and the message; (None, "") where the index is accepted."""
    try:
        GPTIndex.from_arrays(description, arrays)
    except IndexMismatchError as error:
        return next(name for name in ARRAYS if str(error).startswith(f"<the {name}>: ")), str(error)
    return None, ""


def named(description, arrays):
    return finding(description, arrays)[0]


@pytest.mark.parametrize("samples", [0, corpora.ONE_EPOCH, corpora.SEPARATED, corpora.JOINT])
def test_a_real_index_is_accepted(tmp_path, samples):
    assert named(*real(tmp_path, samples)) is None


def test_an_index_with_empty_documents_and_of_a_part_of_the_corpus_is_accepted(tmp_path):
    sizes = [0, 0, 9, 0, 30, 1, 0, 12, 5, 0]
    assert named(*real(tmp_path, 20, sizes)) is None
    assert named(*real(tmp_path, 20, sizes, split="70,30,0")) is None


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.dtype(">i8")])
def test_integers_of_any_width_are_accepted(tmp_path, dtype):
    description, arrays = real(tmp_path)
    wide = {name: getattr(arrays, name).astype(dtype) for name in ARRAYS}
    assert named(description, dataclasses.replace(arrays, **wide)) is None


FORMS = {
    "one entry fewer": lambda array: array[:-1],
    "one entry more": lambda array: np.concatenate([array, array[-1:]]),
    "nothing": lambda array: array[:0],
    "one dimension more": lambda array: array[None],
    "one dimension fewer": lambda array: array.reshape(-1)[0] if array.ndim == 1 else array.reshape(-1),
    "turned": lambda array: array[:, None] if array.ndim == 1 else array.T,
    "float": lambda array: array.astype(np.float64),
    "bool": lambda array: array.astype(np.bool_),
    "text": lambda array: array.astype(str),
    "dates": lambda array: array.astype("datetime64[s]"),
    "records": lambda array: array.astype([("value", np.int32)]),
}


@pytest.mark.parametrize("which", ARRAYS)
@pytest.mark.parametrize("form", FORMS)
def test_an_array_of_another_form_is_refused(tmp_path, which, form):
    description, arrays = real(tmp_path)
    changed = np.asarray(FORMS[form](getattr(arrays, which)))
    name, message = finding(description, dataclasses.replace(arrays, **{which: changed}))
    assert name == which
    assert (f"shape {list(changed.shape)}" in message) or (f"dtype {changed.dtype}" in message)


@pytest.mark.parametrize("which", ARRAYS)
@pytest.mark.parametrize("value", [-1, -(2**63), 2**31, 2**62])
@pytest.mark.parametrize("at", [0, 77, -1])
def test_an_entry_out_of_range_is_refused(tmp_path, which, value, at):
    description, arrays = real(tmp_path)
    changed = getattr(arrays, which).astype(np.int64)
    changed[at] = value
    assert named(description, dataclasses.replace(arrays, **{which: changed})) == which


def test_a_document_of_another_split_is_refused(tmp_path):
    description, arrays = real(tmp_path, 90, split="50,50,0")
    arrays.doc_idx[arrays.doc_idx == 3] = 3 + TWIN
    name, message = finding(description, arrays)
    assert name == "doc_idx"
    assert "expected [0, 20)" in message


def test_a_document_taken_for_another_of_the_same_size_is_refused(tmp_path):
    description, arrays = real(tmp_path)
    at = arrays.doc_idx.tolist().index(3)
    arrays.doc_idx[at] = 3 + TWIN
    name, message = finding(description, arrays)
    assert name == "doc_idx"
    assert "document 3 occurs 1 times in entries 0 to 80; expected every document 2 times" in message


def test_documents_exchanged_across_the_boundary_are_refused(tmp_path):
    description, arrays = real(tmp_path)
    cut = 2 * DOCUMENTS
    before = arrays.doc_idx[:cut].tolist().index(3)
    after = cut + arrays.doc_idx[cut:].tolist().index(3 + TWIN)
    arrays.doc_idx[[before, after]] = arrays.doc_idx[[after, before]]
    assert named(description, arrays) == "doc_idx"


def test_samples_exchanged_across_the_boundary_are_refused(tmp_path):
    description, arrays = real(tmp_path)
    arrays.shuffle_idx[[150, 151]] = arrays.shuffle_idx[[151, 150]]
    name, message = finding(description, arrays)
    assert name == "shuffle_idx"
    assert "samples within [0, 151), as the last data epoch is shuffled separately" in message


def test_a_sample_drawn_twice_is_refused_and_the_one_never_drawn_is_named(tmp_path):
    description, arrays = real(tmp_path)
    lost = arrays.shuffle_idx[3]
    arrays.shuffle_idx[3] = arrays.shuffle_idx[4]
    name, message = finding(description, arrays)
    assert name == "shuffle_idx"
    assert f"sample {lost} is not drawn by positions 0 to 151; expected each sample once" in message


def test_exchanged_rows_of_samples_are_refused(tmp_path):
    description, arrays = real(tmp_path)
    arrays.sample_idx[[100, 101]] = arrays.sample_idx[[101, 100]]
    assert named(description, arrays) == "sample_idx"


def test_samples_that_all_start_later_by_the_same_amount_are_refused(tmp_path):
    description, arrays = real(tmp_path)
    sizes, stream = arrays.sizes, np.cumsum(arrays.sizes[arrays.doc_idx])
    starts = np.arange(len(arrays.sample_idx)) * corpora.LENGTH + 1
    entries = np.searchsorted(stream, starts, side="right")
    offsets = starts - (stream - sizes[arrays.doc_idx])[entries]
    name, message = finding(
        description, dataclasses.replace(arrays, sample_idx=np.stack([entries, offsets], axis=1).astype(np.int32))
    )
    assert name == "sample_idx"
    assert "first row [0, 1]; expected [0, 0]" in message


def test_a_sample_that_starts_behind_its_documents_end_is_refused(tmp_path):
    description, arrays = real(tmp_path)
    sizes = arrays.sizes[arrays.doc_idx]
    row = next(row for row, (_, offset) in enumerate(arrays.sample_idx.tolist()) if row and offset < 5)
    # The same token, counted from the document before.
    entry, offset = arrays.sample_idx[row]
    arrays.sample_idx[row] = entry - 1, offset + sizes[entry - 1]
    name, message = finding(description, arrays)
    assert name == "sample_idx"
    assert "start outside their documents" in message


@pytest.mark.parametrize("change", [1, -1, 8, -8, 605])
def test_one_documents_other_size_is_refused(tmp_path, change):
    description, arrays = real(tmp_path)
    arrays.sizes[24] += change
    assert named(description, arrays) in ARRAYS


@pytest.mark.parametrize(("one", "other"), [(0, 1), (10, 30), (38, 39)])
def test_sizes_exchanged_between_documents_are_refused(tmp_path, one, other):
    description, arrays = real(tmp_path)
    arrays.sizes[[one, other]] = arrays.sizes[[other, one]]
    assert named(description, arrays) == "sample_idx"


@pytest.mark.parametrize(
    "sizes", [corpora.SIZES[:-1], (*corpora.SIZES, 5), (*corpora.SIZES, 0), (*corpora.SIZES, *corpora.SIZES)]
)
def test_a_corpus_of_more_or_fewer_documents_is_refused(tmp_path, sizes):
    description, arrays = real(tmp_path)
    name, message = finding(description, dataclasses.replace(arrays, sizes=np.array(sizes, dtype=np.int32)))
    assert name == "doc_idx"
    assert f"data epochs of {len(sizes)} documents" in message
    assert "The index was built from another corpus, or for another run" in message


@pytest.mark.parametrize("which", ["doc_idx", "sample_idx"])
def test_documents_and_samples_of_different_seeds_are_refused(tmp_path, which):
    description, arrays = real(tmp_path, seed=1)
    _, other = real(tmp_path, seed=2)
    mixed = dataclasses.replace(arrays, **{which: getattr(other, which)})
    assert named(description, mixed) == "sample_idx"


@pytest.mark.parametrize("samples", [corpora.ONE_EPOCH, 100, corpora.JOINT, 300])
@pytest.mark.parametrize("which", ARRAYS)
def test_one_array_of_an_index_for_another_number_of_samples_is_refused(tmp_path, samples, which):
    description, arrays = real(tmp_path)
    _, other = real(tmp_path, samples)
    mixed = dataclasses.replace(arrays, **{which: getattr(other, which)})
    assert named(description, mixed) == which


@pytest.mark.parametrize("samples", [corpora.ONE_EPOCH, 100, 300])
def test_a_whole_index_for_another_number_of_samples_is_refused(tmp_path, samples):
    description, _ = real(tmp_path)
    _, other = real(tmp_path, samples)
    assert named(description, other) == "doc_idx"


@pytest.mark.parametrize("samples", [corpora.JOINT, corpora.SEPARATED])
def test_the_arrays_say_whether_the_last_epoch_is_shuffled_apart(tmp_path, samples):
    """As if the host had another threshold than 80 %; these two have as many epochs and samples."""
    description, _ = real(tmp_path, samples)
    other = corpora.SEPARATED if samples == corpora.JOINT else corpora.JOINT
    _, arrays = real(tmp_path, other)
    index = GPTIndex.from_arrays(description, arrays)
    assert index.layout.separated == (other == corpora.SEPARATED)
    assert not index.layout.follows_rule
    assert [boundary.position for boundary in index.boundaries] == ([151] if other == corpora.SEPARATED else [])
    drawn = index.epoch_of(np.arange(len(index)))
    assert (drawn[:151].max() == 3) == (other == corpora.JOINT)


def test_samples_of_one_grouping_and_documents_of_the_other_are_refused(tmp_path):
    """No host shuffles so; `rebuild` does, and leaves a note."""
    description, apart = real(tmp_path, corpora.SEPARATED)
    _, joint = real(tmp_path, corpora.JOINT)
    assert named(description, dataclasses.replace(apart, shuffle_idx=joint.shuffle_idx)) == "shuffle_idx"
    assert named(description, dataclasses.replace(joint, shuffle_idx=apart.shuffle_idx)) in ("doc_idx", "sample_idx")


@pytest.mark.parametrize("samples", [corpora.ONE_EPOCH, corpora.SEPARATED, corpora.JOINT])
def test_any_changed_entry_is_found_wherever_it_stands(tmp_path, monkeypatch, samples):
    monkeypatch.setattr(verify, "_BLOCK", 16)  # seams between blocks everywhere
    monkeypatch.setattr(verify, "_ROWS", 8)
    description, arrays = real(tmp_path, samples)
    built = len(arrays.shuffle_idx)

    @settings(deadline=None, max_examples=150)
    @given(at=st.integers(0, len(arrays.doc_idx) - 1), other=st.integers(1, DOCUMENTS - 1))
    def change_document(at, other):
        changed = arrays.doc_idx.copy()
        changed[at] = (changed[at] + other) % DOCUMENTS
        assert named(description, dataclasses.replace(arrays, doc_idx=changed)) == "doc_idx"

    @settings(deadline=None, max_examples=150)
    @given(at=st.integers(0, built - 1), other=st.integers(1, built - 1))
    def change_draw(at, other):
        changed = arrays.shuffle_idx.copy()
        changed[at] = (changed[at] + other) % built
        assert named(description, dataclasses.replace(arrays, shuffle_idx=changed)) == "shuffle_idx"

    @settings(deadline=None, max_examples=150)
    @given(
        row=st.integers(0, built),
        column=st.integers(0, 1),
        by=st.one_of(st.integers(-30, 30), st.integers(-(2**31), 2**31)).filter(bool),
    )
    def change_start(row, column, by):
        changed = arrays.sample_idx.astype(np.int64)
        changed[row, column] += by
        assert named(description, dataclasses.replace(arrays, sample_idx=changed)) == "sample_idx"

    change_document()
    change_draw()
    change_start()


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64, np.uint64])
def test_arbitrary_contents_raise_nothing_but_mismatches(tmp_path, kind):
    description, arrays = real(tmp_path)
    limits = np.iinfo(kind)

    @settings(deadline=None, max_examples=100)
    @given(
        which=st.sets(st.sampled_from(ARRAYS), min_size=1),
        seed=st.integers(0, 2**32 - 1),
        low=st.sampled_from([0, -1, limits.min]),
        high=st.sampled_from([1, 40, 120, limits.max]),
        share=st.floats(0.01, 1),
    )
    def fill(which, seed, low, high, share):
        random = np.random.default_rng(seed)
        changes = {}
        for name in sorted(which):
            array = getattr(arrays, name).astype(kind)
            hit = random.random(array.shape) < share
            array[hit] = random.integers(max(low, limits.min), high, int(hit.sum()), kind, endpoint=True)
            changes[name] = array
        assert named(description, dataclasses.replace(arrays, **changes)) in (*which, "sample_idx", None)

    fill()


class Watched:
    """An array that notes which of its entries are read."""

    def __init__(self, array):
        self.array, self.dtype, self.shape, self.read = array, array.dtype, array.shape, np.zeros(len(array), bool)
        self.entries = 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, key):
        self.read[key] = True
        found = self.array[key]
        self.entries += len(np.atleast_1d(found))
        return found


def watch(arrays):
    return dataclasses.replace(arrays, **{name: Watched(getattr(arrays, name)) for name in ARRAYS})


def layout_of(description, arrays):
    return IndexLayout.of(int(arrays.sizes.sum()), description.seq_length, description.samples_requested)


def test_every_entry_of_a_small_index_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "_BLOCK", 16)
    monkeypatch.setattr(verify, "_ROWS", 8)
    description, arrays = real(tmp_path)
    watched = watch(arrays)
    verify.verify(watched, layout_of(description, arrays), (0, DOCUMENTS))
    assert [bool(getattr(watched, name).read.all()) for name in ARRAYS] == [True, True, True]


LARGE_DOCUMENTS = 400
LARGE_CUT = 2999
"""The boundary of the large index: three epochs of 6000 tokens in samples of 4."""
SPACED, BLOCK, ROWS = 16, 4, 4


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A real index that is too large to be read whole, for the limits are lowered."""
    monkeypatch.setattr(verify, "WHOLE_UP_TO", 64)
    monkeypatch.setattr(verify, "_SPACED", SPACED)
    monkeypatch.setattr(verify, "_BLOCK", BLOCK)
    monkeypatch.setattr(verify, "_ROWS", ROWS)
    sizes = [15 + (-1) ** document * (document // 2 % 13) for document in range(LARGE_DOCUMENTS)]
    description, arrays = real(tmp_path, 3400, sizes, 4)
    assert GPTIndex.from_arrays(description, arrays).layout.boundary_position == LARGE_CUT
    assert (len(arrays.doc_idx), len(arrays.shuffle_idx)) == (1200, 4499)
    return description, arrays


def test_a_large_real_index_is_accepted(large):
    assert named(*large) is None


@pytest.mark.parametrize("at", [0, 799, 800, 1199])
@pytest.mark.parametrize("value", [-1, LARGE_DOCUMENTS])
def test_of_a_large_index_the_ends_of_each_group_of_documents_are_checked(large, at, value):
    description, arrays = large
    arrays.doc_idx[at] = value
    assert named(description, arrays) == "doc_idx"


@pytest.mark.parametrize(
    ("at", "value"), [(0, LARGE_CUT), (LARGE_CUT - 1, LARGE_CUT), (LARGE_CUT, LARGE_CUT - 1), (-1, 0), (-1, 4499)]
)
def test_of_a_large_index_the_ends_of_each_group_of_samples_are_checked(large, at, value):
    description, arrays = large
    arrays.shuffle_idx[at] = value
    assert named(description, arrays) == "shuffle_idx"


@pytest.mark.parametrize("row", [0, 1, ROWS - 1, -3, -2, -1])  # ROWS - 1: no step behind it is read
@pytest.mark.parametrize("column", [0, 1])
def test_of_a_large_index_the_first_and_last_rows_are_checked(large, row, column):
    description, arrays = large
    arrays.sample_idx[row, column] += 1
    assert named(description, arrays) == "sample_idx"


def test_of_a_large_index_the_tokens_behind_the_last_row_are_checked(large):
    description, arrays = large
    last = arrays.doc_idx[-1]
    arrays.doc_idx[-1] = arrays.sizes.tolist().index(arrays.sizes[last] + 1)
    name, message = finding(description, arrays)
    assert name == "sample_idx"
    assert "tokens follow the last row" in message


def test_damage_wider_than_the_distance_of_the_blocks_is_found_wherever_it_lies(large):
    description, arrays = large

    @settings(deadline=None, max_examples=100)
    @given(which=st.sampled_from(ARRAYS), place=st.floats(0, 1))
    def damage(which, place):
        changed = getattr(arrays, which).copy()
        groups = {"doc_idx": (800, 400), "sample_idx": (4500,), "shuffle_idx": (LARGE_CUT, 4499 - LARGE_CUT)}[which]
        distance = -(-max(groups) // (BLOCK * (SPACED - 1)))
        width = (distance + 1) * BLOCK
        start = int(place * (len(changed) - width))
        changed[start : start + width] = 0 if which == "sample_idx" else 10**6
        assert named(description, dataclasses.replace(arrays, **{which: changed})) == which

    damage()


@pytest.mark.parametrize("times", [1, 4])
def test_of_a_large_index_the_same_few_blocks_are_read_whatever_its_size(tmp_path, large, times):
    description, arrays = real(tmp_path / "larger", times * 3400, large[1].sizes.tolist() * times, 4)
    watched = watch(arrays)
    verify.verify(watched, layout_of(description, arrays), (0, times * LARGE_DOCUMENTS))
    blocks_of_groups = 2 * SPACED * BLOCK
    ends = 3  # the first row, the last row, and the documents behind it
    spanned = 8  # documents of 3 tokens or more that ROWS samples of 4 tokens can touch
    assert watched.shuffle_idx.entries <= blocks_of_groups
    assert watched.sample_idx.entries <= SPACED * (ROWS + 1) + ends
    assert watched.doc_idx.entries <= blocks_of_groups + SPACED * spanned + ends
    assert min(getattr(watched, name).entries for name in ARRAYS) >= SPACED * BLOCK / 2


def test_a_document_that_does_not_exist_raises_nothing_but_a_mismatch_wherever_it_stands(large):
    description, arrays = large
    escaped = []
    for at in range(len(arrays.doc_idx)):
        changed = arrays.doc_idx.copy()
        changed[at] = 10**6
        try:
            named(description, dataclasses.replace(arrays, doc_idx=changed))
        except IndexError:
            escaped.append(at)
    assert escaped == []


def test_a_refusal_says_what_was_found_what_was_expected_and_what_to_do(tmp_path):
    description, arrays = real(tmp_path)
    path = "/data/index-cache/0123_shuffle_idx.npy"
    arrays = IndexArrays(
        arrays.doc_idx,
        arrays.sample_idx,
        arrays.shuffle_idx[:-1],
        arrays.sizes,
        dict.fromkeys(ARRAYS, "another") | {"shuffle_idx": path},
    )
    with pytest.raises(IndexMismatchError) as caught:
        GPTIndex.from_arrays(description, arrays)
    assert str(caught.value).startswith(f"{path}: shape [225]; expected [226]: 3 data epochs of 40 documents and 605 ")
    assert "Delete these files and let the host rebuild the index" in str(caught.value)
