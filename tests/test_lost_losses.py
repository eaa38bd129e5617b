"""Losses that are no numbers, or none that a checkpoint can hold: what does not depend on them goes on."""

import math

import numpy as np
import paddle
import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard.record.recorder import Recorder
from paddle_epoch_guard.report.page import summary
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.resume import read_sidecar
from pretraining import PretrainingTrainer
from training import KnownLosses, TokenModel, arguments, train

pytestmark = pytest.mark.host

SIZES = (100, 7, 230, 1, 58, 190, 23, 200)  # as in test_callback.py: the boundary is in step 26
STEPS, BOUNDARY_STEP, BAD_STEP = 32, 26, 10


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, 8)


class Fp16Trainer(PretrainingTrainer):
    """Goes on after a loss that is no number, as the host does under ``--fp16`` (which needs a GPU)."""

    def _check_loss_valid(self, loss):
        pass


class BadStep(KnownLosses):
    """The losses of one step's tokens are no numbers; no gradient comes of it."""

    def __init__(self):
        super().__init__()
        inner = self.loss_func

        class Bad(paddle.nn.CrossEntropyLoss):
            steps = 0

            def forward(self, logits, labels):
                self.steps += 1
                losses = inner(logits, labels)
                return losses + math.nan if self.steps == BAD_STEP else losses

        self.loss_func = Bad(reduction="none")


class BadMean(TokenModel):
    """Its loss is no number at one step; losses by sample are unknown."""

    def forward(self, input_ids, labels=None):
        loss, outputs = super().forward(input_ids, labels)
        return (loss + math.nan if len(self.first_tokens) == BAD_STEP else loss), outputs


def test_after_a_loss_that_is_no_number_all_that_does_not_depend_on_it_goes_on(tmp_path, dataset, host_log):
    whole = train(arguments(tmp_path / "whole", max_steps=STEPS), dataset, model=KnownLosses)
    run = train(arguments(tmp_path, max_steps=STEPS), dataset, model=BadStep, trainer=Fp16Trainer)
    assert run.first_tokens == whole.first_tokens
    assert all(math.isnan(loss) for step, loss in run.losses.items() if step >= BAD_STEP)
    for tag in ("epoch_guard/data_epoch", "epoch_guard/exposure"):
        assert run.scalars(tag) == whole.scalars(tag)
    assert {step for step, _ in run.scalars("train/loss", "boundary_1_to_2")} == {BOUNDARY_STEP}
    # The samples' own losses stand for the trainer's; those of the one step are lost.
    read, expected = read_run(run.args.logging_dir), read_run(whole.args.logging_dir)
    others = expected.loss.steps != BAD_STEP
    assert read.loss.steps.tolist() == expected.loss.steps[others].tolist()
    np.testing.assert_allclose(read.loss.values, expected.loss.values[others], rtol=1e-5)
    assert (len(read.cuts), read.cuts[0].verdict) == (1, expected.cuts[0].verdict)
    assert read.epochs[0].total.samples == expected.epochs[0].total.samples
    (warning,) = host_log.warnings
    assert f"the trainer's loss of steps {BAD_STEP} to {BAD_STEP} is nan" in warning
    assert "These steps have no loss" in warning


def test_where_losses_by_sample_are_unknown_the_later_losses_are_lost_and_the_boundary_is_not(
    tmp_path, dataset, host_log
):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset, model=BadMean, trainer=Fp16Trainer)
    read = read_run(run.args.logging_dir)
    assert read.loss.steps.tolist() == list(range(1, BAD_STEP))
    assert read.data_epoch.steps.tolist() == read.exposure.steps.tolist() == list(range(1, STEPS + 1))
    assert [change.step for change in read.cuts] == [BOUNDARY_STEP]
    assert len([text for text in host_log.warnings if "is nan" in text]) == 1


def test_a_loss_too_large_for_a_sidecar_costs_the_losses_and_not_the_order(tmp_path, dataset, host_log):
    class Huge(TokenModel):
        SCALE = 1e18

    values = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 10, "epoch_guard": "unified"}
    whole = train(arguments(tmp_path / "whole", **values), dataset)
    run = train(arguments(tmp_path, **values), dataset, model=Huge)
    sidecar = read_sidecar(tmp_path / "run" / "checkpoint-20", 20)
    assert (sidecar.position, len(sidecar.reorders), sidecar.windows) == (80, 1, ())
    told = [text for text in host_log.warnings if "without its losses" in text]
    assert len(told) == 1
    again = train(arguments(tmp_path, **values), dataset, model=Huge, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert run.first_tokens[:20] + again.first_tokens == whole.first_tokens


def test_a_fault_in_exposure_costs_exposure_alone(tmp_path, dataset, host_log, monkeypatch):
    def broken(*_args, **_options):
        raise IndexError("index 5347 is out of bounds")

    whole = train(arguments(tmp_path / "whole", max_steps=STEPS), dataset, model=KnownLosses)
    faults = ("session.run_trace.trace", "start"), ("ledger.exposure.Exposure.of_steps", "later")
    for tried, (where, at) in enumerate(faults):
        with monkeypatch.context() as patch:
            patch.setattr(f"paddle_epoch_guard.{where}", broken)
            run = train(arguments(tmp_path / at, max_steps=STEPS), dataset, model=KnownLosses)
        (warning,) = [text for text in host_log.warnings if "IndexError: index 5347" in text][tried:]
        assert "Data epochs, boundaries and losses by epoch go on" in warning
        for tag in ("epoch_guard/data_epoch", "epoch_guard/epoch_loss"):
            assert run.scalars(tag) == whole.scalars(tag)
        by_exposure = ("exposure_", "drawn_")
        assert run.directories() == [name for name in whole.directories() if not name.startswith(by_exposure)]
        assert run.scalars("epoch_guard/exposure") == []


@pytest.mark.parametrize("at", [11, 30])
def test_where_tracking_was_switched_off_the_report_denies_nothing_that_came_after(tmp_path, dataset, monkeypatch, at):
    record = Recorder.record

    def broken(self, step, *args):
        if step >= at:
            raise RuntimeError("a bug")
        record(self, step, *args)

    monkeypatch.setattr(Recorder, "record", broken)
    run = train(arguments(tmp_path, max_steps=STEPS), dataset, model=KnownLosses)
    verdict, progress, _ = summary(read_run(run.args.logging_dir))
    assert progress.startswith(
        f"The guard tracked the run up to step {at - 1} of {STEPS}, where tracking was switched off"
    )
    if at < BOUNDARY_STEP:
        assert verdict == (
            "The run has reached no boundary between data epochs in the known steps; "
            "what came after step 10 is not known."
        )
    else:
        assert "data epoch 1 to 2" in verdict
