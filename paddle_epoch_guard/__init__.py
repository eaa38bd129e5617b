"""Data epochs of a PaddleNLP or PaddleFormers pretraining run: tracked from the sample index, seen in VisualDL.

The public names load on first use: importing this package imports neither paddle nor the library.
"""

import importlib
from typing import TYPE_CHECKING

from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import EpochGuardError

if TYPE_CHECKING:
    from paddle_epoch_guard.callback import EpochGuardCallback
    from paddle_epoch_guard.comparison.compare import Comparison, compare
    from paddle_epoch_guard.comparison.reading import read_run
    from paddle_epoch_guard.comparison.run import Run

__all__ = [
    "Comparison",
    "EpochGuardArguments",
    "EpochGuardCallback",
    "EpochGuardError",
    "Run",
    "compare",
    "read_run",
]
__version__ = "0.1.0"

_WHERE = {
    "Comparison": "comparison.compare",
    "EpochGuardCallback": "callback",
    "Run": "comparison.run",
    "compare": "comparison.compare",
    "read_run": "comparison.reading",
}
"""The module of each name that loads on first use."""


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
