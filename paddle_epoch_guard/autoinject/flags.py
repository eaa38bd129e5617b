"""The guard's flags among the arguments of a script that does not know them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import ArgumentsError

Flags = dict[str, str]
"""Name without dashes -> value as written."""

NONE = "None"
"""A null in a config file, as the host writes it (`PdArgumentParser.read_json`)."""
FLAGS = tuple(flag.name for flag in fields(EpochGuardArguments))
_CHOICES: dict[str, tuple[str, ...]] = {
    flag.name: flag.metadata.get("choices", ()) for flag in fields(EpochGuardArguments)
}
# Not `Field.type`, which PdArgumentParser writes to (`_parse_dataclass_field`, paddlenlp 3.0.0b4).
_TYPES = get_type_hints(EpochGuardArguments)
_OURS = re.compile(r"--(no_)?(epoch[-_]guard[\w-]*)(?:=(.*))?", re.DOTALL)
# The words of the host's `strtobool` (paddlenlp/trainer/argparser.py).
_TRUTH = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}


def split_flags(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """Takes the guard's flags out of a script's arguments, up to a ``--``; of two alike, the last one counts.

    Args:
        arguments: ``--flag value``, ``--flag=value``, and whatever else.

    Returns:
        The flags; the other arguments, in their order.

    Raises:
        ArgumentsError: a flag is abbreviated or misspelt, or has no value.
    """
    flags: Flags = {}
    others: list[str] = []
    waiting = list(reversed(arguments))
    while waiting:
        token = waiting.pop()
        if token == "--":
            return flags, [*others, token, *reversed(waiting)]
        found = _OURS.fullmatch(token)
        if found is None:
            others.append(token)
            continue
        negated, name, value = found.groups()
        if name not in FLAGS or (negated and (_TYPES[name] is not bool or value is not None)):
            known = ", ".join(f"--{flag}" for flag in FLAGS)
            raise ArgumentsError(f"{token} is no flag of the guard; expected one of {known}, written in full")
        if negated:
            value = "False"
        elif value is None and _TYPES[name] is bool:
            value = waiting.pop() if waiting and waiting[-1].lower() in _TRUTH else "True"
        elif value is None:
            if not waiting or waiting[-1].startswith("--"):
                raise ArgumentsError(f"--{name} has no value; expected {_expected(name)}")
            value = waiting.pop()
        flags[name] = value
    return flags, others


def as_tokens(flags: Mapping[str, str]) -> list[str]:
    """Flags as arguments of a command line."""
    return [f"--{name}={value}" for name, value in flags.items()]


def typed(flags: Mapping[str, str]) -> dict[str, Any]:
    """The values of flags, as ``EpochGuardArguments`` has them.

    Raises:
        ArgumentsError: a value is not of its flag's type.
    """
    return {name: _typed(name, value) for name, value in flags.items()}


def arguments_of(flags: Mapping[str, str]) -> EpochGuardArguments:
    """Flags as arguments; those that are not given have their defaults.

    Raises:
        ArgumentsError: a flag has a value that it does not take.
    """
    return EpochGuardArguments(**typed(flags))


def _typed(name: str, value: str) -> Any:
    if _TYPES[name] is bool:
        if value.lower() not in _TRUTH:
            raise ArgumentsError(f"--{name} is {value!r}; expected {_expected(name)}")
        return _TRUTH[value.lower()]
    if _CHOICES[name]:
        # YAML 1.1 reads a bare `off` as false.
        return "off" if value == "False" and "off" in _CHOICES[name] else value
    if value == NONE:
        return None
    try:
        return int(value)
    except ValueError:
        raise ArgumentsError(f"--{name} is {value!r}; expected {_expected(name)}") from None


def _expected(name: str) -> str:
    if _TYPES[name] is bool:
        return "true or false"
    return f"one of {', '.join(_CHOICES[name])}" if _CHOICES[name] else "a number from 0 on"
