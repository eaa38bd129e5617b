"""Which library trains: PaddleNLP, or PaddleFormers, its successor. They have the same modules under two names."""

import importlib
import importlib.util
import sys
from typing import Any

from paddle_epoch_guard.arguments import LIBRARIES


def _pick() -> str:
    """The library whose Trainer the script has imported; else the one it has begun to import; else the one installed.

    Raises:
        ModuleNotFoundError: neither is installed.
    """
    for is_in_use in (_has_trainer, sys.modules.__contains__, importlib.util.find_spec):
        for name in LIBRARIES:
            if is_in_use(name):
                return name
    raise ModuleNotFoundError(
        f"epoch guard: neither {' nor '.join(LIBRARIES)} is installed here. Install the library that trains: "
        'pip install "paddle-epoch-guard[paddlenlp]" or "paddle-epoch-guard[paddleformers]"'
    )


def _has_trainer(name: str) -> bool:
    return f"{name}.trainer.trainer" in sys.modules  # both load it when their Trainer is first used


NAME = _pick()
"""The library's module name; picked once, when the guard's callback is first imported."""


def import_host(module: str) -> Any:
    """A module of the library.

    Args:
        module: its name within the library, as ``trainer.trainer_utils``.
    """
    return importlib.import_module(f"{NAME}.{module}")
