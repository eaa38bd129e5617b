"""Facts about an index that follow from its layout alone; ``plan`` and ``inspect`` share them."""

from typing import Any

from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.ledger.layout_exposure import exposure_at_boundary, unseen_fraction, unseen_of_all
from paddle_epoch_guard.ledger.repeated_data import expected_fall


def dataset_facts_of(
    layout: IndexLayout, kind: str, global_batch: int | None, drawn: int | None = None, *, blended: bool = False
) -> dict[str, Any]:
    """The facts about one dataset, under the JSON keys that the commands share.

    Args:
        layout: of its index.
        kind: the format, as ``paddlenlp``.
        global_batch: samples per step; None if unknown.
        drawn: samples that the run draws from it; None for all that were requested.
        blended: whether it belongs to a blend, whose pool ``all`` equals the planned samples.
    """
    drawn = layout.samples_requested if drawn is None else drawn
    boundary = layout.boundary_position
    planned, exposure = unseen_fraction(layout, drawn), exposure_at_boundary(layout)
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
        "exposure": exposure,
        "expected_fall": None if boundary is None else expected_fall(exposure["before"] or 0.0),
        "unseen_fraction": {"planned": planned, "all": planned if blended else unseen_of_all(layout, drawn)},
    }


def step_of(position: int | None, global_batch: int | None) -> int | None:
    """The step, from 1, that first draws a position; None if either is unknown."""
    return None if position is None or global_batch is None else position // global_batch + 1
