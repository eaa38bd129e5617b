"""The samplers of ``paddle.io`` (paddlepaddle 3.3.1): each trainer epoch is a sampler epoch."""

import paddle

from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind, epoch_reading, of_other_ranks
from paddle_epoch_guard.index import EpochSampling, SamplerOrder
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.reading import EpochReading, UnknownReading

NOT_REPRODUCIBLE = mark("its order comes from numpy's global random state, not from the arguments")


def _reading(setup: LoaderSetup) -> EpochReading | UnknownReading:
    sampler = setup.sampler
    kind, ranks, shuffled = type(sampler), 1, False
    if isinstance(sampler, paddle.io.DistributedBatchSampler):
        own = paddle.io.DistributedBatchSampler
        is_known = kind.__iter__ is own.__iter__ and kind.set_epoch is own.set_epoch
        ranks, shuffled = int(sampler.nranks), bool(sampler.shuffle)
    else:
        is_known = kind.__iter__ is paddle.io.BatchSampler.__iter__
        if is_known and isinstance(sampler.sampler, paddle.io.RandomSampler):
            return setup.unknown(tr(NOT_REPRODUCIBLE))
        is_known = is_known and type(sampler.sampler) is paddle.io.SequenceSampler
        is_known = is_known and len(sampler.sampler) == len(setup.dataset)
    if not is_known or getattr(sampler, "_acc_steps", 1) != 1:
        return setup.unknown()
    if why := of_other_ranks(setup):
        return setup.unknown(why)
    micro_batch = int(sampler.batch_size)
    order = SamplerOrder(EpochSampling.padded(len(setup.dataset), ranks, shuffled))
    return epoch_reading(setup, order, micro_batch, setup.batches_done * micro_batch * setup.world_size)


KIND = SamplerKind(
    owns=lambda setup: isinstance(setup.sampler, paddle.io.BatchSampler), reading=_reading, resumes_by_itself=False
)
