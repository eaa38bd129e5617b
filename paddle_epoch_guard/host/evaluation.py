"""The evaluation set of the Trainer that is training, and the documents of a dataset."""

import os
from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.host.dataset import GPTDataset, constituents
from paddle_epoch_guard.host.protocols import TrainingArguments
from paddle_epoch_guard.host.training import Training
from paddle_epoch_guard.index.description import Description, split_documents
from paddle_epoch_guard.index.overlap import Documents


def evaluation_set(training: Training | None, dataloader: Any = None) -> Any:
    """The dataset that the trainer evaluates on; None if it has none. No dataloader is built.

    Args:
        training: the call of ``Trainer.train`` in progress.
        dataloader: the ``eval_dataloader`` that a callback is given. It is None until the trainer has evaluated
            (`evaluation_loop` in trainer/trainer.py, 3.0.0b4).
    """
    of_trainer = None if training is None else getattr(training.trainer, "eval_dataset", None)
    return of_trainer if of_trainer is not None else getattr(dataloader, "dataset", None)


def evaluates(args: TrainingArguments) -> bool:
    """Whether the trainer's arguments ask for evaluations."""
    strategy = getattr(args, "evaluation_strategy", "no")
    return str(getattr(strategy, "value", strategy)) != "no"


def documents_of(dataset: Any) -> tuple[Documents, ...] | None:
    """The documents of a ``GPTDataset``, or of each dataset of a blend; None if it is of another kind.

    Raises:
        CorpusError: the split of a dataset has no documents.
        IndexFileError: its description is not the host's.
    """
    parts = constituents(dataset)
    if not all(isinstance(part, GPTDataset) and hasattr(part, "desc") for part in parts):
        return None
    return tuple(_documents_of(part) for part in parts)


def _documents_of(dataset: Any) -> Documents:
    description = Description.parse(dataset.desc, "the dataset's desc")
    sizes = dataset.indexed_dataset.sizes
    start, stop = split_documents(description.split, description.name, len(sizes))

    def read(document: int, tokens: int) -> npt.NDArray[np.integer[Any]]:
        text = dataset.indexed_dataset.get(document, length=min(tokens, int(sizes[document])))
        return np.asarray(text[0] if isinstance(text, tuple) else text)  # with its mask since paddlenlp 3

    return Documents(_corpus(description.prefix), start, stop, sizes, read)


def _corpus(prefix: str) -> Hashable:
    """Names a corpus: equal for two paths of the same files."""
    try:
        status = os.stat(f"{prefix}.idx")
    except OSError:
        return os.path.realpath(prefix)
    return status.st_dev, status.st_ino
