"""What is said of a cut, and when."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest

from paddle_epoch_guard.ledger import BoundaryStep, EpochKey, EpochLedger
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.recorder import Remembered
from paddle_epoch_guard.views.verdict_texts import verdict
from recording import recorder
from vdl_logs import read_texts

BOUNDARY = 101


CROSSINGS = (BoundaryStep(BOUNDARY, 1, position=400),)


class Epochs:
    """Two data epochs, with the boundary before step 101."""

    def counts(self, first_step, last_step):
        return {EpochKey(0, 1 if step < BOUNDARY else 2): 4 for step in range(first_step, last_step + 1)}


class Repeats:
    """Exposure steps up by one at the boundary."""

    def of_steps(self, first_step, last_step, dataset=None):
        return Estimate(0.0 if last_step < BOUNDARY else 1.0, 0.0, 100)


class Run:
    """A recorder that is fed losses, and what it says."""

    def __init__(self, folder, exposure=None, crossings=CROSSINGS, from_step=0, noise=0.05, is_apart=True):
        self.folder = folder
        self.said = []
        self.noise = noise
        self.random = np.random.default_rng(0)
        self.recorder = recorder(folder, EpochLedger(Epochs(), from_step), say=self.said.append)
        self.recorder.exposure = exposure
        self.recorder.watch.evaluation_is_apart = is_apart
        self.recorder.expect(crossings)

    def train(self, first, last, cliff=0.0, better=None, every=10, rate=None):
        """Steps with a cliff in the training loss and, where evaluated, one in the evaluation loss."""
        for step in range(first, last + 1):
            far = step >= BOUNDARY
            loss = 4.0 - 0.001 * step + cliff * far + self.noise * self.random.standard_normal()
            self.recorder.record(step, loss, learning_rate=rate)
            if better is not None and step % every == 0:
                noise = 0.002 * self.random.standard_normal()
                self.recorder.evaluate(step, 4.2 - 0.001 * step + better * far + noise)

    @property
    def verdicts(self):
        return [
            text.split(": ", 2)[2].split(").")[0] + ")"
            for text in self.said
            if "Verdict" in text and "steps\n" not in text
        ]


def test_a_verdict_is_given_as_soon_as_enough_steps_have_passed(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 159, cliff=-1.5)
    assert run.verdicts == []
    run.train(160, 160, cliff=-1.5)
    assert run.verdicts == ["artefact (not confirmed by evaluation)"]
    run.train(161, 300, cliff=-1.5)
    assert run.verdicts == ["artefact (not confirmed by evaluation)"]
    run.recorder.finish(300, complete=True)
    # At the end it is judged once more, by all steps: nothing that comes later can confirm it any more.
    assert run.verdicts == 2 * ["artefact (not confirmed by evaluation)"]
    assert ["so far" in text for text in run.said if "Verdict" in text] == [True, False, False]  # the summary
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
    assert run.verdicts[2:] == ["artefact (evaluation does not jump with it)"]
    (report,) = run.recorder.watch.verdicts.values()
    assert report.found_by == ("discontinuity", "gap")
    assert report.alone.low < -1.5 < report.alone.high
    assert report.shared.low < 0.0 < report.shared.high
    # Without the repetition, the loss would have gone on as before.
    expected = 4.0 - 0.001 * report.counterfactual.step
    assert abs(report.counterfactual.loss - expected) < 3 * report.counterfactual.error
    assert "without the repetition the loss at step" in verdict(report, Naming())


@pytest.mark.parametrize(
    ("better", "said"),
    [
        (-1.5, "improvement (confirmed by evaluation)"),
        (-1.2, "improvement (evaluation shares the larger part)"),
        (-0.75, "mixed (evaluation shares a part of it)"),
        (-0.3, "artefact (evaluation shares the smaller part)"),
    ],
)
def test_what_evaluation_shares_is_told_as_a_part(tmp_path, better, said):
    run = Run(tmp_path, Repeats())
    run.train(1, 200, cliff=-1.5, better=better)
    assert run.verdicts[-1] == said
    (report,) = run.recorder.watch.verdicts.values()
    assert report.shared.low < better < report.shared.high
    assert report.alone.low < -1.5 - better < report.alone.high


@pytest.mark.parametrize(("is_apart", "said"), [(False, "on data that is trained on"), (None, "is unknown")])
def test_evaluation_on_training_data_confirms_nothing(tmp_path, is_apart, said):
    run = Run(tmp_path, Repeats(), is_apart=is_apart)
    run.train(1, 200, cliff=-1.5, better=-1.5)
    assert run.verdicts[-1].startswith("undecided (evaluation jumps too")
    assert said in run.verdicts[-1]


def test_a_fall_that_builds_up_is_found_against_evaluation(tmp_path):
    run = Run(tmp_path, Repeats(), noise=0.02)
    for step in range(1, 301):
        run.train(step, step, cliff=-0.1 * min(max(step - BOUNDARY, 0) / 60, 1), better=0.0)
    (report,) = run.recorder.watch.verdicts.values()
    assert (report.verdict, report.found_by) == ("artefact", ("gap",))


def test_a_learning_rate_that_changes_at_the_boundary_is_named_and_no_artefact(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, BOUNDARY - 1, rate=3e-4)
    run.train(BOUNDARY, 200, cliff=-0.3, rate=1e-4)
    assert run.verdicts == ["undecided (learning rate or batch changes here too)"]
    (said,) = [text for text in run.said if "Verdict" in text]
    assert f"the learning rate changes at step {BOUNDARY}, from 0.0003 to 0.0001" in said


def test_of_many_boundaries_chance_shows_none(tmp_path):
    """Without a jump, of a hundred runs with twenty boundaries each, fewer than five or so have a verdict of one."""
    wrong = 0
    for seed in range(40):
        crossings = [BoundaryStep(step, 1 + at, position=4 * step) for at, step in enumerate(range(41, 840, 40))]
        run = Run(tmp_path / str(seed), Repeats(), crossings)
        run.random = np.random.default_rng(seed)
        run.recorder.watch.exposure = None
        run.train(1, 840)
        run.recorder.finish(840, complete=True)
        wrong += any(
            report.found_by and report.verdict != "undecided" for report in run.recorder.watch.verdicts.values()
        )
    assert wrong <= 5


def test_without_a_jump_there_is_none(tmp_path):
    run = Run(tmp_path, Repeats(), noise=0.005)
    run.train(1, 200)
    assert run.verdicts == ["none (no jump beyond trend and noise)"]


def test_where_noise_hides_jumps_it_is_undecided(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, 200)
    assert run.verdicts == ["undecided (no jump found, and none excluded)"]
    (said,) = [text for text in run.said if "Verdict" in text]
    assert re.search(r"A jump of training loss between -0\.\d+ and \+0\.\d+ is possible; the least that would", said)


def test_five_windows_on_a_side_are_too_few(tmp_path):
    run = Run(tmp_path, Repeats())
    run.train(1, BOUNDARY + 4, cliff=-1.5)
    run.recorder.finish(BOUNDARY + 4, complete=True)
    assert run.verdicts == ["unknown (too few steps)"]


def test_what_a_sampled_exposure_may_be_off_by_is_told(tmp_path):
    class Sampled(Repeats):
        def of_steps(self, first_step, last_step, dataset=None):
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
    assert ": undecided (no jump found" in said[1]


def test_a_unified_order_that_begins_in_mid_run_is_judged_too(tmp_path):
    run = Run(tmp_path, Repeats(), crossings=(), noise=0.005)
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
    intervals, open_interval = tuple(watch.intervals), copy.deepcopy(watch.open_interval)
    later.recorder.go_on(Remembered(behind, windows, evaluations, known, watch.loss_range, intervals, open_interval))
    later.random = first.random
    later.train(stopped + 1, 200, cliff=-1.5, better=0.0, every=15)
    assert later.recorder.watch.verdicts == whole.recorder.watch.verdicts
    assert first.verdicts + later.verdicts == whole.verdicts
