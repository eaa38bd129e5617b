"""Megatron-core's indices: as its source has them, and as the real package builds and reads them.

The tests of the real package need ``.venv-megatron``: ``make test-megatron``.
"""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import corpora
from caches import cli, contents, identifiers, refused, told, write_megatron
from megatron_package import host
from paddle_epoch_guard.errors import CorpusError, EpochGuardError, IndexMismatchError
from paddle_epoch_guard.index.megatron import MegatronBlend, MegatronDescription, read_megatron
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.order import PositionMap, Reorder

LENGTH = 8
FIELDS = {*identifiers("some/corpus", 100, LENGTH), "another"}


def rows_of(sizes, documents, length, extra, samples):
    """The sample index, as ``build_sample_idx`` in megatron/core/datasets/helpers.cpp (0.16.1) fills it."""
    rows = [(0, 0)]
    entry = offset = 0
    while len(rows) <= samples:
        remaining = length + extra
        while remaining != 0:
            left = sizes[documents[entry]] - offset
            remaining -= left
            if remaining <= 0:
                offset += remaining + left - extra
                remaining = 0
            elif entry == len(documents) - 1:
                offset = sizes[documents[entry]] - extra
                break
            else:
                entry += 1
                offset = 0
        rows.append((entry, offset))
    return np.array(rows, dtype=np.int32)


def build(sizes, documents, length, samples, seed, extra=1, drop_partial=True):
    """An index, as ``_build_document_sample_shuffle_indices`` in gpt_dataset.py (0.16.1) builds it; its boundary."""
    tokens = sum(sizes[document] for document in range(*documents))
    epochs = 1
    while samples is not None and epochs * tokens < samples * length + extra:
        epochs += 1
    apart, cut = False, 0
    if epochs > 1:
        cut = ((epochs - 1) * tokens - extra) // length
        apart = samples - cut < int(0.80 * ((tokens - extra) // length))
    count = epochs * tokens - extra
    built = count // length if drop_partial else math.ceil(count / length)
    random = np.random.RandomState(seed)
    groups = [epochs - 1, 1] if apart else [epochs]
    order = []
    for group in groups:
        part = np.tile(np.arange(*documents, dtype=np.int32), group)
        random.shuffle(part)
        order.append(part)
    order = np.concatenate(order)
    shuffle = []
    for start, stop in [(0, cut), (cut, built)] if apart else [(0, built)]:
        part = np.arange(start, stop, dtype=np.uint32)
        random.shuffle(part)
        shuffle.append(part)
    rows = rows_of(sizes, order, length, extra, built)
    return (order, rows, np.concatenate(shuffle)), (cut if apart else None)


def arrays_of(built, sizes):
    names = ("doc_idx", "sample_idx", "shuffle_idx")
    return IndexArrays(
        **dict(zip(names, built, strict=True)),
        sizes=np.array(sizes, dtype=np.int32),
        sources={name: f"<the {name}>" for name in names},
    )


def parse(**changes):
    return MegatronDescription.parse(json.dumps(identifiers("some/corpus", 100, LENGTH) | changes, indent=4), "text")


@pytest.mark.parametrize(
    ("name", "extra", "drop_partial"),
    [("train", 1, True), ("train", 0, True), ("valid", 1, True), ("valid", 0, True), ("valid", 1, False),
     ("valid", 0, False)],
)  # fmt: skip
@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    length=st.integers(1, 12),
    samples=st.none() | st.integers(1, 60),
    seed=st.integers(0, 5),
)
@example(sizes=[8, 16, 8], length=8, samples=9, seed=1)
@example(sizes=[5, 11], length=8, samples=7, seed=1)
def test_an_index_is_read_whatever_the_settings_that_its_description_does_not_hold(
    name, extra, drop_partial, sizes, length, samples, seed
):
    assume(sum(sizes) > extra + length)
    built, boundary = build(sizes, (0, len(sizes)), length, samples, seed, extra, drop_partial)
    matrix = [[0, 1.0], None, None] if name == "train" else [None, [0, 1.0], None]
    described = parse(num_samples=samples, sequence_length=length, split_matrix=matrix, index_split=name)
    index = read_megatron(described, arrays_of(built, sizes))
    assert len(index) == len(built[2])
    assert index.layout.tokens_per_epoch == sum(sizes)
    assert index.layout.num_epochs == len(built[0]) // len(sizes)
    assert index.layout.samples_requested == (len(index) if samples is None else samples)
    # Where one setting explains the arrays as well as another, a boundary between tiny groups may be either's.
    if boundary is not None and min(boundary, len(index) - boundary) > 8:
        assert [one.position for one in index.boundaries] == [boundary]


@settings(max_examples=80, deadline=None)
@given(
    extra=st.sampled_from([1, 0]),
    which=st.sampled_from([0, 1, 2]),
    place=st.integers(0, 10**6),
    shift=st.integers(-3, 3).filter(bool),
)
def test_an_index_of_which_one_entry_is_wrong_is_refused(extra, which, place, shift):
    built, _ = build(corpora.SIZES, (0, 40), LENGTH, 180, 1, extra)
    assert len(read_megatron(parse(num_samples=180), arrays_of(built, corpora.SIZES)))
    flat = built[which].reshape(-1)
    flat[place % len(flat)] = (int(flat[place % len(flat)]) + shift) % 2**31
    with pytest.raises(IndexMismatchError):
        read_megatron(parse(num_samples=180), arrays_of(built, corpora.SIZES))


@given(
    shares=st.lists(st.floats(0, 100), min_size=3, max_size=3).filter(lambda shares: sum(shares) > 1),
    documents=st.integers(1, 10_000),
)
def test_documents_are_divided_by_the_matrix_each_end_rounded_by_itself(shares, documents):
    ends = [0.0]
    for share in shares:
        ends.append(ends[-1] + share / sum(shares))
    matrix = [[low, high] if low < high else None for low, high in itertools.pairwise(ends)]
    for at, name in enumerate(("train", "valid", "test")):
        described = parse(split_matrix=matrix, index_split=name)
        if matrix[at] is None or round(matrix[at][0] * documents) >= round(matrix[at][1] * documents):
            with pytest.raises(CorpusError, match=f"the {name} split"):
                described.documents(documents)
        else:
            assert described.documents(documents) == tuple(round(end * float(documents)) for end in matrix[at])


def test_a_split_with_corpora_of_its_own_has_all_their_documents():
    assert parse(split=None, split_matrix=None).documents(17) == (0, 17)


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.integers(1, 1000), min_size=1, max_size=40),
    samples=st.integers(1, 100_000),
    margin=st.sampled_from([0.0, 0.005]),
    surplus=st.sampled_from([0.0, 0.005]),
)
@example(weights=[1, 2, 3, 4], samples=298, margin=0.0, surplus=0.005)
@example(weights=[3, 7], samples=2400, margin=0.0, surplus=0.005)
def test_the_samples_that_a_blend_was_built_for_are_inferred(weights, samples, margin, surplus):
    shares = [weight / sum(weights) for weight in weights]
    if margin:  # before 0.13: one list of sizes
        sizes = asked = [math.ceil(samples * share * (1 + margin)) for share in shares]
    else:
        sizes = [math.ceil(samples * share) for share in shares]
        asked = [math.ceil(size * (1 + surplus)) for size in sizes]
    described = {
        "class": "BlendedDataset", "datasets": [identifiers("x", count, LENGTH) for count in asked],
        "split": "train", "weights": shares, "size": sum(sizes),
    }  # fmt: skip
    least, most = MegatronBlend.parse(json.dumps(described), "text").drawn
    assert 0 <= least <= samples <= most <= sum(sizes)
    if asked != sizes:
        assert most - least <= len(weights)


def test_a_blend_that_draws_each_dataset_once_was_built_for_all_its_positions():
    described = {"class": "BlendedDataset", "split": "train", "datasets": [identifiers("x", None, LENGTH)] * 2}
    for weights, size in (([0.3, 0.7], 90), ([30, 60], None)):
        text = json.dumps(described | {"weights": weights, "size": size})
        assert MegatronBlend.parse(text, "text").drawn is None


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@settings(deadline=None)
@given(VALUES | st.lists(VALUES | st.lists(VALUES, max_size=3), max_size=3), st.sampled_from(sorted(FIELDS)))
def test_any_value_of_any_field_is_read_or_refused(value, field):
    try:
        documents = parse(**{field: value}).documents(100)
    except EpochGuardError:
        return
    assert 0 <= documents[0] < documents[1] <= 100


def test_an_index_of_a_class_that_is_not_known_is_not_taken_for_one(tmp_path):
    built, _ = build(corpora.SIZES, (0, 40), LENGTH, 180, 1)
    arrays = dict(zip(("document_index", "sample_index", "shuffle_index"), built, strict=True))
    digest = write_megatron(tmp_path / "cache", identifiers("x", 180, LENGTH), arrays, kind="OtherDataset")
    said = "found an index of the class OtherDataset; expected one of GPTDataset"
    assert said in refused("inspect", tmp_path / "cache")
    assert said in refused("inspect", tmp_path / "cache", "--hash", digest[:6])
    write_megatron(tmp_path / "cache", identifiers("y", 180, LENGTH), arrays)
    assert said in refused("inspect", tmp_path / "cache", "--hash", digest)


def test_files_of_other_classes_are_listed_as_not_checked(tmp_path):
    """Named as masked_dataset.py, bert_dataset.py and gpt_dataset.py (0.16.1) name them."""
    names = ["BERTMaskedWordPieceDataset-train-sample_index.npy", "MockGPTDataset-valid-description.txt"]
    for name in names:
        (tmp_path / f"{'a' * 32}-{name}").write_bytes(b"")
    status, out, _ = cli("doctor", tmp_path, "--move-aside", tmp_path / "aside")
    assert (status, sorted(path.name for path in tmp_path.iterdir())) == (0, [f"{'a' * 32}-{name}" for name in names])
    for name in ("BERTMaskedWordPieceDataset-train", "MockGPTDataset-valid"):
        index = f"{'a' * 32}-{name}"
        assert f"not checked: {index}: an index of the class {name.split('-')[0]}; only GPTDataset" in out
    assert out.endswith(f"{tmp_path}: 0 sound indices; 0 findings; 2 not checked\n")


# What follows is against the real package.


RUNS = {
    "separated": {"samples": [corpora.SEPARATED, 0, 0], "split": "100,0,0"},
    "joint": {"samples": [corpora.JOINT, 0, 0], "split": "100,0,0"},
    "one": {"samples": [corpora.ONE_EPOCH, 0, 0], "split": "100,0,0"},
    "splits": {"samples": [180, 20, 5], "split": "80,15,5"},
    "odd": {"samples": [170, 30, 9], "split": "949,50,33", "seed": 1234},
    "thirds": {"samples": [56, 20, 5], "split": "1,1,1"},  # 13, 14 and 13 documents; in PaddleNLP 14, 13 and 13
    "no_extra": {"samples": [180, 20, 5], "split": "80,15,5", "add_extra_token_to_sequence": False},
    "partial": {"samples": [180, 20, 5], "split": "80,15,5", "drop_last_partial_validation_sequence": False},
    "never_apart": {"samples": [corpora.SEPARATED, 0, 0], "split": "100,0,0", "threshold": 0.0},
    "always_apart": {"samples": [corpora.JOINT, 0, 0], "split": "100,0,0", "threshold": 1.1},
    "blend": {"samples": [300, 20, 0], "split": "90,10,0", "weights": [0.3, 0.7]},
    "longer": {"samples": [298, 20, 0], "split": "90,10,0", "weights": [0.1, 0.2, 0.3, 0.4]},
    "exhaustive": {"samples": [None, None, None], "split": "100,0,0", "weights": None},
}
BLENDS = ("blend", "longer", "exhaustive")


def job(folder, name, cache):
    prefixes = [str(folder / "corpus" / corpus) for corpus in ("web", "code", "news", "books")]
    run = {"seq_length": LENGTH, "seed": 1, **RUNS[name], "cache": str(cache)}
    return {**run, "prefixes": prefixes[: len(run.get("weights") or [1, 1]) if name in BLENDS else 1]}


@pytest.fixture(scope="session")
def megatron(tmp_path_factory):
    """Caches that the real megatron-core has built, and what it draws from each."""
    folder = tmp_path_factory.mktemp("megatron")
    corpora.write_corpus(folder / "corpus" / "web", corpora.SIZES)
    for name in ("code", "news", "books"):
        corpora.write_corpus(folder / "corpus" / name, corpora.SIZES[10:])
    drawn = dict(zip(RUNS, host([job(folder, name, folder / name) for name in RUNS]), strict=True))
    return folder, drawn


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_cache_of_the_real_package_is_read(megatron, name):
    folder, drawn = megatron
    status, _, err = cli("doctor", folder / name)
    assert status == 0, err
    for path in (folder / name).glob("*-description.txt"):
        digest, kind, split, _ = path.name.split("-")
        found = told("inspect", folder / name, "--hash", digest, "--global-batch", 4)
        assert found["format"] == "megatron"
        assert found["name"] == split
        outermost = kind == ("BlendedDataset" if name in BLENDS else "GPTDataset")
        if outermost:
            assert found["samples_built"] == len(drawn[name][split])
        described = json.loads(path.read_text())
        if described.get("num_samples") is not None:
            assert found["samples_requested"] == described["num_samples"]
        if kind == "GPTDataset":
            shuffle = np.load(str(path).replace("description.txt", "shuffle_index.npy")).astype(np.int64)
            cuts = [at for at in range(1, len(shuffle)) if shuffle[:at].max() < at]
            wanted = found["boundary_position"]
            assert found["follows_threshold"] == ("threshold" not in RUNS[name])
            assert (wanted is not None) == found["separated"]
            assert wanted is None or wanted in cuts


@pytest.mark.slow
def test_the_facts_are_those_of_paddlenlps_index_of_the_same_corpus(megatron):
    folder, _ = megatron
    prefix = str(folder / "corpus" / "web")
    for name, samples in (("separated", corpora.SEPARATED), ("joint", corpora.JOINT), ("one", corpora.ONE_EPOCH)):
        dataset = corpora.build_train([prefix], samples, LENGTH, cache=folder / f"paddle-{name}")
        ours = told("inspect", folder / f"paddle-{name}", "--hash", dataset.desc_hash)
        theirs = told("inspect", folder / name)
        apart = {"format", "hash"}
        assert {key: value for key, value in ours.items() if key not in apart} == {
            key: value for key, value in theirs.items() if key not in apart
        }
        for mine, its in (("doc_idx", "document"), ("sample_idx", "sample"), ("shuffle_idx", "shuffle")):
            (path,) = (folder / name).glob(f"*-{its}_index.npy")
            assert np.load(path).tolist() == getattr(dataset, mine).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "boundary"), [("never_apart", None), ("always_apart", 151)])
def test_a_host_with_another_threshold_is_followed(megatron, name, boundary):
    folder, _ = megatron
    found = told("inspect", folder / name)
    assert (found["separated"], found["boundary_position"]) == (boundary is not None, boundary)
    shown = " ".join(cli("inspect", folder / name)[1].split())
    assert f"though it is {'below 80%' if boundary is None else '80% or more'}: built with another threshold" in shown
    status, out, _ = cli("doctor", folder / name)
    assert (status, out) == (0, f"{folder / name}: 1 sound indices; 0 findings; 0 not checked\n")


@pytest.mark.slow
def test_a_broken_corpus_does_to_the_real_package_what_doctor_says(megatron, tmp_path):
    _, drawn = megatron
    jobs = {}
    for name in ("shifted", "overflowed", "listed"):
        corpora.write_corpus(tmp_path / name / "corpus" / "web", corpora.SIZES)
        jobs[name] = job(tmp_path / name, "separated", tmp_path / name / "cache")
    sound = drawn["separated"]["train"]
    jobs["listed"]["split"] = None  # fast_cache_load takes no other
    assert host([jobs["listed"]]) == [{"train": sound}]
    corpora.shift_pointers(tmp_path / "shifted" / "corpus" / "web", slice(30, None), -200)
    corpora.shift_pointers(tmp_path / "overflowed" / "corpus" / "web", slice(30, None), -(2**31))
    corpora.end_document_list(tmp_path / "listed" / "corpus" / "web", 12)
    shifted, overflowed, listed, fast = host([*jobs.values(), {**jobs["listed"], "fast_cache_load": True}])
    assert (len(shifted["train"]), shifted["train"] == sound) == (len(sound), False)
    assert (overflowed, listed, fast) == ({"error": "ValueError"}, {"error": "AssertionError"}, {"train": sound})
    effects = {
        "shifted": "a run opens it without an error, then draws other text, or its loader dies",
        "overflowed": "a run opens it without an error, then draws other text, or its loader dies",
        "listed": "megatron-core stops when it opens the corpus, unless fast_cache_load is set",
    }
    for name, effect in effects.items():
        status, out, _ = cli("doctor", tmp_path / name / "cache")
        assert (status, out.count("corpus: "), effect in out) == (1, 1, True)


@pytest.mark.slow
def test_what_a_longer_blend_draws_is_said_or_named(megatron, tmp_path):
    folder, _ = megatron
    (chosen,) = (folder / "longer").glob("*-BlendedDataset-train-description.txt")
    call = ("rebuild", folder / "longer", "--hash", chosen.name[:32], "--from-position", 0, "--output")
    out = cli(*call, tmp_path / "inferred")[1]
    assert "by the blend's size and weights, the run draws 298 to 300 samples. From position 298 on, the order" in out
    found = told(*call, tmp_path / "named", "--stop", 299)
    assert (found["reorder"]["stop"], found["drawn"]) == (299, None)
    said = refused(*call, tmp_path / "late", "--from-position", 299, status=2)
    assert said.endswith("the run draws positions 0 to 297. Name one of them, or --stop")


@pytest.mark.slow
def test_a_split_without_documents_is_named_by_the_index_that_was_built_before_it(megatron, tmp_path):
    folder, _ = megatron
    found = host([{**job(folder, "splits", tmp_path / name), "split": name} for name in ("980,10,10", "995,5,0")])
    assert found == [{"error": "OverflowError"}] * 2  # in a run, it never ends
    for split, name in (("980,10,10", "test"), ("995,5,0", "valid")):
        status, out, _ = cli("doctor", tmp_path / split)
        said = f"the {name} split of '{split}' gets none of the 40 documents: the build of it by megatron-core never"
        assert (status, said in out) == (0, True)
        (train,) = (tmp_path / split).glob("*-train-description.txt")
        (note,) = told("inspect", tmp_path / split, "--hash", train.name[:32])["notes"]
        assert said in note
        planned = ("plan", folder / "corpus" / "web", "--seq-length", 8, "--global-batch", 1, "--max-steps", 9)
        named, *_ = told(*planned, "--host", "megatron", "--split", split)["notes"]
        assert "by megatron-core never ends" in named
        assert f"the {name} split" in named
    assert told("inspect", folder / "separated")["notes"] == []


@pytest.mark.slow
def test_a_missing_description_does_to_the_real_package_what_doctor_says(megatron, tmp_path):
    folder, drawn = megatron
    wanted = {**job(folder, "separated", tmp_path), "split": None}
    host([wanted])
    (description,) = tmp_path.glob("*-description.txt")
    description.unlink()
    assert "with fast_cache_load it opens the arrays, and nothing shows what" in cli("doctor", tmp_path)[1]
    assert host([{**wanted, "fast_cache_load": True}]) == [drawn["separated"]]
    assert not description.exists()
    next(tmp_path.glob("*-shuffle_index.npy")).unlink()
    assert "with fast_cache_load it takes it for complete and stops" in cli("doctor", tmp_path)[1]
    (found,) = host([{**wanted, "fast_cache_load": True}])
    assert found.keys() == {"error"}


@pytest.mark.slow
def test_a_corpus_in_object_storage_needs_only_its_sizes_here(megatron, tmp_path):
    folder, drawn = megatron
    local = tmp_path / "idx"  # only the sizes are copied there
    stored = {
        "prefixes": ["s3://corpus/web"], "store": str(folder), "object_storage_cache_path": str(local),
        "mmap_bin_files": False,
    }  # fmt: skip
    cache = tmp_path / "cache"
    sound = drawn["separated"]["train"]
    assert host([job(folder, "separated", cache) | stored]) == [{"train": sound}]
    assert [path.name for path in (local / "corpus").iterdir()] == ["web.idx"]
    assert "s3://corpus/web.idx lies in object storage; expected a local copy. Name it" in refused("inspect", cache)
    status, out, _ = cli("doctor", cache)
    assert (status, out.endswith(f"{cache}: 0 sound indices; 0 findings; 1 not checked\n")) == (0, True)

    prefix = ("--prefix", local / "corpus" / "web")
    found = told("inspect", cache, *prefix)
    assert (found["boundary_position"], found["samples_built"]) == (151, len(sound))
    assert found["notes"] == ["s3://corpus/web.bin lies in object storage: its length is not checked"]
    status, out, _ = cli("doctor", cache, *prefix)
    assert (status, out.endswith(f"{cache}: 1 sound indices; 0 findings; 0 not checked\n")) == (0, True)
    assert f"note: {found['notes'][0]}\n" in out
    unified = told("rebuild", cache, *prefix, "--from-position", 40, "--output", tmp_path / "unified")
    order = Reorder(**unified["reorder"] | {"key": tuple(unified["reorder"]["key"])})
    (after,) = host([job(folder, "separated", tmp_path / "unified") | stored])
    assert after["train"] == [sound[position] for position in PositionMap([order]).base(np.arange(len(sound)))]


@pytest.mark.slow
def test_indices_of_a_subclass_are_never_called_broken(megatron, tmp_path):
    folder, drawn = megatron
    names = ("separated", "blend")
    jobs = [job(folder, name, tmp_path / name) | {"subclass": "GPTFIMDataset"} for name in names]
    assert host(jobs) == [drawn[name] for name in names]
    before = contents(tmp_path)
    for name, count in zip(names, (1, 6), strict=True):  # two datasets and a blend for train and valid each
        status, out, _ = cli("doctor", tmp_path / name, "--move-aside", tmp_path / "aside")
        assert (status, out.count("not checked: "), out.count("the class GPTFIMDataset")) == (0, count, count)
        assert out.endswith(f"0 sound indices; 0 findings; {count} not checked\n")
        assert "the class GPTFIMDataset; expected" in refused("inspect", tmp_path / name)
    (dataset_index,) = (tmp_path / "blend").glob("*-BlendedDataset-train-dataset_index.npy")
    dataset_index.unlink()
    assert cli("doctor", tmp_path / "blend")[0] == 0
    assert contents(tmp_path).keys() == before.keys() - {str(dataset_index.relative_to(tmp_path))}


REBUILT = [
    ("separated", 0),
    ("separated", 40),
    ("always_apart", 40),
    ("splits", 20),
    ("thirds", 20),
    ("no_extra", 17),
    ("blend", 0),
    ("blend", 40),
    ("longer", 0),
    ("longer", 40),
]


@pytest.mark.slow
def test_the_real_package_draws_from_what_was_rebuilt(megatron, tmp_path):
    folder, drawn = megatron
    before = contents(folder)
    expected, jobs, outputs = [], [], []
    for at, (name, start) in enumerate(REBUILT):
        output = tmp_path / f"{at}-{name}"
        kind = "BlendedDataset" if name in BLENDS else "GPTDataset"
        (chosen,) = (folder / name).glob(f"*-{kind}-train-description.txt")
        found = told(
            "rebuild", folder / name, "--hash", chosen.name[:32], "--from-position", start, "--output", output
        )
        reorder = Reorder(**found["reorder"] | {"key": tuple(found["reorder"]["key"])})
        assert (reorder.start, reorder.mix) == (start, "uniform" if start == 0 else "ramp")
        old = drawn[name]["train"]
        expected.append([old[position] for position in PositionMap([reorder]).base(np.arange(len(old)))])
        assert expected[-1] != old
        assert expected[-1][:start] == old[:start]
        drawn_of = found["drawn"]
        assert (drawn_of is not None) == (name in BLENDS)
        assert drawn_of is None or drawn_of["least"] <= RUNS[name]["samples"][0] <= drawn_of["most"]
        asked = RUNS[name]["samples"][0]  # what a run draws, of a blend that may be longer
        assert Counter(expected[-1][:asked]) == Counter(old[:asked])
        jobs.append(job(folder, name, output))
        outputs.append((output, contents(output)))
    for wanted, found in zip(expected, host(jobs), strict=True):
        assert found["train"] == wanted
    for output, written in outputs:
        assert {name: content for name, content in contents(output).items() if "-train" in name} == written  # a hit
        assert cli("doctor", output)[0] == 0
    assert contents(folder) == before
