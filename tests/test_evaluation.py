"""The evaluation set of real runs: what is said of it, and what the verdicts are told."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from corpora import build_train, write_corpus
from hosts import build_train_valid_test_datasets, make_builder
from paddle_epoch_guard import EpochGuardCallback, host
from paddle_epoch_guard.index import overlap
from paddle_epoch_guard.session import evaluation as comparing
from paddle_epoch_guard.session.evaluation import evaluation_is_apart
from paddle_epoch_guard.views.messages import sentence_of
from pretraining import quiet
from training import arguments, train

pytestmark = pytest.mark.host

SIZES = [40 + 7 * number % 50 for number in range(60)]
LENGTH = 16
STEPS = 6
EVALUATES = {"evaluation_strategy": "steps", "eval_steps": 2}


class WatchedGuard(EpochGuardCallback):
    """A guard that tells what the judgement of change points was told before the first step."""

    apart = "not asked"

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self.apart = self.session.recorder.watch.evaluation_is_apart


def build(prefix, name="train", split="100,0,0", samples=STEPS * 4):
    """A dataset of the host's: of the training split, or of the held-out one."""
    if name == "train":
        return build_train([prefix], samples, LENGTH, split=split)
    with quiet():
        return build_train_valid_test_datasets([str(prefix)], "mmap", split, [samples, 8, 0], LENGTH, 1, True)[1]


def said_of(tmp_path, training, evaluation, **changes):
    """What the guard told the judgement, and its notes of the evaluation set."""
    guard = WatchedGuard()
    run = train(
        arguments(tmp_path, max_steps=STEPS, **{**EVALUATES, **changes}),
        training,
        callbacks=[guard],
        evaluation=evaluation,
    )
    assert run.steps == STEPS
    return guard.apart


def notes(host_log):
    return [line for line in host_log.of_guard() if "evaluation set" in line]


def write_documents(prefix, documents):
    prefix.parent.mkdir(parents=True, exist_ok=True)
    builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
    for document in documents:
        builder.add_item(document)
        builder.end_document()
    builder.finalize(f"{prefix}.idx")
    return str(prefix)


@pytest.fixture
def prefix(tmp_path):
    return write_corpus(tmp_path / "corpus" / "text", SIZES)


def test_a_held_out_split_is_apart_and_nothing_is_said(tmp_path, prefix, host_log):
    training, held_out = build(prefix, split="80,20,0"), build(prefix, "valid", "80,20,0")
    assert said_of(tmp_path, training, held_out) is True
    assert notes(host_log) == []
    assert host_log.warnings == []


def test_a_held_out_corpus_is_apart(tmp_path, prefix):
    other = write_corpus(tmp_path / "other" / "text", SIZES, first=30000)
    assert said_of(tmp_path, build(prefix), build(other)) is True


def test_the_training_data_itself_is_told(tmp_path, prefix, host_log):
    training = build(prefix)
    assert said_of(tmp_path, training, training) is False
    (note,) = notes(host_log)
    assert note in host_log.warnings
    assert "overlaps the training data: both draw from the same documents" in note


def test_the_training_corpus_as_evaluation_set_is_told(tmp_path, prefix, host_log):
    assert said_of(tmp_path, build(prefix), build(prefix, samples=8)) is False
    assert len(notes(host_log)) == 1


def test_overlapping_splits_are_told(tmp_path, prefix, host_log):
    training, held_out = build(prefix, split="80,20,0"), build(prefix, "valid", "60,40,0")
    assert said_of(tmp_path, training, held_out) is False
    assert "both draw from the same documents" in notes(host_log)[0]


def test_another_path_of_the_same_files_is_told(tmp_path, prefix, host_log):
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "corpus")
    assert said_of(tmp_path, build(prefix), build(linked / "text", samples=8)) is False
    assert "both draw from the same documents" in notes(host_log)[0]


def test_a_copy_of_the_corpus_is_told(tmp_path, prefix, host_log):
    copy = write_corpus(tmp_path / "copy" / "text", SIZES)
    assert said_of(tmp_path, build(prefix), build(copy)) is False
    assert "of 60 of its documents that were looked up, 60 are in the training data" in notes(host_log)[0]


def test_some_leaked_documents_are_told(tmp_path, prefix, host_log):
    training = build(prefix)
    leaked = [training.indexed_dataset.get(number)[0] for number in (3, 17, 29, 41, 59)]
    random = np.random.default_rng(1)
    own = [random.integers(0, 60000, size) for size in SIZES]
    other = write_documents(tmp_path / "other" / "text", [*own, *leaked])
    assert said_of(tmp_path, training, build(other)) is False
    assert "of 65 of its documents that were looked up, 5 are in the training data" in notes(host_log)[0]


def test_a_few_equal_documents_are_tolerated(tmp_path, prefix, host_log):
    training = build(prefix)
    random = np.random.default_rng(1)
    own = [random.integers(0, 60000, size) for size in SIZES]
    other = write_documents(tmp_path / "other" / "text", [*own, training.indexed_dataset.get(3)[0]])
    assert said_of(tmp_path, training, build(other)) is True
    assert notes(host_log) == []


def test_blends_are_compared(tmp_path, prefix, host_log):
    more = write_corpus(tmp_path / "corpus" / "more", SIZES, first=20000)
    other = write_corpus(tmp_path / "other" / "text", SIZES, first=40000)
    blend = build_train([0.5, prefix, 0.5, more], STEPS * 4, LENGTH)
    assert said_of(tmp_path, blend, build(other)) is True
    copy = write_corpus(tmp_path / "copy" / "text", SIZES, first=20000)
    assert said_of(tmp_path, blend, build_train([0.5, other, 0.5, copy], 16, LENGTH)) is False
    assert "of 120 of its documents that were looked up, 60 are" in notes(host_log)[0]


class Stream(paddle.io.IterableDataset):
    """Samples without a length."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


def test_evaluation_sets_of_other_kinds_are_unknown(tmp_path, prefix, host_log):
    training = build(prefix)
    samples = [training[position] for position in range(4)]
    for evaluation in (samples, paddle.io.Subset(training, [0, 1]), {"text": build(prefix, samples=8)}):
        host_log.records.clear()
        assert said_of(tmp_path, training, evaluation) is None
        (note,) = notes(host_log)
        assert note not in host_log.warnings
        assert "unknown: the two are not both sample indices" in note
    assert evaluation_is_apart(training, Stream(samples))[0] is None
    assert evaluation_is_apart(Stream(samples), training)[0] is None


def test_one_dataset_of_any_kind_as_both_is_told(tmp_path, prefix, host_log):
    training = build(prefix)
    samples = [training[position] for position in range(STEPS * 4)]
    assert said_of(tmp_path, samples, samples) is False
    assert len(notes(host_log)) == 1


def test_a_run_without_evaluation_says_nothing(tmp_path, prefix, host_log):
    training = build(prefix)
    assert said_of(tmp_path, training, None, evaluation_strategy="no") is None
    assert said_of(tmp_path, training, training, evaluation_strategy="no") is False
    assert notes(host_log) == []


class EvaluatesOnce(host.TrainerCallback):
    """A callback of the user's that asks for evaluations."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_evaluate = state.global_step >= 3


def test_a_run_that_evaluates_against_its_arguments_is_told_at_its_first_evaluation(tmp_path, prefix, host_log):
    training = build(prefix)
    train(
        arguments(tmp_path, max_steps=STEPS),
        training,
        callbacks=[WatchedGuard(), EvaluatesOnce()],
        evaluation=training,
    )
    assert len(notes(host_log)) == 1


def test_the_deadline_is_kept_by_a_clock(tmp_path, prefix):
    training = build(prefix)
    held_out = build(write_corpus(tmp_path / "other" / "text", SIZES, first=30000))
    copy = build(write_corpus(tmp_path / "copy" / "text", SIZES))
    ticks = iter(np.arange(0.0, 1000.0, 1.0))
    apart, message = evaluation_is_apart(training, held_out, lambda: next(ticks))
    assert apart is None
    assert "there was no time to look enough documents up" in sentence_of(message)
    slow = iter(np.arange(0.0, 1000.0, comparing.SECONDS / 200))
    assert evaluation_is_apart(training, held_out, lambda: next(slow)) == (True, None)
    slow = iter(np.arange(0.0, 1000.0, comparing.SECONDS / 200))
    assert evaluation_is_apart(training, copy, lambda: next(slow))[0] is False


def test_an_overlap_of_ranges_needs_no_time(prefix):
    training = build(prefix)
    ticks = iter(np.arange(0.0, 1e9, 1e6))
    assert evaluation_is_apart(training, build(prefix, samples=8), lambda: next(ticks))[0] is False


@pytest.mark.parametrize("where", ["compare", "read", "description"])
def test_a_fault_makes_it_unknown_and_training_goes_on(tmp_path, prefix, host_log, monkeypatch, where):
    training = build(prefix)
    held_out = build(write_corpus(tmp_path / "other" / "text", SIZES, first=30000))

    def fail(*args):
        raise OSError("disk is gone")

    if where == "compare":
        monkeypatch.setattr(comparing, "compare_documents", fail)
    elif where == "read":
        monkeypatch.setattr(overlap, "_head", fail)
    else:
        held_out.desc = "something else"
    assert said_of(tmp_path, training, held_out) is None
    (note,) = notes(host_log)
    assert ("OSError: disk is gone" if where != "description" else "IndexFileError") in note
    assert not any("switched off" in line for line in host_log.of_guard())


def test_a_dataset_does_not_keep_the_trainer(tmp_path, prefix):
    training = build(prefix)
    guard = WatchedGuard()
    seen = SimpleNamespace()

    class Peek(host.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            seen.training = host.current_training()
            seen.trainer = seen.training.trainer

    train(arguments(tmp_path, max_steps=2), training, callbacks=[guard, Peek()])
    assert seen.trainer is not None
    assert seen.training.trainer is None
