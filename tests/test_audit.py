from dataclasses import replace

import pytest

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.resume import (
    BlendRecord,
    CurrentSetup,
    DatasetRecord,
    IndexRecord,
    Sidecar,
    audit,
    extend_indices,
    first_guarded_position,
    needed_positions,
    refuse,
)
from paddle_epoch_guard.views.audit_table import table_of

RECORD = DatasetRecord("train", 8, "100,0,0", 809, "c0", (IndexRecord(128, 1, "d0"),))
PIECE = Segment(11, 40, 4, 1, 1, stop=202)
THEN = Sidecar(1, "run", "part", 10, 40, 128, 32, (), Schedule((replace(PIECE, first_step=1, start=0),)), (RECORD,))
NOW = CurrentSetup((RECORD,), None, PIECE, 32, unified=False, starts_anew=False)


def found(then=THEN, now=NOW, **changes):
    return {one.what: one for one in audit(then, replace(now, **changes))}


def test_nothing_differs():
    assert found() == {}
    refuse(10, ())


@pytest.mark.parametrize(
    ("changes", "what", "action"),
    [
        ({"segment": replace(PIECE, micro_batch=8)}, "batch size per device", "repair"),
        ({"segment": replace(PIECE, accumulation=2)}, "gradient accumulation steps", "repair"),
        ({"segment": replace(PIECE, world_size=2)}, "data-parallel world size", "repair"),
        ({"segment": replace(PIECE, start=80)}, "start of the sampler", "repair"),
        ({"max_steps": 40}, "max_steps", "repair"),
        ({"max_steps": 20}, "max_steps", "repair"),
        ({"starts_anew": True}, "start of the data", "warn"),
        ({"blend": BlendRecord("[0.5 0.5]", 128, "b0")}, "blend", "refuse"),
        ({"datasets": (RECORD, RECORD)}, "datasets", "refuse"),
        ({"datasets": (replace(RECORD, split="90,10,0"),)}, "split", "refuse"),
        ({"datasets": (replace(RECORD, seq_length=9),)}, "sequence length", "refuse"),
        ({"datasets": (replace(RECORD, name="valid"),)}, "dataset name", "refuse"),
        ({"datasets": (replace(RECORD, tokens_per_epoch=810),)}, "tokens of the corpus", "refuse"),
        ({"datasets": (replace(RECORD, corpus_digest="c1"),)}, "document sizes", "refuse"),
        ({"datasets": (replace(RECORD, indices=(IndexRecord(128, 2, "d0"),)),)}, "seed", "refuse"),
        ({"datasets": (replace(RECORD, indices=(IndexRecord(128, 1, "d1"),)),)}, "order of the index", "refuse"),
        ({"datasets": (replace(RECORD, indices=(IndexRecord(160, 1, "d1"),)),)}, "samples asked for", "repair"),
    ],
)
def test_each_difference_has_its_action(changes, what, action):
    differences = found(**changes)
    assert list(differences) == [what]
    assert differences[what].action == action
    if action == "refuse":
        with pytest.raises(ResumeMismatchError, match=f"{what} was .*, is .*warn goes on all the same"):
            refuse(10, tuple(differences.values()))
    else:
        refuse(10, tuple(differences.values()))


def test_a_position_at_which_the_sampler_cannot_start_is_refused_with_the_world_sizes_that_fit():
    differences = found(segment=replace(PIECE, world_size=3))
    assert differences["world size at this position"].action == "refuse"
    assert differences["world size at this position"].why.endswith("position 40 fits 1, 2, 4, 5")


def test_leaving_a_unified_order_is_warned_of():
    then = replace(THEN, reorders=(Reorder(0, 128, "uniform", (7, 1, 0)),))
    assert found(then)["unified"].action == "warn"
    assert found(then, unified=True) == {}


def test_the_table_has_a_row_for_each_difference():
    text = table_of(10, audit(THEN, replace(NOW, max_steps=40, segment=replace(PIECE, micro_batch=8))))
    assert "resuming at step 10, what differs" in text
    for word in ("batch size per device", "max_steps", "32", "40", "repair", "extended"):
        assert word in text


def test_positions_needed_are_those_drawn_and_the_steps_that_are_left():
    assert needed_positions(40, 10, 32, replace(PIECE, micro_batch=8)) == 40 + 22 * 8
    assert needed_positions(40, 10, 5, PIECE) == 44


def test_parts_are_kept_drawn_to_their_end_and_followed_by_whole_epochs():
    assert extend_indices(RECORD, 202) == RECORD.indices
    once = extend_indices(RECORD, 203)
    assert once[0] == RECORD.indices[0]
    assert [part.samples_requested for part in once] == [128, 101]
    twice = extend_indices(replace(RECORD, indices=once), 500)
    assert twice[:2] == once
    assert [part.samples_requested for part in twice[2:]] == [101, 101]
    assert len({part.seed for part in twice}) == 4


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, r"own record of the checkpoint was not found. Name the checkpoint: .*--epoch_guard_position N"),
        ({"consumed_samples": 40, "max_steps": 32}, "samples consumed then: 40, now: 80.*--epoch_guard_position 40"),
        ({"consumed_samples": 80, "max_steps": 16}, "max_steps then: 16, now: 32"),
        ({}, "samples consumed then: None"),
    ],
)
def test_the_first_guarded_resume_does_not_guess(record, message):
    with pytest.raises(ResumeMismatchError, match=message):
        first_guarded_position(10, 32, 80, None, record)
    assert first_guarded_position(10, 32, 80, 40, record) == 40


def test_the_first_guarded_resume_takes_what_the_trainer_recorded():
    assert first_guarded_position(10, 32, 40, None, {"consumed_samples": 40, "max_steps": 32}) == 40
