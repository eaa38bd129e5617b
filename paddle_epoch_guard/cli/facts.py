"""The facts of an index that follow from its layout alone: shared by ``plan`` and ``inspect``."""

from typing import Any

from paddle_epoch_guard.index import IndexLayout


def facts_of(layout: IndexLayout, kind: str, global_batch: int | None, weight: float | None = None) -> dict[str, Any]:
    """What is known of one dataset, under the keys that the commands share.

    Args:
        layout: of its index.
        kind: the format, as ``paddlenlp``.
        global_batch: samples per step; None where it is not known.
        weight: the dataset's share of a blend, which draws its position j at about ``j / weight``.
    """
    boundary = layout.boundary_position
    if boundary is not None and weight is not None:
        boundary = round(boundary / weight)
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
        "boundary_step": None if boundary is None or global_batch is None else boundary // global_batch + 1,
        "exposure": exposure_at_boundary(layout),
        "unseen_fraction": unseen_fraction(layout),
    }


def exposure_at_boundary(layout: IndexLayout) -> dict[str, float | None]:
    """Mean exposure just before and just after the boundary; none where there is no boundary.

    Before it, all E - 1 jointly shuffled epochs have been drawn: a token for the last time, so E - 2 times before.
    """
    if not layout.separated:
        return {"before": None, "after": None}
    return {"before": float(layout.num_epochs - 2), "after": float(layout.num_epochs - 1)}


def unified_exposure(layout: IndexLayout, position: int) -> float:
    """Mean exposure at a position of a unified order, mixed uniformly.

    A share r of the data is drawn E times, the rest E - 1 times. Of a token's k draws, spread evenly over N positions,
    one at the fraction f has f * (k - 1) before it.
    """
    if layout.samples_requested == 0:
        return 0.0
    epochs = layout.num_epochs
    share = min(layout.last_epoch_samples / max(layout.samples_per_epoch, 1), 1.0)
    draws = share * epochs + (1 - share) * (epochs - 1)
    pairs = share * epochs * (epochs - 1) + (1 - share) * (epochs - 1) * (epochs - 2)
    return min(position / layout.samples_requested, 1.0) * pairs / draws if draws else 0.0


def unseen_fraction(layout: IndexLayout) -> dict[str, float]:
    """The share of the data that a run of ``samples_requested`` samples never draws.

    ``planned``: in the host's order, and in a unified one of the planned samples. Where all is shuffled jointly, each
    of a token's E places is left out with the probability 1 - N / S; where the last epoch is separated, all of the
    ones before it is drawn. ``all``: the whole index shuffled and then cut.
    """
    built = max(layout.samples_built, 1)
    cut = (1 - layout.samples_requested / built) ** layout.num_epochs
    return {"planned": 0.0 if layout.separated else cut, "all": cut}
