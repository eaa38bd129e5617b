import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddlenlp.data.causal_dataset import get_train_valid_test_split_

import corpora
from paddle_epoch_guard.errors import CorpusError, IndexFileError
from paddle_epoch_guard.index import Description
from paddle_epoch_guard.index.description import split_documents

NAMES = ("train", "valid", "test")
WRITTEN = Description("data/corpus", "train", 180, 8, 1, "949,50,1")
TEXT = WRITTEN.text


@pytest.mark.parametrize("name", ["corpus", "a corpus.v2", "korpüs ☃", "Split 1,2,3"])
@pytest.mark.parametrize("split", ["100,0,0", "80/20", "1"])
def test_the_hosts_description_is_read_and_written_again_unchanged(tmp_path, name, split):
    prefix = corpora.write_corpus(tmp_path / name, corpora.SIZES)
    dataset = corpora.build_train([prefix], 70, corpora.LENGTH, seed=1234, split=split)
    description = Description.parse(dataset.desc, "desc")
    assert description == Description(prefix, "train", 70, corpora.LENGTH, 1234, split)
    assert description.text == dataset.desc
    assert description.digest == dataset.desc_hash


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)


@settings(deadline=None)
@given(
    st.builds(
        Description,
        prefix=LINES,
        name=LINES,
        samples_requested=st.integers(0, 10**18 - 1),
        seq_length=st.integers(0, 10**18 - 1),
        seed=st.integers(-(2**63), 2**63),
        split=LINES,
    )
)
def test_every_description_survives_its_text(description):
    assert Description.parse(description.text, "desc") == description


def test_each_field_changes_the_digest():
    others = [
        dataclasses.replace(WRITTEN, **change)
        for change in (
            {"prefix": "data/corpus2"},
            {"name": "valid"},
            {"samples_requested": 181},
            {"seq_length": 9},
            {"seed": 2},
            {"split": "949,50,2"},
        )
    ]
    assert len({WRITTEN.digest, *(other.digest for other in others)}) == 7


@pytest.mark.parametrize("dropped", range(8))
def test_a_text_without_one_of_its_lines_is_refused(dropped):
    lines = TEXT.splitlines(keepends=True)
    assert len(lines) == 8
    with pytest.raises(IndexFileError, match=r"^cache/x\.dsc: "):
        Description.parse("".join(lines[:dropped] + lines[dropped + 1 :]), "cache/x.dsc")


@pytest.mark.parametrize("length", range(len(TEXT)))
def test_a_truncated_text_is_refused(length):
    with pytest.raises(IndexFileError, match=r"^cache/x\.dsc: "):
        Description.parse(TEXT[:length], "cache/x.dsc")


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "\n",
        TEXT + "Tokenizer x\n",
        "\n" + TEXT,
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n\n", "\n"),
        TEXT.replace("GPT Dataset", "Blendable dataset"),
        TEXT.replace("samples 180", "samples many"),
        TEXT.replace("samples 180", "samples -180"),
        TEXT.replace("samples 180", "samples 180.0"),
        TEXT.replace("samples 180", "samples ١٨٠"),
        TEXT.replace("samples 180", "samples 0180"),
        TEXT.replace("seed 1", "seed -0"),
        TEXT.replace("length 8", "length "),
        TEXT.replace("seed 1", "seed None"),
        TEXT.replace("samples 180", "samples " + "9" * 5000),
        '{"class": "GPTDataset", "dataset_path": "data/corpus", "num_samples": 180}',
        "\0" * 300,
    ],
)
def test_a_text_of_another_form_is_refused(text):
    with pytest.raises(IndexFileError, match=r"^cache/x\.dsc: not a description of a GPT dataset"):
        Description.parse(text, "cache/x.dsc")


def test_a_refusal_quotes_only_the_start_of_a_long_text_on_one_line():
    with pytest.raises(IndexFileError) as caught:
        Description.parse("line\n" * 100_000, "cache/x.dsc")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@st.composite
def splits(draw):
    share = st.one_of(st.integers(0, 1000), st.floats(0, 1000), st.floats(0, allow_infinity=False))
    shares = draw(st.lists(share, min_size=1, max_size=5).filter(lambda listed: sum(listed[:3]) > 0))
    return draw(st.sampled_from([",", "/"])).join(str(share) for share in shares)


@settings(deadline=None, max_examples=300)
@given(splits(), st.one_of(st.integers(0, 30), st.integers(0, 10**7)))
def test_documents_are_split_as_the_host_splits_them(split, documents):
    ends = get_train_valid_test_split_(split, documents)
    for name, start, stop in zip(NAMES, ends, ends[1:], strict=False):
        if 0 <= start < stop:  # rounding can put it before the first document: the host then fails too
            assert split_documents(split, name, documents) == (start, stop)
        else:
            with pytest.raises(CorpusError, match=re.escape(f"the {name} split of {split!r} has no documents")):
                split_documents(split, name, documents)


def test_a_real_index_holds_the_documents_of_its_split(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "corpus", corpora.SIZES)
    dataset = corpora.build_train([prefix], 70, corpora.LENGTH, split="61,30,9")
    held = np.unique(dataset.doc_idx)
    assert split_documents("61,30,9", "train", len(corpora.SIZES)) == (held[0], held[-1] + 1)
    assert len(held) < len(corpora.SIZES)


@pytest.mark.parametrize(
    "split", ["", ",", "100,", "a,b,c", "1;2;3", "1,2/3", "0,0,0", "0", "0,0,0,5", "-1,1,1", "nan,1,1", "1,inf,1"]
)
def test_an_unreadable_split_is_refused_and_quoted(split):
    with pytest.raises(CorpusError, match=f"split '{split}' is unreadable"):
        split_documents(split, "train", 100)


@pytest.mark.parametrize("name", ["", "Train", "validation", "training"])
def test_an_unknown_dataset_name_is_refused(name):
    with pytest.raises(CorpusError, match=f"dataset name '{name}' is unknown; expected one of train, valid, test"):
        split_documents("1,1,1", name, 100)


@pytest.mark.parametrize(
    ("split", "name", "documents"), [("100,0,0", "valid", 10), ("0,1,0", "train", 10), ("1", "train", 0)]
)
def test_a_split_without_documents_is_refused(split, name, documents):
    with pytest.raises(CorpusError, match=f"the {name} split of .* has no documents: the corpus has {documents}"):
        split_documents(split, name, documents)
