"""The attributes of the trainer's objects that this package uses. The host's objects have more.

Attributes that only some releases have are read with ``getattr`` where they are used.
"""

from typing import Any, Protocol


class TrainingArguments(Protocol):
    """``TrainingArguments`` of paddlenlp 2.8.1 to 3.0.0b4 and paddleformers 1.2.0."""

    @property
    def output_dir(self) -> str: ...  # noqa: D102  # the host's own names
    @property
    def logging_dir(self) -> str: ...  # noqa: D102
    @property
    def overwrite_output_dir(self) -> bool: ...  # noqa: D102
    @property
    def resume_from_checkpoint(self) -> str | None: ...  # noqa: D102
    @property
    def ignore_data_skip(self) -> bool: ...  # noqa: D102
    @property
    def ignore_load_lr_and_optim(self) -> bool: ...  # noqa: D102
    @property
    def report_to(self) -> Any: ...  # noqa: D102  # a name, or several
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def train_batch_size(self) -> int: ...  # noqa: D102
    @property
    def gradient_accumulation_steps(self) -> int: ...  # noqa: D102
    @property
    def dataset_world_size(self) -> int: ...  # noqa: D102
    @property
    def dataset_rank(self) -> int: ...  # noqa: D102
    @property
    def should_load_dataset(self) -> bool: ...  # noqa: D102


class TrainerState(Protocol):
    """``TrainerState``. Only ``trial_params`` is written, for the stamp."""

    trial_params: dict[str, Any] | None

    @property
    def global_step(self) -> int:
        """The last step done."""

    @property
    def max_steps(self) -> int:
        """The last step of the run."""

    @property
    def num_train_epochs(self) -> float:
        """Trainer epochs of the run."""

    @property
    def is_world_process_zero(self) -> bool:
        """Whether this process writes logs and checkpoints."""


class TrainerControl(Protocol):
    """``TrainerControl``. Only these two are written."""

    should_log: bool
    should_evaluate: bool

    @property
    def should_save(self) -> bool:
        """Whether a checkpoint is saved after this step."""

    @property
    def should_epoch_stop(self) -> bool:
        """Whether the trainer epoch is cut short."""

    @property
    def should_training_stop(self) -> bool:
        """Whether training ends."""


class Dataloader(Protocol):
    """A loader of ``paddle.io``, or ``DistDataLoader``. Its dataset and sampler may be of any type."""

    @property
    def dataset(self) -> Any:
        """None on a rank without data."""

    @property
    def batch_sampler(self) -> Any:
        """None with a dataset that streams."""

    def __len__(self) -> int:
        """Batches of a trainer epoch; raises TypeError with a dataset that streams."""
