"""Facts about a built index: its layout, and where its order was changed."""

from typing import Any

from paddle_epoch_guard.cli.dataset_facts import dataset_facts_of, step_of
from paddle_epoch_guard.index import BlendIndex, Boundary, GPTIndex
from paddle_epoch_guard.index.from_files import Opened
from paddle_epoch_guard.index.verify import WHOLE_UP_TO
from paddle_epoch_guard.language import mark
from paddle_epoch_guard.order import PositionMap, Reorder


def facts_of_index(opened: Opened, reorders: tuple[Reorder, ...], global_batch: int | None) -> dict[str, Any]:
    """The JSON object of ``inspect``; for a blend with the facts of each dataset.

    Args:
        opened: the index.
        reorders: changes of the host's order that ``rebuild`` has written.
        global_batch: B; None if unknown.
    """
    positions = PositionMap(reorders)
    boundaries = tuple(boundary for boundary in opened.index.boundaries if not positions.dissolves(boundary.position))
    described = {
        "hash": opened.files.digest,
        "name": opened.described.name,
        "global_batch": global_batch,
        "unified": [
            {"from_position": reorder.start, "to_position": reorder.stop, "mix": reorder.mix, "seed": reorder.key[0]}
            for reorder in reorders
        ],
        "verified": mark("whole") if len(opened.index) <= WHOLE_UP_TO else mark("at its ends and in spaced blocks"),
    }
    drawn = opened.index.drawn_of_each(len(opened.index)).tolist() if isinstance(opened.index, BlendIndex) else (None,)
    datasets = [
        _facts_of_dataset(opened, number, count, boundaries, bool(reorders), global_batch)
        for number, count in enumerate(drawn)
    ]
    if isinstance(opened.index, GPTIndex):
        return {**datasets[0], **described}
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
        "datasets": datasets,
    }


def _facts_of_dataset(
    opened: Opened,
    number: int,
    drawn: int | None,
    boundaries: tuple[Boundary, ...],
    reordered: bool,
    global_batch: int | None,
) -> dict[str, Any]:
    index = opened.datasets[number]
    facts = dataset_facts_of(index.layout, opened.files.kind.format, global_batch, drawn, blended=drawn is not None)
    # Positions are those of the blend, which may end before it reaches a dataset's boundary.
    boundary = next((boundary.position for boundary in boundaries if boundary.dataset == number), None)
    samples = index.layout.samples_requested if drawn is None else drawn
    facts["data_epochs"] = samples * index.layout.seq_length / index.layout.tokens_per_epoch
    facts |= {"boundary_position": boundary, "boundary_step": step_of(boundary, global_batch)}
    if boundary is None:
        facts |= {"separated": index.layout.separated and not reordered, "exposure": {"before": None, "after": None}}
    return {
        "prefix": index.description.prefix,
        **facts,
        "follows_threshold": index.layout.follows_rule,
        "seq_length": index.description.seq_length,
        "seed": index.description.seed,
        "split": index.description.split,
    }
