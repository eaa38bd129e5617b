"""Which library trains: PaddleNLP, or PaddleFormers, its successor. They have the same modules under two names."""

import importlib
import importlib.util
import sys
from typing import Any

LIBRARIES = ("paddlenlp", "paddleformers")
_TRAINER = "trainer.trainer"  # loaded by both with the first use of their Trainer


def _pick() -> str:
    """The library whose Trainer the script has imported; where there is none yet, the one that is installed.

    Raises:
        ModuleNotFoundError: neither is installed.
    """
    for name in LIBRARIES:
        if f"{name}.{_TRAINER}" in sys.modules:
            return name
    for name in LIBRARIES:
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            return name
    raise ModuleNotFoundError(
        f"epoch guard: neither {' nor '.join(LIBRARIES)} is installed here. Install the library that trains: "
        'pip install "paddle-epoch-guard[paddlenlp]" or "paddle-epoch-guard[paddleformers]"'
    )


NAME = _pick()
"""The library's module name; picked once, when the guard's callback is first imported."""


def part(module: str) -> Any:
    """A module of the library.

    Args:
        module: its name within the library, as ``trainer.trainer_utils``.
    """
    return importlib.import_module(f"{NAME}.{module}")
