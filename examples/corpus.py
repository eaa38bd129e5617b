"""A real corpus from text that every Python installation carries, in PaddleNLP's own format.

The text is the English language reference and the help topics of the standard library (``pydoc_data.topics``),
about 460,000 characters, cut into byte-pair tokens by a tokenizer trained on it. Nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hosts import make_builder
from pretraining import quiet

END_OF_DOCUMENT = "<eos>"


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk."""

    prefix: str
    """Path without ``.bin``/``.idx``."""
    vocab_size: int


def help_topics() -> list[str]:
    """The texts, in the order of the alphabet."""
    return sorted(set(topics.values()))


def write_corpus(folder: Path, vocab_size: int = 2048, documents: Sequence[str] | None = None) -> Corpus:
    """Trains a tokenizer on the text and writes one document for each help topic.

    Args:
        folder: where ``text.bin``, ``text.idx`` and ``tokenizer.json`` go.
        vocab_size: size of the byte-pair vocabulary.
        documents: other texts than :func:`help_topics`, or in another order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = help_topics() if documents is None else documents
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[END_OF_DOCUMENT], show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))

    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    prefix = folder / "text"
    builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
    for encoding in tokenizer.encode_batch(documents):
        builder.add_item([*encoding.ids, end])
        builder.end_document()
    with quiet():
        builder.finalize(f"{prefix}.idx")
    return Corpus(str(prefix), tokenizer.get_vocab_size())
