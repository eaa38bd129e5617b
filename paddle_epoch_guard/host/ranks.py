"""The processes of a run, and what they tell each other.

Nothing here grows with the number of processes times the size of what is said: numbers are gathered a few at a time,
sums are reduced, and an object travels from one process to all. paddle's ``all_gather_object`` (paddlepaddle 3.3.1)
brings every process the objects of all, each padded to the longest: at 10,000 processes, gigabytes.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import paddle

_T = TypeVar("_T")


def process() -> int:
    """The number of this process, from 0."""
    found: int = paddle.distributed.get_rank()
    return found


def all_gather_ints(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The numbers of every process. Collective.

    Args:
        values: int64 ``[n]``, as many on every process.

    Returns:
        int64 ``[processes, n]``.
    """
    own = np.asarray(values, dtype=np.int64)
    if paddle.distributed.get_world_size() == 1:
        return own[None]
    gathered: list[Any] = []
    paddle.distributed.all_gather(gathered, paddle.to_tensor(own))
    found: npt.NDArray[np.int64] = paddle.stack(gathered).numpy()
    return found


def all_reduce_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sums over all processes. Collective.

    Args:
        values: float64 ``[n]``, as many on every process.

    Returns:
        float64 ``[n]``.
    """
    if paddle.distributed.get_world_size() == 1:
        return values
    # Collectives of other devices than these are not sure to know float64; the trainer reduces float32 as well.
    kind = "float64" if paddle.get_device().split(":")[0] in ("cpu", "gpu") else "float32"
    tensor = paddle.to_tensor(values, dtype=kind)
    paddle.distributed.all_reduce(tensor)
    found: npt.NDArray[np.float64] = tensor.numpy().astype(np.float64)
    return found


def broadcast_from(rank: int, value: _T) -> _T:
    """What one process says. Collective.

    Args:
        rank: the process that is listened to, the same on all of them.
        value: what this one would say; anything that pickles.
    """
    if paddle.distributed.get_world_size() == 1:
        return value
    said = [value]
    paddle.distributed.broadcast_object_list(said, src=rank)
    return said[0]
