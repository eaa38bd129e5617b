"""Indices for ``rebuild``, and what runs draw of them."""

import corpora


def build(tmp_path, prefix, cache="cache", samples=corpora.SEPARATED):
    """The host's dataset of a cache, which it builds or loads."""
    return corpora.build_train([prefix], samples, corpora.LENGTH, cache=tmp_path / cache)


def build_blend(tmp_path, prefix, cache="cache"):
    other = corpora.write_corpus(tmp_path / "corpus" / "code", corpora.SIZES[10:])
    return corpora.build_train([3, prefix, 7, other], 300, corpora.LENGTH, cache=tmp_path / cache)


def first_tokens(dataset, stop=None):
    return [int(dataset[position]["text"][0]) for position in range(len(dataset) if stop is None else stop)]


def drawn(run):
    return [token for micro in run.first_tokens for token in micro]
