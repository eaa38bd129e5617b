"""The steps after which an evaluation helps to judge a change point."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import evaluation_steps


@pytest.mark.parametrize(
    ("changes", "max_steps", "steps"),
    [
        ([], 1000, []),
        # Room enough: 100 apart before; 30, 100, 300 and 500 steps after.
        ([(1000, 1001)], 2000, [600, 700, 800, 900, 1000, 1030, 1100, 1300, 1500]),
        # A step that draws from both sides belongs to neither.
        ([(1000, 1002)], 2000, [600, 700, 800, 900, 1000, 1031, 1101, 1301, 1501]),
        # Less room: three intervals, as long as they can be.
        ([(151, 152)], 2000, [1, 51, 101, 151, 181, 251, 451, 651]),
        ([(1000, 1001)], 1310, [600, 700, 800, 900, 1000, 1030, 1100, 1300]),
        ([(1000, 1001)], 1200, [600, 700, 800, 900, 1000, 1030, 1100, 1200]),
        ([(1000, 1001)], 1090, [600, 700, 800, 900, 1000, 1030, 1060, 1090]),
        ([(31, 32)], 50, [1, 11, 21, 31, 37, 43, 49]),
        # Hardly any: at least five steps apart.
        ([(12, 13)], 23, [2, 7, 12, 17, 22]),
        ([(3, 4)], 6, [3]),
        # No side reaches across another change point.
        ([(400, 401), (700, 701)], 900, [100, 200, 300, 400, 430, 500, 600, 700, 730, 800, 900]),
        # Without room between them, change points count as one.
        ([(400, 402), (402, 403), (400, 401)], 900, [100, 200, 300, 400, 432, 502, 702]),
        # Nor beyond the end of the run.
        ([(400, 401), (1500, 1501)], 560, [100, 200, 300, 400, 430, 500, 560]),
    ],
)  # fmt: skip
def test_evaluations_on_both_sides(changes, max_steps, steps):
    assert sorted(evaluation_steps(changes, 0, max_steps)) == steps


sides = st.builds(lambda before, mixed: (before, before + 1 + mixed), st.integers(1, 3000), st.booleans())


@given(st.lists(sides, max_size=8), st.integers(1, 3000))
def test_a_resumed_run_goes_on_with_the_same_steps(changes, resumed):
    whole = evaluation_steps(changes, 0, 3000)
    assert evaluation_steps(changes, resumed, 3000) == {step for step in whole if step > resumed}


@given(st.lists(sides, max_size=8), st.integers(1, 3100))
def test_steps_lie_in_the_run_and_after_the_step_before_a_change(changes, max_steps):
    steps = evaluation_steps(changes, 0, max_steps)
    assert all(1 <= step <= max_steps for step in steps)
    assert all(type(step) is int for step in steps)
    firsts = [before for before, after in changes if after <= max_steps]
    if firsts:
        assert min(firsts) in steps


@given(st.integers(16, 3000), st.booleans(), st.integers(15, 3000))
def test_one_change_point_with_room_has_three_intervals_on_each_side(before, mixed, room):
    after = before + 1 + mixed
    steps = evaluation_steps([(before, after)], 0, after - 1 + room)
    early = sorted(step for step in steps if step <= before)
    late = sorted(step for step in steps if step > before)
    assert not {step for step in late if step < after}
    assert len({b - a for a, b in pairwise(early)}) == 1
    assert 3 <= len(early) - 1 <= 4
    assert 3 <= len(late) <= 4
