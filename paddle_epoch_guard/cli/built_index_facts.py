"""The facts of an index that is built already: what its layout says, and where its order was changed."""

from typing import Any

from paddle_epoch_guard.cli.dataset_facts import dataset_facts_of, step_of
from paddle_epoch_guard.index import BlendIndex, Boundary, GPTIndex
from paddle_epoch_guard.index.from_files import Opened
from paddle_epoch_guard.index.verify import WHOLE_UP_TO
from paddle_epoch_guard.order import PositionMap, Reorder


def facts_of_index(opened: Opened, reorders: tuple[Reorder, ...], global_batch: int | None) -> dict[str, Any]:
    """What is known of an index; for a blend, of each dataset.

    Args:
        opened: the index.
        reorders: that were written out beyond the host's own order.
        global_batch: B, where it is known.
    """
    positions = PositionMap(reorders)
    boundaries = tuple(one for one in opened.index.boundaries if not positions.dissolves(one.position))
    described = {
        "hash": opened.files.digest,
        "name": opened.described.name,
        "global_batch": global_batch,
        "unified": [
            {"from_position": one.start, "to_position": one.stop, "mix": one.mix, "seed": one.key[0]}
            for one in reorders
        ],
        "verified": "whole" if len(opened.index) <= WHOLE_UP_TO else "at its ends and in spaced blocks",
    }
    drawn = opened.index.drawn_of_each(len(opened.index)).tolist() if isinstance(opened.index, BlendIndex) else (None,)
    each = [
        _facts_of_dataset(opened, at, count, boundaries, bool(reorders), global_batch)
        for at, count in enumerate(drawn)
    ]
    if isinstance(opened.index, GPTIndex):
        return {**each[0], **described}
    first = boundaries[0].position if boundaries else None
    return {
        "format": opened.files.kind.format,
        "samples_requested": len(opened.index),
        "samples_built": len(opened.index),
        "separated": bool(boundaries),
        "boundary_position": first,
        "boundary_step": step_of(first, global_batch),
        "weights": opened.described.weights,
        **described,
        "datasets": each,
    }


def _facts_of_dataset(
    opened: Opened,
    at: int,
    drawn: int | None,
    boundaries: tuple[Boundary, ...],
    reordered: bool,
    global_batch: int | None,
) -> dict[str, Any]:
    index = opened.datasets[at]
    facts = dataset_facts_of(index.layout, opened.files.kind.format, global_batch, drawn, blended=drawn is not None)
    # The positions of a blend are its own, and it may end before a dataset's boundary.
    boundary = next((one.position for one in boundaries if one.dataset == at), None)
    facts |= {"boundary_position": boundary, "boundary_step": step_of(boundary, global_batch)}
    if boundary is None:
        facts |= {"separated": index.layout.separated and not reordered, "exposure": {"before": None, "after": None}}
    return {
        "prefix": index.description.prefix,
        **facts,
        "seq_length": index.description.seq_length,
        "seed": index.description.seed,
        "split": index.description.split,
    }
