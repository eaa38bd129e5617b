import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.index import fingerprint
from paddle_epoch_guard.index.fingerprint import digest_array


@given(st.integers(0, 3000), st.data())
def test_any_change_of_a_small_array_shows(rows, data):
    array = np.arange(rows, dtype=np.int32) * 7
    changed = array.copy()
    assert digest_array(changed) == digest_array(array)
    if rows:
        at = data.draw(st.integers(0, rows - 1))
        changed[at] += 1
        assert digest_array(changed) != digest_array(array)


def test_shape_and_type_count():
    base = np.zeros(24, dtype=np.int32)
    others = [base.reshape(12, 2), base.astype(np.int64), base.astype(np.uint32), base[:23]]
    assert len({digest_array(array) for array in (base, *others)}) == 5


def test_byte_order_and_where_the_array_lives_do_not(tmp_path):
    array = np.random.default_rng(0).integers(0, 1 << 30, (5000, 2)).astype(np.int32)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert digest_array(mapped) == digest_array(array) == digest_array(array.astype(">i4"))
    assert digest_array(mapped[100:]) == digest_array(array[100:])
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    assert digest_array(np.load(tmp_path / "f.npy", mmap_mode="r")) == digest_array(array)


@pytest.mark.parametrize("where", ["the first", "the last", "the middle block's first"])
def test_of_a_large_array_the_ends_and_spaced_blocks_are_read(monkeypatch, where):
    monkeypatch.setattr(fingerprint, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(fingerprint, "_BLOCKS", 5)
    array = np.arange(100_000, dtype=np.int32)
    reads = []
    rows = fingerprint.read_rows
    monkeypatch.setattr(
        fingerprint, "read_rows", lambda a, start, stop: reads.append((start, stop)) or rows(a, start, stop)
    )
    before = digest_array(array)
    assert sum(stop - start for start, stop in reads) == 5 * 16  # whatever the size
    at = {"the first": 0, "the last": len(array) - 1, "the middle block's first": reads[2][0]}[where]
    array[at] += 1
    assert digest_array(array) != before
