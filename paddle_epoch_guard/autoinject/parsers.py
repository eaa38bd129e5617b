"""Parsers of a script's arguments: those that know the guard's flags get them, from the others they are kept."""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any, NoReturn

from paddle_epoch_guard.autoinject.flags import FLAGS, NONE, as_tokens, split_flags, typed
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.errors import ArgumentsError


def hook_argparse(injection: Injection) -> None:
    """Lets every argparse parser understand the guard's flags, whether they come from a file or a command line.

    ``PdArgumentParser`` is one: it turns a JSON or YAML file into a list of arguments and gives that to
    ``parse_known_args`` (``common_parse`` in paddlenlp/trainer/argparser.py, 3.0.0b4). The flags of the command line
    have been taken out of ``sys.argv``; they win over those of a file.
    """
    original = argparse.ArgumentParser.parse_known_args

    @functools.wraps(original)
    def parse_known_args(self: Any, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        return original(self, _understood(injection, self, given), namespace)

    argparse.ArgumentParser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _understood(injection: Injection, parser: argparse.ArgumentParser, arguments: list[str]) -> list[str]:
    try:
        found, others = split_flags(arguments)
        known = [name for name in FLAGS if f"--{name}" in parser._option_string_actions]
        injection.add_config({name: value for name, value in found.items() if name not in known})
        # The parser checks by rules of its own; here, one line says what is wrong.
        injection.check(found)
    except ArgumentsError as wrong:
        _refuse(wrong)
    merged = {**found, **injection.command_line}
    given = {name: merged[name] for name in known if merged.get(name, NONE) != NONE}
    return [*as_tokens(given), *others]


def hook_parse_dict(injection: Injection, module: ModuleType) -> None:
    """Lets ``PdArgumentParser.parse_dict``, the way of YAML files in 3.0.0b4, understand the guard's keys.

    Args:
        injection: what is injected.
        module: the host's ``trainer.argparser``, just imported.
    """
    parser: Any = module.PdArgumentParser
    original = parser.parse_dict

    @functools.wraps(original)
    def parse_dict(self: Any, args: Any, *more: Any, **options: Any) -> Any:
        known = {field.name for kind in self.dataclass_types for field in fields(kind)}
        found = {name: str(args[name]) for name in FLAGS if name in args}
        try:
            injection.add_config({name: value for name, value in found.items() if name not in known})
            injection.check(found)
        except ArgumentsError as wrong:
            _refuse(wrong)
        for name, value in typed({**found, **injection.command_line}).items():
            if name in known:
                args[name] = value
        return _without_ours(original(self, args, *more, **options))

    parser.parse_dict = parse_dict


def _without_ours(parsed: Sequence[Any]) -> tuple[Any, ...]:
    """paddleformers can be asked for the keys that it does not know, a set behind the dataclasses."""
    return tuple(part - set(FLAGS) if isinstance(part, set) else part for part in parsed)


def _refuse(wrong: ArgumentsError) -> NoReturn:
    """As argparse does it, but without the two hundred lines of usage of a training script."""
    print(" ".join(f"paddle-epoch-guard: {wrong}".split()), file=sys.stderr)
    raise SystemExit(2)
