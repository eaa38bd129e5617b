"""What a person must know about a sound corpus: that another host, or another of its splits, stops a run."""

from collections.abc import Sequence
from pathlib import Path

from paddle_epoch_guard.index.corpus import fault_of_document_list
from paddle_epoch_guard.index.from_files import Opened

# megatron/core/datasets/indexed_dataset.py (0.16.1) compares it with the sequences; PaddleNLP's GPTDataset (3.0.0b4)
# knows no documents but the sequences.
LIST_STOPS = (
    "megatron-core stops when it opens the corpus, unless fast_cache_load is set; PaddleNLP does not read the list"
)


def document_list_notes(prefixes: Sequence[str | Path]) -> list[str]:
    """A sentence for each corpus whose document list does not end at its last sequence.

    Args:
        prefixes: paths without ``.idx`` and ``.bin``.
    """
    faults = dict.fromkeys(fault_of_document_list(prefix) for prefix in map(str, prefixes))
    return [f"{fault}. {LIST_STOPS[0].upper()}{LIST_STOPS[1:]}" for fault in faults if fault]


def notes_of_index(opened: Opened) -> list[str]:
    """Sentences about the corpora of an index."""
    return document_list_notes(opened.corpora)
