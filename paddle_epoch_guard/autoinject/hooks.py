"""All hooks of a process."""

import multiprocessing.spawn
from collections.abc import Mapping
from functools import partial
from typing import Any

from paddle_epoch_guard.autoinject.imports import AfterImport
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.autoinject.parsers import hook_argparse, hook_parse_dict
from paddle_epoch_guard.autoinject.trainers import hook_trainers

HOSTS = ("paddlenlp", "paddleformers")
"""They have the same module names."""


def install(command_line: Mapping[str, str], config: Mapping[str, str] | None = None) -> Injection:
    """Prepares this process for a script: what it imports of a host will have the guard in it.

    Args:
        command_line: flags of the command line.
        config: flags of a config file that are known already.
    """
    injection = Injection(command_line, config)
    hook_argparse(injection)
    AfterImport(
        {f"{host}.trainer.argparser": partial(hook_parse_dict, injection) for host in HOSTS}
        | {f"{host}.trainer.trainer": partial(hook_trainers, injection) for host in HOSTS}
    ).install()
    _hook_spawn(injection)
    return injection


def _hook_spawn(injection: Injection) -> None:
    """Lets processes that multiprocessing spawns (so ``paddle.distributed.spawn``) install the hooks too.

    What a new interpreter is told of its parent is pickled (``multiprocessing.spawn``, Python 3.10 to 3.13); it leaves
    entries aside that it does not know, but unpickling this one installs the hooks.
    """
    original = multiprocessing.spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**original(name), "epoch_guard": injection}

    multiprocessing.spawn.get_preparation_data = get_preparation_data
