"""Whose order a dataset is in: a run keeps its own while others come and go, and gives it back however it ends."""

import contextlib
import copy
import gc
import inspect
import pickle
import shutil

import pytest
from paddle.io import Dataset

from corpora import build_train, write_corpus
from hosts import Trainer, TrainerCallback
from paddle_epoch_guard import EpochGuardCallback, EpochGuardError
from paddle_epoch_guard.host import owner_of
from paddle_epoch_guard.resume import read_sidecar
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.session.session import Session
from training import KnownLosses, TokenModel, arguments, train

pytestmark = pytest.mark.host

SIZES = (60, 7, 130, 1, 58, 190, 23, 136)  # 605 tokens
LENGTH, STEPS, BATCH = 8, 45, 4
"""180 samples: three data epochs, the boundary in step 38."""


@pytest.fixture(params=["corpus", "blend"])
def dataset(tmp_path, request):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    if request.param == "corpus":
        return build_train([prefix], STEPS * BATCH, LENGTH)
    other = write_corpus(tmp_path / "corpus" / "other", SIZES[1:])
    return build_train([0.5, prefix, 0.5, other], STEPS * BATCH, LENGTH)


def order_of(dataset, stop=STEPS * BATCH):
    return [int(dataset[position]["text"][0]) for position in range(stop)]


def drawn(run):
    return [token for batch in run.first_tokens for token in batch]


def unified(folder, **changes):
    return arguments(folder, max_steps=STEPS, epoch_guard="unified", **changes)


class Nested(TrainerCallback):
    """Trains another model on the same dataset, in the middle of a run."""

    def __init__(self, folder, dataset, guarded, mode):
        self.folder, self.dataset, self.guarded, self.mode = folder, dataset, guarded, mode
        self.run = None

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 20:
            inner = arguments(self.folder, max_steps=10, epoch_guard=self.mode)
            callbacks = [EpochGuardCallback()] if self.guarded else []
            self.run = train(inner, self.dataset, callbacks=callbacks)


@pytest.mark.parametrize(("guarded", "mode"), [(True, "track"), (True, "off"), (True, "unified"), (False, "off")])
def test_a_run_within_a_run_takes_nothing_from_it(tmp_path, dataset, host_log, guarded, mode):
    host_order = order_of(dataset)
    whole = train(unified(tmp_path / "whole"), dataset)
    assert drawn(whole) != host_order
    nested = Nested(tmp_path / "inner", dataset, guarded, mode)
    values = {"save_strategy": "steps", "save_steps": 40}
    run = train(unified(tmp_path, **values), dataset, callbacks=[EpochGuardCallback(), nested])
    assert drawn(run) == drawn(whole)
    if mode != "unified":  # an order of its own
        assert drawn(nested.run) == host_order[: 10 * BATCH]
    assert read_sidecar(tmp_path / "run" / "checkpoint-40", 40).position == 160
    assert order_of(dataset) == host_order
    assert owner_of(dataset) is None
    assert host_log.warnings == []


class Head(Dataset):
    """The first samples of a dataset."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 10 * BATCH

    def __getitem__(self, position):
        return self.dataset[position]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_run_within_a_run_through_a_wrapper_takes_nothing_from_it(tmp_path, dataset, host_log, guarded):
    host_order = order_of(dataset)
    whole = train(unified(tmp_path / "whole"), dataset)
    nested = Nested(tmp_path / "inner", Head(dataset), guarded, "track")
    run = train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), nested])
    assert drawn(run) == drawn(whole)
    assert drawn(nested.run) == host_order[: 10 * BATCH]
    assert order_of(dataset) == host_order
    assert owner_of(dataset) is None


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt])
def test_however_a_run_ends_the_next_one_without_the_guard_draws_in_the_hosts_order(tmp_path, dataset, ending):
    host_order = order_of(dataset)

    class Ends(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 7:
                raise ending("the end")

    model = KnownLosses()
    with pytest.raises(ending):
        train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), Ends()], model=lambda: model)
    assert owner_of(dataset) is None
    assert order_of(dataset) == host_order
    assert not model.loss_func._forward_post_hooks
    plain = train(arguments(tmp_path / "plain", max_steps=STEPS), dataset, callbacks=[])
    assert drawn(plain) == host_order


def test_after_a_run_that_was_made_longer_the_next_one_draws_in_the_hosts_order(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    train(arguments(tmp_path, max_steps=20, save_strategy="steps", save_steps=10), build_train([prefix], 80, LENGTH))
    longer = build_train([prefix], STEPS * BATCH, LENGTH)
    host_order = order_of(longer)
    train(arguments(tmp_path, max_steps=STEPS), longer, resume=str(tmp_path / "run" / "checkpoint-20"))
    plain = train(arguments(tmp_path / "plain", max_steps=STEPS), longer, callbacks=[])
    assert drawn(plain) == host_order


def test_a_loader_over_a_dataset_that_another_run_draws_from_is_refused(tmp_path, dataset):
    """Where the Trainer's loader reads from elsewhere than its ``train_dataset``."""
    from pretraining import PretrainingTrainer

    class Fixed(PretrainingTrainer):
        def get_train_dataloader(self):
            self.train_dataset = dataset
            return super().get_train_dataloader()

    refused = []

    class Inner(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                with pytest.raises(EpochGuardError, match="another run that is not over") as error:
                    train(arguments(tmp_path / "inner", max_steps=3), dataset, trainer=Fixed)
                refused.append(error)

    whole = train(unified(tmp_path / "whole"), dataset)
    run = train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), Inner()])
    assert len(refused) == 1
    assert drawn(run) == drawn(whole)


def test_a_second_callback_stands_down_and_says_so_once(tmp_path, dataset, host_log):
    values = {"save_strategy": "steps", "save_steps": 20}
    once = train(unified(tmp_path / "once", **values), dataset, model=KnownLosses)
    assert host_log.warnings == []
    guards = [EpochGuardCallback(), EpochGuardCallback()]
    twice = train(unified(tmp_path, **values), dataset, callbacks=guards, model=KnownLosses)
    assert drawn(twice) == drawn(once)
    for tag in ("epoch_guard/data_epoch", "epoch_guard/loss_fresh", "epoch_guard/loss_repeat"):
        assert twice.scalars(tag) == once.scalars(tag)
    (warning,) = host_log.warnings
    assert "the callback of this Trainer is there twice" in warning
    again = train(
        unified(tmp_path, **values),
        dataset,
        callbacks=[EpochGuardCallback(), EpochGuardCallback()],
        resume=str(tmp_path / "run" / "checkpoint-20"),
        model=KnownLosses,
    )
    assert drawn(again) == drawn(once)[20 * BATCH :]


def test_one_callback_in_two_trainers_follows_the_outer_one(tmp_path, dataset, host_log):
    guard = EpochGuardCallback()

    class Inner(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 20:
                train(arguments(tmp_path / "inner", max_steps=10), dataset, callbacks=[guard])

    whole = train(unified(tmp_path / "whole"), dataset)
    run = train(unified(tmp_path), dataset, callbacks=[guard, Inner()])
    assert drawn(run) == drawn(whole)
    assert run.scalars("epoch_guard/data_epoch") == whole.scalars("epoch_guard/data_epoch")
    (warning,) = host_log.warnings
    assert "follows another run that is not over" in warning


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_a_checkpoint_that_only_train_is_told_of_is_found(tmp_path, dataset, host_log, mode):
    whole = train(unified(tmp_path, save_strategy="steps", save_steps=20), dataset)
    moved = tmp_path / "elsewhere" / "step20"
    shutil.copytree(tmp_path / "run" / "checkpoint-20", moved)
    shutil.rmtree(tmp_path / "run")
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard=mode), dataset, resume=str(moved))
    assert drawn(run) == drawn(whole)[20 * BATCH :]


def test_the_callback_can_be_copied_and_pickled_while_it_follows_a_run(tmp_path, dataset):
    copies = []

    class Copies(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                copies.extend([copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))])

    guard = EpochGuardCallback(resume_from_checkpoint="somewhere/checkpoint-0")
    whole = train(unified(tmp_path / "whole"), dataset)
    run = train(unified(tmp_path), dataset, callbacks=[guard, Copies()])
    assert drawn(run) == drawn(whole)
    assert [one.resume_from_checkpoint for one in copies] == ["somewhere/checkpoint-0"] * 2
    assert drawn(train(unified(tmp_path / "copy"), dataset, callbacks=copies[:1])) == drawn(whole)


def test_the_model_and_the_host_are_as_they_were(tmp_path, dataset):
    """What was wrapped passes on what it is given, and what comes back."""
    run = train(arguments(tmp_path, max_steps=3), dataset, model=TokenModel)
    assert run.steps == 3


def test_train_is_watched_again_where_something_put_the_hosts_own_function_back(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", inspect.unwrap(Trainer.train))
        EpochGuardCallback()
        assert Trainer.train is not inspect.unwrap(Trainer.train)
    monkeypatch.setattr(Trainer, "train", inspect.unwrap(Trainer.train))
    EpochGuardCallback()
    assert Trainer.train is not inspect.unwrap(Trainer.train)


class Disturb(TrainerCallback):
    """Does something to the trainer after step 12."""

    def __init__(self, what):
        self.what, self.trainer = what, None

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 12:
            self.what(kwargs["train_dataloader"].dataset, self.trainer)


def replace_order(dataset, trainer):
    parts = getattr(dataset, "datasets", [dataset])
    parts[0].shuffle_idx = parts[0].shuffle_idx[:][::-1]


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_where_something_replaces_the_order_of_a_run_no_checkpoint_says_otherwise(tmp_path, dataset, host_log, mode):
    options = {"epoch_guard": mode, "save_strategy": "steps", "save_steps": 10, "max_steps": STEPS}
    train(arguments(tmp_path, **options), dataset, callbacks=[EpochGuardCallback(), Disturb(replace_order)])
    (warning,) = host_log.warnings
    assert "no longer draws by the arrays that this run began with (seen at step 13)" in warning
    assert (tmp_path / "run" / "checkpoint-10" / "epoch_guard.json").is_file()
    assert not (tmp_path / "run" / "checkpoint-20" / "epoch_guard.json").exists()
    with pytest.raises(EpochGuardError, match="was in doubt when the checkpoint was saved"):
        train(arguments(tmp_path, **options), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))


def test_where_batches_and_steps_do_not_agree_no_checkpoint_keeps_the_order(tmp_path, dataset, host_log):
    class Twice(TrainerCallback):
        """A batch is told of that no step trains on."""

        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 12:
                guard.on_load_data_end(args, state, control)

    guard = EpochGuardCallback()
    args = arguments(tmp_path, epoch_guard="unified", save_strategy="steps", save_steps=10, max_steps=STEPS)
    train(args, dataset, callbacks=[guard, Twice()])
    (warning,) = host_log.warnings
    assert "the loader has delivered +1 batches against the schedule at step 13" in warning
    assert not (tmp_path / "run" / "checkpoint-20" / "epoch_guard.json").exists()


def test_a_checkpoint_that_a_later_callback_asks_for_does_not_keep_an_order_in_doubt(tmp_path, dataset, host_log):
    class Ask(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = state.global_step == 14

    train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), Disturb(replace_order), Ask()])
    assert not (tmp_path / "run" / "checkpoint-14" / "epoch_guard.json").exists()
    with pytest.raises(EpochGuardError, match="in doubt"):
        train(unified(tmp_path), dataset, resume=str(tmp_path / "run" / "checkpoint-14"))


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_however_a_run_ends_nothing_of_it_stays_alive(tmp_path, error):
    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if error is not None and state.global_step == 12:
                raise error

    def held():
        return {id(value) for value in gc.get_objects() if isinstance(value, (Session, RunPlan))}

    before = held()
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    guard = EpochGuardCallback()
    dataset = build_train([prefix], STEPS * BATCH, 8)
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        train(arguments(tmp_path, epoch_guard="unified", max_steps=STEPS), dataset, callbacks=[guard, Fail()])
    gc.collect()
    assert guard.session is None
    # The dataset itself the host's loader keeps, with and without a guard (paddlenlp 3.0.0b4).
    assert held() - before == set()
