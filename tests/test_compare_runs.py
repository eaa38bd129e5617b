"""`compare` on real runs of the Trainer, with a model whose losses are known in advance."""

import math

import numpy as np
import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardCallback, compare
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

LENGTH, BATCH, STEPS = 8, 4, 300
TOKENS = 6_400
"""Of a data epoch: 200 steps."""


class Learner(KnownLosses):
    """Learns with each sample drawn, remembers what it has seen, and finds some samples harder than others."""

    offset, memory, seed = 0.0, -1.0, 0

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(self.seed)
        self.difficulty = 0.5 * np.random.default_rng(1).standard_normal(60_000)
        self.seen = np.zeros(60_000, dtype=bool)
        self.samples = 0

    def of(self, tokens):
        level = 4 + math.exp(-self.samples / 400) + self.offset
        if not self.training:
            return np.full(tokens.shape, level + 0.2)
        self.samples += len(tokens)
        known = self.seen[tokens].mean(axis=1)
        self.seen[tokens] = True
        own = 0.05 * self.random.standard_normal(len(tokens))
        return np.broadcast_to(
            (level + self.difficulty[tokens[:, 0]] + self.memory * known + own)[:, None], tokens.shape
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(folder):
    """Trains a run; returns its log folder."""
    corpora = {
        "text": write_corpus(folder / "text", [100] * (TOKENS // 100)),
        "code": write_corpus(folder / "code", [100] * (TOKENS // 100), first=20_000),
        "held-out": write_corpus(folder / "held-out", [100] * 2, first=40_000),
    }

    def run(name, corpus="text", batch=BATCH, steps=STEPS, script=None, **changes):
        dataset = build_train([corpora[corpus]], steps * batch, LENGTH, cache=folder / "cache" / name)
        held_out = build_train([corpora["held-out"]], 8, LENGTH, cache=folder / "cache" / f"{name}-held-out")
        values = {"max_steps": steps, "evaluation_strategy": "steps", "eval_steps": 10 * steps // STEPS}
        values |= {"per_device_train_batch_size": batch, "per_device_eval_batch_size": 8}
        args = arguments(folder / name, epoch_guard_report=False, **{**values, **changes})
        model = type("Scripted", (Learner,), script or {})
        train(args, dataset, callbacks=[EpochGuardCallback()], model=model, evaluation=held_out)
        return args.logging_dir

    return run


@pytest.fixture(scope="module")
def separated(trained):
    return trained("separated")


def test_equal_runs_draw_the_same_samples_and_do_not_differ(trained, separated):
    (pair,) = compare(separated, trained("again", script={"seed": 7}), at=200).pairs
    assert pair.paired
    assert pair.estimates.pairing < 0.1
    assert pair.estimates.fresh is not None
    assert pair.judgement.verdict == "no difference"
    assert pair.relation.evaluation == "same"


def test_a_worse_run_on_the_same_samples(trained, separated):
    worse = trained("worse", script={"seed": 3, "offset": 0.1})
    (pair,) = compare(worse, separated, at=200).pairs
    assert (pair.judgement.verdict, pair.judgement.reason) == ("worse", "agrees")
    assert pair.estimates.fresh.low < 0.1 < pair.estimates.fresh.high
    (behind,) = compare(worse, separated).pairs  # where all is repeated
    assert (behind.estimates.fresh, behind.judgement.measure) == (None, "evaluation")
    assert behind.judgement.verdict == "worse"


def test_separated_looks_better_than_unified_and_is_worse(trained):
    one = trained("looks-better", script={"offset": 0.1})
    other = trained("unified", epoch_guard="unified", script={"seed": 4})
    (pair,) = compare(one, other).pairs
    assert not pair.paired
    assert pair.relation.data == "same"
    assert pair.estimates.raw.high < -0.1
    assert (pair.judgement.verdict, pair.judgement.measure) == ("worse", "evaluation")
    (earlier,) = compare(one, other, at=200, last=100).pairs  # separated is all fresh there, unified in part
    assert earlier.estimates.raw.value > 0.3
    assert earlier.estimates.fresh.low < 0.1 < earlier.estimates.fresh.high


def test_a_doubled_batch_at_half_the_steps(trained, separated):
    (pair,) = compare(
        separated, trained("double", batch=2 * BATCH, steps=STEPS // 2, script={"seed": 5}), at=200
    ).pairs
    assert not pair.relation.same_schedule
    assert pair.estimates.fresh.low < 0 < pair.estimates.fresh.high
    assert pair.judgement.verdict == "no difference"


def test_another_corpus(trained, separated):
    (pair,) = compare(separated, trained("code", corpus="code", script={"offset": 0.3})).pairs
    assert pair.relation.data == "other"
    assert (pair.judgement.verdict, pair.judgement.measure) == ("better", "evaluation")
