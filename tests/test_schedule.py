import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.errors import ScheduleError
from paddle_epoch_guard.order import Draw, Schedule, Segment


def segment(**changes):
    values = {"first_step": 1, "start": 0, "micro_batch": 2, "accumulation": 3, "world_size": 2, "stop": 1000}
    return Segment(**{**values, **changes})


def steps_of_the_real_sampler(length, batch, accumulation, ranks, rank, start, drop_last):
    """What the host's sampler gives one rank, a list of positions for each whole optimizer step."""
    from paddlenlp.utils.batch_sampler import DistributedBatchSampler

    sampler = DistributedBatchSampler(range(length), batch, num_replicas=ranks, rank=rank, drop_last=drop_last)
    sampler.set_epoch(consumed_samples=start)
    batches = list(sampler)
    whole = len(batches) // accumulation * accumulation
    return [sum(batches[at : at + accumulation], []) for at in range(0, whole, accumulation)], sampler.total_size


@given(
    length=st.integers(0, 150),
    batch=st.integers(1, 4),
    accumulation=st.integers(1, 4),
    ranks=st.integers(1, 4),
    start=st.integers(0, 40),
    first_step=st.integers(1, 9),
    drop_last=st.booleans(),
)
def test_every_step_and_rank_draws_what_the_real_sampler_gives(
    length, batch, accumulation, ranks, start, first_step, drop_last
):
    start -= start % ranks  # the sampler asserts it
    expected = [
        steps_of_the_real_sampler(length, batch, accumulation, ranks, rank, start, drop_last) for rank in range(ranks)
    ]
    stop = expected[0][1]
    schedule = Schedule((Segment(first_step, start, batch, accumulation, ranks, stop, drop_last=drop_last),))
    steps = len(expected[0][0])
    assert schedule.segments[0].steps == steps
    for at in range(steps):
        step = first_step + at
        by_rank = [schedule.positions(step, rank).tolist() for rank in range(ranks)]
        assert by_rank == [expected[rank][0][at] for rank in range(ranks)]
        for rank in range(ranks):
            positions, lengths = schedule.positions_of_steps(step, first_step + steps - 1, rank)
            assert positions.tolist() == sum(expected[rank][0][at:], [])
            assert lengths.tolist() == [len(drawn) for drawn in expected[rank][0][at:]]
        drawn = [p for draw in schedule.draws(step, step) for p in list(range(draw.start, draw.stop)) * draw.times]
        assert sorted(drawn) == sorted(sum(by_rank, []))
    with pytest.raises(ScheduleError, match=f"step {first_step + steps}"):
        schedule.draws(first_step, first_step + steps)


def test_draws_of_several_steps_are_one_range():
    assert Schedule((segment(start=24),)).draws(2, 4) == [Draw(36, 72)]


def test_the_tail_is_drawn_by_every_rank():
    schedule = Schedule((segment(accumulation=1, stop=10, drop_last=False),))
    assert schedule.draws(3, 3) == [Draw(8, 10, times=2)]
    assert schedule.samples(1, 3) == 12


def test_skipped_steps_advance_the_position_and_draw_nothing():
    schedule = Schedule((segment(),), skipped=((2, 3), (6, 6)))
    assert schedule.draws(1, 6) == [Draw(0, 12), Draw(36, 60)]
    assert schedule.draws(2, 3) == []
    assert schedule.samples(1, 7) == 4 * 12
    assert [step for step in range(1, 8) if schedule.trains(step)] == [1, 4, 5, 7]


def test_a_window_before_a_skipped_boundary_ends_at_the_last_step_that_trains():
    schedule = Schedule((segment(),), skipped=((2, 3), (4, 5)))
    assert [schedule.last_trained(step) for step in range(1, 7)] == [1, 1, 1, 1, 1, 6]
    assert Schedule((segment(),), skipped=((1, 4),)).last_trained(3) == 0


def test_a_new_piece_takes_over_from_its_first_step():
    schedule = Schedule((segment(),)).then(segment(first_step=5, start=48, micro_batch=4))
    assert schedule.draws(4, 5) == [Draw(36, 48), Draw(48, 72)]
    replaced = schedule.then(segment(first_step=3, start=0))
    assert [one.first_step for one in replaced.segments] == [1, 3]


def test_a_piece_that_only_goes_on_adds_nothing():
    schedule = Schedule((segment(),))
    for step in range(2, 50):
        schedule = schedule.then(segment(first_step=step, start=(step - 1) * 12))
    assert schedule == Schedule((segment(),))


@given(position=st.integers(0, 999), start=st.integers(0, 200))
def test_a_crossing_is_the_first_step_that_draws_the_position(position, start):
    schedule = Schedule((segment(start=start),))
    found = schedule.crossings(position)
    reaching = [
        step
        for step in range(1, schedule.segments[0].steps + 1)
        if schedule.draws(step, step)[0].start <= position < schedule.draws(step, step)[0].stop
    ]
    assert [step for step, _ in found] == reaching
    for step, mixed in found:
        assert mixed == (schedule.draws(step, step)[0].start < position)


def test_reading_the_index_again_crosses_its_boundary_again():
    schedule = Schedule((segment(stop=60),)).then(segment(first_step=6, start=0, stop=60))
    assert schedule.crossings(30) == [(3, True), (8, True)]
    assert Schedule((segment(),)).then(segment(first_step=3, start=24)).crossings(30) == [(3, True)]


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Schedule(()),
        lambda: Schedule((segment(micro_batch=0),)),
        lambda: Schedule((segment(start=-1),)),
        lambda: Schedule((segment(first_step=0),)),
        lambda: Schedule((segment(), segment())),
        lambda: Schedule((segment(),), skipped=((3, 2),)),
        lambda: Schedule((segment(first_step=5),)).draws(4, 6),
        lambda: Schedule((segment(),)).positions(1, rank=2),
    ],
)
def test_what_makes_no_sense_is_refused(broken):
    with pytest.raises(ScheduleError):
        broken()


def test_positions_are_int64_even_far_out():
    positions = Schedule((segment(start=2**40, stop=2**41),)).positions(1, rank=1)
    assert positions.dtype == np.int64
    assert positions[0] == 2**40 + 2


@pytest.mark.parametrize("skipped", [(), ((3, 4),)])
def test_the_highest_position_that_was_drawn(skipped):
    first = Segment(1, 0, 2, 1, 2, 40)
    again = Segment(5, 8, 2, 2, 2, 40)
    schedule = Schedule((first, again), skipped)
    for step in range(1, 9):
        trained = [done for done in range(1, step) if schedule.trains(done)]
        drawn = [p for done in trained for rank in range(2) for p in schedule.positions(done, rank)]
        assert schedule.reached_before(step) == max(drawn, default=-1) + 1
