"""What a person must know about a sound corpus: that another host, or another of its splits, stops a run."""

from collections.abc import Sequence
from pathlib import Path

from paddle_epoch_guard.index.corpus import fault_of_document_list
from paddle_epoch_guard.index.from_files import Opened, in_object_storage

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


def missing_texts(opened: Opened) -> list[Path]:
    """The ``.bin`` files that a run needs and that are not there; those in object storage do not count."""
    pairs = zip(opened.corpora, opened.described.datasets, strict=True)
    paths = [Path(f"{corpus}.bin") for corpus, described in pairs if not in_object_storage(described.prefix)]
    return [path for path in dict.fromkeys(paths) if not path.is_file()]


def notes_of_index(opened: Opened) -> list[str]:
    """Sentences about the corpora of an index."""
    stored = dict.fromkeys(one.prefix for one in opened.described.datasets if in_object_storage(one.prefix))
    return [
        *document_list_notes(opened.corpora),
        *(f"{prefix}.bin lies in object storage: its length is not checked" for prefix in stored),
        *(
            f"{path}: no such file. The document sizes are enough here; a run needs the text"
            for path in missing_texts(opened)
        ),
    ]
