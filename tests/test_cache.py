import dataclasses
import io
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import CorpusError, EpochGuardError, IndexFileError, IndexMismatchError
from paddle_epoch_guard.index import Description, read_cache

ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")


@pytest.fixture
def real(tmp_path):
    """A separated index in the host's cache beside its corpus."""
    prefix = corpora.write_corpus(tmp_path / "corpus", corpora.SIZES)
    dataset = corpora.build_train([prefix], corpora.SEPARATED, corpora.LENGTH)
    folder, digest = tmp_path / "index-cache", dataset.desc_hash
    files = {which: folder / f"{digest}_{which}.npy" for which in ARRAYS}
    return SimpleNamespace(
        prefix=prefix, dataset=dataset, folder=folder, digest=digest, files=files, dsc=folder / f"{digest}.dsc"
    )


def refusal(kind, folder, prefix, **choice):
    with pytest.raises(EpochGuardError) as caught:
        read_cache(folder, prefix, **choice)
    assert type(caught.value) is kind
    return str(caught.value)


def outcome(real):
    """The index and no error, or no index and the error."""
    try:
        return read_cache(real.folder, real.prefix), None
    except EpochGuardError as error:
        return None, error


def saved(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def replace(file, content):
    """Puts a new file in place: the live dataset still maps the old one, which must not shrink under it."""
    file.unlink()
    file.write_bytes(content)


@pytest.mark.parametrize("samples", [corpora.ONE_EPOCH, corpora.SEPARATED, corpora.JOINT])
def test_a_cache_gives_the_index_of_the_live_dataset(tmp_path, samples):
    prefix = corpora.write_corpus(tmp_path / "corpus", corpora.SIZES)
    dataset = corpora.build_train([prefix], samples, corpora.LENGTH, cache=tmp_path / "elsewhere")
    read, live = read_cache(tmp_path / "elsewhere", prefix), corpora.index_of(dataset)
    assert read.description == live.description
    assert read.layout == live.layout
    assert read.shuffle_idx.tolist() == dataset.shuffle_idx.tolist()


def test_the_order_stays_on_disk(real):
    shuffle = read_cache(real.folder, real.prefix).shuffle_idx
    assert isinstance(shuffle, np.memmap)
    assert not shuffle.flags.writeable


def test_a_moved_corpus_is_read_from_where_it_is(real, tmp_path):
    (tmp_path / "moved").mkdir()
    for ending in (".idx", ".bin"):
        shutil.move(real.prefix + ending, tmp_path / "moved" / f"text{ending}")
    index = read_cache(str(real.folder), tmp_path / "moved" / "text")
    assert index.layout == corpora.index_of(real.dataset).layout
    assert index.names == ("corpus",)


def test_of_several_indices_the_digest_chooses(real):
    other = corpora.build_train([real.prefix], corpora.JOINT, corpora.LENGTH)
    for dataset in (real.dataset, other):
        index = read_cache(real.folder, real.prefix, digest=dataset.desc_hash)
        assert index.description.text == dataset.desc
        assert index.shuffle_idx.tolist() == dataset.shuffle_idx.tolist()


def test_without_a_digest_several_indices_are_refused_and_listed(real):
    digests = [real.digest]
    for seed in (2, 3):
        digests.append(corpora.build_train([real.prefix], corpora.SEPARATED, corpora.LENGTH, seed=seed).desc_hash)
    message = refusal(IndexFileError, real.folder, real.prefix)
    assert message.startswith(f"{real.folder}: 3 indices named 'train' ({', '.join(sorted(digests))})")


def test_the_name_chooses_between_train_and_valid(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", corpora.SIZES)
    dataset = corpora.build_train([prefix], 70, corpora.LENGTH, split="60,40,0")
    assert len(list((tmp_path / "index-cache").glob("*.dsc"))) == 2
    train = read_cache(tmp_path / "index-cache", prefix)
    valid = read_cache(tmp_path / "index-cache", prefix, name="valid")
    assert train.shuffle_idx.tolist() == dataset.shuffle_idx.tolist()
    assert valid.description == dataclasses.replace(train.description, name="valid", samples_requested=0)
    assert train.layout.tokens_per_epoch == sum(corpora.SIZES[:24])
    assert valid.layout.tokens_per_epoch == sum(corpora.SIZES[24:])
    assert "0 indices named 'test' (none)" in refusal(IndexFileError, tmp_path / "index-cache", prefix, name="test")


def test_the_description_of_a_blend_beside_them_does_not_hide_the_indices(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", corpora.SIZES)
    dataset = corpora.build_train([1, prefix], 100, corpora.LENGTH, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.dsc"))) == 2  # the blend's, and its one constituent's
    assert read_cache(tmp_path / "cache", prefix).description.text == dataset.datasets[0].desc


@pytest.mark.parametrize(
    "digest",
    ["0" * 32, "", "*", "../index-cache/x", "/etc/passwd", "a\0b", "é", "0" * 300],
    ids=["unknown", "empty", "pattern", "relative", "absolute", "zero byte", "not ASCII", "too long for a file name"],
)
def test_a_digest_that_names_no_index_is_refused(real, digest):
    message = refusal(IndexFileError, real.folder, real.prefix, digest=digest)
    assert message.startswith(f"{real.folder / f'{digest}.dsc'}: ")


def test_a_missing_directory_is_refused(real, tmp_path):
    for folder in (tmp_path / "nothing", Path(f"{real.prefix}.idx")):
        assert refusal(IndexFileError, folder, real.prefix).startswith(f"{folder}: no such directory")


def test_an_empty_directory_is_refused(real, tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal(IndexFileError, tmp_path / "empty", real.prefix).startswith(f"{tmp_path / 'empty'}: 0 indices")


@pytest.mark.parametrize("which", ARRAYS)
def test_a_missing_array_is_named(real, which):
    real.files[which].unlink()
    assert refusal(IndexFileError, real.folder, real.prefix).startswith(f"{real.files[which]}: no such file")


@pytest.mark.parametrize("which", ARRAYS)
def test_an_array_cut_anywhere_is_refused_and_named(real, which):
    content = real.files[which].read_bytes()
    wrong = []
    for length in [*range(0, 200), *range(200, len(content), 37), len(content) - 1]:
        replace(real.files[which], content[:length])
        message = refusal(IndexFileError, real.folder, real.prefix)
        if not message.startswith(f"{real.files[which]}: not a readable .npy array"):
            wrong.append(length)
    assert wrong == []


@pytest.mark.parametrize("which", ARRAYS)
def test_pickles_are_not_loaded(real, which, tmp_path):
    class Writes:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    for content in (saved(np.array([Writes()] * 3, dtype=object), allow_pickle=True), pickle.dumps(Writes())):
        replace(real.files[which], content)
        assert str(real.files[which]) in refusal(IndexFileError, real.folder, real.prefix)
    assert not (tmp_path / "executed").exists()


def zipped():
    stream = io.BytesIO()
    np.savez(stream, np.arange(3))
    return stream.getvalue()


def header(old, new):
    """A saved array with a part of its header changed."""
    content = saved(np.arange(9))
    assert content.count(old) == 1
    assert len(old) == len(new)
    return content.replace(old, new)


DAMAGED = {
    "archive of arrays": zipped(),
    "start of an archive": b"PK\x03\x04" + b"\0" * 100,
    "empty archive's start": b"PK\x05\x06",
    "header with an open parenthesis": header(b"(9,), }", b"(9,(((("),
    "header with an open string": header(b"'<i8'", b"'''i8"),
    "header with an empty type": header(b"'<i8'", b"()   "),
    "header that is no dictionary": header(b"{", b"["),
    "header without end": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
    "header of keys of several kinds": header(b"'descr'", b"7      "),
    "header of a huge shape": header(b"(9,), }           ", b"(9" + b"0" * 11 + b",), }"),
    "header of a negative shape": header(b"(9,), } ", b"(-9,), }"),
    "unknown version": header(b"NUMPY\x01", b"NUMPY\x09"),
    "text": b"these are not the arrays you are looking for",
    "nothing": b"",
}


@pytest.mark.parametrize("which", ARRAYS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_is_no_array_is_refused_and_named(real, which, damage):
    replace(real.files[which], DAMAGED[damage])
    assert refusal(IndexFileError, real.folder, real.prefix).startswith(f"{real.files[which]}: ")


@pytest.mark.parametrize("which", ARRAYS)
def test_a_directory_in_place_of_an_array_is_refused_and_named(real, which):
    real.files[which].unlink()
    real.files[which].mkdir()
    assert refusal(IndexFileError, real.folder, real.prefix).startswith(f"{real.files[which]}: ")


@pytest.mark.parametrize("which", ARRAYS)
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-1],
        lambda array: array.astype(np.float32),
        lambda array: array[::-1],
        lambda array: np.zeros_like(array),
        lambda array: np.asarray(7),
    ],
    ids=["shorter", "float", "reversed", "zeros", "one number"],
)
def test_another_array_under_the_name_is_refused_and_named(real, which, change):
    replace(real.files[which], saved(change(np.array(getattr(real.dataset, which)))))
    assert refusal(IndexMismatchError, real.folder, real.prefix).startswith(f"{real.files[which]}: ")


def put_in_place(real, dataset, *endings):
    """Copies files of another index over those of the real one."""
    for ending in endings:
        replace(real.folder / f"{real.digest}{ending}", (real.folder / f"{dataset.desc_hash}{ending}").read_bytes())


def test_the_description_of_another_index_under_these_files_names_is_refused(real):
    other = corpora.build_train([real.prefix], corpora.JOINT, corpora.LENGTH)
    put_in_place(real, other, ".dsc")
    message = refusal(IndexFileError, real.folder, real.prefix, digest=real.digest)
    assert message.startswith(f"{real.dsc}: its text has the md5 {other.desc_hash}; expected {real.digest}")


def test_the_arrays_of_another_index_under_these_files_names_are_refused(real):
    other = corpora.build_train([real.prefix], 300, corpora.LENGTH)
    put_in_place(real, other, *(f"_{which}.npy" for which in ARRAYS))
    message = refusal(IndexMismatchError, real.folder, real.prefix, digest=real.digest)
    assert message.startswith(f"{real.files['doc_idx']}: ")


@pytest.mark.parametrize(
    ("written", "edited"),
    [("samples 180", "samples 181"), ("seed 1", "seed 2"), ("name train", "name valid")],
)
def test_an_edited_description_is_refused(real, written, edited):
    text = real.dsc.read_text()
    assert text.count(written) == 1
    real.dsc.write_text(text.replace(written, edited))
    message = refusal(IndexFileError, real.folder, real.prefix, digest=real.digest)
    assert message.startswith(f"{real.dsc}: its text has the md5 ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"\0" * 5000,
        b"GPT Dataset\n\n",
        "é".encode() * 100_000,
        b"GPT Dataset\n\nData prefix " * 9,
    ],
    ids=["empty", "not UTF-8", "zeros", "truncated", "long", "repeated"],
)
@pytest.mark.parametrize("by_digest", [True, False])
def test_a_description_that_is_garbage_is_refused_and_named(real, content, by_digest):
    real.dsc.write_bytes(content)
    choice = {"digest": real.digest} if by_digest else {}
    assert refusal(IndexFileError, real.folder, real.prefix, **choice).startswith(f"{real.dsc}: ")


def test_a_directory_in_place_of_a_description_is_refused_and_named(real):
    real.dsc.unlink()
    real.dsc.mkdir()
    for choice in ({"digest": real.digest}, {}):
        assert refusal(IndexFileError, real.folder, real.prefix, **choice).startswith(f"{real.dsc}: ")


def describe(real, **change):
    """Gives the arrays a changed description whose digest fits, as no host would have built it."""
    description = dataclasses.replace(Description.parse(real.dsc.read_text(), "dsc"), **change)
    real.dsc.unlink()
    (real.folder / f"{description.digest}.dsc").write_text(description.text)
    for which, file in real.files.items():
        file.rename(real.folder / f"{description.digest}_{which}.npy")
    return description.digest


@pytest.mark.parametrize(
    "change",
    [{"samples_requested": 10**17}, {"samples_requested": 0}, {"seq_length": 9}, {"seq_length": 10**17}],
    ids=repr,
)
def test_a_description_that_the_arrays_do_not_fit_is_refused_though_its_digest_does(real, change):
    digest = describe(real, **change)
    message = refusal(IndexMismatchError, real.folder, real.prefix, digest=digest)
    assert message.startswith(f"{real.folder / digest}_doc_idx.npy: ") or "sample_idx.npy" in message


def test_a_sequence_length_of_zero_is_refused(real):
    assert "sequence length 0" in refusal(
        IndexMismatchError, real.folder, real.prefix, digest=describe(real, seq_length=0)
    )


@pytest.mark.parametrize("change", [{"split": "0,100,0"}, {"split": "most"}, {"name": "extra"}], ids=repr)
def test_a_description_of_no_documents_is_refused(real, change):
    digest = describe(real, **change)
    message = refusal(CorpusError, real.folder, real.prefix, digest=digest)
    assert next(iter(change.values())) in message


@pytest.mark.parametrize("ending", [".idx", ".bin"])
def test_a_missing_corpus_is_named(real, ending):
    Path(real.prefix + ending).unlink()
    assert refusal(CorpusError, real.folder, real.prefix).startswith(f"{real.prefix}{ending}: no such file")


@pytest.mark.parametrize(
    "sizes", [corpora.SIZES[::-1], corpora.SIZES[:-1], (*corpora.SIZES, 7), (4, *corpora.SIZES[1:])]
)
def test_an_index_is_refused_once_its_corpus_was_replaced(real, tmp_path, sizes):
    other = corpora.write_corpus(tmp_path / "other", sizes)
    message = refusal(IndexMismatchError, real.folder, other)
    assert message.startswith(tuple(f"{file}: " for file in real.files.values()))
    assert "restore the corpus it was built from" in message


@pytest.mark.parametrize("which", ARRAYS)
def test_random_damage_to_an_array_is_refused_or_changes_nothing(real, which):
    original = real.files[which].read_bytes()
    live = corpora.index_of(real.dataset)
    values = np.array(getattr(real.dataset, which))
    header = len(original) - values.nbytes
    assert header == 128
    places = st.one_of(st.integers(0, header - 1), st.integers(0, len(original) - 1))
    # What the header's parser reads is hit more often than bytes at random would hit it.
    segments = st.one_of(
        st.binary(min_size=1, max_size=8), st.text("'\"(){}[],:<>|i48u\n\\ ", min_size=1).map(str.encode)
    )

    @settings(deadline=None, max_examples=400)
    @given(st.lists(st.tuples(places, segments), min_size=1, max_size=3), st.none() | st.integers(0, len(original)))
    def damage(writes, end):
        content = bytearray(original)
        for place, segment in writes:
            content[place : place + len(segment)] = segment
        replace(real.files[which], bytes(content[:end]))
        index, error = outcome(real)
        if error is None:
            assert index.layout == live.layout
            assert index.shuffle_idx.tolist() == live.shuffle_idx.tolist()
            assert np.load(real.files[which]).tolist() == values.tolist()
        else:
            assert type(error) in (IndexFileError, IndexMismatchError)
            assert str(error).startswith(tuple(f"{file}: " for file in real.files.values()))

    damage()


def test_random_damage_to_a_description_is_refused(real):
    original = real.dsc.read_bytes()

    @settings(deadline=None, max_examples=150)
    @given(st.integers(0, len(original)), st.binary(max_size=20), st.integers(0, 20))
    def damage(place, written, removed):
        content = original[:place] + written + original[place + removed :]
        real.dsc.write_bytes(content)
        if content != original:
            for choice in ({}, {"digest": real.digest}):
                assert str(real.folder) in refusal(IndexFileError, real.folder, real.prefix, **choice)

    damage()
