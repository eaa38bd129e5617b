"""AutoTrainer's loader: after ``on_train_begin``, ``dist.shard_dataloader`` divides it among the ranks.

This replaces any sampler by a ``paddle.io.DistributedBatchSampler`` with the same batch size, ``shuffle`` and
``drop_last`` (``ShardDataloader`` in paddle/distributed/auto_parallel/api.py, paddlepaddle 3.3.1). One of its batches
is a whole step (paddlenlp/trainer/auto_trainer.py, 3.0.0b4). The new sampler never learns the trainer's epoch: its
shuffles count from 0 in each part of the run.
"""

from dataclasses import replace

import paddle

from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind, epoch_reading
from paddle_epoch_guard.index import EpochSampling, SamplerOrder
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.reading import EpochReading, UnknownReading


def _reading(setup: LoaderSetup) -> EpochReading | UnknownReading:
    sampler, ranks = setup.sampler, setup.world_size
    if isinstance(sampler, paddle.io.DistributedBatchSampler) or not isinstance(sampler, paddle.io.BatchSampler):
        return setup.unknown(tr("with AutoTrainer, only samplers that it divides among the ranks are supported"))
    of_a_rank = int(sampler.batch_size / ranks) * getattr(sampler, "_acc_steps", 1)
    if of_a_rank != setup.micro_batch:
        why = tr("its batches, {samples} samples for each rank, are not whole steps of AutoTrainer", samples=of_a_rank)
        return setup.unknown(why)
    shuffled = bool(getattr(sampler, "shuffle", False))
    if shuffled and setup.state.global_step >= setup.steps_per_epoch:
        return setup.unknown(tr("after a resume AutoTrainer shuffles each epoch as it shuffled an earlier one"))
    order = SamplerOrder(EpochSampling.padded(len(setup.dataset), ranks, shuffled))
    reading = epoch_reading(setup, order, of_a_rank, setup.batches_done * setup.global_batch)
    return replace(reading, knows_ranks=ranks == 1) if isinstance(reading, EpochReading) else reading


KIND = SamplerKind(owns=lambda setup: setup.is_auto, reading=_reading, resumes_by_itself=False)
