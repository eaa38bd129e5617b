"""Training with the guard on an index that ``rebuild`` has written."""

import shutil

import pytest

import corpora
from caches import cli, contents, told
from paddle_epoch_guard.errors import EpochGuardError, IndexFileError, IndexMismatchError, ResumeMismatchError
from paddle_epoch_guard.resume import read_sidecar
from rebuilding import build, build_blend, drawn, first_tokens
from training import arguments, train

pytestmark = pytest.mark.host

BATCH = 4
SEEN = ("epoch_guard/data_epoch", "epoch_guard/exposure", "epoch_guard/epoch_loss")


@pytest.fixture
def prefix(tmp_path):
    return corpora.write_corpus(tmp_path / "corpus" / "text", corpora.SIZES)


def rebuild(tmp_path, position, name="new", *options):
    told(
        "rebuild", tmp_path / "cache", "--from-position", position, "--output", tmp_path / name, "--seed", 7, *options
    )
    return next((tmp_path / name).glob("*.epoch_guard.json"))


def steps_of(kind):
    return (300 if kind is build_blend else corpora.SEPARATED) // BATCH


def copied(tmp_path, name):
    """The folder of a run that goes on from the same checkpoints in a place of its own."""
    for part in ("run", "logs"):
        shutil.copytree(tmp_path / part, tmp_path / name / part)
    return tmp_path / name


@pytest.mark.parametrize("guard", ["track", "unified"])
@pytest.mark.parametrize("kind", [build, build_blend])
def test_a_new_run_on_a_rebuilt_index_is_known_as_a_unified_one(tmp_path, prefix, host_log, kind, guard):
    dataset, steps = kind(tmp_path, prefix), steps_of(kind)
    own = train(arguments(tmp_path, max_steps=steps, epoch_guard="unified"), dataset)
    rebuild(tmp_path, 0)
    before = contents(tmp_path / "new")
    again = kind(tmp_path, prefix, "new")
    run = train(arguments(tmp_path / "again", max_steps=steps, epoch_guard=guard), again)
    assert drawn(run) == drawn(own) == first_tokens(again, steps * BATCH)
    assert run.directories() == own.directories()
    assert "unified_from_step_1" in run.directories()
    assert not any("boundary" in name for name in run.directories())
    for tag in SEEN[:2] if kind is build_blend else SEEN:
        assert run.scalars(tag) == own.scalars(tag), tag
    assert host_log.warnings == []
    assert any("boundaries ahead: none" in text for text in host_log.of_guard())
    wrote = [text for text in host_log.of_guard() if "'rebuild' wrote the index in one order from position 0" in text]
    assert len(wrote) == (guard == "track")
    assert contents(tmp_path / "new") == before
    assert kind(tmp_path, prefix, "new").desc == again.desc
    assert first_tokens(again, 20) == drawn(run)[:20]  # the dataset has its own arrays back


@pytest.mark.parametrize("kind", [build, build_blend])
def test_a_run_goes_on_in_a_rebuilt_index_as_it_would_unified(tmp_path, prefix, host_log, kind):
    dataset, steps, at = kind(tmp_path, prefix), steps_of(kind), 10
    saving = {"max_steps": steps, "save_strategy": "steps", "save_steps": at, "save_total_limit": 9}
    train(arguments(tmp_path, epoch_guard="track", **saving), dataset)
    rebuild(tmp_path, at * BATCH)
    runs = []
    for name, guard, cache in (("a", "unified", "cache"), ("b", "track", "new"), ("c", "unified", "new")):
        folder = copied(tmp_path, name)
        checkpoint = folder / "run" / f"checkpoint-{at}"
        data = kind(tmp_path, prefix, cache)
        runs.append(train(arguments(folder, epoch_guard=guard, **saving), data, resume=str(checkpoint)))
    own, tracked, unified = runs
    for run in (tracked, unified):
        assert drawn(run) == drawn(own)
        assert f"unified_from_step_{at + 1}" in run.directories()
        for tag in SEEN[:2]:
            assert run.scalars(tag)[-steps + at :] == own.scalars(tag)[-steps + at :], tag
    tables = [text for text in host_log.of_guard() if "order of the index" in text]
    assert len(tables) == 2
    assert "nothing drawn so far moves" in " ".join(tables[0].split())
    assert host_log.warnings == []
    # Interrupted again, and resumed from the rebuilt index, or from the host's own, whatever was asked for.
    state = read_sidecar(tmp_path / "b" / "run" / "checkpoint-20", 20)
    assert [(one.start, one.mix) for one in state.reorders] == [(at * BATCH, "ramp")]
    for cache, guard, warns in (
        ("new", "track", 0),
        ("new", "unified", 0),
        ("cache", "unified", 0),
        ("cache", "track", 1),
    ):
        host_log.records.clear()
        args = arguments(tmp_path / "b", epoch_guard=guard, **saving)
        rest = train(args, kind(tmp_path, prefix, cache), resume=str(tmp_path / "b" / "run" / "checkpoint-20"))
        assert drawn(rest) == drawn(tracked)[(20 - at) * BATCH :]
        assert len(host_log.warnings) == warns
        assert ("unified" in "".join(host_log.of_guard())) == bool(warns)


@pytest.mark.parametrize("guard", ["track", "unified"])
def test_a_longer_run_completes_a_rebuilt_index(tmp_path, prefix, guard):
    """The host builds another index for it; the one that was begun is found, and its note."""
    steps, at = steps_of(build), 20
    build(tmp_path, prefix)
    rebuild(tmp_path, 0)
    runs = []
    for name, cache, first in (("own", "cache", "unified"), ("rebuilt", "new", "track")):
        saving = {"save_strategy": "steps", "save_steps": at}
        whole = train(
            arguments(tmp_path / name, max_steps=steps, epoch_guard=first, **saving), build(tmp_path, prefix, cache)
        )
        args = arguments(tmp_path / name, max_steps=steps + 20, epoch_guard=guard, **saving)
        longer = build(tmp_path, prefix, cache, samples=(steps + 20) * BATCH)
        runs.append(drawn(train(args, longer, resume=str(tmp_path / name / "run" / f"checkpoint-{at}"))))
    assert runs[0] == runs[1]
    assert len(runs[0]) == (steps + 20 - at) * BATCH
    kept = runs[1][: (steps - at) * BATCH] == drawn(whole)[at * BATCH :]
    assert kept == (guard == "track")  # under unified, what was appended is joined to what is left


def test_an_index_that_was_rebuilt_behind_the_run_is_refused(tmp_path, prefix):
    """What the run has drawn since would be drawn again."""
    saving = {"max_steps": steps_of(build), "save_strategy": "steps", "save_steps": 10}
    train(arguments(tmp_path, epoch_guard="track", **saving), build(tmp_path, prefix))
    rebuild(tmp_path, 20)
    checkpoint = str(tmp_path / "run" / "checkpoint-10")
    with pytest.raises(
        ResumeMismatchError, match=r"has drawn 40 samples in the host's own order.*Rebuild from position 40"
    ):
        train(arguments(tmp_path, epoch_guard="track", **saving), build(tmp_path, prefix, "new"), resume=checkpoint)
    again = train(
        arguments(tmp_path, epoch_guard="track", epoch_guard_on_mismatch="warn", **saving),
        build(tmp_path, prefix, "new"),
        resume=checkpoint,
    )
    assert drawn(again) == first_tokens(build(tmp_path, prefix, "new"), corpora.SEPARATED)[40:]


def test_the_order_that_was_begun_stays_in_force_over_another_rebuilt_one(tmp_path, prefix, host_log):
    saving = {"max_steps": steps_of(build), "save_strategy": "steps", "save_steps": 10, "epoch_guard": "unified"}
    own = train(arguments(tmp_path, **saving), build(tmp_path, prefix))
    rebuild(tmp_path, 20)
    rest = train(
        arguments(tmp_path, **saving), build(tmp_path, prefix, "new"), resume=str(tmp_path / "run" / "checkpoint-10")
    )
    assert drawn(rest) == drawn(own)[40:]
    (table,) = [text for text in host_log.of_guard() if "order of the index" in text]
    assert "unified from position 20" in table


def test_without_the_guard_the_run_goes_on_in_its_order(tmp_path, prefix, host_log):
    build(tmp_path, prefix)
    rebuild(tmp_path, 0)
    saving = {"max_steps": steps_of(build), "save_strategy": "steps", "save_steps": 10}
    whole = train(arguments(tmp_path, epoch_guard="track", **saving), build(tmp_path, prefix, "new"))
    rest = train(
        arguments(tmp_path, epoch_guard="off", **saving),
        build(tmp_path, prefix, "new"),
        resume=str(tmp_path / "run" / "checkpoint-10"),
    )
    assert drawn(rest) == drawn(whole)[40:]
    assert host_log.warnings == []


@pytest.mark.parametrize("kind", [build, build_blend])
def test_an_index_whose_note_is_missing_or_another_is_refused(tmp_path, prefix, kind):
    kind(tmp_path, prefix)
    note = rebuild(tmp_path, 20)
    content = note.read_text()
    args = arguments(tmp_path, max_steps=5, epoch_guard="track")
    note.unlink()
    with pytest.raises(IndexMismatchError, match=r"'rebuild' wrote (this index|them), its note.*must lie beside"):
        train(args, kind(tmp_path, prefix, "new"))
    stop = steps_of(kind) * BATCH
    for old, new in (('"start": 20', '"start": 21'), (f'"stop": {stop}', f'"stop": {stop - 1}'), ("ramp", "uniform")):
        assert old in content
        note.write_text(content.replace(old, new))
        with pytest.raises(IndexMismatchError, match=rf"order undone by {note.name}"):
            train(args, kind(tmp_path, prefix, "new"))
    for damaged in ("", "{}", content.replace('"version": 1', '"version": 9')):
        note.write_text(damaged)
        with pytest.raises(IndexFileError, match=f"{note}: not a note that 'rebuild' writes"):
            train(args, kind(tmp_path, prefix, "new"))
    note.write_text(content.replace(f'"stop": {stop}', '"stop": 100000'))
    with pytest.raises(EpochGuardError, match="a reorder up to position 100000"):
        train(args, kind(tmp_path, prefix, "new"))
    note.write_text(content)
    assert cli("doctor", tmp_path / "new")[0] == 0
    train(args, kind(tmp_path, prefix, "new"))
