"""Tracks which Trainers are training now, and which training has changed the order of a dataset.

``on_train_end`` is not called when training ends in an exception or by Ctrl-C (paddlenlp 3.0.0b4, paddleformers
1.2.0), and a callback learns neither which trainer calls it nor from which checkpoint that trainer resumes. So
``Trainer.train`` is wrapped, once per process, when the first guard is created: the dataset's own order is restored
however training ends.
"""

import contextlib
import copy
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paddle_epoch_guard.errors import TrainerError
from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.dataset import ORDER_ARRAYS, OWN_ARRAYS, BlendableDataset, restore_dataset
from paddle_epoch_guard.language import tr

_WATCHED = "_epoch_guard_watches"
_OWNER = "_epoch_guard_owner"
_INNER = ("datasets", "dataset")
"""Where a blend, a subset or another wrapper holds datasets."""
_DEPTH = 4


@dataclass(eq=False)
class Training:
    """One call of ``Trainer.train``, from its start to its end."""

    resume_from_checkpoint: Any = None
    """The argument of the call."""
    trainer: Any = None
    """Whose call it is; None once it has ended: a dataset remembers its training."""
    is_running: bool = True
    guard: Any = None
    """The callback that tracks it: the first one whose ``on_train_begin`` was called."""
    at_end: list[Callable[[], object]] = field(default_factory=list)
    """What is called when it ends, however it does."""
    _arrays: list[tuple[Any, str, Any]] = field(default_factory=list)
    """What its dataset draws by: owner, attribute, array."""

    def own(self, dataset: Any, restores_at_end: bool) -> None:
        """Makes this training the owner of the order that was installed on a dataset.

        Args:
            dataset: the dataset.
            restores_at_end: whether the end of this training restores the dataset's own arrays. Otherwise the next
                training does: a loader's thread may still be fetching positions that its own arrays lack.
        """
        for part in _with_constituents(dataset):
            vars(part)[_OWNER] = id(part), self
            self._arrays += [(part, name, getattr(part, name)) for name in ORDER_ARRAYS if hasattr(part, name)]
        if restores_at_end:
            self.at_end.append(functools.partial(release, dataset))

    @property
    def has_its_order(self) -> bool:
        """Whether its dataset still draws by the arrays that were installed."""
        return all(getattr(part, name, None) is array for part, name, array in self._arrays)


class _Running(threading.local):
    """The calls of ``Trainer.train`` in progress in this thread, the innermost last."""

    def __init__(self) -> None:
        self.trainings: list[Training] = []


_running = _Running()


def current_training() -> Training | None:
    """The innermost call of ``Trainer.train`` in this thread; None if a subclass does not call it."""
    return _running.trainings[-1] if _running.trainings else None


def owner_of(dataset: Any) -> Training | None:
    """The training in whose order a dataset draws, or one that it wraps; None if it draws in its own."""
    owners = [owner for part in _parts_of(dataset) if (owner := _mark_of(part)) is not None]
    return next((owner for owner in owners if owner.is_running), owners[0] if owners else None)


def watch_trainings() -> None:
    """Wraps ``Trainer.train``, unless it is wrapped already."""
    trainer: Any = library.import_host("trainer").Trainer
    train = trainer.train
    if getattr(train, _WATCHED, False):
        return
    signature = inspect.signature(train)

    @functools.wraps(train)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(self, *args, **kwargs).arguments
        except TypeError:  # a wrong call: the host raises the error
            bound = {}
        with _training(self, bound.get("resume_from_checkpoint")):
            return train(self, *args, **kwargs)

    setattr(watched, _WATCHED, True)  # not on the class: whoever puts the host's function back takes it off
    trainer.train = watched


@contextlib.contextmanager
def _training(trainer: Any, resume_from_checkpoint: Any) -> Iterator[None]:
    training = Training(resume_from_checkpoint, trainer)
    given = getattr(trainer, "train_dataset", None)
    owner = owner_of(given)
    if owner is not None:
        if owner.is_running:  # an outer training, or one in another thread
            trainer.train_dataset = in_own_order(given)
        else:
            release(given)
    _running.trainings.append(training)
    try:
        yield
    finally:
        _running.trainings.remove(training)
        training.is_running = False
        for call in training.at_end:
            call()
        training.trainer = None
        if owner is not None:
            trainer.train_dataset = given


def take_over(dataset: Any, training: Training | None) -> None:
    """Lets a dataset draw in the host's own order, unless a run that is not over draws from it.

    Raises:
        TrainerError: one does.
    """
    owner = owner_of(dataset)
    if owner is not None and owner.is_running and owner is not training:
        raise TrainerError(
            tr(
                "the training dataset draws in the order of another run that is not over, and this one would change "
                "it for both. Build a dataset of its own for this Trainer"
            )
        )
    release(dataset)


def release(dataset: Any) -> None:
    """Restores a dataset's own arrays, if they are replaced."""
    for part in list(_parts_of(dataset)):
        restore_dataset(part)
        vars(part).pop(_OWNER, None)


def in_own_order(dataset: Any) -> Any:
    """A shallow copy of a dataset, or of what wraps it, that draws in the host's own order."""
    copied = copy.copy(dataset)
    for name, array in vars(copied).pop(OWN_ARRAYS, {}).items():
        setattr(copied, name, array)
    vars(copied).pop(_OWNER, None)
    for name in _INNER:
        inner = getattr(copied, name, None)
        if isinstance(inner, (list, tuple)):
            setattr(copied, name, type(inner)(in_own_order(part) if _is_owned(part) else part for part in inner))
        elif _is_owned(inner):
            setattr(copied, name, in_own_order(inner))
    return copied


def _is_owned(dataset: Any) -> bool:
    return any(_mark_of(part) is not None or OWN_ARRAYS in vars(part) for part in _parts_of(dataset))


def _parts_of(dataset: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """A dataset, and those that it holds: those of a blend, or one that it wraps."""
    if not hasattr(dataset, "__dict__"):
        return
    yield dataset
    for name in _INNER if depth else ():
        inner = vars(dataset).get(name)
        for part in inner if isinstance(inner, (list, tuple)) else (inner,):
            yield from _parts_of(part, depth - 1)


def _mark_of(dataset: Any) -> Training | None:
    """The owner of an object; a copy of it carries the mark too, and is nobody's."""
    owner: tuple[int, Training] | None = vars(dataset).get(_OWNER)
    return owner[1] if owner is not None and owner[0] == id(dataset) else None


def _with_constituents(dataset: Any) -> list[Any]:
    parts = [dataset, *(dataset.datasets if isinstance(dataset, BlendableDataset) else ())]
    return [part for part in parts if hasattr(part, "__dict__")]
