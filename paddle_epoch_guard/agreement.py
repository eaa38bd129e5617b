"""How all ranks of a run reach one decision before any of them trains.

Closing a log window is collective in the trainer: ranks of different opinion would wait for each other for ever.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, RankMismatchError

_T = TypeVar("_T")


class TrackingError(Exception):
    """Something of ours failed that does not touch the order."""


def together(
    work: Callable[[], _T], must_succeed: bool, share: Callable[[_T], Any] = lambda result: result
) -> tuple[_T, list[Any]]:
    """Does the work on every rank, and raises on all of them what any of them raised. Collective.

    Args:
        work: what to do.
        must_succeed: whether an unexpected exception is an error, rather than a fault to be passed over.
        share: what of the result to show the other ranks.

    Returns:
        This rank's result, and what each rank shared, by rank.

    Raises:
        EpochGuardError: of this rank, or of another; an ArgumentsError of any rank takes precedence on all.
        TrackingError: anything else, where it may be passed over.
    """
    result: Any = None
    shared: Any = None
    doubt: EpochGuardError | None = None
    fault: str | None = None
    try:
        result = work()
        shared = share(result)
    except EpochGuardError as found:
        doubt = found
    except Exception as found:
        fault = f"{type(found).__name__}: {found}"
    gathered = host.gather((shared, None if doubt is None else (type(doubt), str(doubt)), fault))
    doubts = [(rank, *found) for rank, (_, found, _) in enumerate(gathered) if found is not None]
    doubts.sort(key=lambda one: not issubclass(one[1], ArgumentsError))  # the same first one on every rank
    if doubts:
        rank, kind, why = doubts[0]
        if doubt is not None and (type(doubt), str(doubt)) == (kind, why):
            raise doubt
        error = ArgumentsError if issubclass(kind, ArgumentsError) else RankMismatchError
        raise error(f"rank {rank} stopped: {why}")
    for rank, (_, _, why) in enumerate(gathered):
        if why is not None:
            where = f"rank {rank}: " if len(gathered) > 1 else ""
            if not must_succeed:
                raise TrackingError(f"{where}{why}")
            raise EpochGuardError(
                f"the guard failed before the first step, while the order of the data depends on it: {where}{why}. "
                "This is a fault of paddle-epoch-guard; please report it. --epoch_guard off trains without it"
            )
    return result, [found for found, _, _ in gathered]


def the_one(by_rank: list[_T | None]) -> _T | None:
    """The sidecar that the ranks read; machines that share no disk may have none.

    Raises:
        RankMismatchError: they read different ones.
    """
    found = [one for one in by_rank if one is not None]
    if any(one != found[0] for one in found):
        raise RankMismatchError("the ranks read different sidecars. Give all of them the same checkpoint")
    return found[0] if found else None


def compare(agreed: list[_T | None]) -> _T:
    """What all ranks that read data would follow; None stands for those that read none.

    Raises:
        RankMismatchError: they would follow different things.
    """
    by_rank = {rank: found for rank, found in enumerate(agreed) if found is not None}
    first, expected = next(iter(by_rank.items()))
    for rank, found in by_rank.items():
        if found != expected:
            raise RankMismatchError(
                f"rank {rank} would follow another data order than rank {first}: {found} instead of {expected}. "
                "Point all ranks to the same corpus and the same index cache"
            )
    return expected
