import json
import multiprocessing
import operator
import pickle
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.order import Order, PositionMap, Reorder, permutation
from paddle_epoch_guard.order.mixes import MIXES, UniformMix

SAMPLES = 500
PLANNED = 430
BOUNDARY = 300
UNIFORM = Reorder(20, PLANNED, "uniform", (7, 1, 0))
RAMP = Reorder(90, PLANNED, "ramp", (7, 1, 1), BOUNDARY)
AGAIN = Reorder(200, 480, "uniform", (7, 1, 2))
HISTORIES = {"none": (), "uniform": (UNIFORM,), "ramp": (RAMP,), "composed": (UNIFORM, RAMP, AGAIN)}


def shuffled(samples=SAMPLES, dtype=np.uint32):
    return np.random.default_rng(3).permutation(samples).astype(dtype)


def written(folder, values, name="shuffle_idx.npy"):
    np.save(folder / name, values)
    return np.load(folder / name, mmap_mode="r")


def expected_values(base, reorders):
    """The composition, one reorder after the other on whole arrays: each draws from what those before it made."""
    values = np.array(base)
    for reorder in reorders:
        alone = PositionMap([reorder]).base(np.arange(len(values)))
        values = values[alone]
    return values


@pytest.fixture(params=["plain", "mapped"])
def base(request, tmp_path):
    return shuffled() if request.param == "plain" else written(tmp_path, shuffled())


@pytest.fixture(params=HISTORIES)
def reorders(request):
    return HISTORIES[request.param]


@pytest.fixture
def order(base, reorders):
    return Order(base, reorders)


@pytest.fixture
def values(reorders):
    """What the order holds, as an array."""
    return expected_values(shuffled(), reorders)


def histories(samples, most=4):
    """Reorders as a run makes them: each from a later position on, to a stop of its own."""

    @st.composite
    def draw_history(draw):
        starts = sorted(draw(st.lists(st.integers(0, samples - 2), max_size=most, unique=True)))
        made = []
        for ordinal, start in enumerate(starts):
            stop = draw(st.integers(start + 1, samples))
            key = (draw(st.integers(0, 100)), 1, ordinal)
            if stop - start > 1 and draw(st.booleans()):
                made.append(Reorder(start, stop, "ramp", key, draw(st.integers(start + 1, stop - 1))))
            else:
                made.append(Reorder(start, stop, "uniform", key))
        return tuple(made)

    return draw_history()


def test_it_has_the_form_of_its_base(order, base):
    assert len(order) == SAMPLES
    assert order.shape == (SAMPLES,)
    assert order.size == SAMPLES
    assert order.ndim == 1
    assert order.dtype == base.dtype == np.uint32


def test_the_whole_is_the_composition(order, values):
    assert order[:].tolist() == values.tolist()
    assert order[:].dtype == np.uint32
    assert type(order[:]) is type(order[[1, 2]]) is np.ndarray  # not a memory map, whose file it is not


def test_integers_of_any_kind(order, values):
    for position in range(-SAMPLES, SAMPLES):
        assert order[position] == values[position]
    for kind in (np.int8, np.uint8, np.int64, np.uint64):
        assert order[kind(93)] == values[93]
    assert order[np.int64(-1)] == values[-1]
    assert order[np.int8(-100)] == values[-100]
    assert type(order[5]) is np.uint32


def test_slices(order, values):
    ends = [None, 0, 1, 19, 20, 21, 299, 300, 430, 499, 500, 900, -1, -70, -500, -900]
    for start in ends:
        for stop in ends:
            for step in (None, 1, 7, -1, -13):
                part = slice(start, stop, step)
                assert order[part].tolist() == values[part].tolist(), part
    assert order[400:100].dtype == np.uint32
    with pytest.raises(ValueError, match="zero"):
        order[::0]


def test_arrays_and_lists_of_positions(order, values):
    positions = np.random.default_rng(0).integers(-SAMPLES, SAMPLES, 300)
    kept = positions.copy()
    assert order[positions].tolist() == values[positions].tolist()
    assert order[positions].dtype == np.uint32
    assert positions.tolist() == kept.tolist()
    assert order[positions.tolist()].tolist() == values[positions].tolist()
    assert order[[-SAMPLES, SAMPLES - 1]].tolist() == values[[0, -1]].tolist()
    assert order[[3, 3, -1]].tolist() == values[[3, 3, -1]].tolist()
    assert order[positions.reshape(10, 30)].tolist() == values[positions.reshape(10, 30)].tolist()
    assert order[positions.reshape(5, 6, 10)].shape == (5, 6, 10)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_positions_of_every_integer_dtype(order, values, dtype):
    positions = np.array([0, 20, 93, 127], dtype)
    assert order[positions].tolist() == values[[0, 20, 93, 127]].tolist()
    if positions.dtype.kind == "i":
        assert order[-positions - 1].tolist() == values[[-1, -21, -94, -128]].tolist()


def test_an_array_of_no_dimension_is_one_position(order, values):
    for position in (5, 93, 350, -2):
        assert order[np.array(position)] == values[position]


def test_masks(order, values):
    mask = np.random.default_rng(1).random(SAMPLES) < 0.3
    assert order[mask].tolist() == values[mask].tolist()
    assert order[mask.tolist()].tolist() == values[mask].tolist()
    assert order[np.zeros(SAMPLES, bool)].tolist() == []
    for shape in (SAMPLES - 1, SAMPLES + 1, (SAMPLES, 1)):
        with pytest.raises(IndexError, match="mask"):
            order[np.ones(shape, bool)]


@pytest.mark.parametrize("none", [[], np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, 3), np.int64)])
def test_no_positions_have_no_values(order, none):
    assert order[none].shape == np.shape(none)
    assert order[none].dtype == np.uint32


def test_positions_outside_are_index_errors(order):
    for position in (SAMPLES, -SAMPLES - 1, 10**12, np.int64(SAMPLES), np.uint64(2**63)):
        with pytest.raises(IndexError, match=f"position {position} of an order of {SAMPLES} positions"):
            order[position]
    for positions in ([0, SAMPLES], [-SAMPLES - 1, 0], np.array([[3], [SAMPLES]]), np.array([2**63], np.uint64)):
        with pytest.raises(IndexError, match=f"of an order of {SAMPLES} positions"):
            order[positions]


@pytest.mark.parametrize("at", [1.0, 2.5, np.float64(3), [1.5], np.array([3.0]), "3", {}])
def test_what_is_no_position_is_refused_as_numpy_does(at):
    for history in HISTORIES.values():
        with pytest.raises((IndexError, TypeError)):
            Order(shuffled(), history)[at]


def test_conversion_to_an_array(order, values):
    assert np.asarray(order).tolist() == values.tolist()
    assert np.asarray(order).dtype == np.uint32
    assert np.array(order).tolist() == values.tolist()
    for dtype in (np.int64, np.float32, "<u8"):
        converted = np.asarray(order, dtype=dtype)
        assert converted.dtype == np.dtype(dtype)
        assert converted.tolist() == values.astype(dtype).tolist()
        assert order.__array__(dtype).dtype == np.dtype(dtype)
    assert np.concatenate([order, values]).tolist() == [*values.tolist(), *values.tolist()]


def test_an_array_without_a_copy_is_refused(order):
    with pytest.raises(ValueError, match="without a copy"):
        order.__array__(copy=False)
    assert order.__array__(copy=True).tolist() == order[:].tolist()


def test_changing_what_was_given_out_changes_no_order(order, values):
    for given_out in (order[:], order[10:100], order[np.arange(30)], np.asarray(order)):
        given_out[...] = 0
    assert order[:].tolist() == values.tolist()


def test_iteration_is_in_order_and_ends(order, values):
    assert list(order) == values.tolist()
    assert [int(one) for one in reversed(order)] == values[::-1].tolist()


@settings(deadline=None)
@given(history=histories(SAMPLES), ranks=st.integers(1, 5), batch=st.integers(1, 20))
def test_all_ways_to_ask_agree(history, ranks, batch):
    order = Order(shuffled(), history)
    whole = order[:].tolist()
    assert [int(order[p]) for p in range(SAMPLES)] == whole
    assert order[np.arange(SAMPLES)].tolist() == whole
    assert order[::-1].tolist() == whole[::-1]
    for rank in range(ranks):
        share = [p for p in range(SAMPLES) if p // batch % ranks == rank]
        one_rank = Order(shuffled(), history)
        assert [int(one_rank[p]) for p in share] == [whole[p] for p in share]
        assert order[share].tolist() == [whole[p] for p in share]


@settings(deadline=None)
@given(histories(SAMPLES))
def test_the_whole_is_the_composition_of_any_history(history):
    base = shuffled()
    assert Order(base, history)[:].tolist() == expected_values(base, history).tolist()


@settings(deadline=None)
@given(histories(SAMPLES))
def test_a_history_is_a_bijection_with_an_inverse(history):
    positions = PositionMap(history)
    everywhere = np.arange(SAMPLES)
    base = positions.base(everywhere)
    times = np.zeros(SAMPLES, int)
    np.add.at(times, base, 1)
    assert times.tolist() == [1] * SAMPLES
    assert positions.drawn(base).tolist() == everywhere.tolist()
    assert positions.base(positions.drawn(everywhere)).tolist() == everywhere.tolist()
    assert everywhere.tolist() == list(range(SAMPLES))


@settings(deadline=None)
@given(histories(SAMPLES, most=5))
def test_what_was_drawn_before_a_later_reorder_stays_as_it_was(history):
    base = shuffled()
    for count, later in enumerate(history):
        before, after = Order(base, history[:count])[:], Order(base, history[: count + 1])[:]
        assert after[: later.start].tolist() == before[: later.start].tolist()
        assert after[later.stop :].tolist() == before[later.stop :].tolist()
        # The rest is what the order before would have drawn there: as a multiset, hence sorted.
        inside = slice(later.start, later.stop)
        assert sorted(after[inside].tolist()) == sorted(before[inside].tolist())


def test_reorders_act_in_the_order_they_were_made():
    base = shuffled()
    assert Order(base, (UNIFORM, AGAIN))[:].tolist() != Order(base, (AGAIN, UNIFORM))[:].tolist()
    assert Order(base, (UNIFORM, RAMP)).reorders == (UNIFORM, RAMP)


def test_positions_outside_all_reorders_are_the_bases_own():
    base = shuffled()
    order = Order(base, (UNIFORM, RAMP))
    assert order[:20].tolist() == base[:20].tolist()
    assert order[PLANNED:].tolist() == base[PLANNED:].tolist()
    assert [int(order[p]) for p in range(PLANNED, SAMPLES)] == base[PLANNED:].tolist()
    assert order[20:PLANNED].tolist() != base[20:PLANNED].tolist()


def test_positions_map_far_past_what_memory_could_hold():
    far = PositionMap(
        [
            Reorder(0, 2**40, "uniform", (1,)),
            Reorder(10**6, 2**40, "ramp", (2,), 2**39),
            Reorder(5, 2**62, "uniform", (3,)),
        ]
    )
    positions = np.random.default_rng(0).integers(0, 2**62, 1000)
    positions[:500] %= 2**40
    assert far.drawn(far.base(positions)).tolist() == positions.tolist()
    assert far.base([0, 1, 4]).tolist() == PositionMap(far.reorders[:2]).base([0, 1, 4]).tolist()


@pytest.mark.parametrize(
    ("boundary", "dissolved"),
    [(0, False), (20, False), (21, True), (429, True), (430, False), (470, False), (479, False)],
)
def test_a_boundary_is_dissolved_where_a_reorder_lies_on_both_sides(boundary, dissolved):
    assert PositionMap([UNIFORM]).dissolves(boundary) is dissolved


def test_any_of_several_reorders_dissolves_a_boundary():
    several = PositionMap([Reorder(0, 10, "uniform", (1,)), Reorder(10, 20, "uniform", (1,))])
    assert [several.dissolves(at) for at in (5, 10, 15, 20)] == [True, False, True, False]
    assert PositionMap().dissolves(5) is False


def test_a_reorder_longer_than_the_base_is_refused():
    assert len(Order(shuffled(PLANNED), (UNIFORM,))) == PLANNED
    with pytest.raises(OrderError, match="a reorder up to position 430 of a base order of 429 positions"):
        Order(shuffled(PLANNED - 1), (UNIFORM,))
    with pytest.raises(OrderError, match="up to position 480"):
        Order(shuffled(PLANNED), (UNIFORM, AGAIN))


@pytest.mark.parametrize("shape", [(10, 2), ()])
def test_a_base_of_other_than_one_dimension_is_refused(shape):
    with pytest.raises(OrderError, match=rf"shape \({', '.join(map(str, shape))}\); expected one dimension"):
        Order(np.zeros(shape, np.int32), ())


class Computed:
    """A base that is no numpy array, and answers arrays of positions only."""

    dtype = np.dtype(np.int32)
    shape = (SAMPLES,)
    ndim = 1

    def __len__(self):
        return SAMPLES

    def __getitem__(self, positions):
        assert isinstance(positions, np.ndarray)
        return (positions * 3).astype(self.dtype)


def test_a_base_may_be_computed_too(reorders):
    values = expected_values(np.arange(SAMPLES, dtype=np.int32) * 3, reorders)
    for order in (Order(Computed(), reorders), pickle.loads(pickle.dumps(Order(Computed(), reorders)))):
        assert (len(order), order.shape, order.size, order.dtype) == (SAMPLES, (SAMPLES,), SAMPLES, np.int32)
        assert order[:].tolist() == values.tolist()
        assert [int(one) for one in order] == values.tolist()
        assert order[[-1, 93]].tolist() == values[[-1, 93]].tolist()


def test_an_order_over_an_order_is_one_with_the_reorders_of_both():
    both = Order(Order(shuffled(), (UNIFORM,)), (RAMP, AGAIN))
    assert both[:].tolist() == Order(shuffled(), (UNIFORM, RAMP, AGAIN))[:].tolist()
    assert pickle.loads(pickle.dumps(both))[:].tolist() == both[:].tolist()


def test_an_empty_base_has_no_positions():
    order = Order(np.empty(0, np.int64), ())
    assert len(order) == 0
    assert list(order) == []
    assert order[:].tolist() == []
    for at in (0, -1, [0], [-1]):
        with pytest.raises(IndexError):
            order[at]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", ">i8"])
def test_values_keep_the_dtype_of_the_base(tmp_path, dtype):
    base = written(tmp_path, shuffled(dtype=dtype))
    order = Order(base, (UNIFORM,))
    values = expected_values(shuffled(), (UNIFORM,))
    for copy in (order, pickle.loads(pickle.dumps(order))):
        assert copy.dtype == np.dtype(dtype)
        assert copy[:].dtype == np.dtype(dtype)
        assert copy[:].tolist() == values.tolist()
        assert copy[100] == values[100]


def test_a_mapped_base_is_pickled_as_its_file(tmp_path, reorders):
    base = written(tmp_path, shuffled(20_000))
    order = Order(base, reorders)
    assert order[5] == order[:][5]  # a block is at hand, and is not to be pickled
    pickled = pickle.dumps(order)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert isinstance(again.base, np.memmap)
    assert not again.base.flags.writeable
    assert again.reorders == order.reorders
    assert again[:].tolist() == order[:].tolist()
    assert [int(again[p]) for p in range(300)] == order[:300].tolist()


def test_a_file_named_relative_to_a_folder_is_found_from_another(tmp_path, monkeypatch):
    np.save(tmp_path / "named.npy", shuffled())
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(Order(np.load("named.npy", mmap_mode="r"), (RAMP,)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(pickled)[:].tolist() == expected_values(shuffled(), (RAMP,)).tolist()


def test_a_raw_map_with_an_offset_is_reopened_where_it_lies(tmp_path):
    values = shuffled()
    (tmp_path / "raw").write_bytes(b"a header of no even length" + values.tobytes())
    base = np.memmap(tmp_path / "raw", values.dtype, "r", offset=26, shape=(SAMPLES,))
    pickled = pickle.dumps(Order(base, (UNIFORM,)))
    assert len(pickled) < 1000
    assert pickle.loads(pickled)[:].tolist() == expected_values(values, (UNIFORM,)).tolist()


VIEWS = {
    "slice": lambda base: base[37:],
    "start": lambda base: base[: SAMPLES - 1],
    "steps": lambda base: base[::3],
    "backwards": lambda base: base[::-1],
    "slice of a slice": lambda base: base[10:][5:],
    "whole": lambda base: base[:],
    "other bits": lambda base: base.view(np.int32),
    "narrower": lambda base: base.view(np.uint16),
    "copy": lambda base: base.copy(),
    "chosen": lambda base: base[np.arange(200)],
    "computed": lambda base: base + np.uint32(1),
    "no map any more": lambda base: np.asarray(base),
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_a_map_and_plain_arrays_keep_their_values_when_pickled(tmp_path, view):
    base = VIEWS[view](written(tmp_path, shuffled()))
    reorders = (Reorder(10, 120, "ramp", (4,), 100),)
    again = pickle.loads(pickle.dumps(Order(base, reorders)))
    assert again.base.tolist() == base.tolist()
    assert again.dtype == base.dtype
    assert again[:].tolist() == expected_values(base, reorders).tolist()


def test_a_plain_base_is_pickled_with_its_values(reorders):
    again = pickle.loads(pickle.dumps(Order(shuffled(), reorders)))
    assert again[:].tolist() == expected_values(shuffled(), reorders).tolist()
    assert again.reorders == reorders


def whole_of(order):
    return type(order.base).__name__, order[:].tolist(), [int(order[p]) for p in range(len(order))]


def test_a_worker_process_reads_the_same_order(tmp_path):
    mapped = Order(written(tmp_path, shuffled()), (UNIFORM, RAMP))
    plain = Order(shuffled(), (RAMP,))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(whole_of, [mapped, plain])
    for (kind, *both), order, expected in zip(found, (mapped, plain), ("memmap", "ndarray"), strict=True):
        assert kind == expected
        assert both == [order[:].tolist()] * 2


def written_down(reorders):
    """As a sidecar holds them: text."""
    return json.dumps([asdict(one) for one in reorders])


def read_again(text):
    return [Reorder(**{**numbers, "key": tuple(numbers["key"])}) for numbers in json.loads(text)]


@pytest.mark.parametrize("history", HISTORIES)
def test_from_the_state_at_every_position_the_rest_is_drawn_as_it_would_have_been(history):
    base = shuffled()
    whole = [int(one) for one in Order(base, HISTORIES[history])]
    text = written_down(HISTORIES[history])
    for consumed in range(SAMPLES):
        resumed = Order(base, read_again(text))
        assert [int(resumed[p]) for p in range(consumed, SAMPLES)] == whole[consumed:]
        assert written_down(resumed.reorders) == text


@pytest.mark.parametrize("history", ["uniform", "composed"])
def test_from_the_state_at_every_step_every_rank_draws_the_rest_of_its_share(history):
    base = shuffled()
    whole = Order(base, HISTORIES[history])[:].tolist()
    text = written_down(HISTORIES[history])
    ranks, batch = 4, 6
    for consumed in range(0, SAMPLES, ranks * batch):
        for rank in range(ranks):
            share = [p for p in range(consumed, SAMPLES) if (p - consumed) // batch % ranks == rank]
            resumed = Order(base, read_again(text))
            assert [int(resumed[p]) for p in share] == [whole[p] for p in share]


def test_a_run_resumed_anywhere_with_one_more_reorder_draws_every_sample_once():
    base = shuffled()
    begun = Order(base, (UNIFORM,))[:].tolist()
    for consumed in range(PLANNED - 1):
        resumed = Order(base, (UNIFORM, Reorder(consumed, PLANNED, "uniform", (7, 1, 1))))
        drawn = begun[:consumed] + resumed[consumed:].tolist()
        assert len(set(drawn)) == SAMPLES
        assert resumed[:consumed].tolist() == begun[:consumed]


def test_its_text_is_short_and_says_what_it_is():
    assert repr(Order(shuffled(), (UNIFORM,))) == "Order(of 500 uint32 positions, 1 reorders)"


def test_it_is_read_only():
    with pytest.raises(TypeError):
        operator.setitem(Order(shuffled(), ()), 3, 4)


def test_a_hundred_reorders_that_lie_behind_cost_next_to_nothing(monkeypatch):
    """A run that was extended a hundred times at its end: each position is moved by one of them."""
    moved = []
    source = UniformMix.source
    monkeypatch.setattr(UniformMix, "source", lambda mix, found: moved.append(mix._start) or source(mix, found))
    reorders = [Reorder(at * 50, at * 50 + 50, "uniform", (1, 1, at)) for at in range(100)]
    found = PositionMap(reorders).base(np.arange(4_950, 5_000))
    assert moved == [4_950]
    assert found.tolist() == PositionMap(reorders[-1:]).base(np.arange(4_950, 5_000)).tolist()


NESTED = [
    *(Reorder(37 * at, 20_000, "uniform", (1, 1, at)) for at in range(20)),
    Reorder(6_000, 20_000, "ramp", (2,), 11_000),
    *(Reorder(9_000 + 13 * at, 19_000, "uniform", (3, at)) for at in range(20)),
    Reorder(12_000, 12_090, "uniform", (4,)),  # a table
    *(Reorder(at * 5_000, at * 5_000 + 4_999, "uniform", (5, at)) for at in range(4)),
]


@pytest.mark.parametrize("asked", [slice(None), slice(100, 101), slice(8_990, 9_020), slice(None, None, 7)], ids=str)
def test_nested_reorders_are_the_same_with_and_without_the_compiled_code(monkeypatch, asked):
    """Positions before, in and behind each range, in one block or several."""
    positions = np.random.default_rng(1).permutation(20_100)[asked]
    compiled = PositionMap(NESTED)
    monkeypatch.setattr(permutation, "COMPILED", False)
    plain = PositionMap(NESTED)
    expected = positions
    for reorder in reversed(NESTED):
        inside = (expected >= reorder.start) & (expected < reorder.stop)
        expected = expected.copy()
        expected[inside] = MIXES[reorder.mix](reorder).source(expected[inside])
    assert compiled.base(positions).tolist() == plain.base(positions).tolist() == expected.tolist()
    assert compiled.drawn(expected).tolist() == plain.drawn(expected).tolist() == positions.tolist()


@pytest.mark.parametrize("change", [{"left": 2**16 + 1}, {"right": 0}, {"n": 0}, {"n": 2**40}])
def test_networks_that_do_not_fit_are_refused(change):
    network = pytest.importorskip("paddle_epoch_guard.order._network")
    placed = permutation.Permutation(10_000, (1,)).placed(5)
    for name, value in change.items():
        placed[name] = value
    with pytest.raises(ValueError, match="do not fit"):
        network.compose(np.arange(5), placed, False)
    with pytest.raises(ValueError, match="do not fit"):
        network.compose(np.arange(5, dtype=np.int8), permutation.Permutation(10_000, (1,)).placed(5), False)


@given(st.lists(st.tuples(st.integers(0, 299), st.integers(1, 300)), min_size=1, max_size=8), st.data())
def test_positions_are_moved_one_reorder_after_the_other(ranges, data):
    """Whatever the ranges: in blocks, and by whatever way a block is moved."""
    reorders = [Reorder(low, low + size, "uniform", (at,)) for at, (low, size) in enumerate(ranges)]
    asked = np.array(data.draw(st.lists(st.integers(0, 700), min_size=1, max_size=60)))
    expected = asked.tolist()
    for reorder in reversed(reorders):
        mix = MIXES["uniform"](reorder)
        expected = [
            int(mix.source(np.array([one]))[0]) if reorder.start <= one < reorder.stop else one for one in expected
        ]
    found = PositionMap(reorders)
    assert found.base(asked).tolist() == expected
    assert found.drawn(found.base(asked)).tolist() == asked.tolist()


def test_more_positions_than_are_moved_at_a_time():
    found = PositionMap([Reorder(10, 90_000, "ramp", (1,), 50_000), Reorder(500, 70_000, "uniform", (2,))])
    asked = np.arange(100_000).reshape(100, 1_000)[:, ::-1]
    whole = found.base(asked)
    assert whole.shape == asked.shape
    assert [int(found.base([one])[0]) for one in asked[60, ::250]] == whole[60, ::250].tolist()
    assert sorted(whole.ravel().tolist()) == list(range(100_000))
