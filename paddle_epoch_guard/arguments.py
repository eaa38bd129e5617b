"""The training-args flags of the guard."""

from dataclasses import dataclass, field, fields
from typing import Optional

from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import LANGUAGES, tr

LIBRARIES = ["paddlenlp", "paddleformers"]
"""The host libraries: PaddleNLP and its successor. Their modules have the same names."""
MODES = ("off", "track", "unified")
MIX_CHOICES = ("auto", "uniform", "ramp")
POOLS = ("planned", "all")
ON_MISMATCH = ("error", "warn")
LANGUAGE_CHOICES = ("auto", *LANGUAGES)


@dataclass
class EpochGuardArguments:
    """Flags that switch the guard on and choose what it does.

    Mix the class into the host's training arguments, first in the list of bases, and the flags appear
    on the command line and in JSON configs::

        @dataclass
        class PreTrainingArguments(EpochGuardArguments, TrainingArguments): ...

    or parse it beside them and hand it to ``EpochGuardCallback(arguments=...)``.

    Raises:
        ArgumentsError: a flag has an invalid value.
    """

    epoch_guard: str = field(
        default="track",
        metadata={
            "help": "What the epoch guard does. off: nothing. track: follow the data epochs, mark their "
            "boundaries and log the loss of each epoch; the data order stays the host's. unified: track, and draw "
            "all planned samples in one order, from the start or from a resume on, so that the loss does not fall "
            "off a cliff where the last data epoch begins.",
            "choices": MODES,
        },
    )
    epoch_guard_mix: str = field(
        default="auto",
        metadata={
            "help": "How unified mixes the last data epoch in. uniform: evenly. ramp: its share rises from zero, "
            "so that the loss does not jump where a run resumes. auto: uniform from position 0, ramp later.",
            "choices": MIX_CHOICES,
        },
    )
    epoch_guard_pool: str = field(
        default="planned",
        metadata={
            "help": "What unified mixes. planned: the samples that the run will draw; every document is drawn as "
            "often as planned. all: the whole index, of which the run then draws the beginning, as other frameworks "
            "do with a separation threshold of 0; some data is never drawn. Only from position 0.",
            "choices": POOLS,
        },
    )
    epoch_guard_seed: Optional[int] = field(  # noqa: UP045 - PdArgumentParser (3.0.0b4) knows no int | None
        default=None,
        metadata={"help": "Seed of the unified order; by default the run's own seed."},
    )
    epoch_guard_position: Optional[int] = field(  # noqa: UP045 - as above
        default=None,
        metadata={
            "help": "Samples drawn so far, over all ranks. Needed only for the first guarded resume of a run whose "
            "checkpoint has no epoch_guard.json and whose position is in doubt."
        },
    )
    epoch_guard_on_mismatch: str = field(
        default="error",
        metadata={
            "help": "What to do when the sample index contradicts its description or its corpus, or a resumed run is "
            "not the one that was interrupted. error: stop before the first step. warn: log a warning; a resumed run "
            "continues in the host's current order, a run whose index is in doubt continues without the guard.",
            "choices": ON_MISMATCH,
        },
    )
    epoch_guard_report: bool = field(
        default=True,
        metadata={
            "help": "Whether to write figures and a report page, epoch_guard_report.html in the output folder, when "
            "training ends, which takes a few seconds. 'paddle-epoch-guard report' writes them at any time."
        },
    )
    epoch_guard_evaluate: bool = field(
        default=False,
        metadata={
            "help": "Whether to evaluate just before each change point and a few times on both sides of it, where the "
            "run has an evaluation set, so that the evaluation loss can tell progress from an artefact. Costs up to "
            "nine evaluations for each change point."
        },
    )
    epoch_guard_lang: str = field(
        default="auto",
        metadata={
            "help": "The language of the guard's messages, texts, figures and report page. auto: that of the "
            "environment variable PADDLE_EPOCH_GUARD_LANG or of the locale; English if that is neither English nor "
            "Chinese.",
            "choices": LANGUAGE_CHOICES,
        },
    )

    def __post_init__(self) -> None:
        for flag in fields(EpochGuardArguments):
            value = getattr(self, flag.name)
            choices = flag.metadata.get("choices")
            if choices is not None and value not in choices:
                raise ArgumentsError(
                    tr(
                        "--{flag} is {value!r}; expected one of {choices}. {help}",
                        flag=flag.name,
                        value=value,
                        choices=tr(", ").join(choices),
                        help=tr(flag.metadata["help"]),
                    )
                )
        for name in ("epoch_guard_seed", "epoch_guard_position"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ArgumentsError(
                    tr("--{flag} is {value}; expected an integer of 0 or more", flag=name, value=value)
                )
        # Mixed into the host's arguments, whose own checks run after ours.
        next_in_line = getattr(super(), "__post_init__", None)
        if next_in_line is not None:
            next_in_line()


def from_training_arguments(args: object) -> EpochGuardArguments:
    """The guard's flags among the attributes of ``args``; a missing flag has its default.

    Args:
        args: any object, usually the host's ``TrainingArguments``.

    Raises:
        ArgumentsError: a flag has an invalid value.
    """
    names = [flag.name for flag in fields(EpochGuardArguments) if hasattr(args, flag.name)]
    return EpochGuardArguments(**{name: getattr(args, name) for name in names})
