"""The house style of English pages, docstrings, comments and messages: plain words, short sentences."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
PAGES = sorted(page for page in PAGES if ".zh-CN" not in page.name)
SOURCES = sorted(ROOT.glob("paddle_epoch_guard/**/*.py"))
LONGEST = 35
"""Words of a sentence."""

INSTEAD = {
    r"(is|are|was|be) to be had|(can|could)(not| not)? be had": "available, unavailable",
    r"at the user's word": "because --the_flag is set",
    r"where(after|upon|in|of)|there(of|in|upon|from)|hereof": "which, then, in it",
    r"for ever": "forever",
    r"anew": "again, from the start",
    r"at hand|in hand": "available",
    r"it is (told|said)|(nobody|everybody) is told|is said once": "the guard logs",
    r"brings? about": "cause",
    r"what is (so|there|not there|needed|asked|wanted|left|begun)": "name the thing",
    r"(which|what|that) (is|are|was|were) begun": "that started",
    r"as (it|they) (stands?|comes?|has it|have it)": "unchanged",
    r"is not to be": "must not be",
    r"numbered on": "numbered consecutively",
    r"(gone|going) on since|go(es)? on (with|from|in|to|since|by)": "continue",
    r"in spite of": "despite",
    r"made longer": "extended",
    r"(None|empty|none|0) where": "None if",
    r"not a number where": "NaN if",
    r"cannot be told": "is unknown",
    r"(is|are) told (of|each|again|by)": "gets, is logged",
    r"thrown away|throws (it|them|that) away": "discard",
}
"""A phrase that reads as if translated -> a replacement, or a hint."""


def paragraphs(page):
    """Each paragraph, list item, heading and table cell of a page as plain text; code is one word."""
    tokens = MarkdownIt().enable("table").parse(page.read_text())
    kinds = {"code_inline": "code", "softbreak": " ", "hardbreak": " "}
    for token in tokens:
        if token.type == "inline":
            yield "".join(kinds.get(child.type, child.content) for child in token.children)


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_phrase_reads_as_if_translated(file):
    text = " ".join(paragraphs(file)) if file in PAGES else file.read_text()
    text = re.sub(r"\s+(# )?", " ", text)
    phrases = [
        (match[0], f"-> {word}") for old, word in INSTEAD.items() for match in re.finditer(rf"\b({old})\b", text)
    ]
    assert phrases == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_longer_than_35_words(page):
    sentences = [sentence for text in paragraphs(page) for sentence in re.split(r"(?<=[.!?:])\s", text)]
    assert [sentence for sentence in sentences if len(sentence.split()) > LONGEST] == []
