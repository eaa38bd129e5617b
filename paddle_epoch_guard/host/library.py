"""Selects the host library: PaddleNLP, or its successor PaddleFormers. Both have the same modules."""

import importlib
import importlib.util
import sys
from typing import Any

from paddle_epoch_guard.arguments import LIBRARIES
from paddle_epoch_guard.errors import MissingPackageError
from paddle_epoch_guard.language import tr


def _pick() -> str:
    """The library whose Trainer is imported; else the one that is imported; else the one that is installed.

    Raises:
        ModuleNotFoundError: neither is installed.
    """
    for is_in_use in (_has_trainer, sys.modules.__contains__, importlib.util.find_spec):
        for name in LIBRARIES:
            if is_in_use(name):
                return name
    raise ModuleNotFoundError(
        tr(
            "epoch guard: neither {first} nor {second} is installed here. Install the library that trains: pip "
            "install "
            '"paddle-epoch-guard[paddlenlp]" or "paddle-epoch-guard[paddleformers]"',
            first=LIBRARIES[0],
            second=LIBRARIES[1],
        ),
        name=LIBRARIES[0],
    )


def _has_trainer(name: str) -> bool:
    return f"{name}.trainer.trainer" in sys.modules  # both load it when their Trainer is first used


NAME = _pick()
"""The library's module name, picked when the guard's callback is first imported."""


def import_host(module: str) -> Any:
    """Imports a module of the host library.

    Args:
        module: its name within the library, such as ``trainer.trainer_utils``.

    Raises:
        MissingPackageError: this release of the library has no such module. PaddleFormers 0.3.1, which ERNIEKit
            1.3.0 wants, has no sample index.
    """
    try:
        return importlib.import_module(f"{NAME}.{module}")
    except ModuleNotFoundError as cause:
        if cause.name is None or not f"{NAME}.{module}.".startswith(f"{cause.name}."):
            raise
        raise MissingPackageError(
            tr(
                "{library} {version} has no {module}: it is not a release that the guard works with, or has no sample "
                "index to follow. Train without the guard, or with PaddleNLP 3.0.0b4 or 2.8.1, or PaddleFormers 1.2.0",
                library=NAME,
                version=getattr(sys.modules.get(NAME), "__version__", "?"),
                module=cause.name,
            )
        ) from cause
