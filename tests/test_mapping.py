import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.errors import ScheduleError
from paddle_epoch_guard.order.mapping import mapped_length, mapped_places


def dealt(permutation, micro_batch, world_size, start):
    """What all ranks draw, microbatch by microbatch, by the words of the rule."""
    ranks = [permutation[rank::world_size][start // world_size :] for rank in range(world_size)]
    return [
        place
        for first in range(0, len(ranks[0]), micro_batch)
        for rank in ranks
        for place in rank[first : first + micro_batch]
    ]


@given(st.data())
def test_each_stream_number_draws_what_its_rank_is_dealt(data):
    world_size = data.draw(st.integers(1, 5))
    length = mapped_length(data.draw(st.integers(1, 60)), world_size)
    micro_batch = data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, length // world_size)) * world_size
    permutation = np.random.default_rng(3).permutation(length)
    stream = np.arange(start, length)
    found = mapped_places(stream, permutation, micro_batch, world_size, start)
    assert found.tolist() == dealt(permutation.tolist(), micro_batch, world_size, start)
    assert found.dtype == np.int64
    if length > start:  # any of them by itself
        at = data.draw(st.integers(start, length - 1))
        assert mapped_places([at], permutation, micro_batch, world_size, start) == found[at - start]


def test_what_no_rank_is_dealt_is_refused():
    order = np.arange(12)
    with pytest.raises(ScheduleError, match=r"stream numbers 11 to 12; the sampler reads \[0, 12\)"):
        mapped_places([11, 12], order, 2, 3)
    with pytest.raises(ScheduleError, match=r"stream numbers 2 to 2; the sampler reads \[3, 12\)"):
        mapped_places([2], order, 2, 3, start=3)
    with pytest.raises(ScheduleError, match="12 samples from 4 on, in batches of 2; expected multiples of the world"):
        mapped_places([4], order, 2, 3, start=4)
    assert mapped_places([], order, 2, 3).shape == (0,)
