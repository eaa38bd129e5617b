import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from caches import as_megatron, as_megatron_blend, cli, contents, identifiers, refused, told, write_megatron
from paddle_epoch_guard.index import BlendIndex
from paddle_epoch_guard.index.folder import scan

SHARED = (
    "format", "tokens_per_epoch", "samples_per_epoch", "num_epochs", "samples_requested", "samples_built",
    "last_epoch_samples", "separated", "boundary_position", "boundary_step", "exposure", "unseen_fraction",
)  # fmt: skip
BATCH = 4


@pytest.fixture
def prefix(tmp_path):
    return corpora.write_corpus(tmp_path / "corpus" / "text", corpora.SIZES)


@pytest.fixture
def cache(tmp_path, prefix):
    """A cache with one separated index."""
    corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def blend(tmp_path, prefix):
    other = corpora.write_corpus(tmp_path / "corpus" / "code", corpora.SIZES[10:])
    return corpora.build_train([3, prefix, 7, other], 300, corpora.LENGTH, cache=tmp_path / "blend")


@pytest.mark.parametrize("samples", [corpora.ONE_EPOCH, corpora.SEPARATED, corpora.JOINT])
@pytest.mark.parametrize("host", ["paddlenlp", "megatron"])
def test_what_was_built_is_what_was_planned(tmp_path, prefix, samples, host):
    dataset = corpora.build_train([prefix], samples, corpora.LENGTH, cache=tmp_path / "cache")
    folder = tmp_path / "cache"
    if host == "megatron":
        folder = tmp_path / "megatron"
        as_megatron(folder, dataset, prefix, samples, corpora.LENGTH)
    planned = told(
        "plan", prefix, "--seq-length", corpora.LENGTH, "--global-batch", BATCH, "--max-steps", samples // BATCH,
        "--split", "100,0,0",
    )  # fmt: skip
    facts = told("inspect", folder, "--global-batch", BATCH)
    assert {key: facts[key] for key in SHARED} == {key: planned[key] for key in SHARED} | {"format": host}
    assert facts["prefix"] == prefix
    assert facts["unified"] == []


def test_without_a_batch_size_there_is_no_step(cache):
    facts = told("inspect", cache)
    assert (facts["boundary_position"], facts["boundary_step"]) == (151, None)


@pytest.mark.parametrize("host", ["paddlenlp", "megatron"])
def test_a_blend_is_told_by_dataset_with_its_own_positions(tmp_path, blend, host):
    folder = tmp_path / "blend"
    if host == "megatron":
        folder = tmp_path / "megatron"
        parts = [(tmp_path / "corpus" / "text", 111), (tmp_path / "corpus" / "code", 232)]
        as_megatron_blend(folder, blend, parts, [0.3, 0.7], corpora.LENGTH)
    facts = told("inspect", folder, "--global-batch", BATCH)
    datasets = tuple(corpora.index_of(part) for part in blend.datasets)
    index = BlendIndex(datasets, blend.dataset_index, blend.dataset_sample_index)
    assert [(dataset["num_epochs"], dataset["samples_requested"]) for dataset in facts["datasets"]] == [
        (2, 111),
        (5, 232),
    ]
    boundaries = {boundary.dataset: boundary.position for boundary in index.boundaries}
    assert [dataset["boundary_position"] for dataset in facts["datasets"]] == [boundaries.get(0), boundaries.get(1)]
    assert set(boundaries) == {0}  # the other dataset's lies beyond the end of the blend
    assert [dataset["separated"] for dataset in facts["datasets"]] == [True, True]
    assert facts["boundary_position"] == min(boundaries.values())
    assert facts["boundary_step"] == min(boundaries.values()) // BATCH + 1
    assert facts["samples_requested"] == 300
    assert facts["format"] == host


def test_people_are_told_the_same(tmp_path, cache, blend):
    status, out, err = cli("inspect", cache, "--global-batch", BATCH)
    assert (status, err) == (0, "")
    assert "position 151, step 38" in out
    assert "shuffled separately     yes" in out
    assert "fit each other" in out
    status, out, _ = cli("inspect", tmp_path / "blend")
    assert status == 0
    assert "blend of 2, 300 positions: the first boundary is at position" in out


def test_a_corpus_that_has_moved_is_named_or_found_beside_the_cache(tmp_path, prefix):
    corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH)
    shutil.move(tmp_path / "corpus", tmp_path / "moved")
    assert told("inspect", tmp_path / "moved" / "index-cache")["separated"] is True
    shutil.copytree(tmp_path / "moved" / "index-cache", tmp_path / "apart")
    message = refused("inspect", tmp_path / "apart")
    assert message.startswith(f"{prefix}.idx: no such file")
    assert "--prefix" in message
    for named in ("text", "text::CPT"):  # as PaddleFormers marks it
        assert told("inspect", tmp_path / "apart", "--prefix", tmp_path / "moved" / named)["separated"] is True


def test_a_blends_corpora_are_named_in_its_order(tmp_path, blend):
    shutil.move(tmp_path / "corpus", tmp_path / "moved")
    corpora_ = [tmp_path / "moved" / name for name in ("text", "code")]
    prefixes = [word for prefix in corpora_ for word in ("--prefix", prefix)]
    assert len(told("inspect", tmp_path / "blend", *prefixes)["datasets"]) == 2
    assert "1 prefix for 2 datasets" in refused("inspect", tmp_path / "blend", *prefixes[:2], status=2)
    swapped = [word for prefix in corpora_[::-1] for word in ("--prefix", prefix)]
    assert "built from another corpus" in refused("inspect", tmp_path / "blend", *swapped)


def test_a_blends_datasets_may_lie_beside_their_corpora(tmp_path, prefix, blend):
    """PaddleNLP looks there first, and writes them to data_cache_path only where they are not there."""
    beside = tmp_path / "corpus" / "index-cache"
    beside.mkdir()
    for part in blend.datasets:
        for file in (tmp_path / "blend").glob(f"{part.desc_hash}*"):
            shutil.move(file, beside)
    assert [dataset["num_epochs"] for dataset in told("inspect", tmp_path / "blend")["datasets"]] == [2, 5]


def test_of_several_indices_one_is_named(tmp_path, prefix, cache):
    other = corpora.build_train([prefix], corpora.JOINT, corpora.LENGTH, cache=cache)
    message = refused("rebuild", cache, "--output", tmp_path / "new", "--from-position", 0)
    assert message.endswith(
        "2 indices to choose from; expected one. Name one with --hash; "
        f"'paddle-epoch-guard inspect {cache}' lists them"
    )
    for name in (other.desc_hash, other.desc_hash[:8]):
        assert told("inspect", cache, "--hash", name)["samples_requested"] == corpora.JOINT
    for name in ("0" * 32, "nothing", "", "*", "../cache/x"):
        assert other.desc_hash in refused("inspect", cache, "--hash", name)


def test_the_index_that_trains_is_meant_where_the_run_built_one_for_each_split(tmp_path, prefix):
    corpora.build_train([prefix], 70, corpora.LENGTH, split="60,40,0", cache=tmp_path / "cache")
    train, valid = sorted((tmp_path / "cache").glob("*.dsc"), key=lambda path: " valid" in path.read_text())
    facts = told("inspect", tmp_path / "cache")
    assert (facts["hash"], facts["name"]) == (train.stem, "train")
    assert [(each["hash"], each["name"]) for each in facts["others"]] == [(valid.stem, "valid")]
    shown = cli("inspect", tmp_path / "cache")[1]
    assert shown.endswith(f"\nalso in this cache: valid {valid.stem[:8]}. --hash shows one\n")
    alone = told("inspect", tmp_path / "cache", "--hash", train.stem)
    assert alone["others"] == []


def test_a_used_cache_is_a_table_of_its_indices_the_newest_first(tmp_path, monkeypatch, prefix, blend):
    """Without the datasets of a blend: a run opens them with it."""
    cache = tmp_path / "blend"
    for samples in (corpora.SEPARATED, corpora.JOINT):
        corpora.build_train([prefix], samples, corpora.LENGTH, split="60,40,0", cache=cache)
    facts = told("inspect", cache)
    assert facts["cache"] == str(cache)
    found = [each for each in scan(cache).indices if each.digest in {index["hash"] for index in facts["indices"]}]
    assert (len(found), len(scan(cache).indices)) == (4, 6)  # one for validation, and the blend
    for age, files in enumerate(found):
        os.utime(files.description, (1.7e9 - age * 3600,) * 2)
    facts = told("inspect", cache)
    assert [index["hash"] for index in facts["indices"]] == [files.digest for files in found]
    assert facts["indices"][1]["built"] == "2023-11-14T21:13:20+00:00"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    status, out, err = cli("inspect", "blend")
    title, head, *rows = out.splitlines()
    assert (status, err, len(rows)) == (0, "", 4)
    assert title == "blend: its indices, the newest first; --hash shows one"
    assert head.split() == ["--hash", "built", "set", "samples", "length", "seed", "split", "corpus"]
    assert [row.split()[0] for row in rows] == [files.digest[:8] for files in found]
    assert sum("blend of 2" in row for row in rows) == 1
    for row in rows:
        assert cli("inspect", cache, "--hash", row.split()[0])[0] in (0, 1)  # an empty index is no cache's fault


def test_what_is_no_cache_is_refused(tmp_path, prefix):
    assert refused("inspect", tmp_path / "nothing").startswith(f"{tmp_path / 'nothing'}: no such directory")
    assert "no such directory" in refused("inspect", f"{prefix}.idx")
    (tmp_path / "empty").mkdir()
    assert "it holds none of their files" in refused("inspect", tmp_path / "empty")
    assert "no index of PaddleNLP, PaddleFormers or megatron-core (found text.bin" in refused(
        "inspect", Path(prefix).parent
    )
    assert "No such option" in refused("inspect", tmp_path, "--whatever", status=2)
    assert "CACHE" in refused("inspect", status=2)


def stem_of(folder):
    (path,) = [*folder.glob("*.dsc"), *folder.glob("*GPTDataset*-description.txt")]
    return path


@pytest.mark.parametrize("host", ["paddlenlp", "megatron"])
def test_an_index_that_is_damaged_is_refused_by_its_file(tmp_path, prefix, host):
    dataset = corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH, cache=tmp_path / "source")
    if host == "megatron":
        shutil.rmtree(tmp_path / "source")
        as_megatron(tmp_path / "source", dataset, prefix, corpora.SEPARATED, corpora.LENGTH)
    for file in sorted((tmp_path / "source").iterdir()):
        for damage in ("gone", "cut", "empty", "text", "folder", "pipe", "pickle"):
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            shutil.copytree(tmp_path / "source", tmp_path / "cache")
            path = tmp_path / "cache" / file.name
            content = path.read_bytes()
            path.unlink()
            if damage in ("cut", "empty", "text"):
                path.write_bytes({"cut": content[:-3], "empty": b"", "text": b"no index"}[damage])
            elif damage == "folder":
                path.mkdir()
            elif damage == "pipe":
                os.mkfifo(path)
            elif damage == "pickle":
                np.save(path, np.array([{}], dtype=object), allow_pickle=True)
                os.replace(f"{path}.npy", path) if path.suffix != ".npy" else None
            assert str(path) in refused("inspect", tmp_path / "cache"), (file.name, damage)


def test_an_index_of_another_corpus_is_refused(tmp_path, prefix, cache):
    other = corpora.write_corpus(tmp_path / "other", corpora.SIZES[::-1])
    message = refused("inspect", cache, "--prefix", other)
    assert "restore the corpus it was built from" in message
    Path(f"{prefix}.bin").write_bytes(b"")
    assert f"{prefix}.bin: 0 bytes" in refused("inspect", cache)


def test_the_sizes_of_a_corpus_are_enough(tmp_path, prefix, cache):
    wanted = told("inspect", cache)
    assert wanted["notes"] == []
    Path(f"{prefix}.bin").unlink()
    found = told("inspect", cache)
    (note,) = found.pop("notes")
    assert note == f"{prefix}.bin: no such file. The document sizes are enough here; a run needs the text"
    assert {**found, "notes": []} == wanted
    assert cli("rebuild", cache, "--from-position", 0, "--output", tmp_path / "unified")[0] == 0
    status, out, _ = cli("doctor", cache)
    assert status == 1
    assert (
        f"corpus: {wanted['hash']}: {prefix}.bin: no such file\n  effect: a run stops when it opens the corpus" in out
    )


def test_an_edited_description_is_refused(tmp_path, prefix, blend, cache):
    for folder in (cache, tmp_path / "blend"):
        for path in folder.glob("*.dsc"):
            text = path.read_text()
            path.write_text(text.replace("seed 1", "seed 2"))
            assert f"{path}: its text has the md5" in refused("inspect", folder, "--hash", path.stem)
            path.write_text(text)


def change_blend(blend, folder, which, change):
    """Damages an array of a blend; the file."""
    (path,) = folder.glob("*_sample_index.npy" if which == "dataset_sample_index" else "?" * 32 + "_index.npy")
    array = np.array(getattr(blend, which))
    path.unlink()
    np.save(path, change(array))
    return path


def swapped(array):
    array[[3, 100]] = array[[100, 3]]
    return array


@pytest.mark.parametrize("which", ["dataset_index", "dataset_sample_index"])
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-1], lambda array: array + 1, lambda array: array - 1, lambda array: array.astype(float),
        lambda array: array[::-1], lambda array: np.zeros_like(array), lambda array: array[:, None], swapped,
    ],
    ids=["shorter", "shifted", "negative", "float", "reversed", "zeros", "column", "swapped"],
)  # fmt: skip
def test_a_blend_whose_arrays_do_not_fit_is_refused(tmp_path, blend, which, change):
    change_blend(blend, tmp_path / "blend", which, change)
    assert str(tmp_path / "blend") in refused("inspect", tmp_path / "blend")


def test_random_damage_is_refused_in_one_line_or_changes_nothing(tmp_path, blend):
    folder = tmp_path / "blend"
    sound = told("inspect", folder)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    digest = sound["hash"]

    @settings(deadline=None, max_examples=80)
    @given(
        st.sampled_from(sorted(files)),
        st.integers(0, 1 << 12),
        st.binary(max_size=6) | st.text("'\"(){}[],:<>|i48u\n\\ ", min_size=1, max_size=6).map(str.encode),
        st.integers(0, 6),
    )
    def damage(path, place, written, removed):
        content = files[path]
        place %= len(content) + 1
        path.unlink()
        path.write_bytes(content[:place] + written + content[place + removed :])
        status, out, err = cli("inspect", folder, "--hash", digest, "--json")
        if status == 0:
            assert json.loads(out) == sound
        else:
            assert (status, out, err.count("\n")) == (1, "", 1)
        path.unlink()
        path.write_bytes(content)

    damage()


@pytest.mark.parametrize(
    "change",
    [
        {"num_samples": 10**17}, {"num_samples": 10**30}, {"num_samples": -1}, {"num_samples": True},
        {"num_samples": 1.5},
        {"sequence_length": 0}, {"sequence_length": 10**17}, {"random_seed": "1"}, {"class": "BERTDataset"},
        {"split_matrix": [[0, 0.5], [0.5, 1.0]]}, {"split_matrix": [[0.5, 0.1], None, None]}, {"dataset_path": None},
        {"split_matrix": [None, [0, 1.0], None]}, {"split_matrix": [[0, float("nan")], None, None]},
        {"index_split": "all"},
        {"split_matrix": [[0, 1e-9], None, None]}, {"split_matrix": "100,0,0"}, {"split": 7},
    ],
    ids=repr,
)  # fmt: skip
def test_a_hostile_description_costs_nothing(tmp_path, prefix, change):
    dataset = corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH)
    arrays = {
        "document_index": dataset.doc_idx, "sample_index": dataset.sample_idx, "shuffle_index": dataset.shuffle_idx
    }  # fmt: skip
    described = identifiers(prefix, corpora.SEPARATED, corpora.LENGTH) | change
    write_megatron(tmp_path / "cache", described, arrays)
    tracemalloc.start()
    try:
        message = refused("inspect", tmp_path / "cache")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(message) < 1000


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 9, "1" * 100_000, '{"class": "GPTDataset"}', "[]", "null", ""])
def test_a_description_that_is_no_description_is_refused(tmp_path, text):
    import hashlib

    digest = hashlib.md5(text.encode()).hexdigest()
    for kind in ("GPTDataset", "BlendedDataset"):
        path = tmp_path / kind / f"{digest}-{kind}-train-description.txt"
        path.parent.mkdir()
        path.write_text(text)
        assert refused("inspect", path.parent).startswith(f"{path}: ")


def test_nothing_is_written_and_no_framework_is_loaded(tmp_path, cache, blend):
    before = contents(tmp_path)
    code = (
        "import sys\nfrom paddle_epoch_guard.cli.app import run\n"
        f"run(['inspect', {str(cache)!r}]); run(['inspect', {str(tmp_path / 'blend')!r}])\n"
        f"run(['doctor', {str(cache)!r}])\n"
        "print([name for name in ('paddle', 'paddlenlp', 'torch', 'visualdl', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
    assert contents(tmp_path) == before


def test_the_help_names_every_command():
    status, out, _ = cli("--help")
    assert status == 0
    for command in ("plan", "inspect", "rebuild", "doctor"):
        assert re.search(rf"\b{command}\b", out)


def test_the_index_of_a_dataset_that_is_drawn_once_is_read(tmp_path, prefix):
    """``num_samples`` null is one data epoch."""
    dataset = corpora.build_train([prefix], 75, corpora.LENGTH)
    as_megatron(tmp_path / "cache", dataset, prefix, None, corpora.LENGTH)
    facts = told("inspect", tmp_path / "cache")
    assert (facts["num_epochs"], facts["samples_requested"], facts["samples_built"]) == (1, 75, 75)
