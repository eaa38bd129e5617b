import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from paddle_epoch_guard.errors import CorpusError, CorpusPointerError, UnreadableCorpusError
from paddle_epoch_guard.index.corpus import check_live_corpus, count_tokens, fault_of_document_list, read_sizes

SIZES = [5, 0, 300, 1, 7]
HEADER = 34
"""Bytes before the sizes: magic 9, version 8, dtype code 1, sequences 8, documents 8."""


def files(prefix):
    return Path(f"{prefix}.idx"), Path(f"{prefix}.bin")


def refuses(prefix, file):
    """Whether the corpus is refused with the one error that is allowed, naming the file."""
    try:
        read_sizes(prefix)
    except CorpusError as error:
        return str(error).startswith(f"{file}: ")
    return False


def test_the_sizes_are_those_written_and_those_the_host_reads(tmp_path):
    from paddlenlp.data.indexed_dataset import make_dataset

    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    assert read_sizes(prefix).tolist() == SIZES
    with contextlib.redirect_stdout(io.StringIO()):
        assert make_dataset(prefix, "mmap", skip_warmup=True).sizes.tolist() == SIZES


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40).filter(any))
def test_any_sizes_are_read_back_in_order(tmp_path_factory, sizes):
    prefix = corpora.write_corpus(tmp_path_factory.mktemp("any") / "corpus", sizes)
    assert read_sizes(prefix).tolist() == sizes


def test_the_prefix_may_be_a_path_and_hold_dots(tmp_path):
    corpora.write_corpus(tmp_path / "corpus.v1.idx", SIZES)
    assert read_sizes(tmp_path / "corpus.v1.idx").tolist() == SIZES


def test_the_sizes_are_mapped_and_cannot_be_written(tmp_path):
    sizes = read_sizes(corpora.write_corpus(tmp_path / "corpus", SIZES))
    assert sizes.dtype == np.int32
    assert isinstance(sizes, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        sizes[0] = 1


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.float64, np.float32, np.uint16, np.uint32, np.uint64]
)
def test_a_missing_last_byte_of_data_is_noticed_for_every_token_type(tmp_path, dtype):
    builder = corpora.make_builder(str(tmp_path / "corpus.bin"), "mmap", dtype)
    for size in SIZES:
        builder.add_item(np.ones(size))
    with contextlib.redirect_stdout(io.StringIO()):
        builder.end_document()
        builder.finalize(str(tmp_path / "corpus.idx"))
    assert read_sizes(tmp_path / "corpus").tolist() == SIZES

    _, data = files(tmp_path / "corpus")
    data.write_bytes(data.read_bytes()[:-1])
    assert refuses(tmp_path / "corpus", data)


def test_a_corpus_without_documents_has_no_sizes(tmp_path):
    from paddlenlp.data.indexed_dataset import MMapIndexedDataset

    with MMapIndexedDataset.Index.writer(tmp_path / "corpus.idx", np.uint16) as index:
        index.write([], [0])
    (tmp_path / "corpus.bin").touch()
    assert read_sizes(tmp_path / "corpus").tolist() == []


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_named(tmp_path, missing):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    files(prefix)[missing].unlink()
    assert refuses(prefix, files(prefix)[missing])


@pytest.mark.parametrize("given_path", ["corpus.idx", "corpus.bin", "other", "", "cor\0pus"])
def test_a_path_that_is_no_prefix_is_refused(tmp_path, given_path):
    corpora.write_corpus(tmp_path / "corpus", SIZES)
    with pytest.raises(CorpusError, match="no such file; expected the corpus prefix"):
        read_sizes(f"{tmp_path}/{given_path}")


def test_a_directory_in_place_of_a_file_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    index.unlink()
    index.mkdir()
    assert refuses(prefix, index)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)

    def denied(path, *arguments, **options):  # chmod does not stop root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("paddle_epoch_guard.index.mapped.os.open", denied)
    with pytest.raises(UnreadableCorpusError, match="could not be read: Permission denied"):
        read_sizes(prefix)


def test_the_legacy_format_is_refused_by_name(tmp_path):
    from paddlenlp.data.indexed_dataset import make_builder

    builder = make_builder(str(tmp_path / "corpus.bin"), "lazy", np.int32)
    builder.add_item([1, 2, 3])
    builder.end_document()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.finalize(str(tmp_path / "corpus.idx"))
    with pytest.raises(CorpusError, match=r"corpus\.idx: starts with b'TNTIDX.*Build the corpus again"):
        read_sizes(tmp_path / "corpus")


@pytest.mark.parametrize("position", range(9))
def test_each_byte_of_the_magic_counts(tmp_path, position):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = bytearray(index.read_bytes())
    content[position] ^= 1
    index.write_bytes(content)
    assert refuses(prefix, index)


@pytest.mark.parametrize("version", [0, 2, 1 + 2**32])
def test_another_version_is_refused(tmp_path, version):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = index.read_bytes()
    index.write_bytes(content[:9] + struct.pack("<Q", version) + content[17:])
    with pytest.raises(CorpusError, match=rf"corpus\.idx: version {version} "):
        read_sizes(prefix)


@pytest.mark.parametrize("code", [0, 11, 255])
def test_an_unknown_token_type_is_refused(tmp_path, code):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = bytearray(index.read_bytes())
    content[17] = code
    index.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"corpus\.idx: .*dtype code {code};"):
        read_sizes(prefix)


def test_an_index_file_cut_anywhere_in_header_sizes_or_pointers_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = index.read_bytes()
    accepted = []
    for length in range(HEADER + len(SIZES) * (4 + 8)):
        index.write_bytes(content[:length])
        if not refuses(prefix, index):
            accepted.append(length)
    assert accepted == []


def test_an_index_file_cut_in_its_document_list_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = index.read_bytes()
    accepted = []
    for length in range(HEADER + len(SIZES) * (4 + 8), len(content)):  # the host does not open these either
        index.write_bytes(content[:length])
        if not refuses(prefix, index):
            accepted.append(length)
    assert accepted == []


@pytest.mark.parametrize("count", [len(SIZES) + 50, 2**40, 2**64 - 1])
def test_a_count_beyond_the_files_end_is_refused(tmp_path, count):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, _ = files(prefix)
    content = index.read_bytes()
    index.write_bytes(content[:18] + struct.pack("<Q", count) + content[26:])
    with pytest.raises(CorpusError, match=rf"corpus\.idx: .* header's {count} documents"):
        read_sizes(prefix)


def test_a_data_file_cut_anywhere_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    _, data = files(prefix)
    content = data.read_bytes()
    assert len(content) == 2 * sum(SIZES)
    accepted = []
    for length in range(len(content)):
        data.write_bytes(content[:length])
        if not refuses(prefix, data):
            accepted.append(length)
    assert accepted == []


def test_the_data_file_of_a_smaller_corpus_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    other = corpora.write_corpus(tmp_path / "other", SIZES[:-1])
    files(prefix)[1].write_bytes(files(other)[1].read_bytes())
    assert refuses(prefix, files(prefix)[1])


def test_random_damage_to_an_index_file_raises_nothing_but_corpus_errors(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    index, data = files(prefix)
    content = index.read_bytes()

    @settings(deadline=None, max_examples=300)
    @given(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=12))
    def damage(position, written):
        index.write_bytes(content[:position] + written + content[position + len(written) :])
        assert refuses(prefix, index) or refuses(prefix, data) or read_sizes(prefix).dtype == np.int32

    damage()


SHIFTS = {
    "an int32 overflow": (slice(2, None), -(2**31)),
    "beyond the file": (slice(2, None), 2**31),
    "one negative": (slice(2, 3), -(2**40)),
    "one token": (slice(2, 3), 2),
    "all, within the file": (slice(None), 2),
    "the last": (slice(-1, None), -2),
    "the first": (slice(1), 14),
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_wrong_pointer_is_refused_by_its_document(tmp_path, shift):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    rows, change = SHIFTS[shift]
    corpora.shift_pointers(prefix, rows, change)
    first = range(len(SIZES))[rows][0]
    said = rf"corpus\.idx: document {first} starts at byte .*; expected {2 * sum(SIZES[:first]):,}, where"
    for check in (read_sizes, check_live_corpus):
        with pytest.raises(CorpusPointerError, match=said):
            check(prefix)


def test_the_host_reads_other_text_at_a_wrong_pointer(tmp_path):
    from paddlenlp.data.indexed_dataset import make_dataset

    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    corpora.shift_pointers(prefix, slice(1), 14)
    corpora.shift_pointers(prefix, slice(3, 4), -(2**31))
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = make_dataset(prefix, "mmap", skip_warmup=True)
    assert dataset[0].tolist() == [7, 8, 9, 10, 11]  # tokens count up
    with pytest.raises(ValueError, match="offset"):
        dataset[3]


def test_pointers_of_a_large_corpus_are_checked_in_blocks_and_the_sizes_between_them_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("paddle_epoch_guard.index.verify.WHOLE_UP_TO", 1000)
    monkeypatch.setattr("paddle_epoch_guard.index.corpus._BLOCK", 10)
    sizes = [3 + document % 5 for document in range(2000)]
    prefix = corpora.write_corpus(tmp_path / "corpus", sizes)
    assert read_sizes(prefix).tolist() == sizes
    taken = []
    for document in range(0, len(sizes), 7):  # from there to the end, as a merge breaks them
        corpora.shift_pointers(prefix, slice(document, None), -(2**31))
        with contextlib.suppress(CorpusPointerError):
            read_sizes(prefix)
            taken.append(document)
        corpora.shift_pointers(prefix, slice(document, None), 2**31)
    assert taken == []


def test_a_corpus_of_another_format_is_left_to_the_host(tmp_path):
    check_live_corpus(str(tmp_path / "nothing"))
    for suffix in (".idx", ".bin"):
        (tmp_path / f"corpus{suffix}").write_bytes(b"TNTIDX\x00\x00 and more")
    check_live_corpus(str(tmp_path / "corpus"))


def test_a_document_list_that_does_not_end_at_the_last_sequence_is_named(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", SIZES)
    assert fault_of_document_list(prefix) == ""
    corpora.end_document_list(prefix, 3)
    assert read_sizes(prefix).tolist() == SIZES
    assert fault_of_document_list(prefix).endswith("its document list ends at 3; expected 5, its sequences")


def test_tokens_are_counted_over_ranges_larger_than_a_block_and_beyond_int32():
    sizes = np.full((1 << 20) + 1000, 2**31 - 1, dtype=np.int32)
    sizes[[0, 7, 8, (1 << 20) + 7, (1 << 20) + 8, -1]] = [1, 2, 3, 4, 5, 6]
    whole = sizes.astype(np.int64)
    for start, stop in [(0, len(sizes)), (8, (1 << 20) + 8), (7, (1 << 20) + 9), (0, 1 << 20), (5, 6), (5, 5)]:
        assert count_tokens(sizes, start, stop) == int(whole[start:stop].sum())


@pytest.mark.parametrize("document", [0, 3, 5])
def test_a_negative_size_is_refused_by_its_document(tmp_path, document):
    prefix = corpora.write_corpus(tmp_path / "text", (7, 3, 9, 4, 8, 6))
    content = bytearray(Path(f"{prefix}.idx").read_bytes())
    at = 34 + 4 * document  # behind the header, sizes of 4 bytes
    content[at : at + 4] = (-5).to_bytes(4, "little", signed=True)
    Path(f"{prefix}.idx").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"document {document} has -5 tokens; expected 0 or more"):
        read_sizes(prefix)
