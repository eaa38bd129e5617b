"""Runs of PaddleFormers' base Trainer: what the model saw is what the guard says was drawn."""

import json

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleformers")

from paddleformers.utils.batch_sampler import MappingBatchSampler, MappingDistributedBatchSampler

from corpora import build_train, write_corpus
from followed import FollowedGuard, assert_left_over_counts_once, data_epochs, drawn, first_token, followed
from hosts import Trainer
from paddle_epoch_guard import EpochGuardError
from ranks import fork
from test_distributed import (
    SIZES,
    TWO_RANKS_IN_PASSES,
    ranks_that_are_followed,
    results,
    tokens_drawn,
    tokens_followed,
)
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

# 809 tokens, 101 samples a data epoch. For 128 samples two of them are built, 202 samples; the boundary is at 101.
LENGTH, BATCH, SAMPLES, BOUNDARY = 8, 4, 202, 101
SAVES = {"save_strategy": "steps", "save_steps": 4}


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    """Before a step of several microbatches paddleformers 1.2.0 waits for a device, which a CPU is not taken for."""
    monkeypatch.setattr(paddle.device, "synchronize", lambda: None)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", SIZES)


@pytest.fixture(scope="module")
def dataset(prefix):
    return build_train([prefix], 128, LENGTH)


def delivered(dataset, shuffle, drop_last, epoch, seed=7):
    """The microbatches of a trainer epoch, by the real sampler: positions of the index."""
    sampler = MappingBatchSampler(dataset, BATCH, shuffle, drop_last, data_seed=seed)
    sampler.set_epoch(epoch)
    state = paddle.get_rng_state()
    found = list(sampler)
    paddle.set_rng_state(state)
    return found


def epochs_of(dataset, positions):
    return data_epochs(dataset, positions, LENGTH, sum(SIZES))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_base_trainer_is_followed_through_three_trainer_epochs(
    tmp_path, dataset, host_log, shuffle, accumulation, drop_last
):
    guard = FollowedGuard()
    args = arguments(
        tmp_path,
        num_train_epochs=3,
        gradient_accumulation_steps=accumulation,
        dataloader_shuffle=shuffle,
        dataloader_drop_last=drop_last,
        logging_steps=5,
    )
    run = train(args, dataset, trainer=Trainer, callbacks=[guard], model=KnownLosses)
    each = [delivered(dataset, shuffle, drop_last, epoch) for epoch in range(3)]
    steps = len(each[0]) // accumulation
    assert run.steps == 3 * steps
    # Microbatches for which no step is left are drawn before the next trainer epoch, but not at the end of the run.
    each[2] = each[2][: steps * accumulation]
    batches = sum(each, [])
    assert run.first_tokens == [[first_token(dataset, p) for p in batch] for batch in batches]
    assert followed(guard, dataset, 1, run.steps) == drawn(run)

    # What was left over belongs to the first step of the next trainer epoch.
    epoch_of_batch = [epochs_of(dataset, batch) + 2 * number for number, one in enumerate(each) for batch in one]
    starts = [0]
    for step in range(1, run.steps + 1):
        number, within = divmod(step - 1, steps)
        starts.append(sum(map(len, each[:number])) + (within + 1) * accumulation)
    points = dict(run.scalars("epoch_guard/data_epoch"))
    assert set(points) == set(run.losses)
    last = 0
    for step, value in points.items():
        assert value == pytest.approx(np.concatenate(epoch_of_batch[starts[last] : starts[step]]).mean())
        last = step

    # The loss of each data epoch, sample by sample. A microbatch weighs as any other, how many samples it may hold.
    sums, weights = {}, {}
    for number, one in enumerate(each):
        for batch in one:
            for place, epoch in zip(batch, epochs_of(dataset, batch) + 2 * number, strict=True):
                if not shuffle and place >= BOUNDARY and epoch % 2:
                    continue  # it crosses the boundary, and is drawn when the mean of its data epoch has been written
                loss = KnownLosses.of(dataset[int(place)]["text"][:-1]).mean()
                sums[epoch] = sums.get(epoch, 0) + loss * BATCH / len(batch)
                weights[epoch] = weights.get(epoch, 0) + BATCH / len(batch)
    assert dict(run.scalars("epoch_guard/epoch_loss")) == {
        epoch: pytest.approx(sums[epoch] / weights[epoch], rel=1e-4) for epoch in sums
    }
    assert not any("by share" in text for text in host_log.of_guard())

    boundaries = [one for one in run.directories() if "boundary" in one]
    lines = {one: {step for step, _ in run.scalars("train/loss", one)} for one in boundaries}
    between = {"boundary_2_to_3": {steps + 1}, "boundary_4_to_5": {2 * steps + 1}}
    if shuffle:
        assert lines == between  # the index's own boundary is none of the order that is drawn
        (told,) = host_log.warnings
        assert "MappingBatchSampler shuffles the positions of the sample index, which is shuffled already" in told
    else:
        crossed = BOUNDARY // (BATCH * accumulation) + 1
        own = {f"boundary_{1 + 2 * n}_to_{2 + 2 * n}": {n * steps + crossed} for n in range(3)}
        assert lines == between | own
        assert host_log.warnings == []


def test_accumulation_that_the_trainer_lowers_is_the_one_that_is_followed(tmp_path, dataset):
    guard = FollowedGuard()
    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=80)
    run = train(args, dataset, trainer=Trainer, callbacks=[guard])
    assert (run.steps, args.gradient_accumulation_steps) == (2, 51)  # a step is a trainer epoch
    assert len(drawn(run)) == 2 * SAMPLES
    assert followed(guard, dataset, 1, 2) == drawn(run)


def test_skipped_steps_pass_over_what_was_left_over_too(tmp_path, dataset):
    guard = FollowedGuard()
    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=4, skip_data_intervals=[[11, 13]])
    run = train(args, dataset, trainer=Trainer, callbacks=[guard])
    trained = [step for step in range(1, 25) if not 11 <= step <= 13]
    assert drawn(run) == sum((followed(guard, dataset, step, step) for step in trained), [])


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_exposure_of_three_trainer_epochs_is_exact(tmp_path, dataset, accumulation):
    guard = FollowedGuard()
    args = arguments(tmp_path, num_train_epochs=3, gradient_accumulation_steps=accumulation)
    run = train(args, dataset, trainer=Trainer, callbacks=[guard])
    schedule, order = guard.plan.schedule, guard.plan.index.order
    seen = np.zeros(sum(SIZES), dtype=int)
    expected = []
    for step in range(1, run.steps + 1):
        found = []
        for place in order.at(schedule.positions(step, 0)):
            tokens = dataset[int(place)]["text"][:-1].astype(int)
            found += seen[tokens].tolist()
            seen[tokens] += 1
        expected.append(np.mean(found))
    assert [value for _, value in run.scalars("epoch_guard/exposure")] == pytest.approx(expected)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_resumed_anywhere_the_rest_is_as_if_never_interrupted(tmp_path, dataset, host_log, shuffle, drop_last):
    guard = FollowedGuard()
    args = arguments(
        tmp_path,
        num_train_epochs=3,
        gradient_accumulation_steps=4,
        dataloader_shuffle=shuffle,
        dataloader_drop_last=drop_last,
        **SAVES,
    )
    whole = train(args, dataset, trainer=Trainer, callbacks=[guard], model=KnownLosses)
    assert whole.steps == 36
    expected = [followed(guard, dataset, step, step) for step in range(1, 37)]
    data_epochs, exposures = (dict(whole.scalars(f"epoch_guard/{tag}")) for tag in ("data_epoch", "exposure"))
    for step in (4, 12, 20, 24, 32):
        checkpoint = tmp_path / "run" / f"checkpoint-{step}"
        sidecar = json.loads((checkpoint / "epoch_guard.json").read_text())
        assert sidecar["epoch_sampling"] == {
            "samples": SAMPLES,
            "length": SAMPLES,
            "shuffled": shuffle,
            "kind": "paddleformers",
            "seed": 7 if shuffle else 0,
        }
        again = FollowedGuard()
        run = train(args, dataset, trainer=Trainer, callbacks=[again], resume=str(checkpoint), model=KnownLosses)
        rest = [list(tokens) for tokens in expected[step:]]
        if step % 12 == 0:  # the trainer does not draw again what was left over before it saved
            rest[0] = rest[0][-4 * BATCH :]
        assert drawn(run) == sum(rest, [])
        assert followed(again, dataset, step + 1, 36) == drawn(run)
        later = run.scalars("epoch_guard/data_epoch")[-(36 - step) :][step % 12 == 0 :]
        assert later == [(at, pytest.approx(data_epochs[at])) for at, _ in later]
        if step < 12:  # nothing was left out yet
            assert dict(run.scalars("epoch_guard/exposure")) == pytest.approx(exposures)
    assert not any("by share" in text or "what differs" in text for text in host_log.of_guard())


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_resume_that_would_read_on_elsewhere_is_refused(tmp_path, prefix, dataset, shuffle):
    values = {"num_train_epochs": 2, "dataloader_shuffle": shuffle, **SAVES, "save_steps": 20}
    train(arguments(tmp_path, **values), dataset, trainer=Trainer)
    checkpoint = str(tmp_path / "run" / "checkpoint-20")
    for change in ({"per_device_train_batch_size": 2}, {"gradient_accumulation_steps": 2}):
        with pytest.raises(EpochGuardError, match=r"start of the sampler was 80, is .*cannot be set"):
            train(arguments(tmp_path, **values, **change), dataset, trainer=Trainer, resume=checkpoint)
    other = build_train([prefix], 250, LENGTH)
    with pytest.raises(EpochGuardError, match="samples of the index was 202, is 303"):
        train(arguments(tmp_path, **values), other, trainer=Trainer, resume=checkpoint)
    with pytest.raises(EpochGuardError, match=r"kind of sampler was paddleformers, is pretraining"):
        train(arguments(tmp_path, **values), dataset, resume=checkpoint)
    turned = arguments(tmp_path, **{**values, "dataloader_shuffle": not shuffle})
    with pytest.raises(EpochGuardError, match=f"shuffle of the sampler was {shuffle}, is {not shuffle}"):
        train(turned, dataset, trainer=Trainer, resume=checkpoint)
    if shuffle:
        with pytest.raises(EpochGuardError, match="seed of the sampler was 7, is 8"):
            train(arguments(tmp_path, **values, **{"seed": 8}), dataset, trainer=Trainer, resume=checkpoint)


def test_other_sizes_that_come_to_the_same_place_read_on(tmp_path, dataset):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 20, "dataloader_drop_last": True}
    whole = train(arguments(tmp_path, gradient_accumulation_steps=2, **values), dataset, trainer=Trainer)
    values |= {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 2, "num_train_epochs": 3}
    guard = FollowedGuard()
    checkpoint = str(tmp_path / "run" / "checkpoint-20")
    run = train(arguments(tmp_path, **values), dataset, trainer=Trainer, callbacks=[guard], resume=checkpoint)
    assert drawn(run)[:40] == drawn(whole)[160:200]
    assert followed(guard, dataset, 21, 75) == drawn(run)


def test_a_resume_without_a_sidecar_goes_on_where_nothing_is_in_doubt(tmp_path, dataset):
    values = {"num_train_epochs": 2, **SAVES, "save_steps": 20}
    whole = train(arguments(tmp_path, **values), dataset, trainer=Trainer, callbacks=[])
    checkpoint = str(tmp_path / "run" / "checkpoint-60")
    guard = FollowedGuard()
    run = train(arguments(tmp_path, **values), dataset, trainer=Trainer, callbacks=[guard], resume=checkpoint)
    assert drawn(run) == drawn(whole)[SAMPLES + 9 * BATCH :]
    assert followed(guard, dataset, 61, 102) == drawn(run)
    args = arguments(tmp_path, **values, per_device_train_batch_size=2)
    with pytest.raises(EpochGuardError, match="in doubt whether the order goes on"):
        train(args, dataset, trainer=Trainer, resume=checkpoint)


@pytest.mark.parametrize("shuffle", [False, True])
def test_unified_is_refused_with_the_reason(tmp_path, dataset, shuffle):
    why = "shuffles the whole index itself" if shuffle else "begins at position 0 in each trainer epoch"
    args = arguments(tmp_path, max_steps=3, epoch_guard="unified", dataloader_shuffle=shuffle)
    with pytest.raises(EpochGuardError, match=f"--epoch_guard unified cannot be: .*{why}"):
        train(args, dataset, trainer=Trainer)


def test_data_that_is_read_from_its_beginning_again_is_followed(tmp_path, dataset):
    values = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 60}
    train(arguments(tmp_path, **values), dataset, trainer=Trainer)
    guard = FollowedGuard()
    args = arguments(tmp_path, **values, ignore_data_skip=True)
    checkpoint = str(tmp_path / "run" / "checkpoint-60")
    run = train(args, dataset, trainer=Trainer, callbacks=[guard], resume=checkpoint)
    second = sum(delivered(dataset, shuffle=True, drop_last=False, epoch=1), [])
    assert drawn(run) == [first_token(dataset, p) for p in second][: 42 * BATCH]
    assert followed(guard, dataset, 61, 102) == drawn(run)


class OfOtherRanks(Trainer):
    def _get_train_sampler(self):
        return MappingDistributedBatchSampler(self.train_dataset, BATCH, num_replicas=2, rank=1)


def test_a_sampler_for_other_ranks_is_not_followed_which_is_said_once(tmp_path, dataset, host_log):
    run = train(arguments(tmp_path, max_steps=4), dataset, trainer=OfOtherRanks)
    (told,) = host_log.warnings
    assert "is not supported (it takes this process for rank 1 of 2, but the process is rank 0 of 1" in told
    assert run.scalars("epoch_guard/trainer_epoch") == [(step, 1.0) for step in range(1, 5)]


class Backwards(MappingBatchSampler):
    def __iter__(self):
        return iter(list(super().__iter__())[::-1])


class OrderOfItsOwn(Trainer):
    def _get_train_sampler(self):
        return Backwards(self.train_dataset, BATCH)


def test_an_order_of_its_own_is_not_taken_for_the_known_one(tmp_path, dataset, host_log):
    train(arguments(tmp_path, max_steps=4), dataset, trainer=OrderOfItsOwn)
    (told,) = host_log.warnings
    assert "Backwards is not supported:" in told


@pytest.mark.parametrize("resume", [None, 3])
@pytest.mark.parametrize("trainer", [Trainer, OrderOfItsOwn])
def test_of_an_ordinary_dataset_what_is_left_over_does_not_count_twice(tmp_path, trainer, resume):
    """At a resume none is read that was done: none is passed over."""
    assert_left_over_counts_once(tmp_path, trainer, resume)


def test_two_ranks_are_dealt_one_order_with_an_uneven_tail_and_resume_in_it(tmp_path, prefix):
    """101 samples, of which 100 are read: 25 microbatches for each rank; 6 steps and one left over."""
    dataset = build_train([prefix], 90, LENGTH, cache=tmp_path / "cache")
    assert len(dataset) == 101
    status, output = fork(tmp_path, prefix, tmp_path / "cache", **TWO_RANKS_IN_PASSES, then={"resume": 8})
    assert status == 0, output[-3000:]
    whole, rest = ranks_that_are_followed(tmp_path, dataset, of_a_pass=50)
    first_pass = sum((sum(found["followed"][:6], []) + found["followed"][6][:2] for found in whole), [])
    assert sorted(first_pass) == list(range(100))
    assert whole[0]["losses"] == whole[1]["losses"]
    assert rest[0]["losses"] == [loss for loss in whole[0]["losses"] if loss[0] > 8]
    assert "by share" not in output
    assert output.count("which is shuffled already") == 2  # the first rank, in both runs


def test_where_the_trainer_counts_a_step_that_there_is_none_for_a_later_resume_is_refused(tmp_path, prefix):
    """Of 101 samples each rank is dealt 50, five batches of ten; the trainer counts six."""
    dataset = build_train([prefix], 90, LENGTH, cache=tmp_path / "cache")
    options = {**TWO_RANKS_IN_PASSES, "per_device_train_batch_size": 10, "gradient_accumulation_steps": 1}
    options |= {"max_steps": 10, "save_steps": 3, "logging_steps": 1}
    status, output = fork(tmp_path, prefix, tmp_path / "cache", **options, then={"resume": 3})
    assert status == 0, output[-3000:]
    whole, rest = results(tmp_path, ""), results(tmp_path, ".then")
    for rank in (0, 1):
        assert whole[rank]["steps"] == rest[rank]["steps"] == 10
        assert tokens_drawn(whole[rank]) == tokens_followed(whole[rank], dataset)
        assert tokens_drawn(rest[rank]) == tokens_drawn(whole[rank])[30:] == tokens_followed(rest[rank], dataset)
    checkpoint = tmp_path / "run" / "checkpoint-6"
    status, output = fork(tmp_path, prefix, tmp_path / "cache", checkpoint, **options)
    assert status != 0
    assert "the trainer counts 6 steps in a trainer epoch, which has 5: it resumes elsewhere" in output
