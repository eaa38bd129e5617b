"""Collective communication between the processes of a run.

Only a few integers are gathered; floats are reduced, and objects are broadcast. paddle's ``all_gather_object``
(paddlepaddle 3.3.1) is avoided: every process would receive the objects of all, padded to the longest, which is
gigabytes at 10,000 processes.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import paddle

_T = TypeVar("_T")


def process() -> int:
    """The rank of this process, from 0."""
    return int(paddle.distributed.get_rank())


def all_gather_ints(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Gathers integers from all ranks. Collective.

    Args:
        values: int64 ``[n]``; n is the same on all ranks.

    Returns:
        int64 ``[ranks, n]``, the same on all ranks.
    """
    own = np.asarray(values, dtype=np.int64)
    if paddle.distributed.get_world_size() == 1:
        return own[None]
    gathered: list[Any] = []
    paddle.distributed.all_gather(gathered, paddle.to_tensor(own))
    rows: npt.NDArray[np.int64] = paddle.stack(gathered).numpy()
    return rows


def all_reduce_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums floats over all ranks. Collective.

    Args:
        values: float64 ``[n]``; n is the same on all ranks.

    Returns:
        float64 ``[n]``, the same on all ranks.
    """
    if paddle.distributed.get_world_size() == 1:
        return values
    # Collectives of other devices may not support float64; the trainer reduces float32 there, too.
    dtype = "float64" if paddle.get_device().split(":")[0] in ("cpu", "gpu") else "float32"
    tensor = paddle.to_tensor(values, dtype=dtype)
    paddle.distributed.all_reduce(tensor)
    sums: npt.NDArray[np.float64] = tensor.numpy().astype(np.float64)
    return sums


def broadcast_from(rank: int, value: _T) -> _T:
    """Sends an object from one rank to all. Collective.

    Args:
        rank: the sender; the same on all ranks.
        value: the object to send; must be picklable. Ignored on other ranks.

    Returns:
        The sender's ``value``.
    """
    if paddle.distributed.get_world_size() == 1:
        return value
    values = [value]
    paddle.distributed.broadcast_object_list(values, src=rank)
    return values[0]
