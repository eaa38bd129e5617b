"""Checkpoints that another process completes after ``on_save``, as PaddleFormers' zero-cost checkpoints are."""

import pytest

from corpora import build_train, write_corpus
from hosts import TrainerCallback
from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.resume import read_sidecar
from pretraining import PretrainingTrainer
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host
STEPS, SAVE, LATE = 24, 5, 3


@pytest.fixture
def dataset(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", (60, 7, 130, 1, 58, 90, 23, 100))
    return build_train([prefix], STEPS * 4, 8)


class LateTrainer(PretrainingTrainer):
    """A real checkpoint, which is put where it belongs some steps later."""

    def _save_checkpoint(self, *args, **kwargs):
        super()._save_checkpoint(*args, **kwargs)
        folder = self.args.output_dir / f"checkpoint-{self.state.global_step}"
        hidden = folder.with_name(f"hidden-{self.state.global_step}")
        folder.rename(hidden)
        self.hidden = (*getattr(self, "hidden", ()), (self.state.global_step, hidden, folder))


class Worker(TrainerCallback):
    def __init__(self):
        self.trainer = None

    def on_step_end(self, args, state, control, **kwargs):
        self.complete(state.global_step - LATE)

    def on_train_end(self, args, state, control, **kwargs):
        self.complete(state.global_step)

    def complete(self, up_to):
        for step, hidden, folder in getattr(self.trainer, "hidden", ()):
            if step <= up_to and hidden.is_dir():
                hidden.rename(folder)


def run(folder, dataset, resume=None, mode="unified"):
    args = arguments(folder, max_steps=STEPS, epoch_guard=mode, save_strategy="steps", save_steps=SAVE)
    args.output_dir = folder / "run"
    args.enable_zero_cost_checkpoint = True
    worker = Worker()

    class Trainer(LateTrainer):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            worker.trainer = self

    return train(
        args, dataset, callbacks=[worker, EpochGuardCallback()], trainer=Trainer, model=KnownLosses, resume=resume
    )


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_each_checkpoint_gets_its_sidecar_once_it_is_there(tmp_path, dataset, host_log, mode):
    whole = run(tmp_path, dataset, mode=mode)
    assert host_log.warnings == []
    for step in range(SAVE, STEPS, SAVE):
        sidecar = read_sidecar(tmp_path / "run" / f"checkpoint-{step}", step)
        assert (sidecar.position, sidecar.windows[-1].last_step) == (4 * step, step)
        assert sum(total.samples for total in sidecar.epoch_losses) == 4 * step
    resumed = run(tmp_path, dataset, resume=str(tmp_path / "run" / "checkpoint-10"), mode=mode)
    assert resumed.first_tokens == whole.first_tokens[10:]
    assert host_log.warnings == []
