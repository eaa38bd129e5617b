import msgspec
import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import JOINT, LENGTH, SEPARATED, SIZES, build_train, index_of, write_corpus
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import Boundary, EpochSampledIndex, EpochSampling, SamplerOrder
from paddle_epoch_guard.ledger import trace
from paddle_epoch_guard.order import PositionMap, Schedule, Segment, sampler_epochs_ahead


@settings(deadline=None)
@given(
    samples=st.integers(1, 80),
    batch=st.integers(1, 4),
    accumulation=st.integers(1, 4),
    ranks=st.integers(1, 5),
    shuffled=st.booleans(),
    drop_last=st.booleans(),
    passes=st.integers(1, 4),
)
def test_every_rank_draws_what_the_real_sampler_gives_it(
    samples, batch, accumulation, ranks, shuffled, drop_last, passes
):
    by_rank = []
    for rank in range(ranks):
        sampler = paddle.io.DistributedBatchSampler(range(samples), batch, ranks, rank, shuffled, drop_last)
        by_rank.append([])
        for epoch in range(passes):
            sampler.set_epoch(epoch)
            by_rank[-1].append(list(sampler))
    if len(by_rank[0][0]) < accumulation:
        return  # the trainer lowers it
    rule = EpochSampling.padded(samples, ranks, shuffled)
    first = Segment(1, 0, batch, accumulation, ranks, stop=rule.length, drop_last=drop_last, is_sampler_epoch=True)
    schedule = Schedule((first,))
    for segment in sampler_epochs_ahead(first, rule.length, passes, max_steps=10**9):
        schedule = schedule.then(segment)
    steps = len(by_rank[0][0]) // accumulation
    assert [segment.first_step for segment in schedule.segments] == [1 + number * steps for number in range(passes)]
    for rank in range(ranks):
        # The trainer draws on to the end of each pass but the last; a step holds what was drawn since the one before.
        batches = [one for each in by_rank[rank][:-1] for one in each] + by_rank[rank][-1][: steps * accumulation]
        drawn = [schedule.positions(step, rank) for step in range(1, passes * steps + 1)]
        assert SamplerOrder(rule).at(np.concatenate(drawn)).tolist() == sum(batches, [])
    for step in range(1, passes * steps + 1):
        together = sorted(p for draw in schedule.draws(step, step) for p in range(draw.start, draw.stop))
        assert together == sorted(np.concatenate([schedule.positions(step, rank) for rank in range(ranks)]).tolist())
    ends = {number * steps: number * rule.length for number in range(1, passes + 1)}
    assert {step: schedule.position_after(step) for step in ends} == ends


def order_of(rule):
    return SamplerOrder(rule, permuted) if rule.kind == "paddleformers" else SamplerOrder(rule)


def permuted(seed, length):
    """In the place of paddle's permutation: any will do."""
    return np.random.default_rng(seed).permutation(length)


def dealt(permutation, micro_batch, ranks, start, drop_last):
    """What each rank draws of a pass, batch by batch, by the words of the rule."""
    by_rank = [permutation[rank::ranks][start // ranks :] for rank in range(ranks)]
    stop = len(by_rank[0]) // micro_batch * micro_batch if drop_last else len(by_rank[0])
    return [[own[at : at + micro_batch] for at in range(0, stop, micro_batch)] for own in by_rank]


@given(st.data())
def test_every_rank_draws_what_a_sampler_that_deals_gives_it(data):
    ranks, micro_batch = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    samples, accumulation = data.draw(st.integers(ranks, 80)), data.draw(st.integers(1, 3))
    shuffled, drop_last = data.draw(st.booleans()), data.draw(st.booleans())
    rule = EpochSampling.truncated(samples, ranks, shuffled, seed=11)
    assert rule.length == samples - samples % ranks
    start = data.draw(st.integers(0, rule.length // ranks)) * ranks  # where a resume begins in the first pass
    orders = [permuted(11 + number, rule.length).tolist() for number in range(2)]
    if not shuffled:
        orders = [list(range(rule.length))] * 2
    by_rank = [dealt(order, micro_batch, ranks, at, drop_last) for order, at in zip(orders, (start, 0), strict=True)]
    first = Segment(
        1,
        start,
        micro_batch,
        accumulation,
        ranks,
        rule.length,
        drop_last=drop_last,
        is_sampler_epoch=True,
        strided=True,
    )
    schedule = Schedule((first,))
    for segment in sampler_epochs_ahead(first, rule.length, 2, max_steps=10**9):
        schedule = schedule.then(segment)
    last = sum(segment.steps for segment in schedule.segments)
    for rank in range(ranks):
        drawn = [order_of(rule).at(schedule.positions(step, rank)).tolist() for step in range(1, last + 1)]
        batches = [one for each in by_rank for one in each[rank]]
        assert sum(drawn, []) == sum(batches, [])[: len(sum(drawn, []))]
    for step in range(1, last + 1):
        together = sorted(p for draw in schedule.draws(step, step) for p in range(draw.start, draw.stop))
        assert together == sorted(np.concatenate([schedule.positions(step, rank) for rank in range(ranks)]).tolist())


RULES = st.builds(EpochSampling.padded, st.integers(1, 60), st.integers(1, 7), st.booleans()) | st.builds(
    EpochSampling.truncated, st.integers(7, 60), st.integers(1, 7), st.booleans(), st.integers(0, 3)
)


@given(rule=RULES, number=st.integers(0, 3))
def test_where_a_pass_draws_a_position_is_the_inverse_of_what_it_draws(rule, number):
    samples = rule.samples
    wanted = np.repeat(np.arange(0, samples, 2), 2)  # some twice
    order = order_of(rule)
    which, at = order.drawn_at(wanted, number)
    assert (order.at(at) == wanted[which]).all()
    expected = [p for p in range(number * rule.length, (number + 1) * rule.length) for _ in range(2)]
    drawn = order.at(np.array(expected))
    assert sorted(at.tolist()) == [p for p, place in zip(expected, drawn.tolist(), strict=True) if place % 2 == 0]


@pytest.fixture(scope="module")
def indices(tmp_path_factory):
    prefix = write_corpus(tmp_path_factory.mktemp("corpus") / "text", SIZES)
    datasets = {samples: build_train([prefix], samples, LENGTH) for samples in (SEPARATED, JOINT)}
    yield {samples: index_of(dataset) for samples, dataset in datasets.items()}
    datasets.clear()  # with a dataset goes the memory of its document sizes


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("samples", [SEPARATED, JOINT])
def test_data_epochs_are_numbered_on_from_pass_to_pass(indices, samples, shuffled):
    index = indices[samples]
    rule = EpochSampling.padded(len(index), 4, shuffled)
    read = EpochSampledIndex(index, SamplerOrder(rule), 3)
    assert (len(read), read.names, read.epochs) == (3 * rule.length, index.names, (9,))
    at = np.arange(len(read))
    _, epochs = read.locate(at)
    assert epochs.tolist() == (index.epoch_of(read.order.at(at)) + at // rule.length * 3).tolist()
    between = {Boundary(rule.length, 3), Boundary(2 * rule.length, 6)}
    own = set()
    if samples == SEPARATED and not shuffled:
        own = {Boundary(index.boundaries[0].position + n * rule.length, 2 + 3 * n) for n in range(3)}
    assert set(read.boundaries) == between | own


def test_tokens_are_traced_through_all_passes(indices):
    index = indices[JOINT]
    read = EpochSampledIndex(index, SamplerOrder(EpochSampling.padded(len(index), 1, shuffled=True)), 2)
    inner, outer = trace(index, PositionMap(), tokens=50), trace(read, PositionMap(), tokens=50)
    places = read.order.at(outer.position)
    for number in range(2):
        chosen = outer.position // read.rule.length == number
        assert sorted(zip(outer.token[chosen], places[chosen], strict=True)) == sorted(
            zip(inner.token, inner.position, strict=True)
        )
    assert outer.discontinuities.tolist() == [read.rule.length]


def test_a_boundary_among_the_samples_that_are_left_out_is_none(indices):
    index = indices[SEPARATED]
    (own,) = index.boundaries
    ranks = next(n for n in range(2, len(index)) if len(index) // n * n <= own.position)
    read = EpochSampledIndex(index, SamplerOrder(EpochSampling.truncated(len(index), ranks, False, 7)), 2)
    assert read.boundaries == (Boundary(read.rule.length, 3),)


def test_a_rule_that_was_recorded_is_the_same_rule():
    rule = EpochSampling.truncated(101, 4, True, 7)
    assert msgspec.json.decode(msgspec.json.encode(rule), type=EpochSampling) == rule
    # Of a release that knew the samplers of paddle.io only.
    old = b'{"samples": 101, "length": 104, "shuffled": true}'
    assert msgspec.json.decode(old, type=EpochSampling) == EpochSampling.padded(101, 4, True)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"samples": 1, "length": 1, "shuffled": true, "kind": "other"}', type=EpochSampling)


def test_a_rule_without_samples_is_refused():
    with pytest.raises(IndexMismatchError):
        EpochSampling(0, 0, False)
    with pytest.raises(IndexMismatchError):
        EpochSampling.truncated(3, 4, False, 7)
