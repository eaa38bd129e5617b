"""The training arguments that the trainer saves in each checkpoint, read without running any code of the file's."""

import os
import pickle
from pathlib import Path
from typing import Any

from paddle_epoch_guard.host import library
from paddle_epoch_guard.index.mapped import open_regular

_LARGEST = 1 << 22
"""Bytes: the arguments of a run are some kilobytes."""


class _Inert:
    """Takes the place of every class and function in a pickle: it keeps its state, and does nothing."""

    state: Any = None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertUnpickler(pickle.Unpickler):
    """Builds numbers, texts and containers; whatever else a pickle names is :class:`_Inert`."""

    def find_class(self, _module: str, _name: str) -> Any:
        return _Inert


def saved_arguments(checkpoint: Path) -> dict[str, Any] | None:
    """The arguments of the part of a run that saved a checkpoint; None if they cannot be read.

    `_save` in trainer/trainer.py (paddlenlp 3.0.0b4) pickles its whole ``TrainingArguments`` object.
    """
    name = library.import_host("trainer.trainer").TRAINING_ARGS_NAME
    try:
        with open_regular(checkpoint / name) as stream:
            if os.fstat(stream.fileno()).st_size > _LARGEST:
                return None
            loaded = _InertUnpickler(stream).load()
    except Exception:  # a damaged pickle raises anything
        return None
    state = loaded.state if isinstance(loaded, _Inert) else None
    return state if isinstance(state, dict) else None
