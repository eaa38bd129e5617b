"""Hooks for the parsers of a script's arguments: only parsers that know the guard's flags get them."""

import argparse
import contextlib
import functools
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any

from paddle_epoch_guard.autoinject.flags import FLAGS, NONE, Flags, as_tokens, split_flags, typed
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.terminal import plain


def hook_argparse(injection: Injection) -> None:
    """Makes every argparse parser understand the guard's flags, from a file or from the command line.

    ``PdArgumentParser`` is one: it turns a JSON or YAML file into a list of arguments and gives that to
    ``parse_known_args`` (``common_parse`` in paddlenlp/trainer/argparser.py, 3.0.0b4). The flags of the command line
    are no longer in ``sys.argv``; they win over those of a file.
    """
    original = argparse.ArgumentParser.parse_known_args

    @functools.wraps(original)
    def parse_known_args(self: Any, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        return original(self, _for_argparse(injection, self, given), namespace)

    argparse.ArgumentParser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _for_argparse(injection: Injection, parser: argparse.ArgumentParser, arguments: list[str]) -> list[str]:
    own = parser._option_string_actions  # noqa: SLF001 - argparse has no public list
    known = [name for name in FLAGS if f"--{name}" in own]
    with _exit_on_error():
        flags, others = split_flags(arguments)
        injection.warn_of_misspelt(option for option in others if option.split("=")[0] not in own)
        merged = _merged(injection, flags, known)
    return [*as_tokens({name: value for name, value in merged.items() if value != NONE}), *others]


def hook_parse_dict(injection: Injection, module: ModuleType) -> None:
    """Makes ``PdArgumentParser.parse_dict``, which reads YAML files in 3.0.0b4, understand the guard's keys.

    Args:
        injection: the guard's flags.
        module: the host's ``trainer.argparser``, just imported.
    """
    parser: Any = module.PdArgumentParser
    original = parser.parse_dict

    @functools.wraps(original)
    def parse_dict(self: Any, args: Any, *more: Any, **options: Any) -> Any:
        known = {field.name for kind in self.dataclass_types for field in fields(kind)}.intersection(FLAGS)
        with _exit_on_error():
            flags = {name: str(args[name]) for name in FLAGS if name in args}
            injection.warn_of_misspelt(f"--{key}" for key in args if key not in FLAGS)
            args.update(typed(_merged(injection, flags, known)))
        return _without_flags(original(self, args, *more, **options))

    parser.parse_dict = parse_dict


def _without_flags(parsed: Sequence[Any]) -> tuple[Any, ...]:
    """Removes the flags from the set of unknown keys that paddleformers can return after the dataclasses."""
    return tuple(part - set(FLAGS) if isinstance(part, set) else part for part in parsed)


def _merged(injection: Injection, flags: Flags, known: Collection[str]) -> Flags:
    """Keeps the flags that a parser does not know for the guard, and merges the others with the command line's.

    Raises:
        ArgumentsError: a flag has an invalid value. The parser would print its whole usage text.
    """
    injection.config.update({name: value for name, value in flags.items() if name not in known})
    injection.check(flags)
    return {name: value for name, value in {**flags, **injection.command_line}.items() if name in known}


@contextlib.contextmanager
def _exit_on_error() -> Iterator[None]:
    """Exits as argparse does, but without the long usage text of a training script."""
    try:
        yield
    except ArgumentsError as error:
        print(plain(" ".join(f"paddle-epoch-guard: {error}".split())), file=sys.stderr)
        raise SystemExit(2) from None
