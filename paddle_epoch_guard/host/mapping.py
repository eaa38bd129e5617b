"""The samplers of PaddleFormers' base Trainer (1.2.0): ``MappingBatchSampler``, ``MappingDistributedBatchSampler``."""

from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from paddle_epoch_guard.host import library
from paddle_epoch_guard.index.epoch_sampling import PERMUTATIONS, EpochSampling

_SAMPLERS = library.import_host("utils.batch_sampler")
# PaddleNLP has none of them.
_DISTRIBUTED: Any = getattr(_SAMPLERS, "MappingDistributedBatchSampler", ())
_ON_ONE_RANK: Any = getattr(_SAMPLERS, "MappingBatchSampler", ())
_SEEDED: Any = getattr(_SAMPLERS, "RandomSamplerWithSeed", ())


def is_mapping(sampler: Any) -> bool:
    """Whether the trainer tells the sampler each trainer epoch, and where to begin in it, as it does with these."""
    return isinstance(sampler, (_DISTRIBUTED, _ON_ONE_RANK))


def rule_of(sampler: Any, samples: int) -> EpochSampling | None:
    """The rule of such a sampler; None where a subclass, or another sampler within it, has an order of its own.

    Args:
        sampler: one that :func:`is_mapping`.
        samples: ``len(dataset)``, as many as there are ranks or more.
    """
    is_distributed, kind = isinstance(sampler, _DISTRIBUTED), type(sampler)
    own = _DISTRIBUTED if is_distributed else _ON_ONE_RANK
    if kind.__iter__ is not own.__iter__ or kind.set_epoch is not own.set_epoch or sampler._acc_steps != 1:
        return None
    if is_distributed:
        return EpochSampling.dealt(samples, int(sampler.nranks), bool(sampler.shuffle), int(sampler.base_seed))
    inner = sampler.sampler
    if type(inner) not in (_SEEDED, paddle.io.SequenceSampler) or len(inner) != samples:
        return None
    return EpochSampling.dealt(samples, 1, type(inner) is _SEEDED, int(getattr(inner, "base_seed", 0)))


def _permutation(seed: int, length: int) -> npt.NDArray[Any]:
    """``paddle.randperm`` under a seed, on the device that the sampler uses; the run's random state stays as it is.

    A loader shuffles in a thread of its own, but is done when the first batch of a trainer epoch is there: this is
    called before it starts, and afterwards.
    """
    device_state = paddle.get_rng_state()
    cpu = paddle.framework.core.default_cpu_generator()
    cpu_state = cpu.get_state()
    try:
        paddle.seed(seed)
        found: npt.NDArray[Any] = paddle.randperm(length).numpy()
    finally:
        paddle.set_rng_state(device_state)
        cpu.set_state(cpu_state)
    return found.astype(np.uint32) if length < 1 << 32 else found


PERMUTATIONS["paddleformers"] = _permutation
