"""``--epoch_guard_evaluate`` in real runs: when the trainer evaluates, what that changes, and what is said."""

import gc
import multiprocessing
import threading

import numpy as np
import paddle
import pytest
from paddle.io.dataloader import dataloader_iter

from corpora import build_train, write_corpus
from hosts import DistributedBatchSampler, Trainer, TrainerCallback
from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.host.library import import_host
from paddle_epoch_guard.ledger import evaluation_steps
from pretraining import PretrainingTrainer
from training import KnownLosses, TokenModel, arguments, train

pytestmark = pytest.mark.host

SIZES = tuple(3 + 7 * number % 50 for number in range(70))
LENGTH = 8
STEPS = 100


@pytest.fixture
def dataset(tmp_path):
    """Two data epochs, the second one shuffled separately: about 60 steps draw from the first one."""
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, LENGTH)


@pytest.fixture
def held_out(tmp_path):
    sizes = [40 + number for number in range(10)]
    return build_train([write_corpus(tmp_path / "held_out" / "text", sizes, first=30000)], 40, LENGTH)


class Evaluations(TrainerCallback):
    """Keeps when the trainer evaluated, and the losses."""

    def __init__(self):
        self.losses = {}

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        assert state.global_step not in self.losses
        self.losses[state.global_step] = metrics["eval_loss"]


class Keeping(PretrainingTrainer):
    """Keeps the iterator of its evaluation loader, as PaddleNLP's run_pretrain.py does."""

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        loader = getattr(self, "eval_dataloader", None)
        if loader is None:
            loader = self.get_eval_dataloader(self.eval_dataset)
            self.eval_dataloader = loader()
        output = self.evaluation_loop(loader, description="Evaluation", max_eval_iters=self.args.eval_iters)
        self.log(output.metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, output.metrics)
        return output.metrics

    def _get_eval_sampler(self, eval_dataset):
        return DistributedBatchSampler(eval_dataset, batch_size=self.args.per_device_eval_batch_size, drop_last=True)


class Evaluated(TokenModel):
    """Keeps what it was evaluated on."""

    def __init__(self):
        super().__init__()
        self.evaluated = []

    def forward(self, input_ids, labels=None):
        if not self.training:
            self.evaluated.append(input_ids[:, 0].numpy().tolist())
        return super().forward(input_ids, labels)


def evaluated(tmp_path, dataset, held_out, *, callbacks=(), trainer=PretrainingTrainer, resume=None, **changes):
    """The run, and the steps after which it evaluated."""
    # Of a loader that an earlier run kept, a worker would free the queue, and wait for the thread that reads it.
    gc.collect()
    seen = Evaluations()
    values = {"max_steps": STEPS, "logging_steps": 10, "epoch_guard_evaluate": True, "per_device_eval_batch_size": 4}
    args = arguments(tmp_path, **{**values, **changes})
    args.eval_iters = 2
    run = train(
        args,
        dataset,
        callbacks=[EpochGuardCallback(), *callbacks, seen],
        evaluation=held_out,
        trainer=trainer,
        model=Evaluated,
        resume=resume,
    )
    return run, seen.losses


def boundary(dataset):
    """The last step before the boundary, and the first one after it."""
    epoch = np.asarray(dataset.shuffle_idx)[: STEPS * 4] >= (sum(SIZES) - 1) // LENGTH
    first = int(np.argmax(epoch))
    assert epoch[first:].all()
    return first // 4, -(-first // 4) + 1


def planned(dataset):
    return sorted(evaluation_steps([boundary(dataset)], 0, STEPS))


def notes(host_log):
    told = [line for line in host_log.of_guard() if line not in host_log.warnings_of_boundaries]
    return [line for line in told if "evaluation" in line and "Verdict" not in line]


def test_no_process_and_no_thread_is_left_by_an_extra_evaluation(tmp_path, dataset, held_out):
    """The first one here: a fork beside a thread of an earlier loader may deadlock in the host's C++."""
    running = Running()
    evaluated(tmp_path, dataset, held_out, trainer=Keeping, callbacks=[running], dataloader_num_workers=1)
    first = planned(dataset)[0]
    assert len({processes for processes, _ in running.counts}) == 1
    # A thread may be about to end.
    assert max(threads for _, threads in running.counts) <= max(t for _, t in running.counts[:first]) + 2


def test_the_run_has_the_boundary_that_the_tests_need(dataset):
    before, after = boundary(dataset)
    assert 20 < before < after < 80
    assert len(planned(dataset)) == 7


def test_the_trainer_evaluates_at_these_steps_and_windows_end_there(tmp_path, dataset, held_out, host_log):
    run, losses = evaluated(tmp_path, dataset, held_out)
    before, after = boundary(dataset)
    assert list(losses) == planned(dataset)
    assert set(run.losses) == {*range(10, STEPS + 1, 10), *planned(dataset), before, after - 1}
    (note,) = notes(host_log)
    steps = ", ".join(str(step) for step in planned(dataset))
    assert note == (
        f"epoch guard: 7 extra evaluations of 2 batches each: after steps {steps}; the evaluation set has "
        f"{len(held_out)} samples. --epoch_guard_evaluate False leaves them out"
    )


def test_it_is_off_by_default(tmp_path, dataset, held_out, host_log):
    _, losses = evaluated(tmp_path, dataset, held_out, epoch_guard_evaluate=False)
    assert losses == {}
    assert notes(host_log) == []


def test_the_same_data_is_drawn_and_the_loss_is_the_same(tmp_path, dataset, held_out):
    values = {"logging_steps": 1}
    one, _ = evaluated(tmp_path / "one", dataset, held_out, **values)
    other, _ = evaluated(tmp_path / "other", dataset, held_out, epoch_guard_evaluate=False, **values)
    assert one.first_tokens == other.first_tokens
    assert one.losses == other.losses


def test_steps_at_which_the_trainer_evaluates_by_itself_are_evaluated_once(tmp_path, dataset, held_out, host_log):
    before, _ = boundary(dataset)
    values = {"evaluation_strategy": "steps", "eval_steps": before}
    _, losses = evaluated(tmp_path, dataset, held_out, **values)
    assert list(losses) == planned(dataset)
    assert "6 extra evaluations" in notes(host_log)[0]
    assert f" {before}," not in notes(host_log)[0]


def test_a_resumed_run_goes_on_with_them(tmp_path, dataset, held_out):
    before, _ = boundary(dataset)
    values = {"save_strategy": "steps", "save_steps": before + 3}
    evaluated(tmp_path, dataset, held_out, **values)
    checkpoint = str(tmp_path / "run" / f"checkpoint-{before + 3}")
    _, losses = evaluated(tmp_path, dataset, held_out, resume=checkpoint, **values)
    assert list(losses) == [step for step in planned(dataset) if step > before + 3]


def test_a_unified_order_that_begins_in_mid_run_is_evaluated(tmp_path, dataset, held_out):
    values = {"save_strategy": "steps", "save_steps": 20}
    evaluated(tmp_path, dataset, held_out, epoch_guard_evaluate=False, **values)
    _, losses = evaluated(
        tmp_path,
        dataset,
        held_out,
        resume=str(tmp_path / "run" / "checkpoint-20"),
        epoch_guard="unified",
        **values,
    )
    assert list(losses) == sorted(evaluation_steps([(20, 21)], 20, STEPS)) == [46, 72, 98]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_kept_loader_iterator_is_left_as_it_was(tmp_path, dataset, held_out, workers):
    values = {
        "trainer": Keeping,
        "evaluation_strategy": "steps",
        "eval_steps": 33,
        "dataloader_num_workers": workers,
    }
    plain, own = evaluated(tmp_path / "plain", dataset, held_out, epoch_guard_evaluate=False, **values)
    run, losses = evaluated(tmp_path / "extra", dataset, held_out, **values)
    assert list(own) == [33, 66, 99]
    assert sorted(losses) == sorted({*planned(dataset), 33, 66, 99})
    assert {step: losses[step] for step in own} == own
    extra = [losses[step] for step in losses if step not in own]
    assert len(set(extra)) == 1  # of the same batches: this model does not learn
    assert run.first_tokens == plain.first_tokens


def test_a_kept_loader_iterator_is_never_exhausted(tmp_path, dataset, held_out):
    few = paddle.io.Subset(held_out, list(range(16)))  # two evaluations
    _, losses = evaluated(tmp_path, dataset, few, trainer=Keeping)
    assert list(losses) == planned(dataset)


class Running(TrainerCallback):
    """Counts the worker processes and threads that are there before each step, but the thread that writes."""

    def __init__(self):
        self.counts = []

    def on_step_begin(self, args, state, control, **kwargs):
        threads = [thread for thread in threading.enumerate() if thread.name != "epoch-guard-background"]
        self.counts.append((len(multiprocessing.active_children()), len(threads)))


class Iterators(TrainerCallback):
    """Counts the iterators of loaders without workers that are there before each step."""

    def __init__(self):
        self.counts = []

    def on_step_begin(self, args, state, control, **kwargs):
        kind = dataloader_iter._DataLoaderIterSingleProcess
        self.counts.append(sum(isinstance(one, kind) for one in gc.get_objects()))


def test_no_loader_of_an_extra_evaluation_is_left_for_a_worker_to_free(tmp_path, dataset, held_out):
    """Freed in a forked process, it waits for a thread that is not there."""
    iterators = Iterators()
    gc.collect()
    gc.disable()
    try:
        evaluated(tmp_path, dataset, held_out, trainer=Keeping, callbacks=[iterators])
    finally:
        gc.enable()
    first = planned(dataset)[0]
    assert max(iterators.counts) <= max(iterators.counts[:first]) + 1  # paddle keeps the last one


class Draws(TrainerCallback):
    """Draws numbers while the model is evaluated, as a collator may do."""

    def on_prediction_step(self, args, state, control, **kwargs):
        np.random.rand(100)


def test_numpys_generator_is_put_back(tmp_path, dataset, held_out):
    samples = [dataset[position] for position in range(80)]
    orders = []
    for evaluates in (True, False):
        guard_free = {"num_train_epochs": 3, "max_steps": -1, "epoch_guard_evaluate": evaluates}
        run, _ = evaluated(
            tmp_path / str(evaluates), samples, held_out, callbacks=[Draws()], trainer=Trainer, **guard_free
        )
        orders.append(run.first_tokens)
    assert orders[0] == orders[1]


def test_early_stopping_counts_the_trainers_own_evaluations_alone(tmp_path, dataset, held_out):
    values = {
        "evaluation_strategy": "steps",
        "eval_steps": 25,
        "save_strategy": "steps",
        "save_steps": 25,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    }
    for name, evaluates in (("one", True), ("other", False)):
        stopping = import_host("trainer").EarlyStoppingCallback(early_stopping_patience=2)
        run, losses = evaluated(
            tmp_path / name, dataset, held_out, callbacks=[stopping], epoch_guard_evaluate=evaluates, **values
        )
        # The loss of this model stays: the evaluations after steps 50 and 75 are no better than that after 25.
        assert run.steps == 75
        assert stopping.early_stopping_patience_counter == 2
        if evaluates:
            assert sorted(losses) == sorted({*(step for step in planned(dataset) if step <= 75), 25, 50, 75})


def test_a_checkpoint_without_an_evaluation_stays_one(tmp_path, dataset, held_out):
    before, _ = boundary(dataset)
    values = {"save_strategy": "steps", "save_steps": before, "metric_for_best_model": "accuracy"}
    run, losses = evaluated(tmp_path, dataset, held_out, **values)
    assert run.steps == STEPS
    assert list(losses) == [step for step in planned(dataset) if step != before]


@pytest.mark.parametrize(
    ("evaluation", "changes", "said"),
    [
        (None, {}, "does nothing: the Trainer has no evaluation set. Give it an eval_dataset"),
        ("several", {}, "does nothing: the Trainer has several evaluation sets"),
        ("held out", {"max_steps": 10}, "does nothing: no change point lies ahead"),
        ("held out", {"evaluation_strategy": "steps", "eval_steps": 1}, "does nothing: the Trainer evaluates at all"),
    ],
)
def test_what_keeps_it_from_working_is_said_before_the_first_step(
    tmp_path, dataset, held_out, host_log, evaluation, changes, said
):
    given = {None: None, "several": {"text": held_out}, "held out": held_out}[evaluation]
    run, losses = evaluated(tmp_path, dataset, given, **changes)
    assert run.steps == changes.get("max_steps", STEPS)
    assert any(f"--epoch_guard_evaluate {said}" in line for line in host_log.warnings)
    assert set(losses) <= set(range(1, STEPS + 1) if "eval_steps" in changes else ())


def test_a_run_whose_positions_are_unknown_says_so(tmp_path, dataset, held_out, host_log):
    samples = [dataset[position] for position in range(40)]
    _, losses = evaluated(tmp_path, samples, held_out, max_steps=10)
    assert losses == {}
    assert any("does nothing: the guard does not know at which steps" in line for line in host_log.warnings)


def test_skipped_steps_are_not_evaluated(tmp_path, dataset, held_out):
    before, _ = boundary(dataset)
    _, losses = evaluated(tmp_path, dataset, held_out, skip_data_intervals=[[before - 1, before]])
    assert before - 2 in losses
    assert not {before - 1, before} & set(losses)


def test_losses_of_samples_are_those_of_training_alone(tmp_path, dataset, held_out, host_log):
    args = arguments(tmp_path, max_steps=STEPS, logging_steps=10, epoch_guard_evaluate=True)
    run = train(args, dataset, evaluation=held_out, model=KnownLosses)
    assert run.steps == STEPS
    assert not any("losses that the model computed" in line for line in host_log.of_guard())
    assert run.scalars("epoch_guard/loss_fresh")
