"""The evaluation set of the Trainer that is training, and the documents of a dataset."""

import contextlib
import functools
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle.io.dataloader import dataloader_iter

from paddle_epoch_guard.host.dataset import GPTDataset, constituents
from paddle_epoch_guard.host.protocols import TrainingArguments
from paddle_epoch_guard.host.training import Training
from paddle_epoch_guard.index.description import Description, split_documents
from paddle_epoch_guard.index.overlap import Documents
from paddle_epoch_guard.language import tr

_LoaderIterator = dataloader_iter._DataLoaderIterBase  # noqa: SLF001 - as in trainer/trainer.py (3.0.0b4)
_KEPT = "eval_dataloader"
"""The attribute in which ``PretrainingTrainer`` of llm/run_pretrain.py (3.0.0b4) keeps the iterator."""
_BUILD = "get_eval_dataloader"
_PATIENCE = "early_stopping_patience_counter"  # of EarlyStoppingCallback in trainer/trainer_callback.py (3.0.0b4)
_NEVER = -(1 << 60)
_PATIENCE_WITH_THREADS = 1.0  # seconds that a thread that is told to end is waited for


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
    return _strategy(args) != "no"


def evaluates_after(args: TrainingArguments, step: int, ends_epoch: bool) -> bool:
    """Whether the trainer's arguments ask for an evaluation after a step (``DefaultFlowCallback``, 3.0.0b4)."""
    every: int = getattr(args, "eval_steps", None) or 0
    if _strategy(args) == "steps":
        return every > 0 and step % every == 0
    return _strategy(args) == "epoch" and ends_epoch


def _strategy(args: TrainingArguments) -> str:
    strategy = getattr(args, "evaluation_strategy", "no")
    return str(getattr(strategy, "value", strategy))


def documents_of(dataset: Any) -> tuple[Documents, ...] | None:
    """The documents of a ``GPTDataset``, or of each dataset of a blend; None if it is of another kind.

    Raises:
        CorpusError: the split of a dataset has no documents.
        IndexFileError: its description is not the host's.
    """
    parts = _gpt_datasets(dataset)
    return None if parts is None else tuple(_documents_of(part) for part in parts)


def _gpt_datasets(dataset: Any) -> list[Any] | None:
    """The described GPT datasets of a blend, or the dataset itself; None if it is of another kind."""
    parts = constituents(dataset)
    return parts if all(isinstance(part, GPTDataset) and hasattr(part, "desc") for part in parts) else None


def _documents_of(dataset: Any) -> Documents:
    description = Description.parse(dataset.desc, tr("the dataset's desc"))
    sizes = dataset.indexed_dataset.sizes
    start, stop = split_documents(description.split, description.name, len(sizes))

    def read(document: int, tokens: int) -> npt.NDArray[np.integer[Any]]:
        text = dataset.indexed_dataset.get(document, length=min(tokens, int(sizes[document])))
        return np.asarray(text[0] if isinstance(text, tuple) else text)  # with its mask since paddlenlp 3

    return Documents(_corpus(description.prefix), start, stop, sizes, read)


@dataclass(frozen=True, eq=False)
class EvaluatedData:
    """The data of one dataset of an evaluation set."""

    prefix: str
    sizes: npt.NDArray[np.integer[Any]]
    """Tokens of each document of the corpus."""
    start: int
    """Its first document."""
    stop: int
    """Behind its last document."""
    seq_length: int
    order: tuple[npt.NDArray[Any], ...]
    """The arrays that say which samples it gives, and in which order."""


def evaluated_data(dataset: Any) -> tuple[EvaluatedData, ...] | None:
    """What an evaluation set of ``GPTDataset`` holds, for each dataset of a blend; None if it is of another kind.

    Raises:
        CorpusError: the split of a dataset has no documents.
        IndexFileError: its description is not the host's.
    """
    parts = _gpt_datasets(dataset)
    if parts is None:
        return None
    of_blend = () if len(parts) == 1 and parts[0] is dataset else (dataset.dataset_index, dataset.dataset_sample_index)
    found = []
    for part in parts:
        described, sizes = Description.parse(part.desc, tr("the dataset's desc")), part.indexed_dataset.sizes
        split = split_documents(described.split, described.name, len(sizes))
        order = tuple(map(np.asanyarray, (part.doc_idx, part.shuffle_idx, *of_blend)))
        found.append(EvaluatedData(described.prefix, sizes, *split, described.seq_length, order))
    return tuple(found)


def _corpus(prefix: str) -> Hashable:
    """Names a corpus: equal for two paths of the same files."""
    try:
        status = os.stat(f"{prefix}.idx")
    except OSError:
        return os.path.realpath(prefix)
    return status.st_dev, status.st_ino


def cannot_evaluate(args: TrainingArguments, training: Training | None) -> str:
    """Why an evaluation that is asked for would fail or say nothing, as a code; empty if there is no reason."""
    dataset = evaluation_set(training)
    if dataset is None:
        return "no_evaluation_set"
    if isinstance(dataset, dict):  # the losses are named after the sets
        return "several_sets"
    # run_pretrain.py keeps the iterator of this loader, which cannot be built twice.
    if getattr(args, "distributed_dataloader", False):
        return "distributed_dataloader"
    return ""


def size_of_evaluation(args: TrainingArguments, dataset: Any) -> tuple[int | None, int | None]:
    """The samples of an evaluation set, and the batches of one evaluation; None if unknown."""
    limits = (getattr(args, name, None) for name in ("eval_iters", "max_evaluate_steps"))  # run_pretrain.py; 3.0.0b4
    limit = next((limit for limit in limits if limit is not None and limit > 0), None)
    try:
        samples = len(dataset)
        batches = -(-samples // (int(getattr(args, "per_device_eval_batch_size", 1)) * args.dataset_world_size))
    except (TypeError, ZeroDivisionError):
        return None, limit
    return samples, batches if limit is None else min(limit, batches)


class ExtraEvaluation:
    """An evaluation that the trainer would not make by itself, and that leaves its other evaluations as they are.

    - ``run_pretrain.py`` of PaddleNLP keeps the iterator of its evaluation loader. Each evaluation reads on in it, and
      one too many ends training in an exception. So it is out of sight meanwhile: all extra evaluations read the same
      batches, the first ones.
    - An evaluation that ends before its data (``max_evaluate_steps``) leaves a loader's threads and worker processes
      behind. Extra evaluations have no worker processes, and their threads are told to end.
    - What such a loader leaves is freed here. Else a worker process that is forked later frees it, and waits forever
      for a thread that it does not have.
    - Early stopping counts evaluations without progress; extra ones do not count.
    - The global generator of numpy, by which samplers of ``paddle.io`` shuffle, is put back.

    Args:
        training: the call of ``Trainer.train`` in progress.
    """

    def __init__(self, training: Training | None) -> None:
        self._training = training
        self._undo_evaluation: list[Callable[[], object]] = []
        self._undo_counts: list[Callable[[], object]] = []

    def begin(self) -> None:
        """The trainer is about to evaluate."""
        self.settle()
        random_state = np.random.get_state()
        self._undo_evaluation.append(lambda: np.random.set_state(random_state))
        trainer = None if self._training is None else self._training.trainer
        if trainer is None:
            return
        self._hide_loader(trainer)
        self._end_loaders(trainer)
        for callback in getattr(getattr(trainer, "callback_handler", None), "callbacks", ()):
            count = getattr(callback, _PATIENCE, None)
            if isinstance(count, int):
                self._undo_counts.append(functools.partial(setattr, callback, _PATIENCE, count))
                setattr(callback, _PATIENCE, _NEVER)

    def end(self) -> None:
        """The trainer has evaluated."""
        while self._undo_evaluation:
            self._undo_evaluation.pop()()

    def settle(self) -> None:
        """All callbacks have seen the evaluation."""
        self.end()
        while self._undo_counts:
            self._undo_counts.pop()()

    def _hide_loader(self, trainer: Any) -> None:
        kept = vars(trainer).get(_KEPT)
        if kept is None:
            had = _KEPT in vars(trainer)
            self._undo_evaluation.append(functools.partial(_forget_loader, trainer, had))
        elif isinstance(kept, _LoaderIterator):
            setattr(trainer, _KEPT, None)
            self._undo_evaluation.append(functools.partial(setattr, trainer, _KEPT, kept))

    def _end_loaders(self, trainer: Any) -> None:
        """Makes sure that nothing is left running of the loader that the trainer builds meanwhile."""
        build, own = trainer.get_eval_dataloader, vars(trainer).get(_BUILD)
        built: list[Any] = []

        def record(*args: Any, **kwargs: Any) -> Any:
            loader = build(*args, **kwargs)
            if isinstance(loader, paddle.io.DataLoader):
                loader.num_workers = 0
                loader.__class__ = _recorded(type(loader), built)
            return loader

        def undo() -> None:
            if own is None:
                delattr(trainer, _BUILD)
            else:
                setattr(trainer, _BUILD, own)
            _end_all(built)
            built.clear()  # a class is part of a cycle, and keeps what its methods name

        setattr(trainer, _BUILD, record)
        self._undo_evaluation.append(undo)


def _recorded(kind: Any, built: list[Any]) -> Any:
    """A loader that notes the iterators that are made of it."""

    class Recorded(kind):  # type: ignore[misc]
        def __iter__(self) -> Any:
            iterator = super().__iter__()
            built.append(iterator)
            return iterator

    return Recorded


def _end_all(iterators: Iterable[Any]) -> None:
    for iterator in iterators:
        with contextlib.suppress(Exception):
            iterator._exit_thread_expectedly()  # noqa: SLF001 - else its own thread keeps it alive
            iterator._thread.join(_PATIENCE_WITH_THREADS)  # noqa: SLF001


def _forget_loader(trainer: Any, had: bool) -> None:
    """Drops the iterator that an extra evaluation has left."""
    if not isinstance(vars(trainer).get(_KEPT), _LoaderIterator):
        return
    if had:
        setattr(trainer, _KEPT, None)
    else:
        delattr(trainer, _KEPT)
