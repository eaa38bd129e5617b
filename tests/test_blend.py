import dataclasses
import itertools
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import BlendIndex, Boundary, Description, GPTIndex, IndexLayout, blend

CORPORA = {"web": corpora.SIZES, "books": corpora.SIZES[:15], "code": corpora.SIZES[10:]}
WEIGHTS = (5, 3, 2)
SAMPLES = 210


def build(folder, samples=SAMPLES):
    parts = []
    for weight, (name, sizes) in zip(WEIGHTS, CORPORA.items(), strict=True):
        parts += [weight, corpora.write_corpus(folder / name, sizes)]
    return corpora.build_train(parts, samples, corpora.LENGTH, cache=folder / "cache")


def index_of(dataset):
    parts = tuple(corpora.index_of(part) for part in dataset.datasets)
    return BlendIndex(parts, dataset.dataset_index, dataset.dataset_sample_index)


def named(name):
    """A constituent that is nothing but a name."""
    return GPTIndex(Description(name, "train", 1, 8, 1, "1"), IndexLayout.of(605, 8, 1), np.zeros(75, dtype=np.uint32))


def boundaries_by_position(index):
    """What each position draws, one by one."""
    starts = {which: part.boundaries[0].position for which, part in enumerate(index.datasets) if part.boundaries}
    found = []
    for position in range(len(index)):
        which = int(index.dataset_index[position])
        if which in starts and index.dataset_sample_index[position] >= starts[which]:
            found.append(Boundary(position, index.datasets[which].layout.num_epochs - 1, which))
            del starts[which]
    return tuple(found)


def test_length_names_and_epochs(tmp_path):
    index = index_of(build(tmp_path))
    assert len(index) == SAMPLES
    assert index.names == ("web", "books", "code")
    assert index.epochs == (2, 3, 2)


def test_each_position_is_located_in_the_corpus_and_epoch_that_it_draws_from(tmp_path):
    dataset = build(tmp_path)
    index = index_of(dataset)
    which, epochs = index.locate(np.arange(SAMPLES))
    assert which.tolist() == [dataset[position]["dataset_idx"] for position in range(SAMPLES)]
    assert epochs.tolist() == [
        int(index.datasets[dataset.dataset_index[position]].epoch_of(dataset.dataset_sample_index[position]))
        for position in range(SAMPLES)
    ]
    assert {(0, 2), (1, 3), (2, 1)} <= set(zip(which.tolist(), epochs.tolist(), strict=True))


def test_positions_are_located_in_the_order_asked_for(tmp_path):
    index = index_of(build(tmp_path))
    all_which, all_epochs = index.locate(np.arange(SAMPLES))
    asked = [209, 0, 17, 17, 101, 3, 208, 0]
    which, epochs = index.locate(asked)
    assert which.tolist() == all_which[asked].tolist()
    assert epochs.tolist() == all_epochs[asked].tolist()
    assert which.dtype == epochs.dtype == np.int64


def test_no_positions_are_located_nowhere(tmp_path):
    assert [part.tolist() for part in index_of(build(tmp_path)).locate([])] == [[], []]


@pytest.mark.parametrize("positions", [[-1], [SAMPLES], [0, SAMPLES], [3, -SAMPLES]])
def test_positions_outside_the_blend_are_refused(tmp_path, positions):
    with pytest.raises(IndexMismatchError, match=rf"the blend has \[0, {SAMPLES}\)"):
        index_of(build(tmp_path)).locate(positions)


@pytest.mark.parametrize("samples", [100, 210, 340, 380, 460, 600, 770])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_boundaries_are_the_first_draws_from_each_separated_epoch(tmp_path, monkeypatch, samples, block):
    monkeypatch.setattr(blend, "_BLOCK", block)
    index = index_of(build(tmp_path, samples))
    assert index.boundaries == boundaries_by_position(index)


def test_separated_joint_and_unreached_last_epochs_are_told_apart(tmp_path):
    index = index_of(build(tmp_path))
    separated = [which for which, part in enumerate(index.datasets) if part.boundaries]
    assert separated == [0, 2]
    # Of "code" some 20 samples more are built than drawn, and its last epoch starts among them.
    assert [boundary.dataset for boundary in index.boundaries] == [0]
    which, epochs = index.locate(np.arange(SAMPLES))
    first = index.boundaries[0].position
    assert index.boundaries[0].to_epoch == 2
    assert set(epochs[:first][which[:first] == 0].tolist()) == {1}


def test_boundaries_of_several_corpora_come_in_the_order_of_their_positions(tmp_path):
    index = index_of(build(tmp_path, 340))
    assert len(index.boundaries) > 1
    swapped = BlendIndex(index.datasets[::-1], 2 - np.asarray(index.dataset_index), index.dataset_sample_index)
    for blended in (index, swapped):
        positions = [boundary.position for boundary in blended.boundaries]
        assert all(before < after for before, after in itertools.pairwise(positions))
    assert [boundary.position for boundary in swapped.boundaries] == [
        boundary.position for boundary in index.boundaries
    ]


def test_corpora_of_the_same_name_are_told_apart_by_their_place():
    index = BlendIndex(tuple(map(named, ["a/text", "code", "b/text"])), np.zeros(1, int), np.zeros(1, int))
    assert index.names == ("text-0", "code", "text-2")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["text", "text-0", "text-1", "text-2", "a/text", "code"]), min_size=1, max_size=5))
@example(["a/text", "b/text", "text-0"])
def test_names_are_always_distinct(prefixes):
    index = BlendIndex(tuple(map(named, prefixes)), np.zeros(1, int), np.zeros(1, int))
    assert len(set(index.names)) == len(prefixes)


@pytest.mark.parametrize("points_to", [-1, 3, 255])
def test_a_blend_that_points_to_no_dataset_cannot_be_located(tmp_path, points_to):
    index = index_of(build(tmp_path))
    damaged = np.array(index.dataset_index)
    damaged[20] = points_to
    index = dataclasses.replace(index, dataset_index=damaged)
    with pytest.raises(IndexMismatchError, match=f"points to dataset {points_to}; it has 3"):
        index.locate(np.arange(SAMPLES))
    index.locate(np.arange(20))


@pytest.mark.parametrize("points_to", [-1, 3, 255])
def test_a_blend_that_points_to_no_dataset_has_no_boundaries_to_show(tmp_path, points_to):
    index = index_of(build(tmp_path))
    damaged = np.array(index.dataset_index)
    damaged[20] = points_to
    with pytest.raises(IndexMismatchError, match=f"points to dataset {points_to}"):
        _ = dataclasses.replace(index, dataset_index=damaged).boundaries


@pytest.mark.parametrize("points_to", [-1, 10**6])
def test_a_blend_that_points_outside_a_dataset_is_refused(tmp_path, points_to):
    index = index_of(build(tmp_path))
    damaged = np.array(index.dataset_sample_index)
    damaged[20] = points_to
    index = dataclasses.replace(index, dataset_sample_index=damaged)
    with pytest.raises(IndexMismatchError, match=rf"{points_to}.*; the index has \[0, "):
        index.locate(np.arange(SAMPLES))


@pytest.mark.parametrize(("which", "within"), [((4,), (5,)), ((4, 1), (4, 1)), ((), ()), ((4,), (4, 2)), ((0,), (1,))])
def test_two_lists_of_different_lengths_or_shapes_are_no_blend(which, within):
    with pytest.raises(IndexMismatchError, match=re.escape(f"have shapes {which} and {within}")):
        BlendIndex((named("text"),), np.zeros(which, dtype=np.int16), np.zeros(within, dtype=np.int64))


def test_a_blend_of_one_is_its_dataset(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "web", corpora.SIZES)
    dataset = corpora.build_train([1, prefix], corpora.SEPARATED, corpora.LENGTH)
    index = index_of(dataset)
    alone = index.datasets[0]
    assert index.boundaries == alone.boundaries
    assert index.boundaries != ()
    positions = np.arange(corpora.SEPARATED)
    assert [part.tolist() for part in index.locate(positions)] == [part.tolist() for part in alone.locate(positions)]
