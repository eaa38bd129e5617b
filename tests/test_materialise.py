import io
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.order import Order, Reorder, materialise


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 500), st.data())
def test_what_is_written_is_the_order_and_can_be_undone(length, data):
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    kind = data.draw(st.sampled_from([np.uint32, np.int64, np.int16]))
    base = np.random.default_rng(length).permutation(length).astype(kind)
    reorders = [Reorder(start, stop, "uniform", (1, 2))]
    if stop - start > 1:
        boundary = data.draw(st.integers(start + 1, stop - 1))
        reorders.append(Reorder(start, stop, "ramp", (3,), boundary))
    order = Order(base, reorders)
    stream = io.BytesIO()
    materialise.write_header(stream, order)
    for block in materialise.blocks_of(order, data.draw(st.integers(1, 600))):
        stream.write(block.tobytes())
    saved = io.BytesIO()
    np.save(saved, np.asarray(order))
    assert stream.getvalue() == saved.getvalue()
    undone = materialise.RestoredOrder(np.asarray(order), reorders)
    assert undone[:].tolist() == base.tolist()
    assert undone[np.arange(length)[::-1]].tolist() == base[::-1].tolist()
    assert (len(undone), undone.dtype, undone.shape) == (length, base.dtype, base.shape)


def test_memory_does_not_grow_with_the_number_of_positions(tmp_path, monkeypatch):
    # With more threads the peak depends on how many blocks happen to be computed at the same moment.
    monkeypatch.setattr(materialise.os, "cpu_count", lambda: 1)
    peaks = []
    for length in (1 << 17, 1 << 21):
        path = tmp_path / f"{length}.npy"
        np.save(path, np.arange(length, dtype=np.uint32))
        order = Order(np.load(path, mmap_mode="r"), [Reorder(9, length - 9, "ramp", (1,), length // 2)])
        tracemalloc.start()
        written = sum(block.nbytes for block in materialise.blocks_of(order, 1 << 14))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert written == 4 * length
    assert peaks[1] < 1.1 * peaks[0] + (64 << 10)
