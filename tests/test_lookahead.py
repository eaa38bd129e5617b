import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.order import lookahead as module
from paddle_epoch_guard.order.lookahead import Lookahead

LARGEST_BLOCK = 4096


def value(position):
    return 3 * position + 7


class Counted:
    """An evaluation that counts, and refuses positions that do not exist."""

    def __init__(self, length):
        self.length = length
        self.sizes = []

    def __call__(self, positions):
        assert positions.dtype == np.int64
        assert positions.ndim == 1
        assert ((positions >= 0) & (positions < self.length)).all()
        self.sizes.append(len(positions))
        return value(positions)

    @property
    def positions(self):
        return sum(self.sizes)

    @property
    def calls(self):
        return len(self.sizes)


def runs(start, run, stride, rows):
    """Positions as a data-parallel rank asks for them: runs at equal distances."""
    return [start + row * stride + column for row in range(rows) for column in range(run)]


@st.composite
def access_patterns(draw):
    length = draw(st.one_of(st.integers(1, 300), st.integers(1, 200_000)))
    position = st.one_of(st.integers(0, length - 1), st.integers(max(0, length - 50), length - 1))
    asked = []
    for kind in draw(
        st.lists(st.sampled_from(["contiguous", "runs", "backwards", "jumps", "steps", "again"]), max_size=6)
    ):
        start = draw(position)
        if kind == "contiguous":
            asked += range(start, start + draw(st.integers(1, 200)))
        elif kind == "runs":
            run = draw(st.integers(1, 40))
            asked += runs(
                start, run, run * draw(st.integers(1, 20)) + draw(st.integers(0, 3)), draw(st.integers(1, 12))
            )
        elif kind == "broken":  # the last of the runs goes on, or begins early or late
            run, stride = draw(st.integers(1, 20)), draw(st.integers(20, 60))
            asked += runs(start, run, stride, draw(st.integers(2, 5)))
            asked += range(asked[-1] + draw(st.integers(1, 2 * stride)), asked[-1] + 100)
        elif kind == "backwards":
            asked += range(start, start - draw(st.integers(1, 100)), -draw(st.integers(1, 20)))
        elif kind == "jumps":
            asked += draw(st.lists(position, max_size=20))
        elif kind == "steps":
            asked += range(start, start + draw(st.integers(1, 2000)), draw(st.integers(1, 300)))
        else:
            asked += asked[-draw(st.integers(1, 100)) :]
    return length, [one for one in asked if 0 <= one < length]


@settings(deadline=None)
@given(access_patterns())
def test_every_value_is_the_one_of_its_position(pattern):
    length, asked = pattern
    evaluate = Counted(length)
    lookahead = Lookahead(evaluate, length)
    assert [int(lookahead(one)) for one in asked] == [value(one) for one in asked]
    assert max(evaluate.sizes) <= LARGEST_BLOCK


@pytest.mark.parametrize("length", [1, 15, 16, 17, 47, 48, 49, 4095, 4096, 4097, 4128, 4129, 10_000])
def test_the_whole_range_up_to_its_end_in_order_and_by_runs(length):
    for run, stride in [(1, 1), (1, 2), (4, 16), (16, 48), (5, 7), (40, 100), (1, 1000)]:
        asked = [one for one in runs(0, run, stride, length // stride + 1) if one < length]
        lookahead = Lookahead(Counted(length), length)
        assert [int(lookahead(one)) for one in asked] == [value(one) for one in asked]


def test_nothing_is_computed_before_it_is_asked_for():
    evaluate = Counted(10**6)
    lookahead = Lookahead(evaluate, 10**6)
    assert evaluate.positions == 0
    lookahead(5)
    assert evaluate.positions <= 16


def test_values_keep_the_type_they_were_computed_in():
    lookahead = Lookahead(lambda positions: (positions % 100).astype(np.uint8), 500)
    assert [type(lookahead(one)) for one in (3, 4, 400)] == [np.uint8] * 3


def cost(lookahead, evaluate, asked, warm_up):
    """Positions computed for each one asked for, and positions asked for in each call, after the warm-up."""
    for one in asked[:warm_up]:
        lookahead(one)
    evaluate.sizes.clear()
    rest = asked[warm_up:]
    assert [int(lookahead(one)) for one in rest] == [value(one) for one in rest]
    return evaluate.positions / len(rest), len(rest) / max(evaluate.calls, 1)


@pytest.mark.parametrize("start", [0, 1, 12_345])
def test_contiguous_positions_are_computed_in_large_blocks_and_once(start):
    evaluate = Counted(10**6)
    positions, asked_per_call = cost(Lookahead(evaluate, 10**6), evaluate, range(start, start + 60_000), 64)
    assert positions < 1.1
    assert asked_per_call >= 1000


# Samples of a microbatch on one device, and devices (times workers of its data loader).
SHARES = [(1, 2), (1, 8), (1, 15), (1, 16), (1, 64), (2, 2), (2, 4), (3, 5), (4, 4), (4, 8), (8, 2), (8, 8), (15, 3)]
SHARES += [(16, 2), (16, 64), (17, 4), (20, 4), (24, 8), (32, 2), (32, 8), (48, 8), (64, 4), (64, 64), (128, 8)]


@pytest.mark.parametrize(("micro_batch", "devices"), SHARES)
def test_a_devices_share_is_computed_in_large_blocks_and_little_else(micro_batch, devices):
    stride = micro_batch * devices
    length = 10**8
    evaluate = Counted(length)
    asked = runs(5 * stride + 3 * micro_batch % stride, micro_batch, stride, 40_000 // micro_batch)
    warm_up = 64 + 8 * micro_batch
    positions, asked_per_call = cost(Lookahead(evaluate, length), evaluate, asked, warm_up)
    assert positions <= 2
    assert asked_per_call >= 1000


def test_runs_longer_than_a_block_are_computed_in_several():
    evaluate = Counted(10**6)
    cost(Lookahead(evaluate, 10**6), evaluate, runs(0, 10_000, 30_000, 5), 0)
    assert max(evaluate.sizes) <= LARGEST_BLOCK
    assert evaluate.positions <= 2 * 5 * 10_000


def test_a_change_of_pattern_is_followed():
    length = 10**8
    evaluate = Counted(length)
    lookahead = Lookahead(evaluate, length)
    for run, stride in [(4, 32), (1, 1), (8, 16), (4, 32)]:
        positions, asked_per_call = cost(lookahead, evaluate, runs(10**6, run, stride, 40_000 // run), 128)
        assert positions <= 2
        assert asked_per_call >= 1000


def test_a_stray_lookup_costs_a_few_blocks_at_most():
    evaluate = Counted(10**6)
    lookahead = Lookahead(evaluate, 10**6)
    for one in range(1000):
        lookahead(one)
    evaluate.sizes.clear()
    lookahead(900_000)
    for one in range(1000, 1500):
        lookahead(one)
    assert evaluate.positions <= 2 * LARGEST_BLOCK
    assert evaluate.calls <= 8


def test_random_positions_cost_a_small_guess_each():
    rng = np.random.default_rng(0)
    for asked in (rng.integers(0, 10**9, 2000), np.cumsum(rng.integers(20, 10_000, 2000))):
        evaluate = Counted(10**9)
        lookahead = Lookahead(evaluate, 10**9)
        for one in asked.tolist():
            lookahead(one)
        assert evaluate.positions <= 16 * 2000


def test_a_run_that_goes_on_longer_than_those_before_it():
    for run in range(1, 20):
        asked = [*runs(0, run, 40, 5), *range(200, 300), *runs(320, run, 40, 5)]
        lookahead = Lookahead(Counted(600), 600)
        assert [int(lookahead(one)) for one in asked] == [value(one) for one in asked]


@pytest.mark.parametrize(
    "patterns",
    [
        [runs(0, 4, 32, 1500), runs(50_000, 1, 1, 6000)],
        [runs(0, 1, 1, 6000), runs(16, 1, 1, 6000)],
        [runs(0, 4, 16, 1500), runs(4, 4, 16, 1500)],
        [list(range(6000, 0, -1)), runs(7, 16, 48, 400)],
    ],
)
def test_threads_that_ask_at_once_each_get_their_values(patterns):
    length = 60_000

    def evaluate(positions):
        time.sleep(0)  # lets the other thread in where a block is being replaced
        return value(positions)

    lookahead = Lookahead(evaluate, length)
    together = threading.Barrier(len(patterns))
    wrong = []

    def ask(positions):
        try:
            together.wait()
            for one in positions:
                if lookahead(one) != value(one):
                    wrong.append(one)
        except BaseException as error:
            wrong.append(error)
            raise

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(positions,)) for positions in patterns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def interrupted(lookahead, position, instruction, interrupt):
    """Looks one position up, with another lookup made at the given instruction of it, as by another thread."""
    passed = -1

    def trace(frame, event, _):
        nonlocal passed
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == instruction:
                interrupt()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = lookahead(position)
    finally:
        sys.settrace(before)
    return int(found), passed >= instruction


@pytest.mark.parametrize("asked_before", [[], list(range(100)), runs(0, 4, 32, 6)])
@pytest.mark.parametrize("position", [161, 192, 5000])
@pytest.mark.parametrize("other", [193, 224, 7001])
def test_a_lookup_that_another_interrupts_at_any_instruction_gets_its_value(asked_before, position, other):
    interrupted(Lookahead(Counted(10_000), 10_000), position, -2, None)  # Python 3.12.1 traces from the second call on
    for instruction in range(10_000):
        lookahead = Lookahead(Counted(10_000), 10_000)
        for one in asked_before:
            lookahead(one)
        others = []
        found, was_interrupted = interrupted(
            lookahead, position, instruction, lambda here=lookahead, kept=others: kept.append(int(here(other)))
        )
        if not was_interrupted:
            break
        assert others == [value(other)]
        assert found == value(position), instruction
        after = [position + 1, other + 1, position + 32, other]
        assert [int(lookahead(one)) for one in after] == [value(one) for one in after]
    assert instruction > 20
