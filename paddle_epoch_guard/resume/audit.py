"""Whether the run that resumes is the run that was interrupted."""

from collections.abc import Sequence
from dataclasses import fields

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.resume.sidecar import DatasetRecord, Sidecar


def check_resume(sidecar: Sidecar, datasets: Sequence[DatasetRecord], position: int | None) -> None:
    """Compares what the checkpoint recorded with what the host has set up.

    Args:
        sidecar: the checkpoint's.
        datasets: what the live indices were built from, in the order of the blend.
        position: where the sampler starts now; None where it was told to start anew (``ignore_data_skip``).

    Raises:
        ResumeMismatchError: something differs; the message names each difference, then and now.
    """
    found = _differences(sidecar.datasets, datasets)
    if position is not None and position != sidecar.position:
        found.append(f"the position at which the sampler starts was {sidecar.position}, is {position}")
    if found:
        raise ResumeMismatchError(
            f"the run that resumes at step {sidecar.step} is not the one that was interrupted: {'; '.join(found)}. "
            "The number of samples follows from max_steps, batch size, accumulation and world size. When one of "
            "these changes, the host rebuilds its index in another order and skips positions of an order that was "
            "never drawn: data would be repeated and lost. Resume with the values of the interrupted run"
        )


def _differences(then: Sequence[DatasetRecord], now: Sequence[DatasetRecord]) -> list[str]:
    if len(then) != len(now):
        return [f"the number of datasets was {len(then)}, is {len(now)}"]
    return [
        f"{field.name.replace('_', ' ')}{f' of dataset {at}' if len(now) > 1 else ''} "
        f"was {getattr(before, field.name)}, is {getattr(after, field.name)}"
        for at, (before, after) in enumerate(zip(then, now, strict=True))
        for field in fields(DatasetRecord)
        if getattr(before, field.name) != getattr(after, field.name)
    ]
