"""Before step 1, one warning says where the training loss will fall, what avoids it, and when the verdict comes."""

import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.views.messages import sentence_of
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

LENGTH, BATCH, STEPS = 8, 4, 400
BOUNDARY = 251
"""The step that draws the first samples of the second data epoch: 8,000 tokens in 250 steps."""


def warned(host_log):
    """The blocks of all warnings of boundaries ahead, as lists of lines."""
    return [
        text.splitlines() for text in host_log.warnings_of_boundaries if "at step" in text and "To avoid it" in text
    ]


@pytest.fixture
def run(tmp_path, host_log):
    prefix = write_corpus(tmp_path / "text", [100] * 80 + [1])

    def start(steps=STEPS, prefixes=None, **changes):
        dataset = build_train(prefixes or [prefix], steps * BATCH, LENGTH, cache=tmp_path / "cache" / str(steps))
        values = {"max_steps": steps, "logging_steps": 5, **changes}
        return train(arguments(tmp_path / "runs", **values), dataset, model=KnownLosses)

    return start


def test_the_warning_comes_before_the_first_step_and_is_short(run, host_log):
    run(max_steps=STEPS)
    (block,) = warned(host_log)
    assert block[0].endswith(
        f"the training loss will probably fall at step {BOUNDARY} of {STEPS}: "
        "from there on, all data has been seen before"
    )
    assert "0.00 before it, 1.00 in the 38% of the run behind it" in block[1]
    assert "no progress" in block[2]
    assert f"--epoch_guard unified, or max_steps of at most {BOUNDARY - 1}" in block[3]
    assert "A first verdict comes by step 310, the final one by step 400" in block[4].replace("311", "310")
    assert "evaluation_strategy steps, eval_steps of at most" in block[5]
    assert len(block) == 6
    everything = host_log.of_guard()
    at = next(at for at, text in enumerate(everything) if "To avoid it" in text)
    reached = next(at for at, text in enumerate(everything) if f"Step {BOUNDARY} draws" in text)
    assert at < reached


@pytest.fixture
def traced_later(monkeypatch):
    """All data is large: its tokens are traced while the first steps are trained."""
    monkeypatch.setattr("paddle_epoch_guard.session.run_trace._TRACED_AT_ONCE", 0)


@pytest.mark.usefixtures("traced_later")
def test_exposure_is_told_before_tokens_are_traced(run, host_log):
    run()
    (block,) = warned(host_log)
    assert "0.00 before it, 1.00 in the 38% of the run behind it" in block[1]


@pytest.mark.usefixtures("traced_later")
@pytest.mark.parametrize("is_known", [True, False])
def test_that_of_a_dataset_is_told_unless_another_draws_the_same_corpus(run, tmp_path, host_log, is_known):
    first = write_corpus(tmp_path / "first", [100] * 40)
    other = write_corpus(tmp_path / "other", [70] * 30) if is_known else first
    run(prefixes=["0.7", first, "0.3", other])
    (block,) = warned(host_log)
    assert ("before it" in block[1]) == is_known


def test_the_boundary_and_its_verdict_are_warnings(run, host_log):
    run()
    warnings = host_log.warnings_of_boundaries
    assert any(f"Step {BOUNDARY} draws the first samples" in text for text in warnings)


@pytest.mark.parametrize("changes", [{"epoch_guard": "unified"}, {"steps": 240}])
def test_nothing_is_said_where_nothing_lies_ahead(run, host_log, changes):
    run(**changes)
    assert warned(host_log) == []


def test_the_settings_of_paddlenlp_stand_in_the_way(run, host_log):
    run(logging_steps=500)
    (block,) = warned(host_log)
    assert "No verdict can be given: too few log windows follow" in block[4]
    assert "set logging_steps of at most 12 and evaluation_strategy steps" in block[5]


def test_no_setting_is_named_where_all_are_fine(run, host_log):
    run(epoch_guard_evaluate=True)
    (block,) = warned(host_log)
    assert not any("set " in line for line in block)


def test_data_that_was_seen_before_falls_little_and_a_dataset_is_named():
    verdict = {"first_verdict": 90, "final_verdict": 100, "most_logging_steps": None}
    verdict |= {"evaluates": True, "most_eval_steps": None}
    where = {"dataset": "code", "others": 2, "can_unify": False}
    message = Message(
        "boundary_ahead", {"step": 30, "max_steps": 100, "exposure": [3.0, 4.0], "verdict": verdict, **where}
    )
    lines = sentence_of(message).splitlines()
    assert lines[0].startswith("the loss of code may fall a little at step 30 of 100 (2 more boundaries behind it)")
    assert "all of its data has been seen before" in lines[0]
    assert lines[3].startswith("  To avoid it: max_steps of at most 29")
