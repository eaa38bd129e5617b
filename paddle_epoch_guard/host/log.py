"""Lines for the trainer's log."""

import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def told_if_it_fails(what: str) -> Iterator[None]:
    """Training goes on after an exception; a warning says what it costs.

    Args:
        what: the consequence, as a clause.
    """
    try:
        yield
    except Exception as cause:
        try_to_warn(f"{what}: {type(cause).__name__}: {cause}")


def _streams() -> list[Any]:
    handlers = getattr(getattr(logger, "logger", None), "handlers", ())
    return [handler.stream for handler in handlers if hasattr(getattr(handler, "stream", None), "encoding")]
