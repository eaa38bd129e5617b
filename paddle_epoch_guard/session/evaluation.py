"""Whether the evaluation set may confirm a verdict: it must not overlap the training data."""

import time
from collections.abc import Callable

from paddle_epoch_guard import host
from paddle_epoch_guard.index.overlap import Comparison, compare_documents
from paddle_epoch_guard.record.events import Message

SECONDS = 5.0
"""For how long the evaluation set is compared with the training data, at most, before the first step."""


def evaluation_is_apart(
    training: object, evaluation: object, clock: Callable[[], float] = time.monotonic
) -> tuple[bool | None, Message | None]:
    """Compares the evaluation set with the training data.

    Args:
        training: the live training dataset.
        evaluation: the live evaluation dataset.
        clock: in seconds.

    Returns:
        True if it is apart, False if it overlaps, None if that is unknown; and what to say, unless it is apart.
        An error makes it unknown.
    """
    try:
        if evaluation is not None and evaluation is training:
            return False, _overlaps(Comparison("overlaps", "same_documents"))
        one, other = host.documents_of(evaluation), host.documents_of(training)
        if one is None or other is None:
            return None, _unknown("no_documents")
        due = clock() + SECONDS
        compared = compare_documents(one, other, lambda: clock() > due)
    except Exception as cause:
        return None, _unknown("fault", f"{type(cause).__name__}: {cause}")
    if compared.result == "overlaps":
        return False, _overlaps(compared)
    return (True, None) if compared.result == "apart" else (None, _unknown(compared.ground))


def _overlaps(compared: Comparison) -> Message:
    counts = {"looked_up": compared.looked_up, "matching": compared.matching}
    return Message("evaluation_overlaps", {"ground": compared.ground, **counts})


def _unknown(ground: str, fault: str = "") -> Message:
    return Message("evaluation_unknown", {"ground": ground, "fault": fault})
