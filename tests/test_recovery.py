"""What interruptions and bad disks leave behind, and what the next start makes of it."""

import json
import math
import shutil
from dataclasses import replace

import pytest

import paddle_epoch_guard.host.losses
from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardError, files
from paddle_epoch_guard.errors import SidecarError
from paddle_epoch_guard.host import UNGUARDED, Stamp, library
from paddle_epoch_guard.order import Schedule, Segment
from paddle_epoch_guard.record.change_watch import ChangeWatch
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, read_sidecar, write_sidecar
from paddle_epoch_guard.session.checkpoint import check_stamp
from paddle_epoch_guard.views.logfile import read_log_file, sound_length
from paddle_epoch_guard.views.visualdl import FILE_NAME, EpochGuardLog
from training import KnownLosses, arguments, train
from vdl_logs import read_scalars

SCHEDULE = Schedule((Segment(1, 0, 4, 1, 1, stop=128),))
SAVES = {"save_strategy": "steps", "save_steps": 10}


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", (100, 7, 230, 1, 58, 190, 23, 200))], 128, 8)


def sidecar(**changes):
    return Sidecar(2, "run", "part", 10, 40, 128, 32, (), SCHEDULE, (), **changes)


def guarded_checkpoints(folder, *steps, run="run"):
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        write_sidecar(folder / f"checkpoint-{step}", replace(sidecar(), step=step, run=run))


@pytest.mark.parametrize("part", ["part", UNGUARDED])
def test_a_checkpoint_that_was_saved_without_the_guard_is_said_to_be_with_one_that_was_not(tmp_path, part):
    guarded_checkpoints(tmp_path, 10, 20, 40)  # 40: of a part that is over
    guarded_checkpoints(tmp_path, 15, run="other")
    folder = tmp_path / "checkpoint-30"
    folder.mkdir()
    with pytest.raises(SidecarError) as refused:
        check_stamp(Stamp("run", part, 20, 0, True), 30, None, [folder, None, f"{folder}/", folder])
    message = str(refused.value)
    assert message.startswith(
        "the checkpoint of step 30 was saved without the guard, which has followed this run up to step 20. "
    )
    assert message.endswith(f"with the guard: --resume_from_checkpoint {tmp_path / 'checkpoint-20'}")
    assert "EpochGuardCallback" not in message


def test_a_sidecar_left_in_a_checkpoint_that_was_saved_again_without_the_guard_is_named(tmp_path):
    guarded_checkpoints(tmp_path, 20, 30)
    folder = tmp_path / "checkpoint-30"
    with pytest.raises(SidecarError, match="saved without the guard") as refused:
        check_stamp(Stamp("run", "part", 20), 30, read_sidecar(folder, 30), [folder])
    assert f"the epoch_guard.json that was found ({folder}) is of another checkpoint" in str(refused.value)
    assert f"--resume_from_checkpoint {tmp_path / 'checkpoint-20'}; or move that file away" in str(refused.value)
    check_stamp(Stamp("run", "part", 20), 30, None, [folder])  # moved away: it goes on


def test_where_no_order_was_found_each_folder_is_named_once_and_the_flag(tmp_path):
    folder = tmp_path / "checkpoint-30"
    folder.mkdir()
    with pytest.raises(SidecarError) as refused:
        check_stamp(Stamp("run", "part", 30, 0, True), 30, None, [str(folder), None, folder, tmp_path / "x" / ".."])
    assert f"It was looked for in: {folder}, {tmp_path / 'x' / '..'}. Name" in str(refused.value)
    assert str(refused.value).endswith("the trainer loads: --resume_from_checkpoint FOLDER")


def test_a_digit_that_changed_is_noticed_though_it_still_is_a_number(tmp_path):
    write_sidecar(tmp_path, sidecar())
    assert read_sidecar(tmp_path, 10) == sidecar()
    path = tmp_path / SIDECAR_NAME
    path.write_text(path.read_text().replace('"position": 40', '"position": 41'))
    with pytest.raises(SidecarError, match="does not have the digest that it names"):
        read_sidecar(tmp_path, 10)


def test_a_sidecar_of_version_1_is_still_read(tmp_path):
    write_sidecar(tmp_path, sidecar())
    path = tmp_path / SIDECAR_NAME
    old = json.loads(path.read_text()) | {"version": 1}
    del old["digest"]
    path.write_text(json.dumps(old))
    assert read_sidecar(tmp_path, 10).position == 40


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="null"):
        write_sidecar(tmp_path, sidecar(evaluations=((5, math.nan),)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_an_evaluation_that_is_no_number_is_not_kept(tmp_path, loss):
    watch = ChangeWatch(judged=lambda _: None)
    watch.evaluate(5, loss)
    watch.evaluate(6, 1.0)
    write_sidecar(tmp_path, sidecar(evaluations=tuple(watch.evaluations)))
    assert read_sidecar(tmp_path, 10).evaluations == ((6, 1.0),)


def test_half_a_record_does_not_hide_what_follows(tmp_path):
    for part in (1, 2, 3):
        log = EpochGuardLog(tmp_path)
        log.scalar("a", part, part)
        log.close()
        path = tmp_path / "epoch_guard" / FILE_NAME
        with path.open("ab") as stream:
            stream.write((100).to_bytes(8, "little") + b"cut"[: part % 3 * 2])
    assert read_log_file(path).scalars["a"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert sound_length(path)[0] < path.stat().st_size


def test_a_damaged_log_is_set_aside_and_a_new_one_begun(tmp_path):
    path = tmp_path / "epoch_guard" / FILE_NAME
    path.parent.mkdir()
    path.write_bytes(b"\xff" * 50)
    log = EpochGuardLog(tmp_path)
    log.scalar("a", 1.0, 1)
    log.close()
    assert (path.parent / "kept-1.epoch_guard.log").read_bytes() == b"\xff" * 50
    assert read_scalars(path.parent, "a") == [(1, 1.0)]


@pytest.mark.host
def test_a_fault_in_a_hook_on_the_model_stops_nothing(tmp_path, dataset, host_log, monkeypatch):
    plain = train(arguments(tmp_path, max_steps=8), dataset, model=KnownLosses)

    def broken(*_args):
        raise TypeError("a bug")

    monkeypatch.setattr(paddle_epoch_guard.host.losses._Copied, "of", broken)
    run = train(arguments(tmp_path, max_steps=8), dataset, model=KnownLosses)
    assert (run.losses, run.first_tokens) == (plain.losses, plain.first_tokens)
    assert len([text for text in host_log.of_guard() if "of samples: RuntimeError: TypeError: a bug" in text]) == 1
    assert not run.model._forward_post_hooks


@pytest.mark.host
@pytest.mark.parametrize("mode", ["track", "unified"])
def test_half_a_checkpoint_is_not_begun_anew_from(tmp_path, dataset, mode):
    """Without a trainer_state.json the host starts at step 0, with weights that have seen data."""
    args = arguments(tmp_path, max_steps=12, epoch_guard=mode, **SAVES)
    train(args, dataset)
    checkpoint = tmp_path / "run" / "checkpoint-10"
    (checkpoint / "trainer_state.json").unlink()
    with pytest.raises(EpochGuardError, match="no record of the trainer's state in it: saving it was interrupted"):
        train(args, dataset, resume=str(checkpoint))
    shutil.rmtree(checkpoint)
    assert train(args, dataset).steps == 12


@pytest.mark.host
def test_a_sidecar_that_shows_late_is_waited_for(tmp_path, dataset, monkeypatch):
    args = arguments(tmp_path, max_steps=12, epoch_guard="unified", **SAVES)
    whole = train(args, dataset)
    checkpoint = tmp_path / "run" / "checkpoint-10"
    hidden = (checkpoint / SIDECAR_NAME).rename(checkpoint / "hidden")

    def shown(_seconds):
        if hidden.exists():
            hidden.rename(checkpoint / SIDECAR_NAME)

    monkeypatch.setattr(files.time, "sleep", shown)
    assert train(args, dataset, resume=str(checkpoint)).first_tokens == whole.first_tokens[10:]


@pytest.mark.host
def test_an_index_that_the_host_could_not_write_is_said(tmp_path, dataset, monkeypatch):
    """The host prints an OSError and goes on."""
    train(arguments(tmp_path, max_steps=32, **SAVES), dataset)
    prefix = tmp_path / "corpus" / "text"
    longer = build_train([prefix], 400, 8)
    host_module = library.import_host("data.causal_dataset")
    monkeypatch.setattr(host_module, "_build_index_mappings", lambda *_args, **_options: None)
    args = arguments(tmp_path, max_steps=100, epoch_guard="unified", **SAVES)
    with pytest.raises(EpochGuardError, match="the host could not build the index for"):
        train(args, longer, resume=str(tmp_path / "run" / "checkpoint-10"))
    assert not list((tmp_path / "corpus" / "index-cache").glob(".epoch_guard_build*"))
