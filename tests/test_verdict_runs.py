"""A verdict of each kind, in real runs of the Trainer, with a model that remembers the tokens that it has seen."""

import math

import numpy as np
import paddle
import pytest

from corpora import build_train, write_corpus
from hosts import TrainerCallback
from paddle_epoch_guard import EpochGuardCallback
from pretraining import PretrainingTrainer
from training import KnownLosses, arguments, train

pytestmark = [pytest.mark.host, pytest.mark.long]

LENGTH, BATCH = 8, 4
TOKENS = 14_000
STEPS = 700
BOUNDARY = (TOKENS - 1) // LENGTH // BATCH + 1
"""The step that draws the first samples of the second data epoch."""


class Learner(KnownLosses):
    """Its loss falls with the steps, and further for tokens that it has seen before. The rest is scripted."""

    memory, improvement, noise = 0.0, 0.0, 0.01

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(5)
        self.seen = np.zeros(60_000, dtype=bool)
        self.batches = 0

    def of(self, tokens):
        self.batches += self.training
        level = 3 + math.exp(-self.batches / 100) + self.improvement * (self.batches >= BOUNDARY)
        if not self.training:
            return np.full(tokens.shape, level + 0.2)
        known = self.seen[tokens].mean(axis=1)
        self.seen[tokens] = True
        losses = level + self.memory * known + self.noise * self.random.standard_normal(len(tokens))
        return np.broadcast_to(losses[:, None], tokens.shape)


class Stepped(PretrainingTrainer):
    """Its learning rate falls at the boundary."""

    def create_scheduler(self, num_training_steps):
        self.lr_scheduler = paddle.optimizer.lr.PiecewiseDecay([BOUNDARY - 1], [1e-3, 3e-4])
        return self.lr_scheduler


class Watch(TrainerCallback):
    """Keeps what the guard watches, beyond the run."""

    def __init__(self, guard):
        self.guard = guard
        self.watch = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.watch = self.guard.session.recorder.watch


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus" / "text", [100] * (TOKENS // 100))


@pytest.fixture
def dataset(corpus):
    return build_train([corpus], STEPS * BATCH, LENGTH)


@pytest.fixture
def held_out(tmp_path):
    return build_train([write_corpus(tmp_path / "held-out" / "text", [100] * 2, first=30_000)], 8, LENGTH)


def judged(folder, dataset, evaluation=None, *, trainer=PretrainingTrainer, script=None, **changes):
    """The reports on the change points of a run, by name."""
    guard = EpochGuardCallback()
    watch = Watch(guard)
    values = {"max_steps": STEPS, "per_device_eval_batch_size": 8}
    if evaluation is not None:
        values |= {"evaluation_strategy": "steps", "eval_steps": 20}
    train(
        arguments(folder, **{**values, **changes}),
        dataset,
        callbacks=[guard, watch],
        model=type("Scripted", (Learner,), script or {}),
        evaluation=evaluation,
        trainer=trainer,
    )
    return watch.watch.verdicts


def test_an_artefact(tmp_path, dataset, held_out):
    (report,) = judged(tmp_path, dataset, held_out, script={"memory": -1.0}).values()
    assert report.change.step == BOUNDARY
    assert (report.verdict, report.reason, report.final) == ("artefact", "evaluation_flat", True)
    assert report.found_by == ("discontinuity", "gap")
    assert report.alone.low < -1 < report.alone.high
    assert report.exposures == (0.0, 1.0)
    true = 3 + math.exp(-report.counterfactual.step / 100)
    assert report.counterfactual.loss == pytest.approx(true, abs=4 * report.counterfactual.error)
    assert report.counterfactual.error < 0.05


def test_an_artefact_without_evaluation(tmp_path, dataset):
    (report,) = judged(tmp_path, dataset, script={"memory": -1.0}).values()
    assert (report.verdict, report.reason, report.found_by) == ("artefact", "no_evaluation", ("discontinuity",))
    assert report.training.low < -1 < report.training.high


def test_an_improvement(tmp_path, dataset, held_out):
    (report,) = judged(tmp_path, dataset, held_out, script={"improvement": -0.5}).values()
    assert (report.verdict, report.reason) == ("improvement", "evaluation_confirms")
    assert report.shared.low < -0.5 < report.shared.high


def test_both(tmp_path, dataset, held_out):
    (report,) = judged(tmp_path, dataset, held_out, script={"memory": -0.5, "improvement": -0.5}).values()
    assert (report.verdict, report.reason) == ("mixed", "evaluation_shares_part")
    assert report.shared.low < -0.5 < report.shared.high
    assert report.alone.low < -0.5 < report.alone.high


def test_no_jump(tmp_path, dataset, held_out):
    (report,) = judged(tmp_path, dataset, held_out).values()
    assert (report.verdict, report.reason) == ("none", "no_jump")
    assert report.counterfactual is None


def test_noise_that_hides_a_jump(tmp_path, dataset):
    (report,) = judged(tmp_path, dataset, script={"noise": 1.0}).values()
    assert (report.verdict, report.reason) == ("undecided", "jump_possible")
    assert report.training.low < 0 < report.training.high


def test_a_learning_rate_that_steps_down_at_the_boundary(tmp_path, dataset, held_out):
    script = {"improvement": -0.3}
    (report,) = judged(tmp_path / "without", dataset, trainer=Stepped, script=script).values()
    assert (report.verdict, report.reason) == ("undecided", "host_changes")
    (change,) = report.host_changes
    assert (change.setting, change.before, change.after) == ("learning_rate", 1e-3, 3e-4)
    assert abs(change.step - BOUNDARY) <= 1
    (report,) = judged(tmp_path / "with", dataset, held_out, trainer=Stepped, script=script).values()
    assert report.verdict == "improvement"
    (report,) = judged(
        tmp_path / "both", dataset, held_out, trainer=Stepped, script={**script, "memory": -1.0}
    ).values()
    assert report.verdict == "artefact"  # the gap test is not fooled by the learning rate
    assert report.host_changes


def test_an_evaluation_set_that_is_trained_on(tmp_path, corpus, dataset):
    again = build_train([corpus], 8, LENGTH, cache=tmp_path / "cache")
    (report,) = judged(tmp_path, dataset, again, script={"improvement": -0.5}).values()
    assert (report.verdict, report.reason) == ("undecided", "evaluation_overlaps")


def test_a_run_that_ends_soon_after_the_boundary(tmp_path, dataset):
    (report,) = judged(tmp_path, dataset, script={"memory": -1.0}, max_steps=BOUNDARY + 4).values()
    assert (report.verdict, report.reason) == ("unknown", "too_few_steps")


@pytest.mark.parametrize("weight", [0.05, 0.3])
def test_a_small_dataset_of_a_blend_that_repeats(tmp_path, weight):
    """Its own loss and exposure jump; those of the whole batch hardly do."""
    steps, batch = 600, 8
    samples = steps * batch
    small = write_corpus(tmp_path / "corpus" / "small", [100] * int(weight * samples * LENGTH / 1.5 / 100))
    large = write_corpus(
        tmp_path / "corpus" / "large", [100] * int(1.2 * (1 - weight) * samples * LENGTH / 100), 15_000
    )
    blend = build_train([1 - weight, large, weight, small], samples, LENGTH)
    changes = {"max_steps": steps, "per_device_train_batch_size": batch}
    reports = judged(tmp_path, blend, script={"memory": -1.0, "noise": 0.05}, **changes)
    (report,) = [each for each in reports.values() if each.change.boundary.dataset == 1]
    assert (report.verdict, report.is_own) == ("artefact", True)
    assert report.training.low < -1 < report.training.high
    assert report.whole.value == pytest.approx(-weight, abs=0.05)
    before, after = report.exposures
    assert after - before > 0.8
