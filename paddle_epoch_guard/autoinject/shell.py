"""The commands that a command starts, behind shells and ``env``."""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

Environment = dict[str, str]

_SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}
_SEPARATORS = ";&|()\n"
_ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PREFIXES = {"exec", "nohup", "command", "time", "if", "then", "else", "elif", "while", "until", "do", "!", "{"}
_WITH_VALUE = {"-u", "--unset", "-C", "--chdir"}
"""Options of ``env`` that take a value."""


def started_by(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[list[str], Environment]]:
    """The commands that a command comes to, each with its words and its environment.

    Reads what ``sh -c`` is told and what stands behind ``env``, not the files of scripts. Shell code is not executed:
    of conditions and loops, every branch counts.

    Args:
        words: of the command.
        environment: in which it is started.
    """
    here = dict(environment)
    left = _without_prefix(list(words), here)
    if not left:
        return
    text = _code_of(left)
    if text is None:
        yield left, here
        return
    for command in _commands_of(text):
        if command[0] in ("export", "unset"):
            _changed(command, here)
        elif command[0] != "env" and all(map(_ASSIGNMENT.fullmatch, command)):
            _assign(command, here)
        else:
            yield from started_by([_expanded(word, here) for word in command], here)


def _without_prefix(words: list[str], environment: Environment) -> list[str]:
    """A command without assignments and ``env`` before it, which change the environment."""
    while words:
        name = os.path.basename(words[0])
        if match := _ASSIGNMENT.fullmatch(words[0]):
            environment[match[1]] = match[2]
        elif name == "env":
            words = ["env", *_without_options(words[1:], environment)]
        elif name not in _PREFIXES:
            break
        words = words[1:]
    return words


def _without_options(words: list[str], environment: Environment) -> list[str]:
    """The words behind ``env`` and its options, which change the environment."""
    while words and words[0].startswith("-"):
        option, *words = words
        name, _, value = option.partition("=")
        if name in ("-", "-i", "--ignore-environment"):
            environment.clear()
        if name in _WITH_VALUE:
            if not value and words:
                value, *words = words
            if name in ("-u", "--unset"):
                environment.pop(value, None)
    return words


def _code_of(words: Sequence[str]) -> str | None:
    """What a shell is told by ``-c``; None if the command is none."""
    if os.path.basename(words[0]) not in _SHELLS:
        return None
    for place, word in enumerate(words[1:], 1):
        if re.fullmatch(r"-\w*c", word):
            return words[place + 1] if place + 1 < len(words) else None
        if not word.startswith("-"):
            break
    return None


def _commands_of(text: str) -> Iterator[list[str]]:
    """The commands of shell code, each as its words; none behind what cannot be read."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_SEPARATORS)
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for token in lexer:
            if not set(token) <= set(_SEPARATORS):
                command.append(token)
            elif command:
                yield command
                command = []
    except ValueError:  # a quotation that is not closed
        return
    if command:
        yield command


def _changed(command: Sequence[str], environment: Environment) -> None:
    if command[0] == "export":
        _assign(command[1:], environment)
    else:
        for name in command[1:]:
            environment.pop(name, None)


def _assign(words: Iterable[str], environment: Environment) -> None:
    for word in words:
        if match := _ASSIGNMENT.fullmatch(word):
            environment[match[1]] = _expanded(match[2], environment)


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: environment.get(match[1] or match[2], ""), text)
