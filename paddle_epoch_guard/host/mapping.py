"""PaddleFormers' ``Mapping…BatchSampler``: what one says of its passes.

Not followed yet: the loader takes them for samplers whose positions are not known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from paddle_epoch_guard.order.mapping import mapped_length, mapped_places


@dataclass(frozen=True)
class MappingRule:
    """How such a sampler reads a dataset in each trainer epoch."""

    samples: int
    """n: positions of the dataset."""
    length: int
    """Samples that a pass draws over all ranks, counted as if none were left out by ``drop_last``."""
    micro_batch: int
    world_size: int
    seed: int
    shuffled: bool

    @classmethod
    def of(cls, sampler: Any, samples: int) -> "MappingRule":
        """The rule of a live sampler.

        Args:
            sampler: ``MappingBatchSampler`` or ``MappingDistributedBatchSampler`` (paddleformers 1.2.0).
            samples: ``len(dataset)``.
        """
        ranks = int(getattr(sampler, "nranks", 1))
        # The distributed one shuffles itself; the other one has a RandomSamplerWithSeed, or a SequenceSampler.
        seeded = sampler if hasattr(sampler, "base_seed") else sampler.sampler
        return cls(
            samples=samples,
            length=mapped_length(samples, ranks),
            micro_batch=int(sampler.batch_size * sampler._acc_steps),
            world_size=ranks,
            seed=int(getattr(seeded, "base_seed", 0)),
            shuffled=bool(getattr(seeded, "shuffle", hasattr(seeded, "base_seed"))),
        )

    def places(self, number: int, start: int = 0) -> npt.NDArray[np.int64]:
        """The dataset positions of a pass in the order in which all ranks draw them.

        Args:
            number: of the pass: the trainer's epoch, from 0.
            start: the sampler's ``consumed_samples`` in this pass.

        Returns:
            ``[length - start]``.
        """
        permutation = _permutation(self.seed + number, self.length) if self.shuffled else np.arange(self.length)
        return mapped_places(np.arange(start, self.length), permutation, self.micro_batch, self.world_size, start)


def _permutation(seed: int, length: int) -> npt.NDArray[np.int64]:
    """``paddle.randperm`` under a seed, on the device that the sampler uses; the run's random state stays as it is."""
    device_state = paddle.get_rng_state()
    cpu = paddle.framework.core.default_cpu_generator()
    cpu_state = cpu.get_state()
    try:
        paddle.seed(seed)
        found: npt.NDArray[np.int64] = paddle.randperm(length).numpy()
    finally:
        paddle.set_rng_state(device_state)
        cpu.set_state(cpu_state)
    return found
