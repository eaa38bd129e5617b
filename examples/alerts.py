"""Posts what the guard finds to a webhook, such as one of a chat: boundaries, verdicts, and a refusal to start.

    trainer = PretrainingTrainer(..., callbacks=[EpochGuardCallback(on_event=webhook("https://chat.example/hook"))])

The guard calls the function in a thread of its own, on the first rank: training does not wait for it.
To see whether an address works:

    python examples/alerts.py https://chat.example/hook
"""

import argparse
import json
import urllib.request
from collections.abc import Callable

from paddle_epoch_guard.record.events import ChangeJudged, ChangeReached, Event, PartBegan, Refused


def webhook(url: str, timeout: float = 5.0) -> Callable[[Event], None]:
    """A function for ``EpochGuardCallback(on_event=...)``.

    Args:
        url: gets a POST of ``{"text": ...}`` for each alert.
        timeout: seconds until an attempt is given up.
    """

    def post_alert(event: Event) -> None:
        text = alert_of(event)
        if text is not None:
            post(url, text, timeout)

    return post_alert


def alert_of(event: Event) -> str | None:
    """The alert for an event; None if it is worth none."""
    match event:
        case Refused():
            how = "went on without the guard" if event.goes_on else "did not start"
            return f"The run {how}: {event.message}"
        case PartBegan() if event.findings:
            changed = ", ".join(f"{found.what} {found.recorded} -> {found.current}" for found in event.findings)
            return f"Resumed after step {event.step} with other settings: {changed}"
        case ChangeReached():
            what = "a unified order begins" if event.change.boundary is None else "data is repeated from here on"
            return f"Step {event.change.step}: {what}"
        case ChangeJudged() if event.report.final:
            return f"Verdict on step {event.report.change.step}: {event.report.verdict}"
    return None


def post(url: str, text: str, timeout: float) -> None:
    """Posts a text as JSON.

    Raises:
        OSError: the address does not answer in time, or answers with an error.
    """
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of the webhook")
    post(parser.parse_args().url, "A test from examples/alerts.py", timeout=5.0)
