"""Verdicts as sentences: what releases before the record wrote is read back as numbers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import BoundaryStep
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.resume.legacy_verdicts import change_of, is_verdict, report_of
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.verdicts import ChangeReport

OLD_REASONS = {
    "too_few_steps": "too few steps",
    "no_jump": "no jump beyond trend and noise",
    "evaluation_confirms": "confirmed by evaluation",
    "evaluation_rises": "evaluation rises too: the model got worse",
    "exposure_unknown": "exposure is not known",
    "exposure_flat": "exposure does not jump: learning-rate schedule, or another change",
    "exposure_opposes": "what was seen more often is not known better: another change",
    "no_evaluation": "not confirmed by evaluation",
    "evaluation_uncertain": "not confirmed by evaluation, which is too uncertain to tell",
    "evaluation_flat": "evaluation does not jump with it",
}
"""As they were written up to sidecar version 2. Never change them: logs hold them."""


def old_sentence(report, crossing=None, dataset=None):
    """The sentence as it was written up to sidecar version 2. Never change it: logs hold it."""

    def said(jump):
        bound = f"{jump.value:+.4f}, standard error {jump.error:.4f}"
        return f"jumps by {bound}" if jump.significant else f"does not jump ({bound})"

    def about(exposure):
        error = f" \u00b1 {exposure.error:.2f}" if exposure.error >= 0.005 else ""
        return f"{exposure.mean:.2f}{error}"

    where = "step 7"
    if crossing is not None:
        of = "" if dataset is None else f" of {dataset}"
        where = f"the start of data epoch {crossing.to_epoch}{of} ({where})"
    parts = []
    if report.training is not None:
        parts.append(f"training loss {said(report.training)}")
    if report.mean_before is not None and report.mean_after is not None:
        parts.append(
            f"means over up to 30 steps: {report.mean_before:.4f} before, {report.mean_after:.4f} after, "
            "ordinary learning included"
        )
    if report.exposure_before is not None and report.exposure_after is not None:
        parts.append(f"exposure {about(report.exposure_before)} before and {about(report.exposure_after)} after")
    if report.evaluation is not None:
        parts.append(f"evaluation loss {said(report.evaluation)}")
    known = "; ".join(parts) or "nothing is known"
    return f"Verdict at {where}: {report.verdict} ({OLD_REASONS[report.reason]}). {known[0].upper()}{known[1:]}."


CHANGE = change_of("boundary_1_to_2", 7)
jumps = st.none() | st.builds(
    Jump, st.floats(-99, 99), st.floats(0, 99), st.booleans(), st.just(1.0), st.just(9), st.just(9)
)
estimates = st.tuples(st.floats(0, 50), st.floats(0, 50)) | st.none()


@given(
    jumps,
    jumps,
    estimates,
    estimates,
    st.sampled_from(["artefact", "improvement", "unexplained", "none", "unknown"]),
    st.sampled_from(sorted(OLD_REASONS)),
    st.sampled_from([None, "text", "a): none (step 5", "1. Training loss jumps by 5, standard error 2"]),
    st.sampled_from([0.0, 0.004, 0.005, 0.03, 1.5]),
)
def test_a_verdict_is_read_as_it_was_told(training, evaluation, means, exposures, verdict, reason, dataset, error):
    told = [None, None] if exposures is None else [Estimate(one, error, 9) for one in exposures]
    report = ChangeReport(CHANGE, verdict, reason, training, evaluation, *told, *(means or (None, None)))
    crossing = None if dataset is None else BoundaryStep(7, 1, 0, 28)
    sentence = old_sentence(report, crossing, dataset)
    assert is_verdict(sentence)
    cut = report_of(sentence, CHANGE)
    assert (cut.verdict, cut.reason) == (verdict, reason)
    assert cut.means == (None if means is None else pytest.approx(means, abs=1e-4))
    assert cut.exposures == (None if exposures is None else pytest.approx(exposures, abs=1e-2))
    for read, one in ((cut.training, training), (cut.evaluation, evaluation)):
        assert (read is None) == (one is None)
        if one is not None:
            assert (read.value, read.error) == pytest.approx((one.value, one.error), abs=1e-4)
            assert read.significant == one.significant


@pytest.mark.parametrize("crossing", [None, BoundaryStep(7, 1, 0, 28)], ids=["reorder", "boundary"])
@pytest.mark.parametrize(
    "known", itertools.product([False, True], repeat=6), ids=lambda known: "".join(map(str, map(int, known)))
)
def test_every_part_of_a_verdict_may_be_missing_and_any_may_come_first(known, crossing):
    every = (
        Jump(-1.25, 0.1, True, 1.0, 9, 9), Jump(0.5, 0.25, False, 1.0, 9, 9),
        Estimate(0.98, 0.03, 9), Estimate(2.0, 0.001, 9), 4.5, 3.25,
    )  # fmt: skip
    given_values = (value if known[at] else None for at, value in enumerate(every))
    report = ChangeReport(CHANGE, "artefact", "no_evaluation", *given_values)
    cut = report_of(old_sentence(report, crossing), CHANGE)
    assert (cut.verdict, cut.reason) == ("artefact", "no_evaluation")
    assert cut.training == (Jump(-1.25, 0.1, True) if known[0] else None)
    assert cut.evaluation == (Jump(0.5, 0.25, False) if known[1] else None)
    assert cut.exposures == ((0.98, 2.0) if known[2] and known[3] else None)
    assert cut.means == ((4.5, 3.25) if known[4] and known[5] else None)
