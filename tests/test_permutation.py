import ast
import contextlib
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.order import Permutation, permutation

KEY = (1234, 1, 0)
LARGEST = 2**63
BESIDE_POWERS = sorted({2**k + by for k in range(21) for by in (-1, 0, 1)} - {0})
# Sizes at which the network covers the most values outside the domain: one more than a product of its digits.
WASTEFUL = [a * (a - 1) + 1 for a in (65, 66, 100, 257, 1000, 2**16, 2**20 + 1)]


@pytest.fixture(autouse=True, scope="module", params=["compiled", "numpy"])
def way(request):
    """Everything holds for the compiled network and for numpy's."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(permutation, "COMPILED", False)
        elif not permutation.COMPILED:
            pytest.skip("the compiled network was not built: no C compiler was there")
        yield request.param


def whole(n, key=KEY):
    return Permutation(n, key)(np.arange(n))


def is_permutation(values):
    seen = np.zeros(len(values), bool)
    seen[values] = True  # an image outside [0, n) is an IndexError
    return values.min() >= 0 and bool(seen.all())


@contextlib.contextmanager
def the_network_only():
    """Small permutations are computed by the network too, instead of being a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutation, "_TABLE_UP_TO", 0)
        yield


def test_every_small_size_is_a_bijection():
    for n in range(1, 4097):
        p = Permutation(n, KEY)
        image = p(np.arange(n))
        assert is_permutation(image), n
        assert np.array_equal(p.inverse(image), np.arange(n)), n


def test_the_network_is_a_bijection_of_small_sizes_too():
    with the_network_only():
        for n in [*range(1, 601), *range(601, 9000, 83), *BESIDE_POWERS[:45], *WASTEFUL[:4]]:
            p = Permutation(n, (n,))
            image = p(np.arange(n))
            assert is_permutation(image), n
            assert np.array_equal(p.inverse(image), np.arange(n)), n


def test_sizes_beside_powers_of_two_are_bijections():
    for n in [*BESIDE_POWERS, *WASTEFUL[:5]]:
        p = Permutation(n, KEY)
        image = p(np.arange(n))
        assert is_permutation(image), n
        assert np.array_equal(p.inverse(image), np.arange(n)), n


@pytest.mark.parametrize("n", [2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**53 + 1, *WASTEFUL[-2:], 2**63 - 1, 2**63])
def test_large_sizes_are_undone_by_the_inverse(n):
    p = Permutation(n, KEY)
    random = np.random.default_rng(0).integers(0, n, 3000, dtype=np.uint64)
    x = np.concatenate([np.arange(500, dtype=np.uint64), n - 1 - np.arange(500, dtype=np.uint64), random])
    assert np.array_equal(p.inverse(p(x)), x.astype(np.int64))
    assert np.array_equal(p(p.inverse(x)), x.astype(np.int64))
    assert len(np.unique(p(x))) == len(np.unique(x))
    assert p(x).min() >= 0
    assert p(x).max() < n


@st.composite
def sizes_and_values(draw):
    n = draw(
        st.one_of(
            st.integers(1, 200),
            st.integers(4090, 4100),
            st.integers(2**32 - 2, 2**32 + 2),
            st.integers(1, LARGEST),
            st.integers(LARGEST - 3, LARGEST),
        )
    )
    ends = [0, n - 1, min(1, n - 1), n // 2]
    return n, ends + draw(st.lists(st.integers(0, n - 1), max_size=20))


@settings(deadline=None)
@given(sizes_and_values(), st.lists(st.integers(0, 2**70), min_size=1, max_size=5), st.booleans())
def test_scalars_and_arrays_have_the_same_images_and_preimages(size_and_values, key, small_by_network):
    n, values = size_and_values
    with the_network_only() if small_by_network else contextlib.nullcontext():
        p = Permutation(n, key)
    array = np.array(values, np.uint64)
    assert p(array).tolist() == [p(x) for x in values]
    assert p.inverse(array).tolist() == [p.inverse(x) for x in values]
    assert [p.inverse(p(x)) for x in values] == values
    assert [p(p.inverse(x)) for x in values] == values


@pytest.mark.parametrize("n", [100, 2**33])
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", ">i8"]
)
def test_arrays_of_every_integer_dtype(n, dtype):
    p = Permutation(n, KEY)
    values = np.array([0, 1, 99, 42], dtype)
    assert p(values).tolist() == [p(x) for x in (0, 1, 99, 42)]
    assert p.inverse(values).tolist() == [p.inverse(x) for x in (0, 1, 99, 42)]
    assert p(values).dtype == np.int64
    assert p(values[1]) == p(1)  # numpy's scalar
    assert type(p(values[1])) is int
    assert values.tolist() == [0, 1, 99, 42]


@pytest.mark.parametrize("n", [100, 2**33])
@pytest.mark.parametrize("shape", [(), (0,), (60,), (12, 5), (3, 4, 5), (0, 3)])
def test_arrays_of_every_shape_keep_it(n, shape):
    p = Permutation(n, KEY)
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    for move in (p, p.inverse):
        image = move(values)
        assert isinstance(image, np.ndarray)
        assert image.shape == shape
        assert image.dtype == np.int64
        assert image.ravel().tolist() == [move(x) for x in values.ravel().tolist()]


@pytest.mark.parametrize("n", [100, 2**33])
def test_arrays_that_are_not_contiguous_are_taken_as_they_read(n):
    p = Permutation(n, KEY)
    values = np.arange(96).reshape(8, 12)
    for view in (values[:, ::-3], values.T, values[::2, 1]):
        assert p(view).tolist() == p(view.copy()).tolist()


@pytest.mark.parametrize("n", [100, 2**33])
def test_asking_twice_or_in_another_order_gives_the_same(n):
    p = Permutation(n, KEY)
    first = p(np.arange(100))
    assert np.array_equal(p(np.arange(100)), first)
    assert np.array_equal(p(np.arange(99, -1, -1)), first[::-1])


# These pin the order for ever: whatever changes them makes every interrupted run resume in another order than it
# began, drawing samples twice and losing others. Values at 0, 1, 2, n // 3, n // 2, n - 2 and n - 1 (all, for n = 10).
GOLDEN = [
    (10, (0,), [5, 2, 6, 9, 0, 3, 8, 7, 4, 1]),
    (4096, KEY, [2815, 3716, 807, 995, 803, 1425, 2675]),
    (4097, KEY, [3308, 666, 1597, 3085, 3407, 952, 2976]),
    (10**6, KEY, [505251, 432979, 792458, 77687, 571972, 823821, 334561]),
    (2**32, KEY, [3230991807, 4173941112, 1700723348, 526456272, 3659249180, 579739749, 1768888046]),
    (2**32 + 1, KEY, [734338199, 785159137, 3079591062, 2221017859, 3098562454, 1357214307, 2748167185]),
    (
        10**12,
        (2**40 + 1, 1, 3),
        [125049691307, 744743812323, 30397390256, 338815395622, 859804793706, 777746584533, 844781477970],
    ),
    (
        2**63,
        (0,),
        [
            987794329135679085,
            592598578293433046,
            5017483671504041273,
            2644606915406793870,
            1656903298184246872,
            2310457207216227821,
            2658560410967667457,
        ],
    ),
    (
        2**63,
        KEY,
        [
            5097747288338952395,
            277148365204678000,
            4317944330874635917,
            171366259848264534,
            3298320752020966764,
            145835268773691157,
            151777231746653287,
        ],
    ),
]


def golden_positions(n):
    return list(range(10)) if n == 10 else [0, 1, 2, n // 3, n // 2, n - 2, n - 1]


@pytest.mark.parametrize(("n", "key", "images"), GOLDEN)
def test_the_order_is_pinned_for_ever(n, key, images):
    p = Permutation(n, key)
    at = golden_positions(n)
    assert [p(x) for x in at] == images
    assert p(np.array(at, np.uint64)).tolist() == images
    assert p.inverse(np.array(images, np.uint64)).tolist() == at


def test_another_process_computes_the_same():
    asked = [(n, key, golden_positions(n)) for n, key, _ in GOLDEN]
    program = (
        "from paddle_epoch_guard.order.permutation import Permutation\n"
        f"print([[Permutation(n, key)(x) for x in at] for n, key, at in {asked}])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == [images for _, _, images in GOLDEN]


@pytest.mark.parametrize("n", [1000, 100_003, 2**40])
def test_each_part_of_the_key_and_its_place_matter(n):
    keys = [(1,), (2,), (1, 2), (2, 1), (1, 1), (1, 2, 1), (2, 1, 2), (1, 1, 1), (1, 1, 2), (2**31,), (2**32 - 1,)]
    keys += [
        (1, 0),
        (0, 1),
        (2**32,),
        (1, 0, 0),
        (1 + 5 * 2**32, 1, 0),
        (1, 5, 1),
        (2**64 + 1,),
    ]  # SeedSequence alone confuses these
    x = np.arange(1000)
    images = {key: tuple(Permutation(n, key)(x).tolist()) for key in keys}
    assert len(set(images.values())) == len(keys)


def test_keys_may_be_any_sequence_of_integers():
    expected = whole(5000).tolist()
    assert whole(5000, list(KEY)).tolist() == expected
    assert whole(5000, tuple(np.int32(part) for part in KEY)).tolist() == expected


@pytest.mark.parametrize("n", [0, -1, LARGEST + 1, 10.0, True, "10"])
def test_a_size_that_does_not_exist_is_refused(n):
    with pytest.raises(OrderError, match=rf"permutation of {n!r} values; expected an integer from 1 to 2\*\*63"):
        Permutation(n, KEY)


@pytest.mark.parametrize("n", [10, 10_000])
@pytest.mark.parametrize("value", [1.0, np.float64(2), np.array([1.0, 2.0]), np.array([True]), "1", None])
def test_what_is_no_integer_is_refused(n, value):
    for apply in (Permutation(n, KEY), Permutation(n, KEY).inverse):
        with pytest.raises(OrderError, match=r"expected (integers|an integer)"):
            apply(value)


@pytest.mark.parametrize(("key", "said"), [((), r"\(\)"), ((-1,), r"\(-1,\)"), ((3, -2, 1), r"\(3, -2, 1\)")])
def test_a_key_that_is_none_is_refused(key, said):
    with pytest.raises(OrderError, match=rf"the key {said}; expected one or more integers from 0 on"):
        Permutation(10, key)


@pytest.mark.parametrize("n", [1, 100, 4097, 2**40])
@pytest.mark.parametrize("name", ["__call__", "inverse"])
def test_values_outside_the_domain_are_refused(n, name):
    move = getattr(Permutation(n, KEY), name)
    for value in (-1, n, n + 1, -n, np.int64(-1), np.int64(n)):
        with pytest.raises(OrderError, match=rf"the value {value}; the permutation has \[0, {n}\)"):
            move(value)
    with pytest.raises(OrderError, match=rf"values from -1 to 0; the permutation has \[0, {n}\)"):
        move(np.array([0, -1]))
    with pytest.raises(OrderError, match=rf"values from 0 to {n}; the permutation has \[0, {n}\)"):
        move(np.array([[0], [n]]))


def test_the_largest_size_refuses_what_int64_cannot_hold():
    p = Permutation(LARGEST, KEY)
    for value in (LARGEST, np.uint64(LARGEST), np.array([LARGEST], np.uint64)):
        with pytest.raises(OrderError, match=str(LARGEST)):
            p(value)


@pytest.mark.parametrize("n", [1, 4096, 10**4, 10**6, 10**9, 10**15, 2**63])
def test_memory_does_not_grow_with_the_size(n):
    values = np.arange(min(n, 100))
    tracemalloc.start()
    try:
        p = Permutation(n, KEY)
        p(values)
        p.inverse(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.fixture
def passes(monkeypatch):
    """How many values each pass through numpy's network took."""
    monkeypatch.setattr(permutation, "COMPILED", False)
    sizes = []
    once, once_int = Permutation._once, Permutation._once_int

    def counted(self, values, inverse):
        sizes.append(values.size)
        return once(self, values, inverse)

    def counted_int(self, value, inverse):
        sizes.append(1)
        return once_int(self, value, inverse)

    monkeypatch.setattr(Permutation, "_once", counted)
    monkeypatch.setattr(Permutation, "_once_int", counted_int)
    return sizes


LONG_WALKS_MAY_LURK = [4097, *(2**k + 1 for k in (13, 16, 17, 20, 31, 32, 33, 40, 62)), 2**63, *WASTEFUL]


@pytest.mark.parametrize("n", LONG_WALKS_MAY_LURK)
def test_few_values_walk_on_and_not_far(n, passes):
    p = Permutation(n, KEY)
    values = np.random.default_rng(n).choice(min(n, 2**40), 4096, replace=n > 2**20)
    for move in (p, p.inverse):
        passes.clear()
        move(values)
        assert len(passes) <= 1 + 4
        # Less than one value in root n is outside; five deviations more, and one.
        outside = 4096 / n**0.5
        assert sum(passes) - 4096 <= outside + 5 * outside**0.5 + 1
    passes.clear()
    for value in values[:300].tolist():
        p(value)
    outside = 300 / n**0.5
    assert len(passes) - 300 <= outside + 5 * outside**0.5 + 1


def test_no_value_walks_on_where_the_size_is_a_square(passes):
    for side in (65, 100, 256, 65_535, 65_536, 65_537, 10**9):
        p = Permutation(side**2, KEY)
        values = np.random.default_rng(side).integers(0, side**2, 4096)
        passes.clear()
        p(values)
        p.inverse(values)
        assert passes == [4096, 4096]


def test_few_values_walk_on_in_the_smallest_networks(passes):
    with the_network_only():
        for n in range(1, 1200):
            passes.clear()
            Permutation(n, KEY)(np.arange(n))
            assert len(passes) <= 1 + 4, n


def test_its_text_names_size_and_key():
    assert repr(Permutation(7, [1, 2])) == "Permutation(7, (1, 2))"


@pytest.mark.parametrize("n", [4097, 10**6, 2**31 + 5, 2**32 - 1, 2**32, *WASTEFUL[3:6]])
def test_compiled_or_not_it_is_the_same_permutation(n, monkeypatch):
    x = np.concatenate([np.random.default_rng(n).integers(0, n, 70_000), [0, n - 1]])
    here = Permutation(n, KEY)
    monkeypatch.setattr(permutation, "COMPILED", False)
    in_numpy = Permutation(n, KEY)
    assert np.array_equal(here(x), in_numpy(x))
    assert np.array_equal(here.inverse(x), in_numpy.inverse(x))


def test_where_nothing_was_compiled_numpy_computes():
    code = (
        "import sys; sys.modules['paddle_epoch_guard.order._network'] = None\n"
        "from paddle_epoch_guard.order import permutation\n"
        "import numpy as np\n"
        "assert not permutation.COMPILED\n"
        "print(permutation.Permutation(10**6, (7,))(np.arange(5)).tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(told.stdout) == Permutation(10**6, (7,))(np.arange(5)).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"out": np.empty(4, np.int64)},
        {"values": np.arange(5, dtype=np.int8)},
        {"words": np.zeros(15, np.uint32)},
        {"left": 2**16 + 1},
        {"right": 0},
        {"n": 0},
        {"n": 10**6 + 1},
    ],
)
def test_the_compiled_network_refuses_what_does_not_fit(changes):
    network = pytest.importorskip("paddle_epoch_guard.order._network")
    given = {"values": np.arange(5), "out": np.empty(5, np.int64), "words": np.ones(16, np.uint32)}
    given |= {"left": 1000, "right": 1000, "n": 10**6, "inverse": False, **changes}
    with pytest.raises(ValueError, match="do not fit"):
        network.apply(*given.values())
