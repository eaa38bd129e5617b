"""Collects the loss of each sample from the model's own token-loss layer, without another forward pass.

The criteria of PaddleNLP's decoder models contain an unreduced one (`criterion.loss_func`, paddlenlp 3.0.0b4): a
``CrossEntropyLoss(reduction="none")``, or a ``ParallelCrossEntropy`` under tensor parallelism.
"""

import functools
import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import paddle
from paddle.distributed.fleet.meta_parallel import ParallelCrossEntropy

_MERGE = 256  # microbatches whose tensors are joined, or whose copies are added up: each takes pages of memory
_COPIED_AT_MOST = 1 << 20  # tokens; more are added up at once
_hooks: "weakref.WeakKeyDictionary[Any, list[Any]]" = weakref.WeakKeyDictionary()


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """Makes a hook keep its exception as ``fault`` and stop collecting, rather than fail the model's forward pass."""

    @functools.wraps(hook)
    def harmless(self: "TokenLosses", *args: Any) -> None:
        if self.fault is not None:
            return
        try:
            hook(self, *args)
        except Exception as cause:
            self.fault = f"{type(cause).__name__}: {cause}"

    return harmless


class TokenLosses:
    """Collects the loss of each sample of each training microbatch, and keeps it on the device until :meth:`take`.

    Only calls within a training forward pass of the model count: evaluation runs in ``eval`` mode, and recomputation
    in the backward pass.

    Args:
        model: the trainer's model, unwrapped.

    Attributes:
        layers: the number of unreduced token-loss layers in the model; if 0, nothing is collected.
        fault: why collecting stopped; None if it did not.
    """

    def __init__(self, model: Any) -> None:
        self.fault: str | None = None
        self._rows: list[Any] = []
        self._copied: list[_Copied] = []
        """On the CPU, microbatches that are still to be added up; they come behind the rows."""
        self._is_on_cpu: bool | None = None
        self._microbatches: list[int] = []
        self._forward: list[Any] | None = None
        self._samples = 0
        for hook in _hooks.pop(model, ()):  # of a run that ended in an exception
            hook.remove()
        sublayers = model.sublayers() if hasattr(model, "sublayers") else []
        token_losses = [layer for layer in sublayers if _is_token_loss(layer)]
        self.layers = len(token_losses)
        self._hooks: list[Any] = []
        if token_losses:
            try:
                self._hooks.append(model.register_forward_pre_hook(self._begin, with_kwargs=True))
            except TypeError:  # paddlepaddle 2.6.2 does not pass keyword arguments to hooks
                self._hooks.append(model.register_forward_pre_hook(lambda model, args: self._begin(model, args, {})))
            self._hooks += [layer.register_forward_post_hook(self._take) for layer in token_losses]
            self._hooks.append(model.register_forward_post_hook(self._end))
            _hooks[model] = self._hooks

    def close(self) -> None:
        """Removes the hooks from the model, and drops what was collected."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._rows, self._copied, self._microbatches = [], [], [], []

    def take(self) -> tuple[npt.NDArray[np.float32], list[int]]:
        """What was collected since the last call, copied from the device in one transfer.

        Returns:
            float32 ``[samples, 4]``: the sum of a sample's token losses; the numbers of its tokens with a loss
            above zero, with a label that is not ignored, and in total. And the number of samples of each microbatch,
            in order; 0 if its losses could not be divided among its samples.

        Raises:
            RuntimeError: the losses could not be collected.
        """
        if self.fault is not None:
            raise RuntimeError(self.fault)
        self._add_up()
        rows, sizes = self._rows, self._microbatches
        self._rows, self._microbatches = [], []
        if not rows:
            return np.empty((0, 4), dtype=np.float32), sizes
        if isinstance(rows[0], np.ndarray):
            return rows[0], sizes
        return (rows[0] if len(rows) == 1 else paddle.concat(rows)).numpy(), sizes

    @_harmless
    def _begin(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, paddle.Tensor) and value.ndim]
        self._samples = int(tensors[0].shape[0]) if tensors else 0
        self._forward = [] if model.training else None

    @_harmless
    def _take(self, layer: Any, inputs: Any, losses: Any) -> None:
        if self._forward is None:
            return
        samples = self._samples or int(losses.shape[0])
        labels = inputs[1] if len(inputs) > 1 and isinstance(inputs[1], paddle.Tensor) else None
        ignored = getattr(layer, "ignore_index", -100)
        if self._is_on_cpu is None:
            self._is_on_cpu = losses.place.is_cpu_place()
        if self._is_on_cpu:
            self._forward.append(_Copied.of(losses, labels, ignored, samples))
        else:
            with paddle.no_grad():
                self._forward.append(_sums(losses.detach(), labels, ignored, samples))

    @_harmless
    def _end(self, model: Any, inputs: Any, outputs: Any) -> None:
        forward, self._forward = self._forward, None
        if forward is None:
            return
        # With several token losses in a forward pass it is unknown which is the samples' loss.
        rows = forward[0] if len(forward) == 1 else None
        if isinstance(rows, _Copied):
            self._microbatches.append(rows.samples)
            self._copied.append(rows)
            if len(self._copied) >= _MERGE or len(self._copied) * rows.losses.size > _COPIED_AT_MOST:
                self._add_up()
        elif rows is not None:
            self._microbatches.append(int(rows.shape[0]))
            self._rows.append(rows)
            if len(self._rows) >= _MERGE:
                self._rows = [paddle.concat(self._rows)]
        else:
            self._microbatches.append(0)

    def _add_up(self) -> None:
        """Replaces what was copied by its rows."""
        if self._copied:
            alike = itertools.groupby(self._copied, key=_Copied.kind)
            self._rows = [np.concatenate([*self._rows, *(_rows_of(list(group)) for _, group in alike)])]
            self._copied = []


def _is_token_loss(layer: Any) -> bool:
    if isinstance(layer, paddle.nn.CrossEntropyLoss):
        return bool(layer.reduction == "none")
    return isinstance(layer, ParallelCrossEntropy)


class _Copied(NamedTuple):
    """The token losses and labels of a microbatch on the CPU, to be added up together with those of its window.

    Within a forward pass, code is found outside the caches: a small operation takes 10 to 60 us, a tenth of that in a
    loop.
    """

    losses: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None
    ignored: int
    samples: int

    @classmethod
    def of(cls, losses: Any, labels: Any, ignored: int, samples: int) -> "_Copied | None":
        """Copies, as the model may change what it has computed; None if it cannot be divided among the samples."""
        copied = losses.numpy()
        if copied.dtype != np.float32:
            copied = losses.astype("float32").numpy()
        if samples < 1 or copied.size % samples:
            return None
        if labels is not None and math.prod(labels.shape) != copied.size:
            labels = None  # soft labels have a value for each word
        return cls(copied, None if labels is None else labels.numpy(), ignored, samples)

    def kind(self) -> tuple[int, bool, int]:
        """Tokens a sample, whether labels are known, and the label that is ignored."""
        return self.losses.size // self.samples, self.labels is not None, self.ignored


def _rows_of(copied: list[_Copied]) -> npt.NDArray[np.float32]:
    """``[samples, 4]``, see :meth:`TokenLosses.take`, of microbatches of one kind."""
    tokens, is_labelled, ignored = copied[0].kind()
    losses = np.concatenate([one.losses.reshape(one.samples, tokens) for one in copied])
    rows = np.full((len(losses), 4), tokens, dtype=np.float32)
    rows[:, 0], rows[:, 1] = losses.sum(axis=1), _counts(losses > 0)
    if is_labelled:
        labels = np.concatenate([one.labels.reshape(one.samples, tokens) for one in copied if one.labels is not None])
        rows[:, 2] = _counts(labels != ignored)
    return rows


def _counts(chosen: npt.NDArray[np.bool_]) -> Any:
    """How many are chosen in each row; a number if these are all, as they mostly are."""
    return chosen.shape[1] if np.count_nonzero(chosen) == chosen.size else chosen.sum(axis=1)


def _sums(losses: Any, labels: Any, ignored: int, samples: int) -> Any:
    """``[samples, 4]``, see :meth:`TokenLosses.take`; None if the losses cannot be divided among the samples."""
    count = math.prod(losses.shape)  # paddle's own `size` takes as long as a small operation
    if samples < 1 or count % samples:
        return None
    losses = losses.astype("float32").reshape([samples, -1])
    positive = (losses > 0).astype("float32").sum(axis=1)
    labelled = total = paddle.full_like(positive, losses.shape[1])
    if labels is not None and math.prod(labels.shape) == count:
        labelled = (labels.reshape(losses.shape) != ignored).astype("float32").sum(axis=1)
    return paddle.stack([losses.sum(axis=1), positive, labelled, total], axis=1)
