"""Lines for the trainer's log."""

import contextlib
from typing import Any

from paddle_epoch_guard.host import library
from paddle_epoch_guard.terminal import printable

logger = library.import_host("utils.log").logger


def say(text: str) -> None:
    """Logs a line, with plain characters for those that a terminal lacks: Python would drop it and print an error."""
    logger.info(printable(text, *_streams()))


def warn(text: str) -> None:
    """Logs a warning, in the same way."""
    logger.warning(printable(text, *_streams()))


def try_to_warn(text: str) -> None:
    """Warns in the guard's name; where not even that can be done, training goes on all the same."""
    with contextlib.suppress(Exception):
        warn(f"epoch guard: {text}")


def _streams() -> list[Any]:
    handlers = getattr(getattr(logger, "logger", None), "handlers", ())
    return [handler.stream for handler in handlers if hasattr(getattr(handler, "stream", None), "encoding")]
