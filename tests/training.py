"""Small real training runs, with every token drawn on record."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from hosts import CPU_ARGUMENTS, TrainerCallback, TrainingArguments
from paddle_epoch_guard import EpochGuardArguments, EpochGuardCallback
from pretraining import PreTrainingArguments, PretrainingTrainer, collate
from vdl_logs import read_scalars, read_texts


class TokenModel(paddle.nn.Layer):
    """Its loss is a function of the tokens alone, so that every logged loss can be told in advance."""

    SCALE = 1e-3

    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([1])
        self.first_tokens = []

    def forward(self, input_ids, labels=None):
        if self.training:
            self.first_tokens.append(input_ids[:, 0].numpy().tolist())
        return (input_ids.astype("float32").mean() * self.SCALE + 0.0 * self.weight.sum(), input_ids)


class KnownLosses(paddle.nn.Layer):
    """Each token has a loss that is known in advance; the token-loss layer is one as in PaddleNLP's criterions."""

    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([1])
        self.loss_func = paddle.nn.CrossEntropyLoss(reduction="none")
        self.first_tokens = []

    @staticmethod
    def of(tokens):
        """The losses of tokens: from 0.01 to 5 nats; nothing at all for one token in four."""
        tokens = np.asarray(tokens)
        return np.where(tokens % 4 == 0, 0.0, 0.01 + tokens * 7919 % 500 / 100)

    def forward(self, input_ids, labels=None):
        if self.training:
            self.first_tokens.append(input_ids[:, 0].numpy().tolist())
        wanted = paddle.to_tensor(self.of(input_ids.numpy()), dtype="float32")
        # The loss of class 0 of two, whose logits are 0 and x, is log(1 + e^x).
        other = paddle.where(
            wanted > 0, paddle.log(paddle.expm1(wanted).clip(min=1e-9)), paddle.full_like(wanted, -1e4)
        )
        logits = paddle.stack([paddle.zeros_like(wanted), other], axis=-1) + 0.0 * self.weight.sum()
        targets = paddle.where(labels == -100, labels, paddle.zeros_like(labels))
        losses = self.token_losses(logits, targets)
        return self.reduce(losses, targets), logits

    def token_losses(self, logits, targets):
        if self.loss_func is None:
            return paddle.nn.functional.cross_entropy(logits, targets.unsqueeze(-1), reduction="none").squeeze(-1)
        return self.loss_func(logits, targets.unsqueeze(-1)).squeeze(-1)

    def reduce(self, losses, labels):
        """The criterion: the mean over all tokens."""
        return losses.mean()


class FaultOnRank1(KnownLosses):
    """On the second rank, the rows of the losses are not those of the samples."""

    def token_losses(self, logits, targets):
        losses = super().token_losses(logits, targets)
        if paddle.distributed.get_rank() == 1:
            super().token_losses(logits, targets)
        return losses


class LogHistory(TrainerCallback):
    """Keeps what the trainer logged."""

    def __init__(self):
        self.losses = {}

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses[state.global_step] = logs["loss"]


@dataclass
class Run:
    """A finished run."""

    args: TrainingArguments
    model: TokenModel
    losses: dict
    """Step at which the trainer logged -> mean loss since the last log."""
    steps: int

    @property
    def first_tokens(self):
        """The first token of every sample drawn, one list for each microbatch."""
        return self.model.first_tokens

    def scalars(self, tag, directory="."):
        """``[(step, value)]`` of a tag in the guard's log."""
        return read_scalars(Path(self.args.logging_dir) / "epoch_guard" / directory, tag)

    def texts(self, tag, directory="."):
        return read_texts(Path(self.args.logging_dir) / "epoch_guard" / directory, tag)

    def directories(self):
        """Every folder in which the guard wrote, relative to its own."""
        root = Path(self.args.logging_dir) / "epoch_guard"
        return sorted(str(file.parent.relative_to(root)) for file in root.rglob("vdlrecords*"))


def forget_order(checkpoint):
    """Makes a checkpoint one of an earlier release, which kept no order in the trainer's own state."""
    path = Path(checkpoint) / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["trial_params"]["epoch_guard"]["order"]
    path.write_text(json.dumps(state))


def arguments(folder, cls=PreTrainingArguments, **changes):
    values = {
        "output_dir": str(folder / "run"),
        "logging_dir": str(folder / "logs"),
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "max_grad_norm": 0.0,
        "seed": 7,
        **CPU_ARGUMENTS,
    }
    if issubclass(cls, EpochGuardArguments):
        values["epoch_guard_report"] = False  # seconds
    return cls(**{**values, **changes})


def train(
    args,
    dataset,
    *,
    callbacks=None,
    trainer=PretrainingTrainer,
    resume=None,
    collator=collate,
    model=TokenModel,
    evaluation=None,
):
    """Trains, by default with the guard, and returns what happened."""
    history = LogHistory()
    callbacks = [EpochGuardCallback()] if callbacks is None else callbacks
    # A new process names parameters and optimizer states from 0 on; a checkpoint is found by these names.
    with paddle.utils.unique_name.guard():
        one_model = model()
        one = trainer(
            model=one_model,
            args=args,
            train_dataset=dataset,
            eval_dataset=evaluation,
            data_collator=collator,
            callbacks=[*callbacks, history],
        )
        result = one.train(resume_from_checkpoint=resume)
    return Run(args, one_model, history.losses, result.global_step)
