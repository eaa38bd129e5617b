"""PaddleFormers' own samplers against the rule that follows them."""

import itertools

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleformers")

from paddleformers.utils.batch_sampler import MappingBatchSampler, MappingDistributedBatchSampler

from paddle_epoch_guard.host.samplers.mapping import order_of
from paddle_epoch_guard.order import Segment


class Numbers(paddle.io.Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, position):
        return position


CASES = list(itertools.product((3, 7, 24, 61), (1, 4, 5), (False, True), (False, True), (0, 3), (0, 0.4)))


@pytest.mark.parametrize("world_size", [0, 1, 2, 3])
def test_the_rule_is_that_of_the_real_samplers(world_size):
    """A world size of 0: the sampler of a run on one device, which is another class."""
    for samples, batch, drop_last, shuffle, epoch, share in CASES:
        ranks = max(world_size, 1)
        consumed = int(share * samples) // ranks * ranks
        options = {"batch_size": batch, "shuffle": shuffle, "drop_last": drop_last, "data_seed": 42}
        if world_size:
            samplers = [
                MappingDistributedBatchSampler(Numbers(samples), num_replicas=ranks, rank=rank, **options)
                for rank in range(ranks)
            ]
        else:
            samplers = [MappingBatchSampler(Numbers(samples), **options)]
        order = order_of(samplers[0], samples)
        begin = epoch * order.rule.length
        segment = Segment(
            1,
            begin + consumed,
            batch,
            1,
            ranks,
            begin + order.rule.length,
            drop_last,
            is_sampler_epoch=True,
            strided=True,
        )
        for rank, sampler in enumerate(samplers):
            sampler.set_epoch(epoch, consumed)
            found = [order.at(segment.share(number, rank)).tolist() for number in range(segment.microbatches)]
            assert list(sampler) == found


class Reversed(MappingBatchSampler):
    def __iter__(self):
        return reversed(list(super().__iter__()))


def test_an_order_of_its_own_is_not_taken_for_the_known_one():
    data = Numbers(8)
    assert order_of(Reversed(data, batch_size=4), 8) is None
    another = MappingBatchSampler(data, batch_size=4)
    another.sampler = paddle.io.RandomSampler(data)
    assert order_of(another, 8) is None
    several = MappingDistributedBatchSampler(data, batch_size=4, num_replicas=1, rank=0)
    several._acc_steps = 2
    assert order_of(several, 8) is None


def test_the_random_state_of_the_run_stays_as_it_is():
    sampler = MappingBatchSampler(Numbers(50), batch_size=4, shuffle=True, data_seed=1)
    paddle.seed(11)
    paddle.rand([3])
    expected = paddle.rand([5]).numpy()
    paddle.seed(11)
    paddle.rand([3])
    assert sorted(order_of(sampler, 50).of_epoch(2)) == list(range(50))
    assert np.array_equal(paddle.rand([5]).numpy(), expected)
