"""The training-args flags of the guard."""

from dataclasses import dataclass, field, fields
from typing import Any

from paddle_epoch_guard.errors import ArgumentsError

MODES = ("off", "track")
ON_MISMATCH = ("error", "warn")


@dataclass
class EpochGuardArguments:
    """Flags that switch the guard on and choose what it does.

    Mix the class into the host's training arguments, first in the list of bases, and the flags appear
    on the command line and in JSON configs::

        @dataclass
        class PreTrainingArguments(EpochGuardArguments, TrainingArguments): ...

    or parse it beside them and hand it to ``EpochGuardCallback(arguments=...)``.

    Raises:
        ArgumentsError: a flag has a value that it does not take.
    """

    epoch_guard: str = field(
        default="track",
        metadata={
            "help": "What the epoch guard does. off: nothing. track: follow the data epochs, mark their "
            "boundaries and log the loss of each epoch; the data order stays the host's.",
            "choices": MODES,
        },
    )
    epoch_guard_on_mismatch: str = field(
        default="error",
        metadata={
            "help": "When the sample index contradicts its description or its corpus. error: stop before "
            "the first step. warn: say so, train without tracking.",
            "choices": ON_MISMATCH,
        },
    )

    def __post_init__(self) -> None:
        for flag in fields(EpochGuardArguments):
            value = getattr(self, flag.name)
            choices = flag.metadata["choices"]
            if value not in choices:
                raise ArgumentsError(
                    f"--{flag.name} is {value!r}; expected one of {', '.join(choices)}. {flag.metadata['help']}"
                )
        # Mixed into the host's arguments, whose own checks run after ours.
        next_in_line = getattr(super(), "__post_init__", None)
        if next_in_line is not None:
            next_in_line()


def from_training_arguments(args: Any) -> EpochGuardArguments:
    """The guard's flags that ``args`` carries; a flag that is not there has its default.

    Args:
        args: any object, usually the host's ``TrainingArguments``.

    Raises:
        ArgumentsError: a flag has a value that it does not take.
    """
    found = {flag.name: getattr(args, flag.name) for flag in fields(EpochGuardArguments) if hasattr(args, flag.name)}
    return EpochGuardArguments(**found)
