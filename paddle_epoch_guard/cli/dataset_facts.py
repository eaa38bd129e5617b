"""The facts of an index that follow from its layout alone: shared by ``plan`` and ``inspect``.

Exposures and shares are expectations over the host's shuffles. Each data epoch of the index holds a token once. They
leave out what is less than one sample: the end of a group of epochs, whose tokens the sample that crosses draws.
"""

from typing import Any

from paddle_epoch_guard.index import IndexLayout


def dataset_facts_of(
    layout: IndexLayout, kind: str, global_batch: int | None, drawn: int | None = None, *, blended: bool = False
) -> dict[str, Any]:
    """What is known of one dataset, under the keys that the commands share.

    Args:
        layout: of its index.
        kind: the format, as ``paddlenlp``.
        global_batch: samples per step; None where it is not known.
        drawn: samples that the run draws of it; as many as were asked for where None.
        blended: whether it is one of a blend, whose pool ``all`` is what is planned.
    """
    drawn = layout.samples_requested if drawn is None else drawn
    boundary = layout.boundary_position
    planned = unseen_fraction(layout, drawn)
    return {
        "format": kind,
        "tokens_per_epoch": layout.tokens_per_epoch,
        "samples_per_epoch": layout.samples_per_epoch,
        "num_epochs": layout.num_epochs,
        "samples_requested": layout.samples_requested,
        "samples_built": layout.samples_built,
        "last_epoch_samples": layout.last_epoch_samples,
        "separated": layout.separated,
        "boundary_position": boundary,
        "boundary_step": step_of(boundary, global_batch),
        "exposure": exposure_at_boundary(layout),
        "unseen_fraction": {"planned": planned, "all": planned if blended else unseen_of_all(layout, drawn)},
    }


def step_of(position: int | None, global_batch: int | None) -> int | None:
    """The step, from 1, that first draws a position; None where either is not known."""
    return None if position is None or global_batch is None else position // global_batch + 1


def exposure_at_boundary(layout: IndexLayout) -> dict[str, float | None]:
    """Mean exposure just before and just after the boundary; none where there is no boundary."""
    boundary = layout.boundary_position
    if boundary is None:
        return {"before": None, "after": None}
    return {
        "before": exposure_at(layout, boundary, beyond=False),
        "after": exposure_at(layout, boundary, beyond=True),
    }


def exposure_at(layout: IndexLayout, position: float, *, beyond: bool) -> float:
    """Mean exposure where the host's order has come to a position of the dataset.

    Of epochs that are shuffled together, a token's draws are spread evenly over their positions: where one of them
    is, the share of the positions so far is that of the token's other draws. In a last epoch that is shuffled apart,
    all other draws lie before.

    Args:
        layout: of the index.
        position: from 0 to the samples built.
        beyond: whether it lies in an epoch that is shuffled apart.
    """
    if beyond:
        return float(layout.num_epochs - 1)
    epochs, positions = _first_group(layout)
    return (epochs - 1) * min(position / positions, 1.0)


def unified_exposure(layout: IndexLayout, drawn: int) -> float:
    """Mean exposure at the end of a unified order of the first positions, mixed uniformly; it rises to it as a line.

    Of a token's k draws, spread evenly, the last position has k - 1 before it. Where the last epoch is shuffled apart
    and ``drawn`` reaches into it, a share r of the data is drawn E times, the rest E - 1 times.

    Args:
        layout: of the index.
        drawn: samples that the order holds.
    """
    epochs, positions = _first_group(layout)
    if drawn <= positions:
        return (epochs - 1) * drawn / positions
    share = min((drawn - positions) * layout.seq_length / layout.tokens_per_epoch, 1.0)
    draws = share * (epochs + 1) + (1 - share) * epochs
    pairs = share * (epochs + 1) * epochs + (1 - share) * epochs * (epochs - 1)
    return pairs / draws


def unseen_fraction(layout: IndexLayout, drawn: int) -> float:
    """The share of the data that a run never draws: in the host's order, and in a unified one of the same samples.

    Each of a token's places among the epochs that are shuffled together is left out with the same probability. Where
    the last epoch is shuffled apart and the run comes to it, all of the ones before it is drawn.
    """
    epochs, positions = _first_group(layout)
    return float((1 - min(drawn / positions, 1.0)) ** epochs)


def unseen_of_all(layout: IndexLayout, drawn: int) -> float:
    """The same where the whole index is shuffled together, and then cut."""
    return float((1 - min(drawn / max(layout.samples_built, 1), 1.0)) ** layout.num_epochs)


def _first_group(layout: IndexLayout) -> tuple[int, int]:
    """Data epochs, and positions, of the group that is drawn first."""
    return layout.epoch_groups[0], max(layout.sample_groups[0][1], 1)
