"""What becomes of a run, decided on made values: no Trainer, no file."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import ArgumentsError, ResumeMismatchError
from paddle_epoch_guard.index import EpochSampling, SamplerOrder
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.reading import (
    EpochReading,
    NoDataReading,
    NoIndexReading,
    PretrainingReading,
    UnknownReading,
)
from paddle_epoch_guard.resume import DatasetRecord, IndexRecord, Sidecar, UnifyOptions
from paddle_epoch_guard.session.observe import Observed, Request
from paddle_epoch_guard.session.reconcile import reconcile
from paddle_epoch_guard.session.unguarded import SavedPart, Unguarded

RECORD = DatasetRecord("train", 8, "100,0,0", 809, "c0", (IndexRecord(128, 1, "d0"),))
FIRST = Segment(1, 0, 4, 1, 1, stop=202)
AHEAD = replace(FIRST, first_step=11, start=40)
SIDECAR = Sidecar(3, "run", "part", 10, 40, 128, 32, (), Schedule((FIRST,)), (RECORD,))
REQUEST = Request(UnifyOptions(False), True, None, step=10, max_steps=32, ignores_data_skip=False)
PLAIN = {"consumed_samples": 40, "max_steps": 32}
SAVED = Unguarded(saved=(SavedPart(10, 40, 32, seed=0, ignored_data_skip=False),))
INDEX = SimpleNamespace(names=("text",))


def observed(reading=PretrainingReading(AHEAD), live=(RECORD,), index=INDEX):  # noqa: B008
    loader = host.Loader(None, "a.Sampler", reading, 1, steps_per_epoch=50, passed_over=0, reads_once=False)
    return Observed(loader, index, live)


def test_a_fresh_start_draws_from_position_0():
    start = replace(REQUEST, step=0)
    resolution = reconcile(start, observed(PretrainingReading(FIRST)), None, None)
    assert (resolution.ahead, resolution.planned) == (FIRST, 128)
    assert resolution.schedule == Schedule((FIRST,))
    assert (resolution.findings, resolution.sidecar) == ((), None)


def test_a_resume_that_differs_in_nothing_goes_on():
    resolution = reconcile(REQUEST, observed(), SIDECAR, None)
    assert (resolution.ahead.start, resolution.findings, resolution.sidecar) == (40, (), SIDECAR)
    assert resolution.schedule == Schedule((FIRST,))


def test_another_batch_cuts_the_same_order_anew():
    reading = PretrainingReading(replace(AHEAD, micro_batch=8, start=80))
    resolution = reconcile(REQUEST, observed(reading), SIDECAR, None)
    assert resolution.ahead.start == 40
    assert [finding.code for finding in resolution.findings] == ["micro_batch", "sampler_start"]
    assert resolution.schedule.position_after(11) == 48
    assert resolution.planned == 40 + 22 * 8


@pytest.mark.parametrize(
    ("max_steps", "code", "planned"), [(40, "max_steps_longer", 160), (20, "max_steps_shorter", 80)]
)
def test_another_number_of_steps_is_told_by_where_the_plan_ends(max_steps, code, planned):
    resolution = reconcile(replace(REQUEST, max_steps=max_steps), observed(), SIDECAR, None)
    (finding,) = resolution.findings
    assert (finding.code, resolution.planned) == (code, planned)
    assert f"position {planned} instead of 128" in finding.why


def test_a_doubled_batch_with_half_the_steps_ends_at_the_same_position():
    reading = PretrainingReading(replace(AHEAD, micro_batch=8, start=80))
    resolution = reconcile(replace(REQUEST, max_steps=21), observed(reading), SIDECAR, None)
    told = {finding.code: finding.why for finding in resolution.findings}
    assert told["max_steps_same"] == "the plan ends at the same position, 128"


def test_another_corpus_is_refused_or_goes_on_as_the_user_asks():
    other = observed(live=(replace(RECORD, corpus_digest="c1"),))
    with pytest.raises(ResumeMismatchError, match="document sizes was c0, is c1"):
        reconcile(REQUEST, other, SIDECAR, None)
    resolution = reconcile(replace(REQUEST, is_strict=False), other, SIDECAR, None)
    assert (resolution.sidecar, resolution.ahead, len(resolution.mismatches)) == (None, AHEAD, 1)
    assert resolution.schedule.segments[0].first_step == 11  # what came before was another order


def test_ignoring_what_was_drawn_begins_at_position_0_again():
    request = replace(REQUEST, ignores_data_skip=True)
    resolution = reconcile(request, observed(PretrainingReading(replace(AHEAD, start=0))), SIDECAR, None)
    assert (resolution.ahead.start, resolution.findings[0].code) == (0, "starts_anew")


def test_a_world_size_that_does_not_fit_is_refused():
    with pytest.raises(ResumeMismatchError, match="position 40 fits 1, 2, 4, 5"):
        reconcile(REQUEST, observed(PretrainingReading(replace(AHEAD, world_size=3))), SIDECAR, None)


def test_the_first_guarded_resume_knows_what_was_drawn_before():
    resolution = reconcile(REQUEST, observed(), None, PLAIN, SAVED)
    assert resolution.schedule == Schedule((FIRST,))
    assert (resolution.earlier, resolution.why_unknown) == ((), None)
    with pytest.raises(ResumeMismatchError, match="in doubt whether the order goes on"):
        reconcile(REQUEST, observed(), None, None)


@pytest.mark.parametrize(
    ("unguarded", "why"),
    [
        (Unguarded(), "no_arguments"),
        (replace(SAVED, saved=(replace(SAVED.saved[0], seed=None),)), "no_arguments"),
        (replace(SAVED, saved=(replace(SAVED.saved[0], seed=7),)), "other_arguments"),
        (replace(SAVED, saved=(replace(SAVED.saved[0], ignored_data_skip=True),)), "other_arguments"),
        (replace(SAVED, saved=(SavedPart(5, 40, 32, 0, (), False), *SAVED.saved)), "other_arguments"),
        (replace(SAVED, saved=(SavedPart(5, 20, 32, 0, ((2, 3),), False), *SAVED.saved)), "other_arguments"),
        (replace(SAVED, other_index="an.dsc"), "other_index"),
    ],
)
def test_where_steps_without_the_guard_may_have_drawn_otherwise_they_are_not_known(unguarded, why):
    resolution = reconcile(REQUEST, observed(), None, PLAIN, unguarded)
    assert resolution.why_unknown.parameters["why"] == why
    assert resolution.schedule.segments[0].first_step == 11


def test_the_steps_that_the_guard_saw_and_those_since_are_one_schedule_where_they_are_of_one_order():
    guarded = SIDECAR.at_step(6)
    resolution = reconcile(REQUEST, observed(), None, PLAIN, replace(SAVED, after=6, guarded=guarded))
    assert (resolution.schedule, resolution.earlier) == (Schedule((FIRST,)), ())
    other = replace(RECORD, indices=(IndexRecord(100, 1, "d1"),))
    guarded = replace(guarded, datasets=(other,))
    resolution = reconcile(REQUEST, observed(), None, PLAIN, replace(SAVED, after=6, guarded=guarded))
    assert [(steps.first_step, steps.last_step, steps.datasets) for steps in resolution.earlier] == [
        (1, 6, (other,)),
        (7, 10, (RECORD,)),
    ]
    assert resolution.earlier[1].schedule.segments[0].start == 24


def test_the_seed_of_the_data_is_compared_where_it_is_the_trainers():
    of_seed_0 = replace(RECORD, indices=(IndexRecord(128, 0, "d0"),))
    other = replace(SAVED, saved=(replace(SAVED.saved[0], seed=7),))
    with pytest.raises(ResumeMismatchError, match="seed then: 7, now: 0"):
        reconcile(REQUEST, observed(live=(of_seed_0,)), None, PLAIN, other)


def test_a_stated_position_that_the_steps_do_not_lead_to_says_nothing_of_what_was_drawn():
    resolution = reconcile(replace(REQUEST, stated_position=20), observed(), None, None)
    assert (resolution.ahead.start, resolution.schedule.segments[0].first_step) == (20, 11)


def test_what_was_skipped_is_the_checkpoints_and_what_will_be_the_arguments():
    sidecar = replace(SIDECAR, schedule=replace(SIDECAR.schedule, skipped=((3, 5), (9, 14))))
    resolution = reconcile(replace(REQUEST, skipped=((2, 2), (20, 21))), observed(), sidecar, None)
    assert resolution.schedule.skipped == ((3, 5), (9, 10), (20, 21))
    assert [finding.code for finding in resolution.findings] == ["skipped_steps"]


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (UnknownReading(4, "a reason"), r"is not supported \(a reason\)"),
        (NoIndexReading(4), "has no sample index"),
        (NoDataReading(4), None),
    ],
)
def test_without_positions_nothing_is_decided_and_no_record_is_left_behind(reading, why):
    index = INDEX if isinstance(reading, UnknownReading) else None
    assert reconcile(REQUEST, observed(reading, (), index), None, PLAIN) is None
    if why is None:
        assert reconcile(REQUEST, observed(reading, (), index), SIDECAR, None) is None
        return
    with pytest.raises(ResumeMismatchError, match=why):
        reconcile(REQUEST, observed(reading, (), index), SIDECAR, None)
    with pytest.raises(ArgumentsError, match=f"unified cannot be: .*{why}"):
        reconcile(replace(REQUEST, unify=UnifyOptions(True)), observed(reading, (), index), None, PLAIN)


def epoch_reading(epoch=0, entry=0, **changes):
    sampling = EpochSampling.padded(100, 1, True)
    start = epoch * 100
    ahead = Segment(epoch * 25 + entry // 4 + 1, start + entry, 4, 1, 1, start + 100, is_sampler_epoch=True)
    return EpochReading(replace(ahead, **changes), SamplerOrder(sampling), 3)


def test_sampler_epochs_are_laid_out_to_the_end():
    resolution = reconcile(replace(REQUEST, step=0, max_steps=60), observed(epoch_reading()), None, None)
    assert [(segment.first_step, segment.start) for segment in resolution.schedule.segments] == [
        (1, 0), (26, 100), (51, 200),
    ]  # fmt: skip
    assert resolution.planned == 240


def test_a_resume_within_sampler_epochs_without_a_sidecar_knows_the_earlier_ones():
    request = replace(REQUEST, step=30, max_steps=60)
    record = {"consumed_samples": 120, "max_steps": 60}
    saved = Unguarded(saved=(SavedPart(30, 120, 60, seed=0, ignored_data_skip=False),))
    resolution = reconcile(request, observed(epoch_reading(1, 20)), None, record, saved)
    assert [(segment.first_step, segment.start) for segment in resolution.schedule.segments] == [
        (1, 0), (26, 100), (51, 200),
    ]  # fmt: skip


def test_a_sampler_of_another_kind_is_refused():
    with pytest.raises(ResumeMismatchError, match=r"kind of sampler was pretraining, is paddle\.io"):
        reconcile(REQUEST, observed(epoch_reading(0, 40)), SIDECAR, None)


def test_a_unified_order_cannot_go_on_under_a_sampler_that_shuffles():
    begun = replace(SIDECAR, reorders=(Reorder(0, 128, "uniform", (7, 1, 0)),))
    with pytest.raises(ArgumentsError, match=r"cannot be continued: .*shuffles the whole index"):
        reconcile(REQUEST, observed(epoch_reading(0, 40)), begun, None)
