"""Small real training runs, with every token drawn on record."""

from dataclasses import dataclass
from pathlib import Path

import paddle
from paddlenlp.trainer import TrainerCallback, TrainingArguments
from visualdl import LogReader

from paddle_epoch_guard import EpochGuardCallback
from pretraining import PreTrainingArguments, PretrainingTrainer, collate


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


def read_log(folder):
    (file,) = Path(folder).glob("vdlrecords*")
    return LogReader(file_path=str(file))


def read_scalars(folder, tag):
    return [(record.id, record.value) for record in read_log(folder).get_data("scalar", tag)]


def read_texts(folder, tag):
    return [record.text.encoded_text_string for record in read_log(folder).get_data("text", tag)]


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
    }
    return cls(**{**values, **changes})


def train(
    args, dataset, *, callbacks=None, trainer=PretrainingTrainer, resume=None, collator=collate, model=TokenModel
):
    """Trains, by default with the guard, and returns what happened."""
    history = LogHistory()
    callbacks = [EpochGuardCallback()] if callbacks is None else callbacks
    # A new process names parameters and optimizer states from 0 on; a checkpoint is found by these names.
    with paddle.utils.unique_name.guard():
        one_model = model()
        one = trainer(
            model=one_model, args=args, train_dataset=dataset, data_collator=collator, callbacks=[*callbacks, history]
        )
        result = one.train(resume_from_checkpoint=resume)
    return Run(args, one_model, history.losses, result.global_step)
