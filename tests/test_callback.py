import json
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from paddlenlp.trainer import Trainer, TrainerCallback, TrainingArguments

from corpora import build_train, end_document_list, shift_pointers, write_corpus
from paddle_epoch_guard import EpochGuardArguments, EpochGuardCallback, EpochGuardError, host
from paddle_epoch_guard.ledger import trace
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.session import run_trace
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from training import TokenModel, arguments, train
from vdl_logs import read_scalars

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
# T = 809 tokens, 101 samples per epoch. 130 samples: two epochs, the last one (130 - 101 of 101) separated at
# position 101, in the middle of step 26 where a step draws 4.
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS = 32
BOUNDARY_STEP = 26


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, SEQ_LENGTH)


def expected_losses(dataset, positions_by_step):
    """The loss of each step, from the tokens of the positions it draws."""
    return [
        TokenModel.SCALE * np.mean([dataset[p]["text"][:-1].mean() for p in positions])
        for positions in positions_by_step
    ]


def data_epochs(dataset):
    """The data epoch of each position, from the token where its sample starts."""
    return np.asarray(dataset.shuffle_idx, dtype=np.int64) * SEQ_LENGTH // sum(SIZES) + 1


def test_the_corpus_is_the_case_it_is_meant_to_be(dataset):
    assert sum(SIZES) == 809
    assert sorted(dataset.shuffle_idx[:101]) == list(range(101))
    assert BOUNDARY_STEP == 101 // 4 + 1


def test_a_run_is_followed_step_by_step(tmp_path, dataset, host_log):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset)
    draws = np.arange(STEPS * 4).reshape(STEPS, 4)
    assert run.first_tokens == [[int(dataset[p]["text"][0]) for p in row] for row in draws]

    epochs = data_epochs(dataset)
    assert run.scalars("epoch_guard/data_epoch") == [
        (step + 1, pytest.approx(epochs[row].mean())) for step, row in enumerate(draws)
    ]
    assert run.directories() == [".", "boundary_1_to_2", "epoch_1", "epoch_2"]
    losses = [run.losses[step] for step in range(1, STEPS + 1)]
    assert losses == pytest.approx(expected_losses(dataset, draws), abs=1e-5)
    # Each epoch's curve starts at its own step 1; the mixed step 26 is a point of both.
    assert run.scalars("epoch_guard/loss_by_epoch", "epoch_1") == [
        (step, pytest.approx(run.losses[step])) for step in range(1, BOUNDARY_STEP + 1)
    ]
    assert run.scalars("epoch_guard/loss_by_epoch", "epoch_2") == [
        (step - BOUNDARY_STEP + 1, pytest.approx(run.losses[step])) for step in range(BOUNDARY_STEP, STEPS + 1)
    ]
    weights = [np.array([(epochs[row] == epoch).sum() for row in draws]) for epoch in (1, 2)]
    assert dict(run.scalars("epoch_guard/epoch_loss")) == {
        epoch + 1: pytest.approx(np.average(losses, weights=weight), rel=1e-3) for epoch, weight in enumerate(weights)
    }
    assert host_log.warnings == []


def test_the_boundary_is_a_line_on_the_trainers_own_loss_chart(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset)
    line = run.scalars("train/loss", "boundary_1_to_2")
    assert {step for step, _ in line} == {BOUNDARY_STEP}
    values = [value for _, value in line]
    height = max(run.losses.values()) - min(run.losses.values())
    assert max(values) >= max(run.losses.values()) - 0.06 * height
    assert min(values) <= min(run.losses.values()) + 0.06 * height


def test_the_boundary_is_told_in_words_and_numbers(tmp_path, dataset, host_log):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset)
    opening, verdict = run.texts("epoch_guard/boundary_1_to_2", "boundary_1_to_2")
    assert opening.startswith("Step 26 draws the first samples, from position 101 on, of data epoch 2")
    before = np.mean([run.losses[step] for step in range(1, 26)])
    after = np.mean([run.losses[step] for step in range(27, STEPS + 1)])
    assert verdict.startswith("Verdict at the start of data epoch 2 (step 26): ")
    assert f"{before:.4f} before, {after:.4f} after" in verdict
    messages = host_log.of_guard()
    assert "boundaries ahead: 1 to 2 at step 26" in messages[0]
    assert "by share of samples: the model has no unreduced token-loss layer" in messages[1]
    assert messages[2] == "epoch guard: exposure: all 809 tokens of the data are traced"
    assert "will probably fall at step 26 of 32" in messages[3]
    assert messages[4:6] == [f"epoch guard: {opening}", f"epoch guard: {verdict}"]
    # Sample 100 starts in epoch 1, crosses into epoch 2, and is drawn there.
    assert "data epoch 1: 102 samples, steps 1 to 26" in messages[6]
    assert "data epoch 2: 26 samples, steps 26 to 32" in messages[6]
    assert verdict in messages[6]


def test_no_logged_loss_mixes_two_sides(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=STEPS, logging_steps=10), dataset)
    # Closed before the boundary, after the one step that draws from both sides, and at the end of the run.
    assert list(run.losses) == [10, 20, 25, 26, 30, 32]
    draws = np.arange(STEPS * 4).reshape(STEPS, 4)
    by_step = expected_losses(dataset, draws)
    windows = [(0, 10), (10, 20), (20, 25), (25, 26), (26, 30), (30, 32)]
    assert list(run.losses.values()) == pytest.approx([np.mean(by_step[a:b]) for a, b in windows], abs=1e-5)
    epochs = data_epochs(dataset)
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        [epochs[a * 4 : b * 4].mean() for a, b in windows]
    )


def test_accumulation_belongs_to_the_step(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=16, gradient_accumulation_steps=2), dataset)
    epochs = data_epochs(dataset)
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        epochs[:128].reshape(16, 8).mean(axis=1)
    )
    assert {step for step, _ in run.scalars("train/loss", "boundary_1_to_2")} == {13}


@pytest.mark.parametrize("interval", [[24, 27], [26, 26], [3, 5], [28, 32]])
def test_skipped_steps_advance_the_data_and_count_for_nothing(tmp_path, dataset, interval):
    args = arguments(tmp_path, max_steps=STEPS, logging_steps=4, skip_data_intervals=[interval])
    run = train(args, dataset)
    skipped = set(range(interval[0], interval[1] + 1))
    trained = [step for step in range(1, STEPS + 1) if step not in skipped]
    draws = np.arange(STEPS * 4).reshape(STEPS, 4)
    assert run.first_tokens == [[int(dataset[p]["text"][0]) for p in draws[step - 1]] for step in trained]
    epochs = data_epochs(dataset)
    windows = dict(run.scalars("epoch_guard/data_epoch"))
    start = 0
    for stop in run.losses:
        steps = [step for step in range(start + 1, stop + 1) if step not in skipped]
        if steps:
            assert windows[stop] == pytest.approx(epochs[draws[[step - 1 for step in steps]]].mean())
            sides = {step > BOUNDARY_STEP for step in steps if step != BOUNDARY_STEP}
            assert len(sides) <= 1, f"the window {steps} mixes two sides"
        else:
            assert stop not in windows
        start = stop
    written = dict(run.scalars("epoch_guard/epoch_loss"))
    assert set(written) == set(epochs[draws[[step - 1 for step in trained]]].flat)
    assert all(value > 0.05 for value in written.values())  # no loss of 0 from a window that was skipped whole


def test_a_run_without_any_of_the_flags_is_tracked(tmp_path, dataset):
    run = train(arguments(tmp_path, cls=TrainingArguments, max_steps=STEPS), dataset)
    assert "boundary_1_to_2" in run.directories()


def test_flags_can_be_handed_to_the_callback(tmp_path, dataset):
    guard = EpochGuardCallback(EpochGuardArguments(epoch_guard="off"))
    run = train(arguments(tmp_path, cls=TrainingArguments, max_steps=3), dataset, callbacks=[guard])
    assert run.directories() == []


def test_off_changes_nothing(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=STEPS, logging_steps=10, epoch_guard="off"), dataset)
    assert list(run.losses) == [10, 20, 30]
    assert not (tmp_path / "logs").exists()


def test_the_trainers_own_visualdl_log_stays_visible(tmp_path, dataset):
    args = arguments(tmp_path, max_steps=STEPS, report_to=["visualdl"])
    run = train(args, dataset)
    assert dict(read_scalars(args.logging_dir, "train/loss")) == pytest.approx(run.losses)


def test_a_resumed_run_appends_and_marks_no_boundary_twice(tmp_path, dataset, host_log):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    whole = train(args, dataset)
    line = whole.scalars("train/loss", "boundary_1_to_2")
    for start in (30, 20):
        run = train(args, dataset, resume=str(tmp_path / "run" / f"checkpoint-{start}"))
        assert run.first_tokens == whole.first_tokens[start:]
        assert run.losses == {step: loss for step, loss in whole.losses.items() if step > start}
        assert run.scalars("train/loss", "boundary_1_to_2") == line
    steps = [step for step, _ in run.scalars("epoch_guard/data_epoch")]
    assert steps == [*range(1, 33), *range(31, 33), *range(21, 33)]
    assert sum("draws the first samples" in text for text in host_log.of_guard()) == 1


def test_a_fresh_start_in_a_used_folder_begins_a_log_of_its_own(tmp_path, dataset):
    train(arguments(tmp_path, max_steps=STEPS), dataset)
    again = arguments(tmp_path, max_steps=16, per_device_train_batch_size=8)
    run = train(again, dataset)
    assert [step for step, _ in run.scalars("epoch_guard/data_epoch")] == list(range(1, 17))
    assert {step for step, _ in run.scalars("train/loss", "boundary_1_to_2")} == {13}
    assert (tmp_path / "logs" / "epoch_guard" / "kept-1.epoch_guard.log").exists()  # nothing lost


def test_a_boundary_whose_far_side_comes_after_an_interruption_is_still_told(tmp_path, dataset):
    whole = train(arguments(tmp_path / "whole", max_steps=STEPS), dataset)
    tag = "epoch_guard/boundary_1_to_2"
    stop_at_27 = StopAt(27)
    args = arguments(tmp_path, max_steps=STEPS)
    train(args, dataset, callbacks=[stop_at_27, EpochGuardCallback()])
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-27"))
    expected = whole.texts(tag, "boundary_1_to_2")
    found = run.texts(tag, "boundary_1_to_2")
    assert found[0] == expected[0]
    assert found[-1] == expected[-1]
    low = min(value for _, value in run.scalars("train/loss", "boundary_1_to_2"))
    assert low == min(value for _, value in whole.scalars("train/loss", "boundary_1_to_2"))


def test_the_mean_of_an_epoch_that_was_begun_without_the_guard_is_not_claimed(tmp_path, dataset):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    train(args, dataset, callbacks=[])
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-10"))
    assert [epoch for epoch, _ in run.scalars("epoch_guard/epoch_loss")] == [2]


def test_what_is_saved_at_the_end_of_an_epoch_has_all_losses(tmp_path, dataset):
    args = arguments(tmp_path, num_train_epochs=1, save_strategy="epoch", logging_steps=7, dataloader_drop_last=True)
    run = train(args, dataset)
    assert run.steps == 50
    (file,) = (tmp_path / "run").rglob("epoch_guard.json")
    assert sum(one["samples"] for one in json.loads(file.read_text())["epoch_losses"]) == 200


class StopAt(TrainerCallback):
    """Saves and stops, as a run that is interrupted."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def test_trainer_epochs_go_on_after_an_interruption_in_the_middle_of_one(tmp_path):
    samples = [{"text": np.arange(start, start + 9)} for start in range(40)]
    args = arguments(tmp_path, num_train_epochs=2)
    train(args, samples, trainer=Trainer, callbacks=[StopAt(6)])
    run = train(args, samples, trainer=Trainer, resume=str(tmp_path / "run" / "checkpoint-6"))
    assert run.scalars("epoch_guard/data_epoch") == [(step, 1.0 if step <= 10 else 2.0) for step in range(7, 21)]


def test_of_a_dataset_that_wraps_another_no_data_epoch_is_claimed(tmp_path, dataset):
    class Wrapper:
        def __init__(self, dataset):
            self.dataset = dataset

        def __len__(self):
            return len(self.dataset)

        def __getitem__(self, at):
            return self.dataset[at]

    run = train(arguments(tmp_path, max_steps=5), Wrapper(dataset))
    assert run.scalars("epoch_guard/data_epoch") == []
    assert len(run.scalars("epoch_guard/trainer_epoch")) == 5


def test_another_sampler_is_named_once_and_no_data_epoch_is_claimed(tmp_path, dataset, host_log):
    run = train(arguments(tmp_path, num_train_epochs=2), dataset, trainer=Trainer)
    assert len(host_log.warnings) == 1
    assert "paddle.io.dataloader.batch_sampler.BatchSampler is not supported" in host_log.warnings[0]
    per_epoch = -(-len(dataset) // 4)
    assert run.steps == 2 * per_epoch
    assert run.scalars("epoch_guard/trainer_epoch") == [
        (step, 1.0 if step <= per_epoch else 2.0) for step in range(1, run.steps + 1)
    ]
    assert run.scalars("epoch_guard/data_epoch") == []
    assert run.directories() == [".", "trainer_boundary_1_to_2", "trainer_epoch_1", "trainer_epoch_2"]
    assert {step for step, _ in run.scalars("train/loss", "trainer_boundary_1_to_2")} == {per_epoch + 1}


def test_a_sampler_with_an_order_of_its_own_is_not_taken_for_the_known_one(tmp_path, dataset, host_log):
    class Backwards(host.samplers.pretraining.DistributedBatchSampler):
        def __iter__(self):
            yield from reversed(list(super().__iter__()))

    class BackwardsTrainer(Trainer):
        def _get_train_sampler(self):
            return Backwards(self.train_dataset, self.args.per_device_train_batch_size)

    run = train(arguments(tmp_path, max_steps=3), dataset, trainer=BackwardsTrainer)
    assert "Backwards is not supported" in host_log.warnings[0]
    assert run.scalars("epoch_guard/data_epoch") == []


def test_without_a_sample_index_the_data_epoch_is_the_trainers(tmp_path, host_log):
    samples = [{"text": np.arange(start, start + 9)} for start in range(18)]
    args = arguments(tmp_path, num_train_epochs=3, logging_steps=4)
    run = train(args, samples, trainer=Trainer)
    assert run.steps == 15
    # Windows end with the trainer's epochs, too.
    assert list(run.losses) == [4, 5, 8, 10, 12, 15]
    assert run.scalars("epoch_guard/data_epoch") == [(4, 1), (5, 1), (8, 2), (10, 2), (12, 3), (15, 3)]
    assert {step for step, _ in run.scalars("train/loss", "boundary_2_to_3")} == {11}
    assert run.directories() == [".", "boundary_1_to_2", "boundary_2_to_3", "epoch_1", "epoch_2", "epoch_3"]
    assert host_log.warnings == []


def test_data_that_is_read_again_is_said_loudly_and_followed(tmp_path, host_log):
    short = build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], 120, SEQ_LENGTH)
    steps = len(short) // 4 + 10  # the index ends 10 steps before the run
    run = train(arguments(tmp_path, max_steps=steps, dataloader_drop_last=True), short)
    assert run.steps == steps
    ahead, at_the_end = host_log.warnings
    assert f"the loader will run out of data after step {steps - 10} of {steps}" in ahead
    assert f"the loader ran out of data after step {steps - 10}, at position {len(short)}" in at_the_end
    epochs = data_epochs(short)
    positions = np.concatenate([np.arange((steps - 10) * 4), np.arange(40)]).reshape(-1, 4)
    assert run.first_tokens == [[int(short[p]["text"][0]) for p in row] for row in positions]
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        epochs[positions].mean(axis=1)
    )


def test_a_run_that_ends_early_because_the_loader_ran_dry_says_so(tmp_path, dataset, host_log):
    train(arguments(tmp_path, max_steps=20, save_strategy="steps", save_steps=20), dataset, callbacks=[])
    # Twice the batch, 26 steps in 202 positions: the trainer plans three passes, of which one step and two are left.
    larger = arguments(tmp_path, max_steps=77, per_device_train_batch_size=8, epoch_guard_position=200)
    run = train(larger, dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert run.steps == 73
    assert f"training stopped at step {run.steps} of 77 because the loader ran out of data" in host_log.warnings[-1]
    assert any(f"training stopped at step {run.steps}" in text for text in run.texts("epoch_guard/notes"))


def test_a_loader_that_is_dry_from_the_start_is_named_before_the_host_fails_on_it(tmp_path, dataset, host_log):
    train(arguments(tmp_path, max_steps=30, save_strategy="steps", save_steps=30), dataset, callbacks=[])
    larger = arguments(tmp_path, max_steps=STEPS, per_device_train_batch_size=8, epoch_guard_position=240)
    with pytest.raises(UnboundLocalError):  # paddlenlp 3.0.0b4's own
        train(larger, dataset, resume=str(tmp_path / "run" / "checkpoint-30"))
    assert "training stopped at step 30 of 32 because the loader ran out of data" in host_log.warnings[-1]


def test_a_run_that_the_user_stops_is_not_called_dry(tmp_path, dataset, host_log):
    class StopAt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 5

    run = train(arguments(tmp_path, max_steps=STEPS), dataset, callbacks=[EpochGuardCallback(), StopAt()])
    assert run.steps == 5
    assert host_log.warnings == []


def test_a_blend_names_its_datasets(tmp_path):
    sizes = {"news": (100, 100, 73), "code": (300, 250, 280, 90), "news2": (500,)}
    prefixes = [write_corpus(tmp_path / "corpus" / name, rows) for name, rows in sizes.items()]
    blend = build_train(
        [0.3, prefixes[0], 0.4, prefixes[1], 0.3, prefixes[2]], 120, SEQ_LENGTH, cache=tmp_path / "cache"
    )
    run = train(arguments(tmp_path, max_steps=30), blend)
    which = np.asarray(blend.dataset_index, dtype=int)
    inner = np.asarray(blend.dataset_sample_index, dtype=int)
    tokens = [sum(rows) for rows in sizes.values()]
    epochs = np.array(
        [
            int(blend.datasets[d].shuffle_idx[i]) * SEQ_LENGTH // tokens[d] + 1
            for d, i in zip(which, inner, strict=True)
        ]
    )
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        epochs.reshape(30, 4).mean(axis=1)
    )
    for at, name in enumerate(sizes):
        drawn = epochs[which == at]
        points = dict(run.scalars("epoch_guard/epoch_loss", name))
        assert set(points) == set(drawn)
        assert all(f"{name}/epoch_{epoch}" in run.directories() for epoch in points)
    # Of the three, only "news" draws from a last epoch that is shuffled separately: at its own position 34.
    boundary = np.flatnonzero((which == 0) & (inner >= 34))[0]
    assert [one for one in run.directories() if "boundary" in one] == ["news/boundary_1_to_2"]
    assert {step for step, _ in run.scalars("train/loss", "news/boundary_1_to_2")} == {boundary // 4 + 1}


@pytest.mark.parametrize("event", ["scalar", "text", "flush", "close"])
def test_a_fault_in_reporting_never_stops_or_changes_the_run(tmp_path, dataset, host_log, monkeypatch, event):
    args = arguments(tmp_path, max_steps=STEPS, logging_steps=10)
    plain = train(args, dataset)
    messages = len(host_log.warnings)

    def full(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(EpochGuardLog, event, full)
    run = train(args, dataset)
    assert run.losses == plain.losses
    assert len(host_log.warnings) == messages + 1
    assert "tracking switched off, training goes on" in host_log.warnings[-1]
    assert "no space left on device" in host_log.warnings[-1]


def test_the_first_step_does_not_wait_for_the_trace_of_large_data(tmp_path, dataset, monkeypatch):
    steps_done, waited = threading.Event(), []

    class Step(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                steps_done.set()

    def slow(*args, **named):
        waited.append(steps_done.wait(60))
        return trace(*args, **named)

    values = {"max_steps": STEPS, "logging_steps": 4}
    at_once = train(arguments(tmp_path / "at-once", **values), dataset)
    monkeypatch.setattr(run_trace, "_TRACED_AT_ONCE", 0)
    monkeypatch.setattr(run_trace, "trace", slow)
    run = train(arguments(tmp_path, **values), dataset, callbacks=[EpochGuardCallback(), Step()])
    assert waited == [True]
    assert run.scalars("epoch_guard/exposure")
    for tag in ("epoch_guard/exposure", "epoch_guard/loss_fresh", "epoch_guard/data_epoch"):
        assert run.scalars(tag) == at_once.scalars(tag)


def test_a_fault_in_the_trace_of_large_data_costs_exposure_alone(tmp_path, dataset, host_log, monkeypatch):
    def broken(*_args, **_named):
        raise SystemExit(3)

    monkeypatch.setattr(run_trace, "_TRACED_AT_ONCE", 0)
    monkeypatch.setattr(run_trace, "trace", broken)
    run = train(arguments(tmp_path, max_steps=STEPS), dataset)
    (warning,) = [text for text in host_log.warnings if "SystemExit: 3" in text]
    assert "Data epochs, boundaries and losses by epoch go on" in warning
    assert len(run.scalars("epoch_guard/data_epoch")) == STEPS
    assert run.scalars("epoch_guard/exposure") == []


def test_a_run_that_ends_in_an_exception_leaves_its_record_whole_and_no_thread(tmp_path, dataset):
    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise RuntimeError("a user's own")

    with pytest.raises(RuntimeError, match="a user's own"):
        train(arguments(tmp_path, max_steps=STEPS), dataset, callbacks=[EpochGuardCallback(), Fail()])
    assert not [thread.name for thread in threading.enumerate() if thread.name == "epoch-guard-background"]
    assert read_run(tmp_path / "logs").loss.steps.tolist() == [1, 2, 3, 4]


def test_a_fault_of_ours_before_the_first_step_switches_off_and_trains(tmp_path, dataset, host_log, monkeypatch):
    def broken(*_args):
        raise TypeError("a bug")

    monkeypatch.setattr(host, "describe_loader", broken)
    run = train(arguments(tmp_path, max_steps=3), dataset)
    assert run.steps == 3
    assert host_log.warnings == ["epoch guard: switched off for this run: TypeError: a bug"]


def replace_corpus(prefix, sizes):
    """Puts other text behind a corpus whose index is already built, as a careless update does."""
    write_corpus(Path(prefix), sizes)


def test_a_stale_index_stops_the_run_before_its_first_step(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    build_train([prefix], STEPS * 4, SEQ_LENGTH)
    replace_corpus(prefix, (*SIZES[:-1], SIZES[-1] - 5))
    stale = build_train([prefix], STEPS * 4, SEQ_LENGTH)  # the host finds the old files, and says nothing
    args = arguments(tmp_path, max_steps=STEPS)
    with pytest.raises(EpochGuardError, match=r"_idx\.npy: .*; expected .*Delete these files"):
        train(args, stale)
    assert not (tmp_path / "logs").exists()


def test_a_stale_index_can_be_trained_on_at_the_users_word(tmp_path, host_log):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    build_train([prefix], STEPS * 4, SEQ_LENGTH)
    replace_corpus(prefix, (*SIZES[:-1], SIZES[-1] + 5))
    stale = build_train([prefix], STEPS * 4, SEQ_LENGTH)
    run = train(arguments(tmp_path, max_steps=3, epoch_guard_on_mismatch="warn"), stale)
    assert run.steps == 3
    assert run.directories() == []
    assert "switched off for this run" in host_log.warnings[0]


@pytest.mark.parametrize("change", [-(2**31), -100])
def test_a_corpus_with_wrong_pointers_stops_the_run_before_its_first_step(tmp_path, change):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    shift_pointers(prefix, slice(4, None), change)
    dataset = build_train([prefix], STEPS * 4, SEQ_LENGTH)
    with pytest.raises(
        EpochGuardError, match=r"text\.idx: document 4 starts at byte .* Build or merge the corpus again"
    ):
        train(arguments(tmp_path, max_steps=STEPS), dataset)
    assert not (tmp_path / "logs").exists()


def test_the_document_list_which_the_host_does_not_read_stops_no_run(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    end_document_list(prefix, 3)
    run = train(arguments(tmp_path, max_steps=3), build_train([prefix], STEPS * 4, SEQ_LENGTH))
    assert run.steps == 3
    assert run.directories() != []


def test_one_callback_serves_two_runs_in_turn(tmp_path, dataset):
    guard = EpochGuardCallback()
    first = train(arguments(tmp_path / "a", max_steps=STEPS), dataset, callbacks=[guard])
    second = train(arguments(tmp_path / "b", max_steps=STEPS), dataset, callbacks=[guard])
    assert first.scalars("epoch_guard/data_epoch") == second.scalars("epoch_guard/data_epoch")


def test_a_corpus_that_a_blend_lists_twice_is_told_and_counted_once(tmp_path, host_log):
    text = write_corpus(tmp_path / "corpus" / "text", SIZES)
    other = write_corpus(tmp_path / "corpus" / "other", SIZES, first=1000)  # the same sizes, another text
    parts = [0.4, text, 0.3, other, 0.3, text]
    blend = build_train(parts, STEPS * 4, SEQ_LENGTH, cache=tmp_path / "cache")
    seen, exposures = Counter(), []
    for step in range(STEPS):
        priors = []
        for position in range(4 * step, 4 * step + 4):
            for token in blend[position]["text"][:-1].tolist():  # tokens count up: each names its place
                priors.append(seen[token])
                seen[token] += 1
        exposures.append(np.mean(priors))
    changes = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 10}
    run = train(arguments(tmp_path, **changes), blend)
    assert [value for _, value in run.scalars("epoch_guard/exposure")] == pytest.approx(exposures)
    assert exposures[20] > 0.1
    (said,) = [warning for warning in host_log.warnings if "same corpus" in warning]
    assert "text-0 and text-2 are the same corpus" in said
    resumed = train(arguments(tmp_path, **changes), blend, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert [value for _, value in resumed.scalars("epoch_guard/exposure")][-12:] == pytest.approx(exposures[20:])


def test_datasets_that_may_be_one_corpus_are_told(tmp_path, host_log):
    prefixes = [write_corpus(tmp_path / "corpus" / name, SIZES) for name in ("text", "copy")]
    blend = build_train([0.5, prefixes[0], 0.5, prefixes[1]], 40, SEQ_LENGTH, cache=tmp_path / "cache")
    for one in blend.datasets:
        one[0]  # the host holds its files open
    os.rename(f"{prefixes[1]}.bin", tmp_path / "moved.bin")
    train(arguments(tmp_path, max_steps=10), blend)
    (said,) = [warning for warning in host_log.warnings if "document sizes" in warning]
    assert "text and copy have the same document sizes" in said
