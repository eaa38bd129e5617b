import numpy as np
from fast_dataindex import helpers
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.index.blend_lookup import blend_position


@settings(deadline=None, max_examples=100)
@given(st.lists(st.decimals("0.01", 20, places=2), min_size=2, max_size=6), st.data())
def test_the_turns_of_a_blend_are_the_hosts(weights, data):
    weights = [float(weight) for weight in weights]
    total = 0.0
    for weight in weights:
        total += weight
    shares = [weight / total for weight in weights]
    normalised = np.array(shares)
    normalised /= normalised.sum()
    which, inner = np.zeros(5000, np.int16), np.zeros(5000, np.int64)
    helpers.build_blending_indices(which, inner, normalised, len(weights), len(which), False)
    at = data.draw(st.integers(0, len(which) - 1))
    turn = blend_position(weights, shares, int(which[at]), int(inner[at]))
    assert (turn.position, turn.exact) == (at, True)
    about = blend_position(weights, shares, int(which[at]), int(inner[at]), limit=-1)
    assert not about.exact
    assert abs(about.position - at) * normalised[which[at]] <= len(weights)
