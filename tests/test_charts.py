"""The guard's VisualDL log: lines, names, many files, and the server's own sampling."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from long_run import write_long_run
from paddle_epoch_guard.files import append_whole
from paddle_epoch_guard.ledger import BoundaryStep, EpochKey, EpochLedger, Weighted
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.charts import PendingLoss
from paddle_epoch_guard.views.logfile import read_log_file
from paddle_epoch_guard.views.markers import BoundaryLine
from paddle_epoch_guard.views.visualdl import FILE_NAME, EpochGuardLog
from recording import recorder
from servers import visualdl_server
from vdl_logs import read_scalars, read_texts

SMOOTHING = 0.6


def smoothed(values):
    """VisualDL's default smoothing, as its page computes it: a debiased moving average."""
    last, found = 0.0, []
    for count, value in enumerate(values, start=1):
        last = last * SMOOTHING + (1 - SMOOTHING) * value
        found.append(last / (1 - SMOOTHING**count))
    return found


@pytest.mark.parametrize("removed", ["folder", "file"])
def test_a_log_that_somebody_removes_begins_anew(tmp_path, removed):
    log = EpochGuardLog(tmp_path)
    for step in range(1, 5):
        log.scalar("loss", step, step, "epoch_1")
        log.flush()
        if step == 2:
            file = tmp_path / "epoch_guard" / "epoch_1" / FILE_NAME
            file.unlink()
            if removed == "folder":
                file.parent.rmdir()
    assert read_scalars(tmp_path / "epoch_guard" / "epoch_1", "loss") == [(3, 3.0), (4, 4.0)]
    assert read_log_file(file).began > 0


def test_a_file_that_a_full_disk_left_empty_begins_anew(tmp_path):
    file = tmp_path / "epoch_guard" / "epoch_1" / FILE_NAME
    file.parent.mkdir(parents=True)
    file.touch()
    log = EpochGuardLog(tmp_path)
    log.scalar("loss", 1.0, 1, "epoch_1")
    log.close()
    assert read_log_file(file).began > 0


_LEASE = """
import fcntl, signal, sys
held = open(sys.argv[1])
signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK))
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)
print("leased", flush=True)
signal.pause()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="leases are Linux's")
def test_a_file_that_another_process_has_on_lease_is_waited_for(tmp_path):
    """As a file server has it for its clients."""
    path = tmp_path / "record"
    path.write_bytes(b"one ")
    with subprocess.Popen([sys.executable, "-c", _LEASE, path], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "leased\n"
            append_whole(path, b"two")
        finally:
            holder.kill()
    assert path.read_bytes() == b"one two"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_nothing_is_appended_to_what_is_no_regular_file(tmp_path, make):
    make(tmp_path / "record")
    with pytest.raises(OSError, match=r"regular file|is a folder"):
        append_whole(tmp_path / "record", b"text")


def test_a_line_keeps_its_full_height_under_smoothing_and_follows_the_curve(tmp_path):
    log = EpochGuardLog(tmp_path)
    line = BoundaryLine(log, "boundary_1_to_2", 50)
    for low in np.linspace(4.0, 1.0, 200):
        line.cover(low, 8.0)
    line.cover(1.0, 9.0)
    log.close()
    values = [value for _, value in read_scalars(tmp_path / "epoch_guard" / "boundary_1_to_2", "train/loss")]
    drawn = smoothed(values)
    assert max(drawn) > 9.0 - 0.01 * 8
    assert min(drawn) < 1.0 + 0.06 * 8
    assert len(values) < 1000  # else the server samples


def test_a_point_of_few_samples_has_the_standard_error_of_their_mean():
    pending = PendingLoss()
    losses = np.array([2.0, 3.5, 1.0, 4.0, 2.5])
    assert pending.add(Weighted(2, losses[:2].sum()), float((losses[:2] ** 2).sum()), 1) is None
    point = pending.add(Weighted(3, losses[2:].sum()), float((losses[2:] ** 2).sum()), 2)
    assert point == (2, pytest.approx(losses.mean()), pytest.approx(losses.std(ddof=1) / np.sqrt(5)))
    # One sample does not scatter; a window of an earlier release holds no squares. The next point is not hurt.
    pending.add(Weighted(1, 2.0), 4.0, 3)
    assert pending.rest() == (3, 2.0, None)
    assert pending.add(Weighted(4, 8.0), None, 4) == (4, 2.0, None)
    assert pending.add(Weighted(4, 8.0), 16.0, 5) == (5, 2.0, 0.0)
    assert pending.rest() is None


def test_a_later_run_appends_to_the_same_file(tmp_path, capsys):
    for step in (1, 2):
        log = EpochGuardLog(tmp_path)
        assert log.exists("epoch_1") == (step == 2)
        log.scalar("a/b", step, step, "epoch_1")
        log.close()
    assert read_scalars(tmp_path / "epoch_guard" / "epoch_1", "a/b") == [(1, 1.0), (2, 2.0)]
    assert capsys.readouterr().out == ""


def test_writing_after_closing_hides_nothing(tmp_path):
    log = EpochGuardLog(tmp_path)
    log.scalar("a", 1.0, 1)
    log.close()
    log.scalar("a", 2.0, 2)
    log.close()
    assert read_scalars(tmp_path / "epoch_guard", "a") == [(1, 1.0), (2, 2.0)]


def test_many_lines_hold_no_file_open(tmp_path):
    log = EpochGuardLog(tmp_path)
    for step in range(1, 4):
        for directory in range(40):
            log.scalar("a", step, step, f"epoch_{directory}")
        log.flush()
    assert not [
        name for name in os.listdir("/proc/self/fd") if str(tmp_path) in os.path.realpath(f"/proc/self/fd/{name}")
    ]
    log.close()
    for directory in range(40):
        assert read_scalars(tmp_path / "epoch_guard" / f"epoch_{directory}", "a") == [(1, 1.0), (2, 2.0), (3, 3.0)]


@pytest.mark.parametrize("name", ["..", "../../etc", "a/b", "", "%s%n", "a b", "\u6570\u636e"])
def test_no_corpus_name_leads_out_of_the_log_folder(tmp_path, name):
    words = Naming((name, "other"))
    directory = words.epoch_directory(EpochKey(0, 1))
    inside = (tmp_path / directory).resolve()
    assert inside.parent.parent == tmp_path.resolve()
    log = EpochGuardLog(tmp_path)
    log.scalar(f"{name}/tag", 1.0, 1, directory)
    log.close()


def test_names_that_look_alike_stay_apart():
    words = Naming(("a b", "a_b", "c"))
    assert [words.dataset_directory(at) for at in range(3)] == ["a_b-0", "a_b-1", "c"]
    names = ("a b", "a_b", "a_b-1", "a_b-0", "epoch_1", "boundary_1_to_2", "unified_from_step_3", "corpus_epoch_1", "")
    words = Naming(names)
    folders = [words.dataset_directory(at) for at in range(len(names))]
    assert len(set(folders)) == len(names)
    own = {words.epoch_directory(EpochKey(0, 1)).rpartition("/")[2], "boundary_1_to_2", words.reorder_name(3)}
    assert not own & set(folders)


@pytest.mark.slow
def test_a_log_of_100_000_steps_shows_every_boundary_through_the_servers_own_sampling(tmp_path):
    run = write_long_run(tmp_path)
    curve = run.curve
    root = str(tmp_path)
    with visualdl_server(tmp_path) as server:
        tags = server.get("scalar/tags")
        runs = dict(zip(tags["runs"], tags["tags"], strict=True))
        assert "train/loss" in runs[root]
        assert len(server.scalars(root, "train/loss")) <= 1000  # the server did sample
        for crossing in run.crossings:
            marker = f"{root}/epoch_guard/boundary_{crossing.from_epoch}_to_{crossing.to_epoch}"
            line = server.scalars(marker, "train/loss")
            assert {step for step, _ in line} == {crossing.step}
            values = [value for _, value in line]
            assert max(values) == pytest.approx(curve[9], rel=0.01)
            assert min(values) < curve[crossing.step - 1] * 1.01
            told, *_, verdict = server.texts(marker, f"epoch_guard/{marker.rsplit('/', 1)[1]}")
            assert told.startswith(f"Step {crossing.step} draws the first samples")
            assert "before" in verdict
        assert len(run.crossings) == 11
        epoch_losses = server.scalars(f"{root}/epoch_guard", "epoch_guard/epoch_loss")
        assert [epoch for epoch, _ in epoch_losses] == list(range(1, 13))


def test_a_boundary_is_told_again_in_numbers_only_by_a_run_that_meets_it_again(tmp_path):
    class Steps:
        def counts(self, first_step, last_step):
            return {EpochKey(0, 1 if step < 5 else 2): 1 for step in range(first_step, last_step + 1)}

    for _ in range(2):
        watched = recorder(tmp_path, EpochLedger(Steps()))
        watched.expect([BoundaryStep(5, 1, position=4)])
        for step in range(1, 9):
            watched.record(step, 10.0 - step)
        watched.finish(8, complete=True)
    texts = read_texts(tmp_path / "epoch_guard" / "boundary_1_to_2", "epoch_guard/boundary_1_to_2")
    assert [text.split()[0] for text in texts] == ["Step", "Verdict", "Verdict"]
