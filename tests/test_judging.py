import pytest

from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.host_changes import HostChange
from paddle_epoch_guard.statistics.judging import Evidence, judge


def a_jump(value: float, significant: bool = True, error: float = 0.01) -> Jump:
    return Jump(
        value, error, significant, 24.0, 24, 24, value - 2 * error, value + 2 * error, 0.001 if significant else 0.5,
        3.4 * error, 4.0,
    )  # fmt: skip


def evidence(training, evaluation=None, exposure=(0.0, 1.0), **rest) -> Evidence:
    before, after = (None if mean is None else Estimate(mean, 0.01, 200) for mean in exposure)
    return Evidence(training, evaluation=evaluation, exposure_before=before, exposure_after=after, **rest)


FALL, RISE, NO_JUMP = a_jump(-0.6), a_jump(0.6), a_jump(-0.01, significant=False)
GAP, NO_GAP = a_jump(-0.6, error=0.02), a_jump(0.0, significant=False, error=0.02)
RATE = (HostChange("learning_rate", 100, 3e-4, 1e-4),)


@pytest.mark.parametrize(
    ("training", "evaluation", "exposure", "verdict", "reason"),
    [
        (None, FALL, (0.0, 1.0), "unknown", "too_few_steps"),
        (NO_JUMP, FALL, (0.0, 1.0), "none", "no_jump"),
        (a_jump(-0.01, False, error=0.02), None, (0.0, 1.0), "undecided", "jump_possible"),  # 1 % of 4 is possible
        (a_jump(-0.01, False, error=0.01), None, (0.0, 1.0), "none", "no_jump"),
        (FALL, a_jump(-0.59), (0.0, 1.0), "improvement", "evaluation_confirms"),
        (FALL, a_jump(-0.59), (None, None), "improvement", "evaluation_confirms"),
        (FALL, a_jump(-0.5), (0.0, 1.0), "improvement", "evaluation_shares_most"),
        (FALL, a_jump(-0.3), (0.0, 1.0), "mixed", "evaluation_shares_part"),
        (FALL, a_jump(-0.3), (0.0, 0.0), "unexplained", "exposure_flat"),
        (RISE, a_jump(0.5), (0.0, 1.0), "unexplained", "evaluation_rises"),
        (FALL, a_jump(-0.19), (0.0, 1.0), "artefact", "evaluation_shares_little"),
        (FALL, RISE, (0.0, 1.0), "artefact", "evaluation_flat"),
        (FALL, NO_JUMP, (0.0, 1.0), "artefact", "evaluation_flat"),
        (FALL, a_jump(-0.1, False, error=0.2), (0.0, 1.0), "undecided", "evaluation_uncertain"),
        (FALL, a_jump(-0.5, True, error=0.2), (0.0, 1.0), "undecided", "evaluation_uncertain"),
        (FALL, None, (0.0, 1.0), "artefact", "no_evaluation"),
        (FALL, None, (0.0, 0.1), "artefact", "no_evaluation"),
        (FALL, None, (1.0, 0.95), "unexplained", "exposure_flat"),
        (FALL, NO_JUMP, (0.5, 0.55), "unexplained", "exposure_flat"),
        (RISE, None, (1.0, 0.0), "artefact", "no_evaluation"),
        (RISE, None, (0.0, 1.0), "unexplained", "exposure_opposes"),
        (FALL, NO_JUMP, (1.0, 0.0), "unexplained", "exposure_opposes"),
        (FALL, None, (None, 1.0), "unexplained", "exposure_unknown"),
        (FALL, None, (0.0, None), "unexplained", "exposure_unknown"),
        (FALL, NO_JUMP, (None, None), "unexplained", "exposure_unknown"),
    ],
)
def test_by_training_and_evaluation(training, evaluation, exposure, verdict, reason):
    judgement = judge(evidence(training, evaluation, exposure))
    assert (judgement.verdict, judgement.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("training", "gap", "evaluation", "verdict", "found_by"),
    [
        (NO_JUMP, GAP, None, "artefact", ("gap",)),  # a fall that builds up
        (None, GAP, None, "artefact", ("gap",)),
        (FALL, GAP, None, "artefact", ("discontinuity", "gap")),
        (FALL, NO_GAP, None, "improvement", ("discontinuity",)),
        (FALL, GAP, a_jump(-0.1, False, error=0.2), "artefact", ("discontinuity", "gap")),  # the gap knows better
        (NO_JUMP, a_jump(-0.3), a_jump(-0.3), "mixed", ("gap",)),
        (NO_JUMP, NO_GAP, None, "none", ()),
        (FALL, a_jump(-0.1, False, error=0.3), None, "undecided", ("discontinuity",)),
    ],
)
def test_by_the_gap(training, gap, evaluation, verdict, found_by):
    judgement = judge(evidence(training, evaluation, gap=gap))
    assert (judgement.verdict, judgement.found_by) == (verdict, found_by)


def test_both_parts_are_told():
    judgement = judge(evidence(a_jump(-3.0), a_jump(-1.0)))
    assert (judgement.shared.value, judgement.alone.value) == (-1.0, -2.0)
    assert judgement.alone.low == pytest.approx(-2.0 - 1.96 * 0.01 * 2**0.5)
    assert (judgement.verdict, judgement.reason) == ("artefact", "evaluation_shares_little")
    assert judge(evidence(a_jump(-3.0), a_jump(-1.2))).verdict == "mixed"


@pytest.mark.parametrize(("is_apart", "reason"), [(False, "evaluation_overlaps"), (None, "evaluation_unchecked")])
def test_evaluation_on_training_data_confirms_nothing(is_apart, reason):
    for shared in (-0.55, -0.3):
        judgement = judge(evidence(FALL, a_jump(shared), evaluation_is_apart=is_apart))
        assert (judgement.verdict, judgement.reason) == ("undecided", reason)
    # What even such an evaluation does not share, training makes alone.
    assert judge(evidence(FALL, NO_JUMP, evaluation_is_apart=is_apart)).verdict == "artefact"


def test_another_cause_at_the_boundary_is_not_booked_as_artefact():
    for evaluation in (None, NO_JUMP):
        judgement = judge(evidence(FALL, evaluation, host_changes=RATE))
        assert (judgement.verdict, judgement.reason) == ("undecided", "host_changes")
    assert judge(evidence(FALL, NO_JUMP, gap=GAP, host_changes=RATE)).verdict == "artefact"
    assert judge(evidence(FALL, a_jump(-0.6), host_changes=RATE)).verdict == "improvement"


def test_an_exposure_must_jump_beyond_its_error():
    before, after = Estimate(0.0, 0.1, 200), Estimate(0.2, 0.1, 200)
    unsure = Evidence(FALL, exposure_before=before, exposure_after=after)
    assert judge(unsure).reason == "exposure_flat"
