"""All hooks of a process."""

import multiprocessing.spawn
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from paddle_epoch_guard.arguments import LIBRARIES
from paddle_epoch_guard.autoinject.imports import AfterImport
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.autoinject.parsers import hook_argparse, hook_parse_dict
from paddle_epoch_guard.autoinject.trainers import hook_trainers

_installed: Injection | None = None
"""Of this process."""


def install(command_line: Mapping[str, str], config: Mapping[str, str] | None = None) -> Injection:
    """Prepares this process for a script: adds the guard to the host modules that the script imports.

    A second call adds its flags to those of the first.

    Args:
        command_line: flags of the command line.
        config: flags of a config file, if already known.
    """
    global _installed
    if _installed is not None:  # by the start of this Python, or by what spawned it: the nearer flags win
        _installed.command_line.update(command_line)
        _installed.config.update(config or {})
        return _installed
    _installed = injection = Injection(dict(command_line), dict(config or {}))
    hook_argparse(injection)
    AfterImport(
        {f"{library}.trainer.argparser": partial(hook_parse_dict, injection) for library in LIBRARIES}
        | {f"{library}.trainer.trainer": partial(hook_trainers, injection) for library in LIBRARIES}
    ).install()
    _hook_spawn(injection)
    return injection


class _InstallWhenUnpickled:
    """Pickles as a call of :func:`install`."""

    def __init__(self, injection: Injection) -> None:
        self._injection = injection

    def __reduce__(self) -> tuple[Callable[..., Injection], tuple[Any, ...]]:
        self._injection.passed_on = True
        return install, (self._injection.command_line, self._injection.config)


def _hook_spawn(injection: Injection) -> None:
    """Makes processes that multiprocessing spawns (as ``paddle.distributed.spawn`` does) install the hooks too.

    A new interpreter unpickles the preparation data before its work (``multiprocessing.spawn``, Python 3.10 to 3.13).
    It ignores entries that it does not know, but unpickling this one installs the hooks.
    """
    original = multiprocessing.spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**original(name), "epoch_guard": _InstallWhenUnpickled(injection)}

    multiprocessing.spawn.get_preparation_data = get_preparation_data
