"""Every road that PaddleNLP's Trainer takes to the data: what the model saw is what the guard says was drawn."""

import numpy as np
import paddle
import pytest
from paddlenlp.trainer import Trainer, TrainerCallback

from corpora import build_train, write_corpus
from followed import FollowedGuard, assert_left_over_counts_once, data_epochs, drawn, first_token, followed
from paddle_epoch_guard import EpochGuardError
from pretraining import PretrainingTrainer
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
# 809 tokens, 101 samples a data epoch. For 128 samples two of them are built, 202 samples; the boundary is at 101.
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
BATCH = 4


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", SIZES)


@pytest.fixture(scope="module")
def dataset(prefix):
    return build_train([prefix], 128, SEQ_LENGTH)


class InOrderTrainer(Trainer):
    """``paddle.io.BatchSampler`` without shuffle."""

    def _get_train_sampler(self):
        args = self.args
        return paddle.io.BatchSampler(
            self.train_dataset,
            shuffle=False,
            batch_size=args.per_device_train_batch_size,
            drop_last=args.dataloader_drop_last,
        )


class DividingTrainer(Trainer):
    """``paddle.io.DistributedBatchSampler``, of one rank."""

    shuffle = False

    def _get_train_sampler(self):
        args = self.args
        return paddle.io.DistributedBatchSampler(
            self.train_dataset,
            batch_size=args.per_device_train_batch_size,
            shuffle=self.shuffle,
            num_replicas=args.dataset_world_size,
            rank=args.dataset_rank,
            drop_last=args.dataloader_drop_last,
        )


class ShufflingTrainer(DividingTrainer):
    """The sampler of the base Trainer where there is more than one rank."""

    shuffle = True


TRAINERS = [InOrderTrainer, DividingTrainer, ShufflingTrainer]


def epochs_of(dataset, positions):
    return data_epochs(dataset, positions, SEQ_LENGTH, sum(SIZES))


def delivered(trainer, dataset, drop_last, epoch):
    """The microbatches of a trainer epoch, by the real sampler: positions of the index."""
    sampler = paddle.io.DistributedBatchSampler(
        dataset, BATCH, num_replicas=1, rank=0, shuffle=trainer is ShufflingTrainer, drop_last=drop_last
    )
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_samplers_of_paddle_are_followed_through_three_trainer_epochs(
    tmp_path, dataset, host_log, trainer, accumulation, drop_last
):
    guard = FollowedGuard()
    args = arguments(
        tmp_path,
        num_train_epochs=3,
        gradient_accumulation_steps=accumulation,
        dataloader_drop_last=drop_last,
        logging_steps=5,
        save_strategy="steps",
        save_steps=7,
    )
    run = train(args, dataset, trainer=trainer, callbacks=[guard], model=KnownLosses)
    each = [delivered(trainer, dataset, drop_last, epoch) for epoch in range(3)]
    steps = len(each[0]) // accumulation
    assert run.steps == 3 * steps
    # Microbatches for which no step is left are drawn before the next trainer epoch, but not at the end of the run.
    last = each[2][: steps * accumulation]
    batches = [*each[0], *each[1], *last]
    assert run.first_tokens == [[first_token(dataset, p) for p in batch] for batch in batches]
    assert followed(guard, dataset, 1, run.steps) == drawn(run)

    # By step: what was left over belongs to the first step of the next trainer epoch.
    by_step = []
    for number, one in enumerate(each):
        left = each[number - 1][steps * accumulation :] if number else []
        for step in range(steps):
            own = one[step * accumulation : (step + 1) * accumulation]
            by_step.append(np.array(sum([*(left if step == 0 else []), *own], [])))
    epochs = [epochs_of(dataset, positions) + 2 * (at // steps) for at, positions in enumerate(by_step)]
    for number in (1, 2):
        left = sum(each[number - 1][steps * accumulation :], [])
        epochs[number * steps][: len(left)] -= 2
    windows = dict(run.scalars("epoch_guard/data_epoch"))
    assert set(windows) == set(run.losses)
    start = 0
    for stop in windows:
        assert windows[stop] == pytest.approx(np.concatenate(epochs[start:stop]).mean())
        start = stop

    # The loss of each data epoch, sample by sample, though the trainer's mean counts what was left over too often.
    assert not any("by share" in text for text in host_log.of_guard())
    assert dict(run.scalars("epoch_guard/epoch_loss")) == {
        epoch: pytest.approx(loss, rel=1e-4)
        for epoch, loss in expected_losses(dataset, each, steps * accumulation, trainer is ShufflingTrainer)
    }
    boundaries = [one for one in run.directories() if "boundary" in one]
    lines = {one: {step for step, _ in run.scalars("train/loss", one)} for one in boundaries}
    between = {"boundary_2_to_3": {steps + 1}, "boundary_4_to_5": {2 * steps + 1}}
    if trainer is ShufflingTrainer:
        # The index's own boundary is none of the order that is drawn.
        assert lines == between
        assert sum("which is shuffled already" in text for text in host_log.warnings) == 1
        assert len(host_log.warnings) == 1
    else:
        crossed = 101 // (BATCH * accumulation) + 1
        own = {f"boundary_{1 + 2 * n}_to_{2 + 2 * n}": {n * steps + crossed} for n in range(3)}
        assert lines == between | own
        assert host_log.warnings == []


def expected_losses(dataset, each, trained_of_last, shuffled):
    """By data epoch, the mean over its samples of microbatches that weigh alike.

    The sample that crosses the index's boundary is drawn when the mean of its data epoch has been written.
    """
    sums, weights = {}, {}
    for number, one in enumerate(each):
        for batch in one if number < 2 else one[:trained_of_last]:
            losses = [KnownLosses.of(dataset[p]["text"][:-1]).mean() for p in batch]
            for place, loss, epoch in zip(batch, losses, epochs_of(dataset, batch) + 2 * number, strict=True):
                if not shuffled and place >= 101 and epoch % 2:
                    continue
                sums[epoch] = sums.get(epoch, 0) + loss * BATCH / len(batch)
                weights[epoch] = weights.get(epoch, 0) + BATCH / len(batch)
    return [(epoch, sums[epoch] / weights[epoch]) for epoch in sums]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_resumed_anywhere_the_rest_is_as_if_never_interrupted(tmp_path, dataset, trainer, drop_last):
    guard = FollowedGuard()
    args = arguments(
        tmp_path,
        num_train_epochs=3,
        gradient_accumulation_steps=4,
        dataloader_drop_last=drop_last,
        save_strategy="steps",
        save_steps=4,
    )
    whole = train(args, dataset, trainer=trainer, callbacks=[guard])
    assert whole.steps == 36
    expected = [followed(guard, dataset, step, step) for step in range(1, 37)]
    data_epochs = dict(whole.scalars("epoch_guard/data_epoch"))
    for step in (4, 12, 20, 24, 32):
        again = FollowedGuard()
        run = train(
            args, dataset, trainer=trainer, callbacks=[again], resume=str(tmp_path / "run" / f"checkpoint-{step}")
        )
        rest = [list(tokens) for tokens in expected[step:]]
        if step % 12 == 0:  # the trainer does not draw again what was left over before it saved
            rest[0] = rest[0][-4 * BATCH :]
        assert drawn(run) == sum(rest, [])
        assert followed(again, dataset, step + 1, 36) == drawn(run)
        points = run.scalars("epoch_guard/data_epoch")[-(36 - step) :]
        later = points[step % 12 == 0 :]
        assert later == [(at, pytest.approx(data_epochs[at])) for at, _ in later]


def test_an_epoch_that_is_logged_at_its_end_has_its_loss_once(tmp_path, dataset, host_log):
    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=4, logging_strategy="epoch")
    run = train(args, dataset, trainer=DividingTrainer, model=KnownLosses)
    # Closed at boundaries (mixed steps 7, 13 and 19), and with each trainer epoch's last step.
    assert list(run.losses) == [6, 7, 12, 13, 18, 19, 24]
    assert min(run.losses.values()) > 1
    assert not any("by share" in text for text in host_log.of_guard())


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_pretraining_sampler_is_followed_when_it_is_read_again(tmp_path, dataset, host_log, drop_last):
    guard = FollowedGuard()
    args = arguments(
        tmp_path, max_steps=30, gradient_accumulation_steps=4, dataloader_drop_last=drop_last, logging_steps=4
    )
    run = train(args, dataset, callbacks=[guard], model=KnownLosses)
    # Each trainer epoch has 12 steps, and 2 or 3 microbatches over, which are drawn before the next one.
    positions = [*range(200 if drop_last else 202)] * 2 + [*range(96)]
    assert drawn(run) == [first_token(dataset, p) for p in positions]
    assert followed(guard, dataset, 1, 30) == drawn(run)
    assert not any("by share" in text for text in host_log.of_guard())
    assert "the loader ran out of data after step 12" in host_log.warnings[-1]


@pytest.mark.parametrize("trainer", [PretrainingTrainer, *TRAINERS])
def test_accumulation_that_the_trainer_lowers_is_the_one_that_is_followed(tmp_path, dataset, trainer):
    guard = FollowedGuard()
    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=80)
    run = train(args, dataset, trainer=trainer, callbacks=[guard])
    assert (run.steps, args.gradient_accumulation_steps) == (2, 51)  # a step is a trainer epoch
    assert len(drawn(run)) == 2 * 202
    assert followed(guard, dataset, 1, 2) == drawn(run)


@pytest.mark.parametrize("step", [5, 20, 30])
def test_later_trainer_epochs_of_a_resumed_run_read_all_of_the_data(tmp_path, dataset, host_log, step):
    """By itself the trainer would read only the tail again, or, from the second trainer epoch on, nothing at all."""
    values = {"max_steps": 40, "gradient_accumulation_steps": 4, "save_strategy": "steps", "save_steps": step}
    whole = train(arguments(tmp_path, **values), dataset, callbacks=[])
    guard = FollowedGuard()
    checkpoint = str(tmp_path / "run" / f"checkpoint-{step}")
    run = train(arguments(tmp_path, **values), dataset, callbacks=[guard], resume=checkpoint)
    assert run.steps == 40
    before = 202 * (step // 12) + 16 * (step % 12)
    assert drawn(run) == drawn(whole)[before:]
    assert followed(guard, dataset, step + 1, 40) == drawn(run)
    said = [text for text in host_log.warnings if "is read from its beginning" in text]
    assert len(said) == 1
    tables = [text for text in host_log.of_guard() if "what differs" in text]
    assert len(tables) == (step > 12)


def test_so_they_do_where_the_dataset_has_no_sample_index(tmp_path, host_log):
    samples = [{"text": np.arange(start, start + 9)} for start in range(40)]
    values = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 4}
    whole = train(arguments(tmp_path, **values), samples, callbacks=[])
    run = train(arguments(tmp_path, **values), samples, resume=str(tmp_path / "run" / "checkpoint-4"))
    assert drawn(run) == drawn(whole)[16:]
    assert sum("is read from its beginning" in text for text in host_log.warnings) == 1
    assert run.scalars("epoch_guard/data_epoch")[-1] == (30, 3.0)


CHANGED = {
    "batch": {"per_device_train_batch_size": 2},
    "accumulation": {"gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("trainer", [InOrderTrainer, ShufflingTrainer])
def test_a_resume_that_would_read_on_elsewhere_is_refused(tmp_path, prefix, dataset, trainer, change):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 20}
    train(arguments(tmp_path, **values), dataset, trainer=trainer)
    checkpoint = str(tmp_path / "run" / "checkpoint-20")
    with pytest.raises(EpochGuardError, match=r"start of the sampler was 80, is .*cannot be set"):
        train(arguments(tmp_path, **values, **CHANGED[change]), dataset, trainer=trainer, resume=checkpoint)
    other = build_train([prefix], 250, SEQ_LENGTH)
    with pytest.raises(EpochGuardError, match="samples of the index was 202, is 303"):
        train(arguments(tmp_path, **values), other, trainer=trainer, resume=checkpoint)
    with pytest.raises(EpochGuardError, match=r"kind of sampler was paddle\.io, is pretraining"):
        train(arguments(tmp_path, **values), dataset, resume=checkpoint)


@pytest.mark.parametrize("trainer", [InOrderTrainer, ShufflingTrainer])
def test_a_resume_that_reads_on_where_it_stopped_is_none_the_worse_for_other_sizes(tmp_path, dataset, trainer):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 20, "dataloader_drop_last": True}
    whole = train(arguments(tmp_path, gradient_accumulation_steps=2, **values), dataset, trainer=trainer)
    halves = arguments(
        tmp_path, gradient_accumulation_steps=4, per_device_train_batch_size=2, **{**values, "num_train_epochs": 3}
    )
    guard = FollowedGuard()
    run = train(halves, dataset, trainer=trainer, callbacks=[guard], resume=str(tmp_path / "run" / "checkpoint-20"))
    assert drawn(run)[:40] == drawn(whole)[160:200]
    assert followed(guard, dataset, 21, 75) == drawn(run)


def test_a_resume_without_a_sidecar_goes_on_where_nothing_is_in_doubt(tmp_path, dataset):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 20}
    whole = train(arguments(tmp_path, **values), dataset, trainer=ShufflingTrainer, callbacks=[])
    checkpoint = str(tmp_path / "run" / "checkpoint-60")
    guard = FollowedGuard()
    run = train(arguments(tmp_path, **values), dataset, trainer=ShufflingTrainer, callbacks=[guard], resume=checkpoint)
    assert drawn(run) == drawn(whole)[202 + 9 * BATCH :]
    assert followed(guard, dataset, 61, 102) == drawn(run)
    with pytest.raises(EpochGuardError, match="in doubt whether the order goes on"):
        train(
            arguments(tmp_path, **values, per_device_train_batch_size=2),
            dataset,
            trainer=ShufflingTrainer,
            resume=checkpoint,
        )
    with pytest.raises(EpochGuardError, match="cannot be set to a position, and goes on at 238"):
        train(
            arguments(tmp_path, **values, epoch_guard_position=240),
            dataset,
            trainer=ShufflingTrainer,
            resume=checkpoint,
        )


UNIFIED = {
    InOrderTrainer: "begins at position 0 in each trainer epoch",
    DividingTrainer: "begins at position 0 in each trainer epoch",
    ShufflingTrainer: "shuffles the whole index itself",
    Trainer: "is not supported",
}


@pytest.mark.parametrize("trainer", UNIFIED)
def test_unified_is_refused_with_the_reason(tmp_path, dataset, trainer):
    with pytest.raises(EpochGuardError, match=f"--epoch_guard unified cannot be: .*{UNIFIED[trainer]}"):
        train(arguments(tmp_path, max_steps=3, epoch_guard="unified"), dataset, trainer=trainer)


class CutShort(TrainerCallback):
    """Ends the first trainer epoch in the middle of a step."""

    def __init__(self):
        self.done = False

    def on_substep_end(self, args, state, control, **kwargs):
        control.should_epoch_stop = state.global_step == 5 and not self.done
        self.done |= control.should_epoch_stop


@pytest.mark.parametrize("trainer", [PretrainingTrainer, *TRAINERS])
def test_a_trainer_epoch_that_is_cut_short_is_followed(tmp_path, dataset, trainer):
    guard = FollowedGuard()
    args = arguments(tmp_path, max_steps=20, gradient_accumulation_steps=4)
    run = train(args, dataset, trainer=trainer, callbacks=[CutShort(), guard])
    assert run.steps == 17
    found = followed(guard, dataset, 1, 17)
    assert found == drawn(run)[: len(found)]
    assert len(drawn(run)) - len(found) == 10  # left over at the end, for no step


def test_skipped_steps_pass_over_what_was_left_over_too(tmp_path, dataset):
    guard = FollowedGuard()
    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=4, skip_data_intervals=[[11, 13]])
    run = train(args, dataset, trainer=ShufflingTrainer, callbacks=[guard])
    trained = [step for step in range(1, 25) if not 11 <= step <= 13]
    assert drawn(run) == sum((followed(guard, dataset, step, step) for step in trained), [])
    exposures = dict(run.scalars("epoch_guard/exposure"))
    assert exposures[1] < 0.5 < exposures[24]


def test_data_that_the_weights_have_seen_in_other_passes_counts_in_the_exposure(tmp_path, dataset):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 102}
    train(arguments(tmp_path, **values), dataset, trainer=ShufflingTrainer)
    args = arguments(tmp_path, num_train_epochs=1, ignore_load_lr_and_optim=True)
    checkpoint = str(tmp_path / "run" / "checkpoint-102")
    guard = FollowedGuard(resume_from_checkpoint=checkpoint)
    run = train(args, dataset, trainer=ShufflingTrainer, callbacks=[guard], resume=checkpoint)
    assert all(value > 3.5 for _, value in run.scalars("epoch_guard/exposure"))


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_exposure_of_three_trainer_epochs_is_exact(tmp_path, dataset, accumulation):
    args = arguments(tmp_path, num_train_epochs=3, gradient_accumulation_steps=accumulation)
    guard = FollowedGuard()
    run = train(args, dataset, trainer=ShufflingTrainer, callbacks=[guard])
    seen = np.zeros(sum(SIZES), dtype=int)
    expected = []
    for step in range(1, run.steps + 1):
        found = []
        for position in guard.plan.index.order.at(guard.plan.schedule.positions(step, 0)):
            tokens = dataset[int(position)]["text"][:-1].astype(int)
            found += seen[tokens].tolist()
            seen[tokens] += 1
        expected.append(np.mean(found))
    assert [value for _, value in run.scalars("epoch_guard/exposure")] == pytest.approx(expected)


@pytest.mark.parametrize("resume", [None, 3])
def test_of_an_ordinary_dataset_what_is_left_over_does_not_count_twice(tmp_path, resume):
    assert_left_over_counts_once(tmp_path, Trainer, resume)


class Stream(paddle.io.IterableDataset):
    """Without a length."""

    def __iter__(self):
        for start in range(40):
            yield {"text": np.arange(start, start + 9)}


def test_a_stream_is_followed_by_trainer_epochs_after_a_resume_too(tmp_path):
    args = arguments(tmp_path, max_steps=16, save_strategy="steps", save_steps=4)
    whole = train(args, Stream(), trainer=Trainer)
    assert [epoch for _, epoch in whole.scalars("epoch_guard/trainer_epoch")] == [1] * 10 + [2] * 6
    run = train(args, Stream(), trainer=Trainer, resume=str(tmp_path / "run" / "checkpoint-4"))
    assert [epoch for _, epoch in run.scalars("epoch_guard/trainer_epoch")][16:] == [1] * 6 + [2] * 6
    assert run.losses == {step: loss for step, loss in whole.losses.items() if step > 4}
