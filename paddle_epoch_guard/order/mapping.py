"""The order in which PaddleFormers' ``Mapping…BatchSampler`` read a dataset: pass after pass, dealt out to the ranks.

The rule is that of ``MappingBatchSampler`` and ``MappingDistributedBatchSampler`` (utils/batch_sampler.py of
paddleformers 1.2.0): a pass has a permutation of its own; rank ``r`` of ``D`` takes its entries ``r``, ``r + D``,
``r + 2D``, ... and cuts them into batches of ``b``. A *stream number* counts what all ranks draw, microbatch by
microbatch and in each rank by rank, as positions do with the pretraining sampler.
"""

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import ScheduleError


def mapped_length(samples: int, world_size: int) -> int:
    """Samples that a pass draws: the last ``samples % world_size`` entries of a dataset never are."""
    return samples // world_size * world_size


def mapped_places(
    stream: npt.ArrayLike, permutation: npt.NDArray[np.int64], micro_batch: int, world_size: int, start: int = 0
) -> npt.NDArray[np.int64]:
    """The dataset positions that stream numbers of one pass draw.

    Args:
        stream: ``[n]``, each from ``start`` to before ``len(permutation)``.
        permutation: ``[mapped_length(samples, world_size)]``, of the pass; ``arange`` where it is not shuffled.
        micro_batch: b, of one rank.
        world_size: D.
        start: the stream number at which the sampler begins (its ``consumed_samples``), a multiple of D: batches are
            cut from there on.

    Returns:
        ``[n]``.

    Raises:
        ScheduleError: a stream number is outside of what the sampler reads, or the sampler cannot start there.
    """
    numbers, length = np.asarray(stream, dtype=np.int64), len(permutation)
    if start % world_size or length % world_size or micro_batch < 1:
        raise ScheduleError(
            f"{length} samples from {start} on, in batches of {micro_batch}; expected multiples of the world size "
            f"{world_size}, and a batch of 1 or more"
        )
    if numbers.size and not start <= numbers.min() <= numbers.max() < length:
        raise ScheduleError(
            f"stream numbers {numbers.min()} to {numbers.max()}; the sampler reads [{start}, {length})"
        )
    microbatch, within = np.divmod(numbers - start, micro_batch * world_size)
    # The last microbatch of a pass holds fewer, as many for each rank.
    each = np.minimum(micro_batch, (length - start) // world_size - microbatch * micro_batch)
    rank, entry = np.divmod(within, each)
    found: npt.NDArray[np.int64] = permutation[start + (microbatch * micro_batch + entry) * world_size + rank]
    return found
