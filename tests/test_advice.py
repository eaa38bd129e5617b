"""What to do now, under each verdict."""

from typing import get_args

import pytest

from paddle_epoch_guard.statistics.judging import Reason, VerdictKind
from paddle_epoch_guard.views.verdict_texts import REASONS, Situation, advice, advice_ahead

REASONS_OF = {
    "artefact": ("evaluation_flat", "evaluation_shares_little", "no_evaluation"),
    "mixed": ("evaluation_shares_part",),
    "improvement": ("evaluation_confirms", "evaluation_shares_most"),
    "unexplained": ("evaluation_rises", "exposure_unknown", "exposure_flat", "exposure_opposes"),
    "undecided": (
        "jump_possible", "among_many", "host_changes", "evaluation_uncertain", "evaluation_overlaps",
        "evaluation_unchecked",
    ),
    "none": ("no_jump",),
    "unknown": ("too_few_steps",),
}  # fmt: skip


def told(verdict, reason="no_evaluation", **values):
    return " ".join(advice(Situation(1490, verdict, reason, **values)))


def test_every_verdict_and_reason_is_known():
    assert set(REASONS_OF) == set(get_args(VerdictKind))
    assert {reason for reasons in REASONS_OF.values() for reason in reasons} == set(get_args(Reason)) == set(REASONS)


@pytest.mark.parametrize(
    ("verdict", "reason"), [(verdict, reason) for verdict, reasons in REASONS_OF.items() for reason in reasons]
)
def test_every_verdict_has_advice_in_whole_sentences(verdict, reason):
    for sentence in advice(Situation(1490, verdict, reason)):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "{" not in sentence
        assert "None" not in sentence


def test_an_artefact_is_kept_compared_fairly_and_avoided_next_time():
    said = told("artefact", "evaluation_flat", together=(1882, 1979))
    assert said.startswith("Keep the run, and do not count the fall as progress")
    assert "from before and after step 1,490" in said
    assert "paddle-epoch-guard compare" in said
    assert "resume with --epoch_guard unified from a checkpoint that was saved before step 1,490" in said
    assert "between 1,882 and 1,979 steps" in said
    assert "--epoch_guard_evaluate" in told("artefact", "no_evaluation")
    assert "--epoch_guard_evaluate" not in said


def test_a_unified_order_is_not_left_and_an_unknown_one_not_changed():
    assert told("artefact", is_boundary=False).startswith("Keep the unified order")
    for values in ({"is_boundary": False}, {"can_unify": False}):
        assert "--epoch_guard unified" not in told("artefact", **values)
    assert "rises because of the data" in told("artefact", rises=True)


def test_of_a_mixed_jump_only_the_shared_part_is_progress():
    assert "shares: -0.120 nats per token." in told("mixed", "evaluation_shares_part", shared=-0.12)
    assert "only what the evaluation loss shares." in told("mixed", "evaluation_shares_part")


def test_a_boundary_ahead_can_still_be_avoided():
    said = " ".join(advice_ahead(1490))
    assert "fall at step 1,490" in said
    assert "resume with --epoch_guard unified from a checkpoint that was saved before step 1,490" in said


def test_what_is_not_settled_is_said_to_be_so():
    assert told("artefact", is_final=False).endswith("later steps may change it.")
    assert "provisional" not in told("unknown", "too_few_steps", is_final=False)
    assert told(None, None) == "Wait: the first verdict needs 60 steps and 12 log windows after step 1,490."
