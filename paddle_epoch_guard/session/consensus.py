"""How all ranks of a run reach one decision before any of them trains.

Closing a log window is collective in the trainer: ranks of different opinion would wait for each other forever.

Ranks send each other digests of their results, a few numbers: so ten thousand ranks agree on a plan of any size. Only
if they differ, the first other one sends its own.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, RankMismatchError, TrackingError, cause_of
from paddle_epoch_guard.language import tr

_T = TypeVar("_T")

_FINE, _FAULT, _DOUBT, _WRONG_CALL = range(4)


def run_on_all_ranks(work: Callable[[], _T], must_succeed: bool) -> _T:
    """Does the work on every rank, and raises on all of them what any of them raised. Collective.

    Args:
        work: what to do.
        must_succeed: whether an unexpected exception is an error, rather than a fault to be passed over.

    Returns:
        This rank's result.

    Raises:
        EpochGuardError: of this rank, or of another; an ArgumentsError of any rank takes precedence on all.
        TrackingError: anything else, where it may be passed over.
    """
    result: Any = None
    doubt: EpochGuardError | None = None
    said: tuple[type[Exception], str] | None = None
    outcome = _FINE
    try:
        result = work()
    except EpochGuardError as error:
        doubt, said = error, (type(error), str(error))
        outcome = _WRONG_CALL if isinstance(error, ArgumentsError) else _DOUBT
    except Exception as error:
        said, outcome = (Exception, f"{type(error).__name__}: {error}"), _FAULT
        if must_succeed and isinstance(error, OSError):  # of the user's disk, not of this package
            why = tr(
                "{path}: {cause}. Free the disk, or make the folder writable",
                path=error.filename or tr("a file"),
                cause=cause_of(error),
            )
            doubt, outcome = EpochGuardError(why), _DOUBT
            said = EpochGuardError, why
    outcomes = host.all_gather_ints([outcome])[:, 0]
    worst = int(outcomes.max())
    if worst == _FINE:
        return result  # type: ignore[no-any-return]
    rank = int(np.argmax(outcomes == worst))  # the same first one on every rank
    told = host.broadcast_from(rank, said)
    assert told is not None
    kind, why = told
    if worst == _FAULT:
        cause = f"rank {rank}: {why}" if len(outcomes) > 1 else why
        if not must_succeed:
            raise TrackingError(cause)
        raise EpochGuardError(
            tr(
                "the guard failed before the first step, while the order of the data depends on it: {cause}. This is "
                "a fault of paddle-epoch-guard; please report it. --epoch_guard off trains without it",
                cause=cause,
            )
        )
    if doubt is not None and said == told:
        raise doubt
    refusal = ArgumentsError if issubclass(kind, ArgumentsError) else RankMismatchError
    raise refusal(tr("rank {rank} stopped: {cause}", rank=rank, cause=why))


def agree_on_sidecar(sidecar: _T | None) -> _T | None:
    """The sidecar that the ranks read; machines that share no disk may have none. Collective.

    Args:
        sidecar: read by this rank.

    Raises:
        RankMismatchError: they read different ones.
    """
    rows = host.all_gather_ints(digest_of(sidecar) if sidecar is not None else [0, 0])
    holders = np.flatnonzero(rows.any(axis=1))
    if not holders.size:
        return None
    if (rows[holders] != rows[holders[0]]).any():
        raise RankMismatchError(tr("the ranks read different sidecars. Give all of them the same checkpoint"))
    return sidecar if len(holders) == len(rows) else host.broadcast_from(int(holders[0]), sidecar)


def require_same_plan(decided: _T | None) -> _T:
    """What all ranks that read data would act by. Collective.

    Args:
        decided: what this rank would act by: anything whose ``repr`` says all; None on a rank that reads no data.

    Returns:
        The same on every rank.

    Raises:
        RankMismatchError: they would act by different things.
    """
    rows = host.all_gather_ints(digest_of(decided) if decided is not None else [0, 0])
    readers = np.flatnonzero(rows.any(axis=1))
    if not readers.size:
        raise RankMismatchError(tr("no rank reads data. Give at least one of them the training dataset"))
    first = int(readers[0])
    other = other_than_first(rows[readers])
    if other is not None:
        rank, own = int(readers[other]), repr(decided)
        theirs, expected = host.broadcast_from(rank, own), host.broadcast_from(first, own)
        raise RankMismatchError(
            tr(
                "rank {rank} would follow another data order than rank {first}: {theirs} instead of {expected}. Point "
                "all ranks to the same corpus and the same index cache",
                rank=rank,
                first=first,
                theirs=theirs,
                expected=expected,
            )
        )
    agreed = decided if len(readers) == len(rows) else host.broadcast_from(first, decided)
    assert agreed is not None
    return agreed


def other_than_first(rows: npt.NDArray[np.int64]) -> int | None:
    """The first row of ``[ranks, n]`` numbers that are not those of the first one; None if all are."""
    differs = (rows != rows[0]).any(axis=1)
    return int(np.argmax(differs)) if differs.any() else None


def digest_of(value: object) -> npt.NDArray[np.int64]:
    """Two numbers, never both zero in practice, that say what a value is."""
    return np.frombuffer(blake2b(repr(value).encode(), digest_size=16).digest(), dtype="<i8")
