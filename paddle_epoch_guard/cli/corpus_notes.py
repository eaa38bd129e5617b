"""What a person must know about a sound corpus: that another host, or another of its splits, stops a run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from paddle_epoch_guard.cli.host_rules import MEGATRON, HostRules
from paddle_epoch_guard.index.corpus import fault_of_document_list
from paddle_epoch_guard.index.from_files import Opened, in_object_storage
from paddle_epoch_guard.index.megatron import MegatronDescription
from paddle_epoch_guard.index.megatron_split import empty_in_megatron
from paddle_epoch_guard.language import mark, tr

# megatron/core/datasets/indexed_dataset.py (0.16.1) compares it with the sequences; PaddleNLP's GPTDataset (3.0.0b4)
# knows no documents but the sequences.
LIST_STOPS = mark(
    "megatron-core stops when it opens the corpus, unless fast_cache_load is set; PaddleNLP does not read the list"
)
_IN_PADDLE = mark(
    "{prefix}: the {name} split of {split!r} gets none of the {documents:,} documents: {host} builds no dataset of "
    "it. Give it a larger share, or none"
)
# `BlendableDataset` (3.0.0b4) wants as many datasets as weights.
_IN_PADDLES_BLEND = mark(
    "{prefix}: the {name} split of {split!r} gets none of the {documents:,} documents, but that of another dataset "
    "gets some: {host} stops when it builds the blend. Give the split a larger share, or none"
)
_IN_MEGATRON = mark(
    "{prefix}: the {name} split of {split!r} gets none of the {documents:,} documents: the build of it by "
    "megatron-core never ends. Give it a larger share, or none"
)


def document_list_notes(prefixes: Sequence[str | Path]) -> list[str]:
    """A sentence for each corpus whose document list does not end at its last sequence.

    Args:
        prefixes: paths without ``.idx`` and ``.bin``.
    """
    faults = dict.fromkeys(fault_of_document_list(prefix) for prefix in map(str, prefixes))
    return [
        tr(
            "{fault}. Megatron-core stops when it opens the corpus, unless fast_cache_load is set; PaddleNLP does not "
            "read the list",
            fault=fault,
        )
        for fault in faults
        if fault
    ]


def empty_split_notes(corpora: Sequence[tuple[str, int]], split: str, rules: HostRules) -> list[str]:
    """A sentence for each split of a planned run that has a share, but no documents.

    Args:
        corpora: the prefix and the number of documents of each dataset.
        split: shares of train, valid and test.
        rules: of the host.
    """
    empty = [(prefix, documents, rules.empty_splits(split, documents)) for prefix, documents in corpora]
    lacking = Counter(name for _, _, names in empty for name in names)

    def text(name: str) -> str:
        if rules is MEGATRON:
            return _IN_MEGATRON
        return _IN_PADDLE if lacking[name] == len(corpora) else _IN_PADDLES_BLEND

    notes = [
        tr(text(name), prefix=prefix, name=name, split=split, documents=documents, host=rules.title)
        for prefix, documents, names in empty
        for name in names
    ]
    return list(dict.fromkeys(notes))


def _empty_split_notes(opened: Opened) -> list[str]:
    notes = []
    for index, described in zip(opened.datasets, opened.described.datasets, strict=True):
        if isinstance(described, MegatronDescription) and index.arrays is not None:
            documents = len(index.arrays.sizes)
            for name in empty_in_megatron(described.matrix, documents):
                values = {"prefix": described.prefix, "name": name, "split": described.split}
                notes.append(tr(_IN_MEGATRON, documents=documents, **values))
    return notes


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
        *_empty_split_notes(opened),
        *(tr("{prefix}.bin lies in object storage: its length is not checked", prefix=prefix) for prefix in stored),
        *(
            tr("{path}: no such file. The document sizes are enough here; a run needs the text", path=path)
            for path in missing_texts(opened)
        ),
    ]
