import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import ChangePoint
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.families import holm
from paddle_epoch_guard.statistics.verdicts import ChangeReport, among_all


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], []),
        ([0.04], [True]),
        ([0.05], [False]),
        ([0.01, 0.04], [True, True]),
        ([0.03, 0.04], [False, False]),
        ([0.04, 0.011, 0.02], [True, True, True]),
        ([0.04, 0.02, 0.02], [False, False, False]),
        ([1e-9, 0.5, 0.012], [True, False, True]),
    ],
)
def test_holm(p_values, rejected):
    assert holm(p_values, 0.05).tolist() == rejected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_what_is_rejected_has_the_smaller_p_values_and_would_be_rejected_alone(p_values):
    rejected = holm(p_values, 0.05)
    p = np.array(p_values)
    assert (p[rejected] < 0.05).all()
    assert (p < 0.05 / len(p))[~rejected].sum() == 0  # Bonferroni rejects no more
    if rejected.any() and not rejected.all():
        assert p[rejected].max() <= p[~rejected].min()


def test_a_false_rejection_among_a_hundred_is_rare():
    p = np.random.default_rng(0).random((2000, 100))
    assert np.mean([holm(each, 0.05).any() for each in p]) < 0.07


def report(step: int, p: float | None, verdict: str = "artefact") -> ChangeReport:
    jump = Jump(-0.5, 0.1, True, p=p)
    return ChangeReport(
        ChangePoint(f"b{step}", step, step - 1, step), verdict, "no_evaluation", jump, found_by=("gap",)
    )


def test_jumps_that_chance_shows_among_so_many_are_undecided():
    reports = [report(100, 1e-6), report(200, 0.03), report(300, 0.04), report(400, None)]
    decided = among_all(reports)
    assert [each.verdict for each in decided] == ["artefact", "undecided", "undecided", "artefact"]
    assert [each.reason for each in decided[1:3]] == ["among_many"] * 2
    assert among_all(reports[1:2]) == reports[1:2]
