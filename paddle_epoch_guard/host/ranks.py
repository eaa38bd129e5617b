"""The processes of a run."""

from typing import Any

import paddle


def gather(value: Any) -> list[Any]:
    """The value of every process of the run, by rank; collective.

    Args:
        value: anything that pickles.
    """
    if paddle.distributed.get_world_size() == 1:
        return [value]
    gathered: list[Any] = []
    paddle.distributed.all_gather_object(gathered, value)
    return gathered
