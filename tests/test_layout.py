import ast
import functools
import inspect
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import IndexLayout


@functools.cache
def host_separation():
    """The installed host's own statements for the separation rule, compiled out of ``_build_index_mappings``."""
    from paddlenlp.data import causal_dataset

    wanted = {
        "num_samples_from_epochs_minus_one",
        "last_epoch_num_samples",
        "num_samples_per_epoch",
        "separate_last_epoch",
    }
    tree = ast.parse(textwrap.dedent(inspect.getsource(causal_dataset._build_index_mappings)))
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in wanted
        and not isinstance(node.value, ast.Constant)  # `= False`, for one epoch
    ]
    assert [statement.targets[0].id for statement in statements] == [
        "num_samples_from_epochs_minus_one",
        "last_epoch_num_samples",
        "num_samples_per_epoch",
        "separate_last_epoch",
    ]
    return compile(ast.Module(statements, []), "causal_dataset", "exec")


def host_layout(tokens, length, samples):
    from paddlenlp.data import causal_dataset

    epochs = causal_dataset._num_epochs(tokens, length, samples)
    names = {"num_epochs": epochs, "tokens_per_epoch": tokens, "seq_length": length, "num_samples": samples}
    if epochs == 1:
        return epochs, False, None
    exec(host_separation(), names)
    return epochs, names["separate_last_epoch"], names["num_samples_from_epochs_minus_one"]


@st.composite
def numbers(draw):
    """T, L and N for at most some 60 epochs, for the host counts them one by one."""
    tokens = draw(st.one_of(st.integers(1, 300), st.integers(1, 10**12)))
    length = draw(st.one_of(st.integers(1, 40), st.integers(1, 2 * tokens)))
    return tokens, length, draw(st.integers(0, 60 * tokens // length + 2))


@st.composite
def numbers_at_the_threshold(draw):
    """N one below, at and one above the 80 % mark of a last epoch."""
    tokens, length = draw(st.integers(2, 5000)), draw(st.integers(1, 60))
    before_last = (draw(st.integers(1, 20)) * tokens - 1) // length
    threshold = int(0.80 * ((tokens - 1) // length))
    return tokens, length, max(before_last + threshold + draw(st.integers(-1, 1)), 0)


@settings(deadline=None, max_examples=400)
@given(st.one_of(numbers(), numbers_at_the_threshold()))
def test_epochs_separation_and_boundary_are_the_hosts(given_numbers):
    layout = IndexLayout.of(*given_numbers)
    epochs, separated, first_separated = host_layout(*given_numbers)
    assert (layout.num_epochs, layout.separated) == (epochs, separated)
    assert layout.boundary_position == (first_separated if separated else None)


@settings(deadline=None, max_examples=300)
@given(st.one_of(numbers(), numbers_at_the_threshold()))
def test_the_counts_follow_from_the_token_stream(given_numbers):
    tokens, length, samples = given_numbers
    layout = IndexLayout.of(*given_numbers)
    # A sample is length + 1 tokens, of which the next one shares one.
    assert 0 <= layout.num_epochs * tokens - (layout.samples_built * length + 1) < length
    assert 0 <= tokens - (layout.samples_per_epoch * length + 1) < length
    assert layout.samples_built >= samples
    if layout.num_epochs > 1:
        assert 1 <= layout.last_epoch_samples <= layout.samples_per_epoch + 1


@settings(deadline=None, max_examples=300)
@given(st.one_of(numbers(), numbers_at_the_threshold()))
def test_groups_cover_all_samples_and_all_epochs_without_gap(given_numbers):
    layout = IndexLayout.of(*given_numbers)
    stops = [stop for _, stop in layout.sample_groups]
    assert [start for start, _ in layout.sample_groups] == [0, *stops[:-1]]
    assert stops[-1] == layout.samples_built
    assert sum(layout.epoch_groups) == layout.num_epochs
    assert len(layout.epoch_groups) == len(layout.sample_groups) == (2 if layout.separated else 1)
    if layout.separated:
        assert all(start < stop for start, stop in layout.sample_groups)


def test_the_epochs_and_the_separation_are_those_of_every_index_the_host_builds(tmp_path, monkeypatch):
    from paddlenlp.data import causal_dataset

    sizes = corpora.SIZES[:10]
    splits = []

    def record(first, total, generator):
        splits.append((first, total))
        return build(first, total, generator)

    build = causal_dataset._build_shuffle_idx
    monkeypatch.setattr(causal_dataset, "_build_shuffle_idx", record)
    prefix = corpora.write_corpus(tmp_path / "corpus", sizes)
    kinds = set()
    for samples in range(1, 62):
        dataset = corpora.build_train([prefix], samples, corpora.LENGTH)
        layout = IndexLayout.of(sum(sizes), corpora.LENGTH, samples)
        first, total = splits.pop()
        assert layout.samples_built == total == len(dataset)
        assert layout.num_epochs * len(sizes) == len(dataset.doc_idx)
        assert layout.boundary_position == (None if first == total else first)
        kinds.add((layout.num_epochs, layout.separated))
    assert kinds >= {(1, False), (2, True), (2, False), (3, True), (3, False)}


def test_up_to_one_whole_epoch_nothing_is_separated():
    # 100 tokens are 9 samples of 10 + 1; the tenth needs one token more.
    layouts = [IndexLayout.of(100, 10, samples) for samples in range(11)]
    assert [layout.num_epochs for layout in layouts] == [1] * 10 + [2]
    assert [layout.separated for layout in layouts] == [False] * 10 + [True]
    assert layouts[9].last_epoch_samples == 9
    assert layouts[10].last_epoch_samples == 1


def test_exactly_at_80_percent_the_last_epoch_is_not_separated():
    # 101 tokens are 10 samples of 10 + 1, and two epochs 20; 80 % of 10 is 8.
    below, at = IndexLayout.of(101, 10, 17), IndexLayout.of(101, 10, 18)
    assert (below.num_epochs, below.last_epoch_samples, below.separated) == (2, 7, True)
    assert (at.num_epochs, at.last_epoch_samples, at.separated) == (2, 8, False)


def test_80_percent_is_rounded_down():
    # 9 samples per epoch: 80 % is 7.2, so 7 are not fewer.
    assert [IndexLayout.of(100, 10, 9 + last).separated for last in (6, 7, 8)] == [True, False, False]


@pytest.mark.parametrize("tokens", [1, 3, 9, 10])
def test_an_epoch_without_a_whole_sample_is_never_separated(tokens):
    layouts = [IndexLayout.of(tokens, 10, samples) for samples in range(1, 40)]
    assert not any(layout.separated for layout in layouts)
    assert {layout.samples_per_epoch for layout in layouts} == {0}


@pytest.mark.parametrize(("tokens", "built"), [(1, 0), (8, 0), (9, 1), (100, 12)])
def test_no_samples_asked_for_is_one_epoch(tokens, built):
    layout = IndexLayout.of(tokens, 8, 0)
    assert (layout.num_epochs, layout.samples_built, layout.last_epoch_samples) == (1, built, 0)
    assert (layout.boundary_position, layout.sample_groups) == (None, ((0, built),))


def test_a_separated_layout_in_numbers():
    layout = IndexLayout.of(sum(corpora.SIZES), corpora.LENGTH, corpora.SEPARATED)
    assert layout == IndexLayout(
        tokens_per_epoch=605,
        seq_length=8,
        samples_requested=180,
        num_epochs=3,
        samples_built=226,
        samples_per_epoch=75,
        last_epoch_samples=29,
        separated=True,
    )
    assert layout.boundary_position == 151
    assert layout.sample_groups == ((0, 151), (151, 226))
    assert layout.epoch_groups == (2, 1)


def test_a_jointly_shuffled_layout_is_one_group():
    layout = IndexLayout.of(sum(corpora.SIZES), corpora.LENGTH, corpora.JOINT)
    assert (layout.boundary_position, layout.sample_groups, layout.epoch_groups) == (None, ((0, 226),), (3,))


def test_a_corpus_of_a_trillion_tokens_is_counted_at_once_and_exactly():
    tokens, length = 10**12 + 7, 4096
    samples = (10**6 * tokens - 1) // length + 1
    assert IndexLayout.of(tokens, length, samples - 1).num_epochs == 10**6
    assert IndexLayout.of(tokens, length, samples).num_epochs == 10**6 + 1


def test_numpy_integers_give_the_same_layout():
    assert IndexLayout.of(np.int64(605), np.int64(8), np.int64(180)) == IndexLayout.of(605, 8, 180)


@pytest.mark.parametrize("invalid", [(0, 8, 10), (-5, 8, 10), (100, 0, 10), (100, -1, 10), (100, 8, -1)])
def test_numbers_out_of_range_are_refused_and_named(invalid):
    tokens, length, samples = invalid
    with pytest.raises(
        IndexMismatchError, match=f"{tokens} tokens per epoch, sequence length {length} and {samples} samples"
    ):
        IndexLayout.of(*invalid)
