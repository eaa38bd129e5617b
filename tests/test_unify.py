import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import LENGTH, ONE_EPOCH, SEPARATED, SIZES, build_train, index_of, write_corpus
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.index import BlendIndex, Boundary
from paddle_epoch_guard.order import Order, PositionMap, Schedule, Segment
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.resume import (
    DatasetRecord,
    Sidecar,
    UnifyOptions,
    decide_order,
    read_sidecar,
    write_sidecar,
)
from paddle_epoch_guard.views.messages import sentence_of


class Index:
    """The boundaries and sizes of an index, and nothing more."""

    names = ("text",)

    def __init__(self, length, *boundaries, epochs=2):
        self.length = length
        self.boundaries = tuple(Boundary(at, 1, dataset) for dataset, at in enumerate(boundaries))
        self.epochs = (epochs,)

    def __len__(self):
        return self.length


UNIFIED = UnifyOptions(unified=True, seed=7)


@pytest.mark.parametrize(
    ("start", "mix", "chosen"),
    [(0, "auto", "uniform"), (1, "auto", "ramp"), (0, "ramp", "ramp"), (50, "uniform", "uniform")],
)
def test_auto_is_uniform_from_the_start_and_a_ramp_later(start, mix, chosen):
    decision = decide_order(UnifyOptions(True, mix=mix), Index(200, 100), start, 150)
    assert decision.begun.mix == chosen
    assert (decision.begun.start, decision.begun.stop) == (start, 150)
    assert decision.begun.boundary == (100 if chosen == "ramp" else None)


def test_a_blend_is_mixed_from_its_first_boundary_ahead():
    index = Index(200, 60, 90, 140)
    assert decide_order(UNIFIED, index, 10, 150).begun.boundary == 60
    assert decide_order(UNIFIED, index, 60, 150).begun.boundary == 90  # at 60 all that follows is beyond it
    assert decide_order(UNIFIED, index, 140, 150).reorders == ()


def test_what_lies_past_the_plan_is_no_boundary():
    decision = decide_order(UNIFIED, Index(200, 150), 0, 150)
    assert decision.reorders == ()
    assert (decision.code, decision.parameters) == ("ends_before_boundary", {"stop": 150, "boundary": 150})
    sentence = sentence_of(Message(decision.code, decision.parameters))
    assert sentence.startswith("nothing to unify: the run ends at position 150, before the boundary at 150")


def test_the_pool_all_reaches_to_the_end_of_the_index_and_only_from_the_start():
    options = UnifyOptions(True, pool="all")
    assert decide_order(options, Index(200, 100), 0, 150).begun.stop == 200
    with pytest.raises(ArgumentsError, match="only from position 0"):
        decide_order(options, Index(200, 100), 3, 150)


def test_what_was_begun_stays_whatever_is_asked_for_now():
    begun = decide_order(UNIFIED, Index(200, 100), 0, 150).reorders
    for options in (UNIFIED, UnifyOptions(True, mix="ramp", seed=9), UnifyOptions(False)):
        decision = decide_order(options, Index(200, 100), 40, 150, begun)
        assert decision.reorders == begun
        assert decision.begun is None
        assert decision.is_warning == (not options.unified)


def real_index(folder, seed=1, samples=SEPARATED):
    return index_of(build_train([write_corpus(folder / "corpus" / "text", SIZES)], samples, LENGTH, seed=seed))


def documents_of(dataset, positions):
    """For each document, how many of its tokens the samples at these positions hold."""
    counts = Counter()
    owner = np.repeat(np.arange(len(SIZES)), SIZES)  # tokens count up through the documents
    for position in positions:
        counts.update(owner[dataset[int(position)]["text"][:-1]].tolist())
    return counts


@pytest.fixture(scope="module")
def separated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("separated")
    dataset = build_train([write_corpus(folder / "corpus" / "text", SIZES)], SEPARATED, LENGTH)
    return dataset, index_of(dataset)


@given(
    start=st.integers(0, SEPARATED - 1), seed=st.integers(0, 2**64), mix=st.sampled_from(["auto", "uniform", "ramp"])
)
def test_the_planned_samples_stay_the_same_multiset_and_every_document_keeps_its_count(separated, start, seed, mix):
    dataset, index = separated
    decision = decide_order(UnifyOptions(True, mix=mix, seed=seed), index, start, SEPARATED)
    drawn = PositionMap(decision.reorders).base(np.arange(SEPARATED))
    assert drawn[:start].tolist() == list(range(start))
    assert Counter(drawn.tolist()) == Counter(range(SEPARATED))
    if decision.reorders and start % 30 == 0:  # counting tokens is slow
        assert documents_of(dataset, drawn) == documents_of(dataset, range(SEPARATED))
    if not decision.reorders:
        assert start >= index.boundaries[0].position


@st.composite
def plans(draw):
    """Sizes of documents, sequence length, samples and a place to resume at, of any plan."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=12))
    length = draw(st.integers(1, 9))
    epochs = draw(st.floats(0.2, 3.2))
    samples = max(int(epochs * sum(sizes) / length), 1)
    return sizes, length, samples, draw(st.integers(0, samples - 1))


@settings(max_examples=60, deadline=None)
@given(plans(), st.integers(0, 2**32 - 1), st.sampled_from(["auto", "uniform", "ramp"]))
def test_of_any_corpus_length_and_resume_the_planned_tokens_stay_the_same(plan, seed, mix):
    sizes, length, samples, start = plan
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_train([write_corpus(Path(folder) / "text", sizes)], samples, length, seed=seed % 1000)
        index = index_of(dataset)
        decision = decide_order(UnifyOptions(True, mix=mix, seed=seed), index, start, samples)
        order = Order(index.shuffle_idx, decision.reorders)
        host_order = [dataset[p]["text"].tolist() for p in range(len(dataset))]
        dataset.shuffle_idx = order
        unified = [dataset[p]["text"].tolist() for p in range(len(dataset))]
    assert unified[:start] == host_order[:start]
    assert unified[samples:] == host_order[samples:]
    assert sorted(unified[:samples]) == sorted(host_order[:samples])
    assert (unified != host_order) <= bool(decision.reorders)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 119), st.integers(0, 2**32 - 1), st.sampled_from([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]))
def test_of_a_blend_the_planned_tokens_stay_the_same(start, seed, weights):
    with tempfile.TemporaryDirectory() as folder:
        prefixes = [write_corpus(Path(folder) / name, sizes) for name, sizes in {"a": (273,), "b": (150, 99)}.items()]
        parts = [part for pair in zip(weights, prefixes, strict=True) for part in pair]
        blend = build_train(parts, 120, LENGTH, cache=Path(folder) / "cache")
        index = BlendIndex(
            tuple(index_of(one) for one in blend.datasets), blend.dataset_index, blend.dataset_sample_index
        )
        decision = decide_order(UnifyOptions(True, seed=seed), index, start, 120)
        drawn = PositionMap(decision.reorders).base(np.arange(120))
    assert drawn[:start].tolist() == list(range(start))
    assert Counter(drawn.tolist()) == Counter(range(120))


def test_the_state_at_every_step_draws_the_rest_in_order(separated, tmp_path):
    """The oracle: the sidecar of every step, written and read back, gives the rest of the draws."""
    _, index = separated
    batch, start_step = 4, 11
    stop = SEPARATED
    first = decide_order(UNIFIED, index, 0, stop).reorders
    ramp = decide_order(UNIFIED, index, start_step * batch, stop).reorders
    for reorders in (first, ramp, ()):
        schedule = Schedule((Segment(1, 0, batch, 1, 1, stop=len(index)),))
        whole = Order(index.shuffle_idx, reorders)[:stop].tolist()
        for step in range(1 if reorders is not ramp else start_step, stop // batch):
            position = schedule.position_after(step)
            record = (DatasetRecord.of(index),)
            write_sidecar(tmp_path, Sidecar(1, "run", "part", step, position, stop, 45, reorders, schedule, record))
            found = read_sidecar(tmp_path, step)
            again = decide_order(UnifyOptions(bool(reorders)), index, found.position, stop, found.reorders)
            rest = Order(index.shuffle_idx, again.reorders)[found.position : stop].tolist()
            assert rest == whole[position:]
            assert found.schedule.draws(step + 1, step + 1)[0].start == position


def test_one_epoch_has_nothing_to_unify(tmp_path):
    decision = decide_order(UNIFIED, real_index(tmp_path, samples=ONE_EPOCH), 0, ONE_EPOCH)
    assert decision.reorders == ()
    assert decision.code == "one_epoch"


def test_a_failed_write_leaves_the_old_sidecar_and_no_scraps(tmp_path, separated, monkeypatch):
    record = (DatasetRecord.of(separated[1]),)
    schedule = Schedule((Segment(1, 0, 4, 1, 1, stop=100),))
    write_sidecar(tmp_path, Sidecar(1, "run", "part", 5, 20, 100, 25, (), schedule, record))

    def refuses(*_args):
        raise OSError("rename refused")

    monkeypatch.setattr("os.replace", refuses)
    with pytest.raises(OSError, match="rename refused"):
        write_sidecar(tmp_path, Sidecar(1, "run", "part", 6, 24, 100, 25, (), schedule, record))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_guard.json"]
    assert read_sidecar(tmp_path, 5).position == 20
