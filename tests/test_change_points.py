import pytest

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.intervals import Interval


def window(first_step, last_step, loss):
    return LossWindow(first_step, last_step, loss, last_step - first_step + 1)


def watch(step, history, *, mixed=False, evaluations=(), **options):
    one = ChangePointBuffer(ChangePoint.at(BoundaryStep(step, 1, mixed=mixed), "boundary_1_to_2"), **options)
    one.begin(history, evaluations)
    return one


def steps(first, last, loss):
    return [window(step, step, loss) for step in range(first, last + 1)]


def test_means_are_over_thirty_steps_on_each_side_of_the_mixed_step():
    one = watch(100, steps(1, 69, 9.0) + steps(70, 99, 5.0), mixed=True)
    for each in [window(100, 100, 100.0), *steps(101, 130, 2.0), *steps(131, 160, 1.0)]:
        assert not one.is_known
        one.take(each)
    assert one.is_known
    assert (one.mean_before, one.mean_after) == (5.0, 2.0)


def test_three_hundred_steps_on_each_side_are_kept_and_sixty_give_a_first_verdict():
    one = watch(1000, steps(1, 999, 9.0))
    for each in steps(1000, 1058, 2.0):
        one.take(each)
    assert not one.is_known
    one.take(window(1059, 1059, 2.0))
    assert (one.is_known, one.is_complete) == (True, False)
    for each in steps(1060, 2000, 2.0):
        one.take(each)
    assert one.is_complete
    sides = [(each[0].first_step, each[-1].last_step) for each in (one.before, one.after)]
    assert sides == [(700, 999), (1000, 1299)]


def test_a_side_has_sixty_windows_where_they_are_long_and_twelve_give_a_first_verdict():
    one = watch(5001, [window(at + 1, at + 50, 4.0) for at in range(0, 5000, 50)])
    for number, at in enumerate(range(5000, 9000, 50), start=1):
        one.take(window(at + 1, at + 50, 2.0))
        assert one.is_known == (number >= 12)
        assert one.is_complete == (number >= 60)
    assert len(one.before) == len(one.after) == 60
    assert (one.mean_before, one.mean_after) == (4.0, 2.0)  # of the window next to the cut


def test_an_evaluation_after_the_boundary_step_itself_shows_neither_side():
    one = watch(100, steps(1, 99, 9.0), mixed=True)
    for step in (99, 100, 101, 102):
        one.evaluate(step, 1.0)
    assert [step for step, _ in one.evaluations] == [99, 102]


def test_a_run_that_is_evaluated_waits_for_its_intervals():
    one = watch(1000, steps(1, 999, 9.0), evaluations=[(900, 1.0)])
    for each in steps(1000, 1400, 2.0):
        one.take(each)
    for at in range(1000, 1600, 100):
        assert not one.is_complete
        one.take_interval(Interval(at + 1, at + 100, 2.0, 3.0, 3.0))
    assert one.is_complete


def test_neither_side_reaches_across_another_cut():
    one = watch(100, steps(1, 99, 9.0), since=90)
    assert one.before[0].first_step == 90
    one.take(window(100, 100, 1.0))
    one.ended = True
    one.take(window(101, 101, 1.0))
    one.evaluate(101, 1.0)
    assert one.is_known
    assert (len(one.after), one.evaluations) == (1, [])


def test_nothing_is_known_of_a_side_without_windows():
    one = watch(1, [])
    assert (one.mean_before, one.mean_after) == (None, None)


@pytest.mark.parametrize(("after", "known"), [(3, False), (4, True)])
def test_evaluations_count_with_four_on_each_side(after, known):
    one = watch(100, steps(1, 99, 9.0), evaluations=[(60, 1.0), (70, 1.0), (80, 1.0), (90, 1.0)])
    for at in range(after):
        one.evaluate(101 + at, 1.0)
    assert one.is_evaluated == known
