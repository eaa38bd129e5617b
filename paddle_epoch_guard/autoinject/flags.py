"""Separates the guard's flags from the arguments of a script."""

import difflib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import tr

Flags = dict[str, str]
"""Name without dashes -> value as written."""

NONE = "None"
"""The host's text for a null in a config file (`PdArgumentParser.read_json`)."""
FLAGS = tuple(flag.name for flag in fields(EpochGuardArguments))
_CHOICES: dict[str, tuple[str, ...]] = {
    flag.name: flag.metadata.get("choices", ()) for flag in fields(EpochGuardArguments)
}
# Not `Field.type`, which PdArgumentParser writes to (`_parse_dataclass_field`, paddlenlp 3.0.0b4).
_TYPES = get_type_hints(EpochGuardArguments)
_GUARD_FLAG = re.compile(r"--(no_)?(epoch[-_]guard[\w-]*)(?:=(.*))?", re.DOTALL)
# The words of the host's `strtobool` (paddlenlp/trainer/argparser.py).
_TRUTH = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}


def split_flags(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """Takes the guard's flags out of a script's arguments, up to a ``--``. The last value of a flag counts.

    Args:
        arguments: ``--flag value``, ``--flag=value``, and any others.

    Returns:
        The flags; the other arguments, in their order.

    Raises:
        ArgumentsError: a flag is abbreviated or misspelt, or has no value.
    """
    flags: Flags = {}
    others: list[str] = []
    remaining = deque(arguments)
    while remaining and remaining[0] != "--":
        token = remaining.popleft()
        match = _GUARD_FLAG.fullmatch(token)
        if match is None:
            others.append(token)
        else:
            flags[match[2]] = _value_of(match, remaining)
    return flags, [*others, *remaining]


def _value_of(flag: re.Match[str], following: deque[str]) -> str:
    """The value of a flag; removes it from the following arguments if they hold it."""
    negated, name, value = flag.groups()
    is_switch = _TYPES.get(name) is bool
    if name not in FLAGS or (negated and not (is_switch and value is None)):
        known = tr(", ").join(f"--{name}" for name in FLAGS)
        raise ArgumentsError(
            tr(
                "{flag} is not a flag of the guard; expected one of {known}, written in full",
                flag=flag[0],
                known=known,
            )
        )
    if negated:
        return "False"
    if value is not None:
        return value
    if is_switch:
        return following.popleft() if following and following[0].lower() in _TRUTH else "True"
    if not following or following[0].startswith("--"):
        raise ArgumentsError(tr("--{flag} has no value; expected {expected}", flag=name, expected=_expected(name)))
    return following.popleft()


def misspelt(arguments: Iterable[str]) -> dict[str, str]:
    """Options of a script that look like a flag of the guard, but are none.

    Args:
        arguments: of the script, without the guard's flags. Those after a ``--`` are not looked at.

    Returns:
        The option as written -> the flag that it looks like.
    """
    options = (token.split("=")[0] for token in itertools.takewhile(lambda token: token != "--", arguments))
    found = {}
    for option in options:
        name = option.lstrip("-").replace("-", "_")
        near = difflib.get_close_matches(name, FLAGS, n=1, cutoff=0.85) if option.startswith("--") else []
        if near:
            found[option] = near[0]
    return found


def as_tokens(flags: Mapping[str, str]) -> list[str]:
    """Flags as arguments of a command line."""
    return [f"--{name}={value}" for name, value in flags.items()]


def typed(flags: Mapping[str, str]) -> dict[str, Any]:
    """The values of flags, with the types that ``EpochGuardArguments`` declares.

    Raises:
        ArgumentsError: a value does not have the type of its flag.
    """
    return {name: _typed(name, value) for name, value in flags.items()}


def arguments_of(flags: Mapping[str, str]) -> EpochGuardArguments:
    """Flags as arguments; missing flags have their defaults.

    Raises:
        ArgumentsError: a flag has an invalid value.
    """
    return EpochGuardArguments(**typed(flags))


def _typed(name: str, value: str) -> str | int | bool | None:
    if _TYPES[name] is bool:
        if value.lower() not in _TRUTH:
            raise _unexpected(name, value)
        return _TRUTH[value.lower()]
    if _CHOICES[name]:
        # YAML 1.1 reads a bare `off` as false.
        return "off" if value == "False" and "off" in _CHOICES[name] else value
    if value == NONE:
        return None
    try:
        return int(value)
    except ValueError:
        raise _unexpected(name, value) from None


def _unexpected(name: str, value: str) -> ArgumentsError:
    return ArgumentsError(
        tr("--{flag} is {value!r}; expected {expected}", flag=name, value=value, expected=_expected(name))
    )


def _expected(name: str) -> str:
    if _TYPES[name] is bool:
        return tr("true or false")
    if _CHOICES[name]:
        return tr("one of {choices}", choices=tr(", ").join(_CHOICES[name]))
    return tr("an integer of 0 or more")
