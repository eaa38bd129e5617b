"""Data epochs of a PaddleNLP or PaddleFormers pretraining run: tracked from the sample index, seen in VisualDL.

The public names load on first use: importing this package imports neither paddle nor the library.
"""

from typing import TYPE_CHECKING

from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import EpochGuardError

if TYPE_CHECKING:
    from paddle_epoch_guard.callback import EpochGuardCallback

__all__ = ["EpochGuardArguments", "EpochGuardCallback", "EpochGuardError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "EpochGuardCallback":
        from paddle_epoch_guard.callback import EpochGuardCallback

        return EpochGuardCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
