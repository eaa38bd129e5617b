"""Exposure and unseen data as the layout of an index alone tells them, without its arrays.

They are expected values over the host's shuffles. Each data epoch of the index holds every token once. Effects below
one sample are neglected: one sample draws tokens from both sides of the end of a group of epochs.
"""

from paddle_epoch_guard.index import IndexLayout


def exposure_at_boundary(layout: IndexLayout) -> dict[str, float | None]:
    """Mean exposure just before and just after the boundary; None for both without a boundary."""
    boundary = layout.boundary_position
    if boundary is None:
        return {"before": None, "after": None}
    return {side: exposure_at(layout, boundary, beyond=side == "after") for side in ("before", "after")}


def exposure_at(layout: IndexLayout, position: float, *, beyond: bool) -> float:
    """Mean exposure at a position of the dataset, in the host's order.

    In epochs that are shuffled together, a token's draws are spread evenly over the positions. So at one of its draws,
    the share of its other draws that came before equals the share of the positions before. In a last epoch that is
    shuffled separately, all other draws came before.

    Args:
        layout: of the index.
        position: from 0 to the samples built.
        beyond: whether it lies in an epoch that is shuffled separately.
    """
    if beyond:
        return float(layout.num_epochs - 1)
    epochs, positions = _first_group(layout)
    return (epochs - 1) * min(position / positions, 1.0)


def unified_exposure(layout: IndexLayout, drawn: int) -> float:
    """Mean exposure at the end of a uniformly mixed order of the first positions. It rises linearly from 0.

    If a token has k draws, spread evenly, a draw at the last position has k - 1 before it. If the last epoch is
    shuffled separately and ``drawn`` reaches into it, a share r of the data is drawn E times, the rest E - 1 times.

    Args:
        layout: of the index.
        drawn: samples in the order.
    """
    epochs, positions = _first_group(layout)
    if drawn <= positions:
        return (epochs - 1) * drawn / positions
    share = min((drawn - positions) * layout.seq_length / layout.tokens_per_epoch, 1.0)
    draws = share * (epochs + 1) + (1 - share) * epochs
    pairs = share * (epochs + 1) * epochs + (1 - share) * epochs * (epochs - 1)
    return pairs / draws


def unseen_fraction(layout: IndexLayout, drawn: int) -> float:
    """Share of the data that a run never draws, in the host's order or in a unified order of the same samples.

    Each draw of a token in the epochs that are shuffled together is left out with the same probability. If the last
    epoch is shuffled separately and the run reaches it, it has drawn all epochs before it.
    """
    epochs, positions = _first_group(layout)
    return float((1 - min(drawn / positions, 1.0)) ** epochs)


def unseen_of_all(layout: IndexLayout, drawn: int) -> float:
    """The same if the whole index is shuffled together, and the run draws the beginning."""
    return float((1 - min(drawn / max(layout.samples_built, 1), 1.0)) ** layout.num_epochs)


def _first_group(layout: IndexLayout) -> tuple[int, int]:
    """Numbers of data epochs and positions of the group that is drawn first."""
    return layout.epoch_groups[0], max(layout.sample_groups[0][1], 1)
