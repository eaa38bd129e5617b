"""What lies in the place of a file: a pipe, a device, a link, terabytes of nothing; and what of it is left alone."""

import os
import resource
import stat
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from caches import cli
from corpora import build_train, write_corpus
from paddle_epoch_guard import files
from paddle_epoch_guard.errors import IndexFileError, SidecarError
from paddle_epoch_guard.host import trainer_record
from paddle_epoch_guard.index.cache import load_array, read_text
from paddle_epoch_guard.ledger import EpochLedger
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.resume import SIDECAR_NAME, read_sidecar
from recording import recorder
from synthetic_runs import Plan

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = ["--seq-length", 8, "--max-steps", 20, "--global-batch", 4]


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a record."""
    logs = tmp_path / "run" / "logs"
    written = recorder(logs, EpochLedger(Plan((10,))))
    for step in range(1, 21):
        written.record(step, 2.0)
    written.finish(20, complete=True)
    return tmp_path / "run"


@pytest.fixture
def prefix(tmp_path):
    return write_corpus(tmp_path / "corpus" / "text", (100, 50, 200))


def pipe(path):
    os.mkfifo(path)
    return path


def device(path):
    if os.geteuid() != 0:
        pytest.skip("only root makes device nodes")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    return path


@pytest.mark.parametrize("make", [pipe, device])
def test_what_is_no_regular_file_is_never_replaced(tmp_path, run, prefix, make):
    target = make(tmp_path / "target.png")
    before = os.lstat(target)
    for call in (
        ["report", run, "--logging-dir", run / "logs", "--output", target],
        ["plan", prefix, *OPTIONS, "--png", target],
    ):
        status, _, err = cli(*call)
        assert status == 1
        assert err.count("\n") == 1
        assert "no regular file" in err
        after = os.lstat(target)
        assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "run", "target.png"]


def test_a_report_needs_no_page(run, tmp_path):
    status, out, _ = cli("report", run, "--logging-dir", run / "logs", "--no-page")
    assert status == 0
    assert "page: " not in out
    assert not list(run.glob("*.html"))
    assert cli("report", run, "--no-page", "--output", tmp_path / "page.html")[0] == 2


def test_a_link_stays_a_link_and_the_file_that_it_names_is_written(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with files.atomic_write(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_a_new_file_follows_the_umask_and_an_existing_one_keeps_its_mode(tmp_path, mask):
    (tmp_path / "existing").write_bytes(b"")
    (tmp_path / "existing").chmod(0o640)
    before = os.umask(mask)
    try:
        for name in ("new", "existing"):
            with files.atomic_write(tmp_path / name) as stream:
                stream.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "existing").stat().st_mode) == 0o640


@pytest.mark.parametrize("where", ["logs/epoch_guard", "checkpoint-20"])
@pytest.mark.parametrize("kind", ["pipe", "sparse", "device"])
def test_no_sidecar_makes_a_report_hang_or_eat_memory(run, where, kind):
    path = run / where / SIDECAR_NAME
    path.parent.mkdir(exist_ok=True)
    if kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(10 << 30)
    else:
        {"pipe": pipe, "device": lambda at: at.symlink_to("/dev/zero")}[kind](path)
    tracemalloc.start()
    try:
        read = read_run(run / "logs", run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20
    assert any(SIDECAR_NAME in fault for fault in read.faults)
    assert len(read.data_epoch) == 20
    with pytest.raises(SidecarError):
        read_sidecar(path.parent, 20)


@pytest.mark.parametrize("name", ["trainer_state.json", "trainer_state.bin"])
def test_a_trainers_state_of_any_size_or_kind_is_passed_over(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(10 << 30)
    assert trainer_record(tmp_path) is None
    path.unlink()
    pipe(path)
    assert trainer_record(tmp_path) is None


def test_a_header_of_four_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "array.npy"
    with path.open("wb") as stream:
        stream.write(b"\x93NUMPY\x02\x00" + (0xFFFF_FFF0).to_bytes(4, "little"))
        stream.truncate(5 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(IndexFileError, match=r"a header of 4,294,967,280 bytes"):
            load_array(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20
    with pytest.raises(IndexFileError, match="not a regular file"):
        read_text(pipe(tmp_path / "text"), 1 << 16)


def test_an_array_is_mapped_without_a_descriptor_as_numpy_maps_it(tmp_path):
    arrays = [
        np.arange(7),
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.asfortranarray(np.ones((3, 2))),
        np.ones(0),
    ]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    before = len(os.listdir("/proc/self/fd"))
    mapped = [load_array(tmp_path / f"{number}.npy") for number in range(len(arrays))]
    assert len(os.listdir("/proc/self/fd")) == before
    for array, own in zip(arrays, mapped, strict=True):
        assert np.array_equal(array, own)
        assert array.dtype == own.dtype
        assert not own.size or not own.flags.writeable


@pytest.mark.slow
def test_a_blend_of_200_corpora_opens_under_a_limit_of_100_descriptors(tmp_path):
    prefixes = [write_corpus(tmp_path / "corpus" / f"c{number}", (60, 40, 30)) for number in range(200)]
    build_train([part for prefix in prefixes for part in (1.0, prefix)], 600, 8, cache=tmp_path / "cache")
    found = subprocess.run(
        [sys.executable, "-m", "paddle_epoch_guard", "doctor", tmp_path / "cache"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    assert "201 sound indices" in found.stdout
