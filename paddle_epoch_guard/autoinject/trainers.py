"""Adds the guard to every Trainer, as its last callback."""

import functools
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from paddle_epoch_guard.autoinject.flags import as_tokens, typed
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.errors import TrainerError
from paddle_epoch_guard.language import tr

if TYPE_CHECKING:
    from paddle_epoch_guard.callback import EpochGuardCallback

_ADDED = "_epoch_guard_added_by_run"


def hook_trainers(injection: Injection, module: ModuleType) -> None:
    """Gives every new ``Trainer`` the guard.

    Args:
        injection: the guard's flags.
        module: the host's ``trainer.trainer``, just imported.
    """
    trainer: Any = module.Trainer
    initialise, train = trainer.__init__, trainer.train

    @functools.wraps(initialise)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        initialise(self, *args, **kwargs)
        if hasattr(self, "callback_handler"):  # a trainer without a model has none, and cannot train
            _guard(injection, self)

    @functools.wraps(train)
    def train_guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if hasattr(self, "callback_handler"):
            _guard(injection, self)  # again: a subclass may have replaced the handler or the arguments
        return train(self, *args, **kwargs)

    trainer.__init__, trainer.train = __init__, train_guarded
    _hook_handler(module.CallbackHandler)


def _hook_handler(handler: Any) -> None:
    """Keeps the guard last when callbacks are added: it must see whether a checkpoint is about to be saved."""
    add = handler.add_callback

    @functools.wraps(add)
    def add_callback(self: Any, callback: Any) -> None:
        if _is_guard(callback):  # the script's own guard replaces the one added here
            for ours in [guard for guard in _guards(self) if getattr(guard, _ADDED, False)]:
                self.callbacks.remove(ours)
        add(self, callback)
        # In place: a callback may add another one during iteration over the list.
        for guard in _guards(self):
            self.callbacks.remove(guard)
            self.callbacks.append(guard)

    handler.add_callback = add_callback


def _guard(injection: Injection, trainer: Any) -> "EpochGuardCallback":
    """Makes sure that a trainer has the guard, with the given flags.

    Raises:
        TrainerError: the trainer does not accept it.
    """
    guards = _guards(trainer.callback_handler) or [_add(trainer)]
    injection.mark_guarded()
    for guard in guards:
        if injection.flags:
            guard.arguments = replace(guard.flags(trainer.args), **typed(injection.flags))
    _announce(injection, trainer, guards[-1])
    return guards[-1]


def _add(trainer: Any) -> "EpochGuardCallback":
    from paddle_epoch_guard.callback import EpochGuardCallback

    guard = EpochGuardCallback()
    setattr(guard, _ADDED, True)
    kind = f"{type(trainer).__module__}.{type(trainer).__qualname__}"
    try:
        trainer.add_callback(guard)
    except Exception as cause:
        raise TrainerError(
            tr(
                "{trainer} rejects EpochGuardCallback: its add_callback fails with {cause}. Train without "
                "'paddle-epoch-guard run'",
                trainer=kind,
                cause=f"{type(cause).__name__}: {cause}",
            )
        ) from cause
    if guard not in trainer.callback_handler.callbacks:
        raise TrainerError(
            tr(
                "{trainer} rejects EpochGuardCallback: its add_callback ignores it. Train without "
                "'paddle-epoch-guard run'",
                trainer=kind,
            )
        )
    return guard


def _announce(injection: Injection, trainer: Any, guard: "EpochGuardCallback") -> None:
    if injection.announced:
        return
    injection.announced = True
    if not trainer.is_world_process_zero():
        return
    from paddle_epoch_guard import host

    flags = " ".join(as_tokens({"epoch_guard": guard.flags(trainer.args).epoch_guard, **injection.flags}))
    values = {"trainer": type(trainer).__name__, "flags": flags}
    if getattr(guard, _ADDED, False):
        said = tr("added to {trainer} by 'paddle-epoch-guard run', with {flags}", **values)
    else:
        said = tr("the script's own in {trainer} is kept by 'paddle-epoch-guard run', with {flags}", **values)
    host.say(f"epoch guard: {said}")


def _guards(handler: Any) -> "list[EpochGuardCallback]":
    return [callback for callback in handler.callbacks if _is_guard(callback)]


def _is_guard(callback: object) -> bool:
    # Imported here: the trainer's module is complete only now.
    from paddle_epoch_guard.callback import EpochGuardCallback

    return isinstance(callback, EpochGuardCallback) or (
        isinstance(callback, type) and issubclass(callback, EpochGuardCallback)
    )
