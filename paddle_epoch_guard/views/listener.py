"""Hands events to a function of the user's, for alerts."""

import queue
import threading
import time
from collections.abc import Callable

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import Event
from paddle_epoch_guard.terminal import plain

PATIENCE = 5.0
"""Seconds that the end of training waits for events that the function has not taken."""
_MOST_WAITING = 10_000  # events; a record line is about a kilobyte


class Listener:
    """A view that calls a function with each event, in a thread of its own: it may be slow, and it may fail.

    Args:
        listen: the function. Its first exception leads to a warning; it still gets the later events.
        warn: takes a sentence for the trainer's log.
        patience: seconds that `close` waits.
    """

    def __init__(
        self, listen: Callable[[Event], object], warn: Callable[[str], object], patience: float = PATIENCE
    ) -> None:
        self._listen = listen
        self._warn = warn
        self._patience = patience
        self._waiting: queue.Queue[Event | None] = queue.Queue(_MOST_WAITING)
        self._lost = 0
        self._has_failed = self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="epoch-guard-on-event", daemon=True)
        self._thread.start()

    def take(self, event: Event) -> None:
        """Queues an event; training does not wait."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._lost += 1

    def flush(self, at_once: bool = True) -> None:
        """Does nothing: events are on their way at once."""

    def close(self) -> None:
        """Waits for the function to take what is queued, within limits; says what it did not get."""
        if self._is_closed:
            return
        self._is_closed = True
        until = time.monotonic() + self._patience
        try:
            self._waiting.put(None, timeout=self._patience)
        except queue.Full:
            pass
        else:
            self._thread.join(max(0.0, until - time.monotonic()))
        left = self._lost + (self._waiting.qsize() if self._thread.is_alive() else 0)
        if left or self._thread.is_alive():
            self._warn(
                "epoch guard: "
                + tr(
                    "on_event did not take all events within {patience:g} s after the end; at least {lost} are lost. "
                    "Give what it waits for a time-out",
                    patience=self._patience,
                    lost=max(1, left),
                )
            )

    def _serve(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._listen(event)
            except BaseException as cause:  # also SystemExit, which would end the thread without a word
                if not self._has_failed:
                    self._has_failed = True
                    self._warn(
                        "epoch guard: "
                        + tr(
                            "on_event failed at {event}: {cause}. It still gets the later events; further failures "
                            "are not told",
                            event=type(event).__name__,
                            cause=plain(f"{type(cause).__name__}: {cause}"),
                        )
                    )
