"""The samplers of PaddleFormers' base Trainer (1.2.0): ``MappingBatchSampler``, ``MappingDistributedBatchSampler``.

Each trainer epoch is a sampler epoch. The trainer passes the epoch to the sampler, and on a resume the number of
samples to skip: none of them is read again (trainer/trainer.py, ``_inner_training_loop``, 1.2.0).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind, epoch_reading, of_other_ranks
from paddle_epoch_guard.index import EpochSampling, SamplerOrder
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.reading import EpochReading, UnknownReading

_SAMPLERS = library.import_host("utils.batch_sampler")
# PaddleNLP has no such samplers.
_DISTRIBUTED: Any = getattr(_SAMPLERS, "MappingDistributedBatchSampler", ())
_ON_ONE_RANK: Any = getattr(_SAMPLERS, "MappingBatchSampler", ())
_SEEDED: Any = getattr(_SAMPLERS, "RandomSamplerWithSeed", ())


def order_of(sampler: Any, samples: int) -> SamplerOrder | None:
    """The order of a sampler; None if it is a subclass, or contains another sampler, with an order of its own.

    Args:
        sampler: one of the two.
        samples: ``len(dataset)``, at least the number of ranks.
    """
    is_distributed, kind = isinstance(sampler, _DISTRIBUTED), type(sampler)
    own = _DISTRIBUTED if is_distributed else _ON_ONE_RANK
    has_own_order = kind.__iter__ is not own.__iter__ or kind.set_epoch is not own.set_epoch
    if has_own_order or sampler._acc_steps != 1:  # noqa: SLF001 - has no public name
        return None
    if is_distributed:
        ranks, shuffled, seed = int(sampler.nranks), bool(sampler.shuffle), int(sampler.base_seed)
    else:
        inner = sampler.sampler
        if type(inner) not in (_SEEDED, paddle.io.SequenceSampler) or len(inner) != samples:
            return None
        ranks, shuffled, seed = 1, type(inner) is _SEEDED, int(getattr(inner, "base_seed", 0))
    return SamplerOrder(EpochSampling.truncated(samples, ranks, shuffled, seed), _permutation)


def order_of_rule(rule: EpochSampling) -> SamplerOrder:
    """The order of a sampler of any kind that knows trainer epochs, by its recorded rule."""
    return SamplerOrder(rule, _permutation) if rule.kind == "paddleformers" else SamplerOrder(rule)


def _permutation(seed: int, length: int) -> npt.NDArray[Any]:
    """``paddle.randperm`` under a seed, on the device that the sampler uses; restores the run's random state.

    A loader shuffles in a thread of its own, until the first batch of a trainer epoch arrives. This function is called
    before that thread starts, or afterwards.
    """
    device_state = paddle.get_rng_state()
    cpu = paddle.framework.core.default_cpu_generator()
    cpu_state = cpu.get_state()
    try:
        paddle.seed(seed)
        permutation: npt.NDArray[Any] = paddle.randperm(length).numpy()
    finally:
        paddle.set_rng_state(device_state)
        cpu.set_state(cpu_state)
    return permutation.astype(np.uint32) if length < 1 << 32 else permutation


def _reading(setup: LoaderSetup) -> EpochReading | UnknownReading:
    samples, ranks = len(setup.dataset), setup.world_size
    why = of_other_ranks(setup)
    if not why and samples < ranks:
        values = {"samples": samples, "ranks": ranks}
        why = tr("it reads nothing: the dataset has {samples} samples for {ranks} ranks", **values)
    order = None if why else order_of(setup.sampler, samples)
    if order is None:
        return setup.unknown(why)
    passed_over = setup.batches_done * setup.micro_batch * ranks
    reading = epoch_reading(setup, order, int(setup.sampler.batch_size), passed_over, strided=True)
    if not isinstance(reading, EpochReading) or setup.args.ignore_data_skip:
        return reading
    # If the sampler's length counts samples that it leaves out, the trainer counts a step too many.
    ahead, counted = reading.ahead, setup.steps_per_epoch
    whole = Segment(1, 0, ahead.micro_batch, ahead.accumulation, ranks, order.rule.length, ahead.drop_last, True)
    if whole.steps < counted and setup.state.global_step >= max(whole.steps, 1):
        why = tr(
            "the trainer counts {counted} steps in a trainer epoch, which has {steps}: it resumes elsewhere",
            counted=counted,
            steps=whole.steps,
        )
        return setup.unknown(why)
    return reading


KIND = SamplerKind(
    owns=lambda setup: isinstance(setup.sampler, (_DISTRIBUTED, _ON_ONE_RANK)),
    reading=_reading,
    resumes_by_itself=True,
)
