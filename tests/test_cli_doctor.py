import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from caches import as_megatron, as_megatron_blend, cli, contents, refused, told
from paddle_epoch_guard.cli.diagnose import diagnose
from paddle_epoch_guard.errors import IndexFileError
from paddle_epoch_guard.index.folder import describe, scan

GUARD_BLEND = "epoch_guard_blend_" + "0" * 32


@pytest.fixture
def prefix(tmp_path):
    return corpora.write_corpus(tmp_path / "corpus" / "text", corpora.SIZES)


@pytest.fixture
def cache(tmp_path, prefix):
    """A cache with two indices and a blend of two, its datasets' indices beside it."""
    folder = tmp_path / "cache"
    other = corpora.write_corpus(tmp_path / "corpus" / "code", corpora.SIZES[10:])
    for samples in (corpora.SEPARATED, corpora.JOINT):
        corpora.build_train([prefix], samples, corpora.LENGTH, cache=folder)
    corpora.build_train([3, prefix, 7, other], 300, corpora.LENGTH, cache=folder)
    return folder


@pytest.fixture
def megatron(tmp_path, prefix, cache):
    """The same, as megatron-core has it."""
    folder = tmp_path / "megatron"
    code = str(tmp_path / "corpus" / "code")
    for samples in (corpora.SEPARATED, corpora.JOINT):
        dataset = corpora.build_train([prefix], samples, corpora.LENGTH, cache=cache)
        as_megatron(folder, dataset, prefix, samples, corpora.LENGTH)
    blend = corpora.build_train([3, prefix, 7, code], 300, corpora.LENGTH, cache=cache)
    as_megatron_blend(folder, blend, [(prefix, 111), (code, 232)], [0.3, 0.7], corpora.LENGTH)
    return folder


def diagnosis(folder, *options):
    """The JSON object of ``doctor``; checks that its exit status matches."""
    status, out, err = cli("doctor", folder, *options, "--json")
    assert err == ""
    result = json.loads(out)
    assert status == (1 if result["findings"] else 0)
    assert result["sound"] == (not result["findings"])
    return result


def kinds(result):
    return sorted((problem["kind"], problem["index"]) for problem in result["findings"])


@pytest.mark.parametrize("host", ["cache", "megatron"])
def test_what_is_sound_is_said_to_be(request, tmp_path, host):
    folder = request.getfixturevalue(host)
    before = contents(tmp_path)
    result = diagnosis(folder)
    assert (result["findings"], result["unchecked"]) == ([], [])
    assert len(result["sound_indices"]) == 5
    assert {index["format"] for index in result["sound_indices"]} == {"paddlenlp" if host == "cache" else "megatron"}
    status, out, err = cli("doctor", folder)
    assert (status, out, err) == (0, f"{folder}: 5 sound indices; 0 findings; 0 not checked\n", "")
    assert contents(tmp_path) == before


def test_an_empty_folder_is_sound_and_another_folder_is_refused(tmp_path, prefix):
    (tmp_path / "empty").mkdir()
    assert diagnosis(tmp_path / "empty")["sound_indices"] == []
    assert "(found text.bin, text.idx)" in refused("doctor", Path(prefix).parent)
    assert "no such directory" in refused("doctor", tmp_path / "nothing")


def damage(path, how):
    content = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(content[:-3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"no array at all")
    elif how == "pickle":
        np.save(path.with_suffix(".npy"), np.array([{}], dtype=object), allow_pickle=True)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "float":
        np.save(path, np.load(path).astype(float))


@pytest.mark.parametrize("host", ["cache", "megatron"])
@pytest.mark.parametrize("how", ["gone", "cut", "empty", "text", "pickle", "pipe", "folder"])
def test_every_damage_to_every_file_is_found_and_can_be_set_apart(request, tmp_path, host, how):
    folder = request.getfixturevalue(host)
    indices = sorted(scan(folder).indices, key=lambda files: files.kind.is_blend)
    for at, file in enumerate([*indices[0].expected, *indices[-1].expected]):  # of one dataset, and of the blend
        if how == "pickle" and file.suffix != ".npy":
            continue
        work, aside = tmp_path / f"work{at}", tmp_path / f"aside{at}"
        shutil.copytree(folder, work)
        damage(work / file.name, how)
        before = {path.name for path in work.iterdir()}
        (problem,) = diagnosis(work, "--move-aside", aside)["findings"]
        is_array = file.suffix == ".npy"
        assert problem["kind"] == ("incomplete" if how == "gone" else "unreadable" if is_array else "description")
        assert file.name in problem["what"]
        assert file.name.startswith(problem["index"])
        assert problem["effect"]
        assert problem["mend"].startswith("Move its files aside")
        assert sorted(problem["moved_to"]) == sorted(map(str, aside.iterdir()))
        left, moved = ({path.name for path in place.iterdir()} for place in (work, aside))
        assert left | moved == before
        assert all(name.startswith(problem["index"]) for name in moved)
        assert not any(name.startswith(problem["index"]) for name in left)
        after = diagnose(work)
        # A blend whose dataset has no index any more is built again at the next start.
        assert all((each.kind, each.files) == ("incomplete", ()) for each in after.problems)
        assert all(problem["index"] in each.what for each in after.problems)
        assert len(after.sound) + len(after.problems) == 4


class WaitsError(Exception):
    """The host sleeps, to look again."""


@pytest.fixture
def no_sleep(monkeypatch):
    import paddlenlp.data.causal_dataset

    def sleep(_):
        raise WaitsError

    monkeypatch.setattr(paddlenlp.data.causal_dataset.time, "sleep", sleep)


@pytest.mark.parametrize("which", ["doc_idx", "sample_idx", "shuffle_idx"])
def test_what_paddlenlp_does_about_an_array_is_as_told(tmp_path, prefix, no_sleep, which):
    dataset = corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "cache")
    path = tmp_path / "cache" / f"{dataset.desc_hash}_{which}.npy"
    content = path.read_bytes()
    damage(path, "cut")
    (problem,) = diagnosis(tmp_path / "cache")["findings"]
    with pytest.raises((WaitsError, ValueError)) as stopped:
        corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "cache")
    assert ("wait forever" in problem["effect"]) == (stopped.type is WaitsError) == (which == "shuffle_idx")
    assert ("stops when it opens it" in problem["effect"]) == (stopped.type is ValueError)
    path.unlink()
    (problem,) = diagnosis(tmp_path / "cache")["findings"]
    assert "PaddleNLP builds it again; PaddleFormers" in problem["effect"]
    corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "cache")
    assert path.read_bytes() == content


@pytest.mark.parametrize("which", ["index", "sample_index"])
def test_what_paddlenlp_does_about_a_blend_is_as_told(tmp_path, prefix, no_sleep, which):
    def build():
        return corpora.build_train([1, prefix], 100, corpora.LENGTH, cache=tmp_path / "cache")

    build()
    path = next((tmp_path / "cache").glob("?" * 32 + f"_{which}.npy"))
    content = path.read_bytes()
    damage(path, "cut")
    (problem,) = diagnosis(tmp_path / "cache")["findings"]
    with pytest.raises((WaitsError, ValueError)) as stopped:
        build()
    assert ("wait forever" in problem["effect"]) == (stopped.type is WaitsError) == (which == "index")
    path.unlink()
    assert "build it again" in diagnosis(tmp_path / "cache")["findings"][0]["effect"]
    build()
    assert path.read_bytes() == content
    next(path for path in (tmp_path / "cache").glob("*.dsc") if path.read_text().startswith("Blend")).unlink()
    assert "open it anyway" in diagnosis(tmp_path / "cache")["findings"][0]["effect"]
    build()
    assert len(list((tmp_path / "cache").glob("*.dsc"))) == 1


def test_a_pickle_is_not_opened_and_is_warned_of(tmp_path, cache):
    class Writes:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    path = next(cache.glob("*_shuffle_idx.npy"))
    path.unlink()
    np.save(path, np.array([Writes()] * 3, dtype=object), allow_pickle=True)
    (problem,) = diagnosis(cache)["findings"]
    assert "executes any code that it holds" in problem["effect"]
    assert not (tmp_path / "executed").exists()


def test_an_index_of_other_arrays_is_a_mismatch(tmp_path, cache):
    path, other = sorted(cache.glob("*_shuffle_idx.npy"))[:2]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(other.read_bytes())
    (problem,) = diagnosis(cache)["findings"]
    assert problem["kind"] == "mismatch"
    assert path.name.partition("_")[0] in problem["index"]  # which array is named depends on their lengths
    assert "without an error" in problem["effect"]
    path.unlink()
    np.save(path, np.arange(226, dtype=float))
    assert "dtype float64" in next(iter(diagnosis(cache)["findings"]))["what"]
    path.write_bytes(content)


def test_a_corpus_that_was_replaced_breaks_all_its_indices(tmp_path, prefix, cache):
    corpora.write_corpus(tmp_path / "corpus" / "text", corpora.SIZES[::-1])
    result = diagnosis(cache)
    assert [kind for kind, _ in kinds(result)] == ["mismatch"] * 3
    assert "is broken: " in result["unchecked"][0]  # of the blend
    Path(f"{prefix}.bin").write_bytes(b"")
    result = diagnosis(cache, "--move-aside", tmp_path / "aside")
    assert {kind for kind, _ in kinds(result)} == {"corpus"}
    assert "Restore the corpus" in result["findings"][0]["mend"]
    assert not (tmp_path / "aside").exists()  # the cache is not at fault


@pytest.mark.parametrize("host", ["cache", "megatron"])
def test_wrong_pointers_of_a_corpus_are_a_problem_of_the_corpus(request, tmp_path, prefix, host):
    folder = request.getfixturevalue(host)
    corpora.shift_pointers(prefix, slice(30, None), -(2**31))
    result = diagnosis(folder, "--move-aside", tmp_path / "aside")
    assert [problem["kind"] for problem in result["findings"]] == ["corpus"] * 3  # not that of the other corpus
    problem = result["findings"][0]
    assert "text.idx: document 30 starts at byte -2,147,4" in problem["what"]
    assert problem["effect"].startswith("a run opens it without an error, then draws other text")
    assert (problem["mend"], problem["moved_to"]) == ("Restore the corpus; the index itself may be sound", [])
    assert "document 30 starts at byte" in refused("inspect", folder, "--hash", problem["index"][:32])


def test_a_document_list_that_one_host_does_not_read_and_the_other_refuses(prefix, cache, megatron):
    corpora.end_document_list(prefix, 12)
    result = diagnosis(cache)
    assert (result["findings"], len(result["sound_indices"])) == ([], 5)
    (note,) = result["notes"]
    assert "text.idx: its document list ends at 12; expected 40, its sequences. Megatron-core stops" in note
    assert note.endswith("unless fast_cache_load is set; PaddleNLP does not read the list")
    shown = cli("doctor", cache)[1]
    assert f"note: {note}\n" in shown
    digest = result["sound_indices"][0]["hash"]
    assert told("inspect", cache, "--hash", digest)["notes"] in ([note], [])
    options = ("--seq-length", 8, "--global-batch", 4, "--max-steps", 10, "--split", "100,0,0")
    assert told("plan", prefix, *options)["notes"] == [note]
    assert "note:" in cli("plan", prefix, *options)[1]
    theirs = diagnosis(megatron)
    assert [problem["kind"] for problem in theirs["findings"]] == ["corpus"] * 4  # the blend's too
    assert theirs["findings"][0]["effect"].startswith("megatron-core stops when it opens the corpus")
    assert theirs["notes"] == []


def test_without_the_corpus_what_could_not_be_checked_is_said(tmp_path, prefix, cache):
    shutil.move(tmp_path / "corpus", tmp_path / "moved")
    result = diagnosis(cache)
    assert result["findings"] == []
    assert (len(result["unchecked"]), result["sound_indices"]) == (5, [])
    assert all("whether it fits its corpus" in sentence and "--prefix" in sentence for sentence in result["unchecked"])
    assert "not checked: " in cli("doctor", cache)[1]
    result = diagnosis(cache, "--prefix", tmp_path / "moved" / "text", "--prefix", tmp_path / "moved" / "code")
    assert (result["findings"], result["unchecked"]) == ([], [])
    result = diagnosis(cache, "--prefix", tmp_path / "moved" / "text::CPT")
    assert len(result["unchecked"]) == 2
    assert "no index here was built from a corpus of that name" in refused(
        "doctor", cache, "--prefix", "other", status=2
    )


def test_a_blend_whose_datasets_are_not_here_is_a_finding(tmp_path, prefix, cache):
    blend = next(path for path in cache.glob("*.dsc") if path.read_text().startswith("Blend"))
    (tmp_path / "alone").mkdir()
    for file in cache.glob(f"{blend.stem}*"):
        shutil.copy(file, tmp_path / "alone")
    beside = tmp_path / "corpus" / "index-cache"
    (problem,) = diagnosis(tmp_path / "alone", "--move-aside", tmp_path / "aside")["findings"]
    assert (problem["kind"], problem["index"], problem["moved_to"]) == ("incomplete", blend.stem, [])
    assert problem["what"].startswith(f"dataset 0, {prefix}: its index ")
    assert problem["what"].endswith(f" is neither here nor in {beside}")
    assert problem["effect"] == "PaddleNLP and PaddleFormers build it again"
    # Where PaddleNLP looks first, they are checked with it.
    shutil.copytree(cache, beside)
    assert diagnosis(tmp_path / "alone")["findings"] == diagnosis(tmp_path / "alone")["unchecked"] == []
    which = next(cache.glob("?" * 32 + "_index.npy"))
    blended = np.load(which)
    which.unlink()
    np.save(which, blended[::-1])
    (problem,) = diagnosis(cache)["findings"]
    assert (problem["kind"], problem["index"]) == ("mismatch", blend.stem)


@pytest.mark.parametrize(
    ("damaged", "kind", "fault"), [("gone", "incomplete", "missing "), ("text", "unreadable", "not a readable .npy")]
)
def test_a_broken_index_of_a_blends_dataset_beside_its_corpus_is_a_finding(
    tmp_path, prefix, cache, damaged, kind, fault
):
    """It lies in another folder than the blend, where nothing else tells of it."""
    blend = next(path for path in cache.glob("*.dsc") if path.read_text().startswith("Blend"))
    beside, alone = tmp_path / "corpus" / "index-cache", tmp_path / "alone"
    shutil.copytree(cache, beside)
    alone.mkdir()
    for file in cache.glob(f"{blend.stem}*"):
        shutil.copy(file, alone)
    described = describe(next(files for files in scan(cache).indices if files.kind.is_blend)).datasets[1]
    damage(beside / f"{described.digest}_sample_idx.npy", damaged)
    (problem,) = diagnosis(alone)["findings"]
    assert (problem["kind"], problem["index"]) == (kind, blend.stem)
    assert problem["what"].startswith(f"dataset 1, {described.prefix}: ")
    assert fault in problem["what"]
    assert problem["mend"].startswith("Restore the dataset's index, or let the host build it again")


@pytest.mark.parametrize("host", ["cache", "megatron"])
def test_a_corpus_without_its_sizes_is_broken_where_its_text_is_there(request, tmp_path, prefix, host):
    folder = request.getfixturevalue(host)
    Path(f"{prefix}.idx").unlink()
    result = diagnosis(folder)
    assert [problem["kind"] for problem in result["findings"]] == ["corpus"] * 3  # not the other corpus, nor the blend
    problem = result["findings"][0]
    assert problem["what"] == f"{prefix}.idx: no such file, though the text, {prefix}.bin, is there"
    assert problem["effect"] == "a run stops when it opens the corpus"
    assert len(result["unchecked"]) == 1  # the blend
    Path(f"{prefix}.bin").unlink()
    assert diagnosis(folder)["findings"] == []  # it may have moved


def test_a_blend_alone_tells_that_its_corpus_has_no_sizes(tmp_path, prefix, cache):
    blend = next(path for path in cache.glob("*.dsc") if path.read_text().startswith("Blend"))
    (tmp_path / "alone").mkdir()
    for file in cache.glob(f"{blend.stem}*"):
        shutil.copy(file, tmp_path / "alone")
    Path(f"{prefix}.idx").unlink()
    (problem,) = diagnosis(tmp_path / "alone")["findings"]
    assert (problem["kind"], problem["index"]) == ("corpus", blend.stem)


def test_what_interrupted_builds_left_behind_is_found(cache):
    (cache / f".{GUARD_BLEND}_index.npy.ab12_x9z").write_bytes(b"half")
    (cache / f"{GUARD_BLEND}_index.npy").write_bytes(b"")
    result = diagnosis(cache)
    assert kinds(result) == [("incomplete", GUARD_BLEND), ("leftover", f".{GUARD_BLEND}_index.npy.ab12_x9z")]
    assert result["findings"][1]["effect"] == "none: no run reads it"
    np.save(cache / f"{GUARD_BLEND}_sample_index.npy", np.arange(3))
    assert kinds(diagnosis(cache))[1] == ("unreadable", GUARD_BLEND)
    for array in (np.arange(4), np.ones((1, 3), dtype=int), np.ones(3)):
        np.save(cache / f"{GUARD_BLEND}_index.npy", array)
        assert kinds(diagnosis(cache))[1] == ("mismatch", GUARD_BLEND)
    np.save(cache / f"{GUARD_BLEND}_index.npy", np.arange(3))
    assert len(kinds(diagnosis(cache))) == 1


def test_a_description_alone_is_found_whatever_it_describes(tmp_path, cache):
    for path in list(cache.iterdir()):
        if path.suffix == ".npy":
            path.unlink()
    result = diagnosis(cache)
    assert [problem["kind"] for problem in result["findings"]] == ["incomplete"] * 5
    assert sum("PaddleFormers takes the description" in problem["effect"] for problem in result["findings"]) == 4
    assert sum("_sample_index.npy" in problem["what"] for problem in result["findings"]) == 1


def test_what_rebuild_has_written_is_to_be_rebuilt(tmp_path, prefix):
    corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "cache")
    told("rebuild", tmp_path / "cache", "--from-position", 0, "--output", tmp_path / "new")
    assert "1 of them written by 'rebuild'" in cli("doctor", tmp_path / "new")[1]
    next((tmp_path / "new").glob("*_doc_idx.npy")).unlink()
    (problem,) = diagnosis(tmp_path / "new", "--move-aside", tmp_path / "aside")["findings"]
    assert "run 'rebuild' again" in problem["mend"]
    assert list((tmp_path / "new").iterdir()) == []  # the note goes with its index


@pytest.fixture
def broken(cache):
    """A cache with two broken indices, one of them a dataset's of the blend."""
    texts = {path.stem: path.read_text() for path in cache.glob("*.dsc")}
    for samples in (corpora.SEPARATED, 111):
        (index,) = (
            stem for stem, text in texts.items() if text.startswith("GPT") and f"Number of samples {samples}\n" in text
        )
        (cache / f"{index}_doc_idx.npy").unlink()
    return cache


def test_nothing_is_replaced_when_files_are_set_apart(tmp_path, broken):
    path = next(iter(diagnosis(broken)["findings"]))["files"][-1]
    aside = tmp_path / "aside"
    aside.mkdir()
    for there in (lambda at: at.write_text("mine"), lambda at: at.mkdir(), lambda at: at.symlink_to("/nowhere")):
        there(aside / Path(path).name)
        before = contents(tmp_path)
        assert f"{Path(path).name} already exists there" in refused("doctor", broken, "--move-aside", aside)
        assert contents(tmp_path) == before
        place = aside / Path(path).name
        place.rmdir() if place.is_dir() else place.unlink()


@pytest.mark.parametrize(
    "name",
    ["cache", "cache/../cache", "link", "cache/index-cache", "corpus/index-cache", "GPTDataset_indices", "file"],
)
def test_nothing_is_moved_to_where_a_host_would_read_it(tmp_path, broken, name):
    (tmp_path / "link").symlink_to(broken)
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    assert "--move-aside" in refused("doctor", broken, "--move-aside", tmp_path / name, status=2)
    assert contents(tmp_path) == before
    assert not (broken / "index-cache").exists()


def test_a_folder_inside_the_cache_will_do(broken):
    """Hosts do not look into folders of a cache."""
    diagnosis(broken, "--move-aside", broken / "broken")
    (blend,) = diagnosis(broken)["findings"]
    assert blend["what"].startswith("dataset ")
    assert len(list((broken / "broken").iterdir())) == 6


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_move_that_fails_is_taken_back(tmp_path, broken, monkeypatch, number):
    real, done = os.link, []

    def fails(path, target, **options):
        done.append(path)
        if len(done) == number + 1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
        return real(path, target, **options)

    def no_rename(path, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))

    before = contents(tmp_path)
    monkeypatch.setattr(os, "link", fails)
    monkeypatch.setattr(Path, "rename", no_rename)
    message = refused("doctor", broken, "--move-aside", tmp_path / "aside")
    assert "Invalid cross-device link" in message
    assert "the same file system" in message
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, broken):
    (tmp_path / "file").write_text("mine")
    assert "cannot be created" in refused("doctor", broken, "--move-aside", tmp_path / "file" / "aside")


def test_nothing_is_made_where_nothing_is_broken(tmp_path, cache):
    diagnosis(cache, "--move-aside", tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


def test_any_mess_is_examined(tmp_path):
    names = [
        *(f"{digit * 32}{ending}" for digit in "ab" for ending in (
            ".dsc", "_doc_idx.npy", "_sample_idx.npy", "_shuffle_idx.npy", "_index.npy", "_sample_index.npy",
            "-GPTDataset-train-description.txt", "-GPTDataset-valid-sample_index.npy",
            "-BlendedDataset-test-description.txt", "-BlendedDataset-test-dataset_index.npy", ".epoch_guard.json",
        )),
        f"{GUARD_BLEND}_index.npy", f".{GUARD_BLEND}_index.npy.abcdefgh", "notes",
    ]  # fmt: skip
    contents_ = st.sampled_from(
        [b"", b"GPT Dataset\n\n", b"Blendable dataset\n\nDatasets:\n", b"{}", b"\x93NUMPY\x01\0"]
    )

    unread = {"notes", "a" * 32 + ".epoch_guard.json", "b" * 32 + ".epoch_guard.json"}

    @settings(deadline=None, max_examples=40)
    @given(st.dictionaries(st.sampled_from(names), contents_, min_size=1))
    def any_mess(files):
        shutil.rmtree(tmp_path / "mess", ignore_errors=True)
        (tmp_path / "mess").mkdir()
        for name, content in files.items():
            (tmp_path / "mess" / name).write_bytes(content)
        if "notes" in files and set(files) <= unread:
            with pytest.raises(IndexFileError, match="found notes"):
                diagnose(tmp_path / "mess")
        else:
            assert bool(diagnose(tmp_path / "mess").problems) == (not set(files) <= unread)

    any_mess()


@contextlib.contextmanager
def somebody_else():
    """As root, every file can be read: this is another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


UNREADABLE = {
    "an array of another user": lambda cache: next(cache.glob("*_shuffle_idx.npy")).chmod(0),
    "a description of another user": lambda cache: next(cache.glob("*.dsc")).chmod(0),
    "a corpus of another user": lambda cache: next((cache.parent / "corpus").glob("*.idx")).chmod(0),
    "a folder that may not be searched": lambda cache: cache.chmod(0o444),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_not_called_damaged_and_stays_where_it_is(cache, tmp_path, case):
    for path in (tmp_path, *list(tmp_path.parents)[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    UNREADABLE[case](cache)
    aside = tmp_path / "aside"
    with somebody_else():
        status, out, err = cli("doctor", cache, "--move-aside", aside, "--json")
        plain_status, plain, _ = cli("doctor", cache)
    cache.chmod(0o755)
    assert (status, plain_status) == (3, 3), (out, err)
    facts = json.loads(out)
    assert facts["findings"] == []
    assert not facts["sound"]
    assert any("could not be read: Permission denied" in sentence for sentence in facts["unreadable"])
    assert "not checked: " in plain
    assert not aside.exists()


def test_too_many_open_files_are_not_damage(cache, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("paddle_epoch_guard.index.mapped.os.open", full)
    status, out, _ = cli("doctor", cache)
    assert status == 3
    assert "Too many open files" in out


def test_a_prefix_whose_index_is_broken_is_not_called_unknown(tmp_path, prefix):
    corpora.build_train([prefix], 100, corpora.LENGTH, cache=tmp_path / "cache")
    damage(next((tmp_path / "cache").glob("*_shuffle_idx.npy")), "cut")
    result = diagnosis(tmp_path / "cache", "--prefix", prefix)
    assert [kind for kind, _ in kinds(result)] == ["unreadable"]
    assert result["unchecked"] == [f"--prefix {prefix}: whether a broken index here was built from it"]


def test_a_hidden_file_of_the_users_is_no_leftover(cache):
    for name in (".project.metadata", ".gitattributes.original", ".notes.abcdefgh"):
        (cache / name).write_text("mine")
    assert diagnosis(cache)["findings"] == []
