"""What tests of the Trainer's roads have in common, on whichever host: what was drawn, and what the guard says was."""

import numpy as np
import pytest

from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.index import EpochSampledIndex
from training import arguments, train


class FollowedGuard(EpochGuardCallback):
    """A guard whose plan can be read when training is over."""

    plan = None

    def on_train_end(self, *args, **kwargs):
        self.plan = self.session and self.session.plan
        super().on_train_end(*args, **kwargs)


def first_token(dataset, position):
    return int(dataset[int(position)]["text"][0])


def drawn(run):
    """The first token of every sample that the model saw."""
    return [token for batch in run.first_tokens for token in batch]


def followed(guard, dataset, first_step, last_step):
    """The first tokens of what the guard says these steps drew, in order."""
    plan = guard.plan
    tokens = []
    for step in range(first_step, last_step + 1):
        positions = plan.schedule.positions(step, 0)
        if isinstance(plan.index, EpochSampledIndex):
            positions = plan.index.order.at(positions)
        tokens += [first_token(dataset, p) for p in positions]
    return tokens


def data_epochs(dataset, positions, seq_length, tokens_per_epoch):
    """The data epoch of positions of the index, each from the token where its sample starts."""
    return np.asarray(dataset.shuffle_idx, dtype=np.int64)[positions] * seq_length // tokens_per_epoch + 1


def assert_left_over_counts_once(folder, trainer, resume):
    """Of 40 ordinary samples, 10 microbatches: two steps of four, and two that the next step trains on as well."""
    samples = [{"text": np.arange(1, 10)} for _ in range(40)]  # each of one loss
    args = arguments(folder, num_train_epochs=3, gradient_accumulation_steps=4, save_strategy="steps", save_steps=3)
    run = train(args, samples, trainer=trainer)
    if resume is not None:
        run = train(args, samples, trainer=trainer, resume=str(folder / "run" / "checkpoint-3"))
    # The trainer divides six microbatches by four.
    assert [step for step, loss in run.losses.items() if loss > 4.6e-3] == ([5] if resume else [3, 5])
    for epoch in (1, 2, 3) if resume is None else (2, 3):
        losses = [loss for _, loss in run.scalars("epoch_guard/loss_by_epoch", f"epoch_{epoch}")]
        assert losses == pytest.approx([4.5e-3] * len(losses), rel=1e-4)
