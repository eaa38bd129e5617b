import errno
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import corpora
from caches import as_megatron, as_megatron_blend, cli, contents, refused, told
from paddle_epoch_guard import files
from paddle_epoch_guard.cli import rewriting
from paddle_epoch_guard.order import PositionMap, Reorder
from rebuilding import build, build_blend, drawn, first_tokens

BATCH, STEPS = 4, corpora.SEPARATED // 4
BOUNDARY = 151


@pytest.fixture
def prefix(tmp_path):
    return corpora.write_corpus(tmp_path / "corpus" / "text", corpora.SIZES)


@pytest.mark.host
@pytest.mark.parametrize("mix", ["auto", "uniform", "ramp"])
@pytest.mark.parametrize("kind", [build, build_blend])
def test_a_new_run_draws_what_the_guard_would_draw(tmp_path, prefix, kind, mix):
    from training import arguments, train

    dataset = kind(tmp_path, prefix)
    steps = (300 if kind is build_blend else corpora.SEPARATED) // BATCH
    guarded = train(arguments(tmp_path, max_steps=steps, epoch_guard="unified", epoch_guard_mix=mix), dataset)
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new", "--mix", mix, "--seed", 7)
    plain = train(arguments(tmp_path / "plain", max_steps=steps), kind(tmp_path, prefix, "new"), callbacks=[])
    assert drawn(plain) == drawn(guarded)
    assert Counter(drawn(plain)) == Counter(first_tokens(dataset, steps * BATCH))


@pytest.mark.host
@pytest.mark.parametrize("step", [10, 37])
def test_a_resumed_run_draws_what_the_guard_would_draw(tmp_path, prefix, step):
    from training import arguments, train

    dataset = build(tmp_path, prefix)
    saving = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": step}
    before = train(arguments(tmp_path, epoch_guard="track", **saving), dataset)
    shutil.copytree(tmp_path / "run", tmp_path / "unguarded" / "run")
    checkpoint = f"checkpoint-{step}"
    guarded = train(
        arguments(tmp_path, epoch_guard="unified", **saving), dataset, resume=str(tmp_path / "run" / checkpoint)
    )
    told(
        "rebuild", tmp_path / "cache", "--from-position", step * BATCH, "--output", tmp_path / "new", "--seed", 7
    )  # fmt: skip
    again = build(tmp_path, prefix, "new")
    plain = train(
        arguments(tmp_path / "unguarded", **saving), again, callbacks=[],
        resume=str(tmp_path / "unguarded" / "run" / checkpoint),
    )  # fmt: skip
    assert drawn(plain) == drawn(guarded)
    assert first_tokens(again, step * BATCH) == drawn(before)[: step * BATCH]


def test_the_seed_is_the_indexs_own_where_none_is_given(tmp_path, prefix):
    build(tmp_path, prefix)
    result = told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert result["reorder"] == {
        "start": 0, "stop": corpora.SEPARATED, "mix": "uniform", "key": [1, 1, 0], "boundary": None
    }  # fmt: skip
    assert result["format"] == "paddlenlp"
    assert sorted(result["files"]) == sorted(path.name for path in (tmp_path / "new").iterdir())


@pytest.mark.parametrize("host", ["paddlenlp", "megatron"])
@pytest.mark.parametrize("kind", [build, build_blend])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (17, None), (40, 160), (99, 175)])
def test_the_cache_is_whole_and_differs_in_the_order_alone(tmp_path, prefix, host, kind, start, stop):
    dataset = kind(tmp_path, prefix)
    source = tmp_path / "cache"
    blended = kind is build_blend
    if blended and stop is not None:
        stop += 125  # the blend's boundary lies at some 250
    if host == "megatron":
        source = tmp_path / "megatron"
        if blended:
            parts = [(tmp_path / "corpus" / name, samples) for name, samples in (("text", 111), ("code", 232))]
            as_megatron_blend(source, dataset, parts, [0.3, 0.7], corpora.LENGTH)
        else:
            as_megatron(source, dataset, prefix, corpora.SEPARATED, corpora.LENGTH)
    before = contents(tmp_path)
    chosen = () if stop is None else ("--stop", stop)
    result = told("rebuild", source, "--from-position", start, "--output", tmp_path / "a" / "new", *chosen)
    written = contents(tmp_path / "a" / "new")
    assert {name: value for name, value in contents(tmp_path).items() if not name.startswith("a/new")} == before
    reorder = Reorder(**result["reorder"] | {"key": tuple(result["reorder"]["key"])})
    # A blend of 300 positions in megatron-core may have been built for 299 samples.
    planned = (299 if host == "megatron" else 300) if blended else corpora.SEPARATED
    assert (reorder.start, reorder.stop) == (start, stop or planned)
    changed = []
    for path in source.iterdir():
        if not blended or path.name in written:
            content, _ = written.pop(path.name)
            if content != path.read_bytes():
                changed.append(path)
    assert [name.rpartition(".epoch_guard")[2] for name in written] == [".json"]
    assert len(changed) == (2 if blended else 1)
    for path in changed:
        old = np.load(path)
        saved = io.BytesIO()
        np.save(saved, old[PositionMap([reorder]).base(np.arange(len(old)))])
        assert (tmp_path / "a" / "new" / path.name).read_bytes() == saved.getvalue()


@pytest.mark.parametrize("kind", [build, build_blend])
def test_what_was_rebuilt_is_known_again(tmp_path, prefix, kind):
    kind(tmp_path, prefix)
    told("rebuild", tmp_path / "cache", "--from-position", 20, "--output", tmp_path / "new")
    facts = told("inspect", tmp_path / "new")
    assert (facts["separated"], facts["boundary_position"]) == (False, None)
    assert [(order["from_position"], order["mix"]) for order in facts["unified"]] == [(20, "ramp")]
    assert "unified from position 20" in cli("inspect", tmp_path / "new")[1]
    assert cli("doctor", tmp_path / "new")[0] == 0
    message = refused("rebuild", tmp_path / "new", "--from-position", 30, "--output", tmp_path / "newer")
    assert "nothing to unify: 'rebuild' has written this index" in message
    (note,) = (tmp_path / "new").glob("*.epoch_guard.json")
    content = note.read_text()
    for old, new in (
        ('"start": 20', '"start": 21'),
        ('"version": 1', '"version": 2'),
        ('"ramp"', '"other"'),
        ("{", "["),
    ):
        note.write_text(content.replace(old, new))
        assert str(tmp_path / "new") in refused("inspect", tmp_path / "new")
    note.unlink()
    if kind is build:  # it is now an index whose last epoch should be shuffled separately, and is not
        assert "shuffled separately" in refused("inspect", tmp_path / "new")


def test_a_host_that_looks_elsewhere_first_is_told_of(tmp_path, prefix):
    dataset = corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH)
    beside = Path(prefix).parent / "index-cache"
    result = told("rebuild", beside, "--from-position", 0, "--output", tmp_path / "new")
    assert result["shadowed_by"] == str(beside)
    _, out, _ = cli("rebuild", beside, "--from-position", 0, "--output", tmp_path / "other")
    assert f"PaddleNLP looks in {beside} first: move {dataset.desc_hash}* out of it" in out
    assert "with the guard (which reads the note beside the index) or without" in out
    old = first_tokens(dataset)
    assert first_tokens(build(tmp_path, prefix, "new")) == old  # as was told
    beside.rename(tmp_path / "moved")
    assert first_tokens(build(tmp_path, prefix, "new")) != old
    again = told("rebuild", tmp_path / "moved", "--from-position", 0, "--output", beside)
    assert again["shadowed_by"] is None
    assert first_tokens(corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH)) == first_tokens(
        build(tmp_path, prefix, "new")
    )


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--from-position", -1), 2, "--from-position"),
        (("--from-position", corpora.SEPARATED), 2, "the run draws positions 0 to 179"),
        (("--from-position", 10**30), 2, "--from-position"),
        (("--from-position", "half"), 2, "--from-position"),
        (("--from-position", 0, "--stop", 0), 2, "--stop"),
        (("--from-position", 0, "--stop", 227), 2, "the index has 226 positions, of which 180 were requested"),
        (("--from-position", 50, "--stop", 50), 2, "the run draws positions 0 to 49"),
        (("--from-position", 0, "--seed", -1), 2, "--seed"),
        (("--from-position", 0, "--seed", 1 << 70), 2, "--seed"),
        (("--from-position", 0, "--mix", "some"), 2, "--mix"),
        ((), 2, "--from-position"),
        (("--from-position", BOUNDARY), 1, "nothing left to unify"),
        (("--from-position", 170), 1, "nothing left to unify"),
        (("--from-position", 0, "--stop", BOUNDARY), 1, "before the boundary at 151"),
        (("--from-position", 0, "--hash", "0" * 32), 1, "expected one"),
        (("--from-position", 0, "--prefix", "nothing"), 1, "nothing.idx: no such file"),
    ],
    ids=str,
)  # fmt: skip
def test_a_call_that_cannot_be_is_refused_and_writes_nothing(tmp_path, prefix, options, status, said):
    build(tmp_path, prefix)
    before = contents(tmp_path)
    message = refused("rebuild", tmp_path / "cache", "--output", tmp_path / "new", *options, status=status)
    assert said in message
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_an_index_for_no_samples_is_refused(tmp_path, prefix):
    build(tmp_path, prefix, samples=0)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert message.endswith("nothing to unify: the index was built for 0 samples")


@pytest.mark.parametrize(
    ("samples", "why"), [(corpora.ONE_EPOCH, "one data epoch"), (corpora.JOINT, "together already")]
)
def test_an_index_without_a_boundary_is_refused(tmp_path, prefix, samples, why):
    build(tmp_path, prefix, samples=samples)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert why in message
    assert "Tracking" not in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["cache", "cache/inside", "cache/in/side", "link", "link/inside", "corpus/../cache", "loop"]
)
def test_the_cache_that_is_read_is_never_written_to(tmp_path, prefix, name):
    build(tmp_path, prefix)
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    (tmp_path / "loop").symlink_to(tmp_path / "link")
    before = contents(tmp_path)
    for source in ("cache", "link"):
        message = refused("rebuild", tmp_path / source, "--from-position", 0, "--output", tmp_path / name, status=2)
        assert "which is never written to" in message
    assert contents(tmp_path) == before
    assert not (tmp_path / "cache" / "inside").exists()


def test_the_folders_of_a_blends_datasets_are_never_written_to(tmp_path, prefix):
    dataset = build_blend(tmp_path, prefix)
    beside = tmp_path / "corpus" / "index-cache"
    beside.mkdir()
    for part in dataset.datasets:
        for file in (tmp_path / "cache").glob(f"{part.desc_hash}*"):
            shutil.move(file, beside)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", beside / "new", status=2)
    assert f"the cache {beside} or inside it" in message
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert len(list((tmp_path / "new").glob("*.npy"))) == 8  # the datasets' too


def test_what_is_there_is_not_replaced(tmp_path, prefix):
    build(tmp_path, prefix)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(
        "rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "file", status=2
    )
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    before = contents(tmp_path)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 20, "--output", tmp_path / "new")
    assert "already exists there" in message
    assert contents(tmp_path) == before


def test_a_folder_beside_other_files_is_taken(tmp_path, prefix):
    build(tmp_path, prefix)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("mine")
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert (tmp_path / "new" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "new").iterdir())) == 6


@pytest.mark.parametrize("step", ["open", "fsync", "link"])
@pytest.mark.parametrize("number", range(5))
def test_a_failure_leaves_nothing_behind(tmp_path, prefix, monkeypatch, step, number):
    build(tmp_path, prefix)
    before = contents(tmp_path)
    real, calls = getattr(files.os, step), itertools.count()

    def fails(*given, **named):
        if step == "open" and not re.search(r"\.[0-9a-f]{8}$", str(given[0])):
            return real(*given, **named)  # of the lock, or of what is read
        if next(calls) == number + (number if step == "fsync" else 0):  # every other flush is of the folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file")
        return real(*given, **named)

    def no_rename(*_):  # takes the place of a link where there are none
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file")

    monkeypatch.setattr(files.os, step, fails)
    monkeypatch.setattr(files.Path, "rename", no_rename)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "a" / "new")
    assert message == "some file: No space left on device"
    assert contents(tmp_path) == before
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, prefix, monkeypatch):
    build(tmp_path, prefix)
    (tmp_path / "ours").mkdir()
    (tmp_path / "file").write_text("")
    call = ("rebuild", tmp_path / "cache", "--from-position", 0, "--output")
    assert "cannot be created (Not a directory)" in refused(*call, tmp_path / "file" / "new")
    monkeypatch.setattr(rewriting.os, "access", lambda _, mode: mode == os.R_OK)  # root may write everywhere
    assert f"--output {tmp_path / 'ours'}: cannot be written" in refused(*call, tmp_path / "ours")
    assert "cannot be written" in refused(*call, tmp_path / "new" / "er")
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    monkeypatch.setattr(rewriting.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    assert "1 bytes are free" in refused(*call, tmp_path / "new")
    assert list((tmp_path / "ours").iterdir()) == []


def test_descriptions_take_their_names_last(tmp_path, prefix, monkeypatch):
    """PaddleFormers takes a description for an index that is whole."""
    build_blend(tmp_path, prefix)
    named = []
    real = os.link
    monkeypatch.setattr(
        files.os, "link", lambda old, new, **options: (named.append(Path(new).suffix), real(old, new, **options))
    )
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert sorted(named[:-3]) == [".json", *[".npy"] * 8]
    assert named[-3:] == [".dsc"] * 3


def test_a_bar_is_drawn_on_a_terminal_alone(tmp_path, prefix, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    build(tmp_path, prefix)
    plain = io.StringIO
    call = ["rebuild", tmp_path / "cache", "--from-position", 0, "--output"]
    status, _, err = cli(*call, tmp_path / "a")
    assert (status, err) == (0, "")
    for as_json in ([], ["--json"]):
        terminal = Terminal()
        # Numpy 1.24 reads a header through one, too.
        monkeypatch.setattr("caches.io.StringIO", lambda *text, terminal=terminal: plain(*text) if text else terminal)
        assert cli(*call, tmp_path / f"b{len(as_json)}", *as_json)[0] == 0
        assert ("writing" in terminal.getvalue()) == (not as_json)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 1, "reorders": [1]}', '{"version": 1, "reorders": [{"start": 0}]}', "[" * 60_000],
)
def test_a_note_that_is_none_is_refused_by_name(tmp_path, prefix, text):
    build(tmp_path, prefix)
    (description,) = (tmp_path / "cache").glob("*.dsc")
    note = description.with_suffix(".epoch_guard.json")
    note.write_text(text)
    assert refused("inspect", tmp_path / "cache").startswith(f"{note}: not a note that 'rebuild' writes")


def slow_rebuild(folder, position, pause):
    """A 'rebuild' in a process of its own, which waits before it gives the files their names."""
    code = (
        "import signal, sys, time; from pathlib import Path; from paddle_epoch_guard import files\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it\n"
        "move = files.move_new\n"
        f"def slow(path, target):\n    Path({str(folder / 'waits')!r}).touch()\n"
        f"    time.sleep({pause})\n    move(path, target)\n"
        "files.move_new = slow\n"
        "from paddle_epoch_guard.cli.app import main; main(sys.argv[1:])"
    )
    call = ["rebuild", folder / "cache", "--from-position", position, "--output", folder / "new"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, call)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def waits(folder):
    deadline = time.monotonic() + 60
    while not (folder / "waits").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_of_two_that_write_to_one_folder_one_is_refused_and_the_other_is_whole(tmp_path, prefix):
    build(tmp_path, prefix)
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "alone")
    first = slow_rebuild(tmp_path, 0, 0.5)
    waits(tmp_path)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 20, "--output", tmp_path / "new")
    assert "another 'rebuild' is writing there" in message or "already exists there" in message
    assert first.wait(60) == 0, first.stderr.read()
    files_of = [{name: content for name, (content, _) in contents(tmp_path / at).items()} for at in ("new", "alone")]
    assert files_of[0] == files_of[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_rebuild_that_is_ended_leaves_nothing_behind(tmp_path, prefix, number):
    build(tmp_path, prefix)
    before = contents(tmp_path)
    process = slow_rebuild(tmp_path, 0, 1)
    waits(tmp_path)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    (tmp_path / "waits").unlink()
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_rebuild_that_is_killed_is_recognised_by_the_next_one_and_by_doctor(tmp_path, prefix):
    build(tmp_path, prefix)
    process = slow_rebuild(tmp_path, 0, 0.3)
    waits(tmp_path)
    time.sleep(0.8)
    process.kill()
    process.wait()
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert "an interrupted 'rebuild' may have left it" in message
    status, out, _ = cli("doctor", tmp_path / "new", "--move-aside", tmp_path / "aside")
    assert status == 1
    assert "incomplete: " in out
    assert "leftover: " in out
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")


def test_a_file_that_appears_meanwhile_is_never_written_over(tmp_path, prefix, monkeypatch):
    build(tmp_path, prefix)
    real, other = files.move_new, {}

    def appears(path, target):
        if not other:
            other[target] = b"another's"
            target.write_bytes(b"another's")
        real(path, target)

    monkeypatch.setattr(files, "move_new", appears)
    message = refused("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert "has appeared there meanwhile, and is left as it is" in message
    kept = {name: content for name, (content, _) in contents(tmp_path / "new").items()}
    assert kept == {target.name: content for target, content in other.items()}


def test_a_full_disk_names_the_file_and_the_space_that_is_needed(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    target = tmp_path / "index.npy"
    said = r"more than 5,000 bytes are needed, [\d,]+ are free"
    with pytest.raises(OSError, match=said) as raised, files.atomic_write(target) as stream:
        stream.write(bytes(5_000))
    assert raised.value.filename == str(target)
    assert list(tmp_path.iterdir()) == []
