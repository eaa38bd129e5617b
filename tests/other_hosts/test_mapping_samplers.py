"""PaddleFormers' own samplers against the rule that is to follow them."""

import itertools

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleformers")

from paddleformers.utils.batch_sampler import MappingBatchSampler, MappingDistributedBatchSampler

from paddle_epoch_guard.host.mapping import MappingRule


class Numbers(paddle.io.Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, position):
        return position


def of_all_ranks(samplers):
    """What all ranks draw, microbatch by microbatch."""
    return [place for batches in zip(*samplers, strict=True) for batch in batches for place in batch]


CASES = list(itertools.product((1, 7, 24, 61), (1, 4, 5), (False, True), (False, True), (0, 3), (0, 0.4)))


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
        rule = MappingRule.of(samplers[0], samples)
        found = rule.places(epoch, consumed)
        if drop_last:
            found = found[: len(found) // (batch * ranks) * batch * ranks]
        for sampler in samplers:
            sampler.set_epoch(epoch, consumed)
        assert of_all_ranks([list(sampler) for sampler in samplers]) == found.tolist()


def test_the_random_state_of_the_run_stays_as_it_is():
    sampler = MappingBatchSampler(Numbers(50), batch_size=4, shuffle=True, data_seed=1)
    paddle.seed(11)
    paddle.rand([3])
    expected = paddle.rand([5]).numpy()
    paddle.seed(11)
    paddle.rand([3])
    assert sorted(MappingRule.of(sampler, 50).places(2)) == list(range(50))
    assert np.array_equal(paddle.rand([5]).numpy(), expected)
