"""What is said of a cut, and when."""

from dataclasses import replace

import numpy as np
import pytest

from paddle_epoch_guard.ledger import BoundaryStep, EpochKey, EpochLedger
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.recorder import Remembered
from paddle_epoch_guard.views.messages import verdict
from recording import recorder
from training import read_texts

BOUNDARY = 101


CROSSINGS = (BoundaryStep(BOUNDARY, 1, position=400),)


class Epochs:
    """Two data epochs, with the boundary before step 101."""

    def counts(self, first_step, last_step):
        return {EpochKey(0, 1 if step < BOUNDARY else 2): 4 for step in range(first_step, last_step + 1)}


class Repeats:
    """Exposure steps up by one at the boundary."""

    def of_steps(self, first_step, last_step):
        return Estimate(0.0 if last_step < BOUNDARY else 1.0, 0.0, 100)


class Run:
    """A recorder that is fed losses, and what it says."""

    def __init__(self, folder, exposure=None, crossings=CROSSINGS, from_step=0):
        self.folder = folder
        self.said = []
        self.random = np.random.default_rng(0)
        self.recorder = recorder(folder, EpochLedger(Epochs(), from_step), say=self.said.append)
        self.recorder.exposure = exposure
        self.recorder.expect(crossings)

    def train(self, first, last, cliff=0.0, better=None, every=10):
        """Steps with a cliff in the training loss and, where evaluated, one in the evaluation loss."""
        for step in range(first, last + 1):
            far = step >= BOUNDARY
            self.recorder.record(step, 4.0 - 0.001 * step + cliff * far + 0.05 * self.random.standard_normal())
            if better is not None and step % every == 0:
                noise = 0.002 * self.random.standard_normal()
                self.recorder.evaluate(step, 4.2 - 0.001 * step + better * far + noise)

    @property
    def verdicts(self):
        return [
            text.split(": ", 2)[2].split(".")[0] for text in self.said if "Verdict" in text and "steps\n" not in text
        ]


def test_a_verdict_is_given_as_soon_as_enough_steps_have_passed(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 159, cliff=-1.5)
    assert run.verdicts == []
    run.train(160, 160, cliff=-1.5)
    assert run.verdicts == ["artefact (not confirmed by evaluation)"]
    run.train(161, 300, cliff=-1.5)
    run.recorder.finish(300, complete=True)
    # At the end it is judged once more: nothing that comes later can confirm it any more.
    (report,) = run.recorder.watch.verdicts.values()
    assert (report.change.name, report.verdict, report.final) == ("boundary_1_to_2", "artefact", True)
    texts = read_texts(tmp_path / "epoch_guard" / "boundary_1_to_2", "epoch_guard/boundary_1_to_2")
    assert verdict(report, Naming()) in texts
    assert verdict(report, Naming()) in run.said[-1]  # the summary


def test_evaluations_that_come_later_confirm_it(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 200, cliff=-1.5, better=0.0, every=25)
    assert run.verdicts == ["artefact (not confirmed by evaluation)", "artefact (evaluation does not jump with it)"]
    run.train(201, 300, cliff=-1.5, better=0.0, every=25)
    run.recorder.finish(300, complete=True)
    assert len(run.verdicts) == 2


def test_where_the_evaluation_loss_falls_too_it_is_an_improvement(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 200, cliff=-1.5, better=-1.2)
    assert run.verdicts == ["improvement (confirmed by evaluation)"]


def test_without_a_jump_there_is_none(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 200)
    assert run.verdicts == ["none (no jump beyond trend and noise)"]


def test_what_a_sampled_exposure_may_be_off_by_is_told(tmp_path):
    class Sampled(Repeats):
        def of_steps(self, first_step, last_step):
            return replace(super().of_steps(first_step, last_step), error=0.031 if last_step < BOUNDARY else 0.004)

    run = Run(tmp_path, Sampled())
    run.train(1, 200, cliff=-1.5)
    (said,) = [text for text in run.said if "Verdict" in text]
    assert "exposure 0.00 \u00b1 0.03 before and 1.00 after" in said


def test_where_exposure_is_not_known_a_jump_is_not_explained(tmp_path):
    run = Run(tmp_path)
    run.train(1, 200, cliff=-1.5)
    assert run.verdicts == ["unexplained (exposure is not known)"]


def test_a_run_that_ends_before_enough_is_known_is_judged_by_what_there_is(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 130, cliff=-1.5)
    run.recorder.finish(130, complete=False)
    assert run.verdicts == ["artefact (not confirmed by evaluation)"]


def test_a_run_that_ends_right_at_the_boundary_says_nothing_of_it(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 100)
    run.recorder.finish(100, complete=False)
    assert run.verdicts == []


def test_a_boundary_that_is_followed_by_another_is_judged_by_what_lies_between(tmp_path):
    crossings = [BoundaryStep(BOUNDARY, 1, position=400), BoundaryStep(121, 2, position=480)]
    run = Run(tmp_path, Repeats(), crossings)
    run.train(1, 121, cliff=-1.5)
    (said,) = [text for text in run.said if "Verdict" in text]
    assert "the start of data epoch 2" in said
    run.train(122, 200, cliff=-1.5)
    said = [text for text in run.said if "Verdict" in text]
    assert "the start of data epoch 3" in said[1]
    assert ": none (" in said[1]


def test_a_unified_order_that_begins_in_mid_run_is_judged_too(tmp_path):
    run = Run(tmp_path, Repeats(), crossings=())
    run.train(1, 100)
    run.recorder.begin_reorder(Reorder(400, 800, "ramp", (7, 1, 0), 600), 101, ())
    run.train(101, 170)
    assert run.verdicts == ["none (no jump beyond trend and noise)"]


@pytest.mark.parametrize("stopped", [105, 130, 165])
def test_a_later_part_of_the_run_judges_as_the_whole_would_have(tmp_path, stopped):
    whole = Run(tmp_path / "whole", Repeats())
    whole.train(1, 200, cliff=-1.5, better=0.0, every=15)
    first = Run(tmp_path / "parts", Repeats())
    first.train(1, stopped, cliff=-1.5, better=0.0, every=15)
    watch = first.recorder.watch
    windows, evaluations, known = tuple(watch.windows), tuple(watch.evaluations), tuple(watch.verdicts.values())
    later = Run(tmp_path / "parts", Repeats(), (), stopped)
    behind = (BoundaryStep(BOUNDARY, 1, position=400),)
    later.recorder.go_on(Remembered(behind, windows, evaluations, known, watch.loss_range))
    later.random = first.random
    later.train(stopped + 1, 200, cliff=-1.5, better=0.0, every=15)
    assert later.recorder.watch.verdicts == whole.recorder.watch.verdicts
    assert first.verdicts + later.verdicts == whole.verdicts
