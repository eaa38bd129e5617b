"""What the hooks on the model collect: on the CPU as copies that are added up later, else on the device, at once."""

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from paddle_epoch_guard.host import losses as collected  # noqa: E402

pytestmark = pytest.mark.host
IGNORED = -100


class Model(paddle.nn.Layer):
    """Passes token losses on as its own; zeroes them in place where it is asked to."""

    def __init__(self, in_place=False):
        super().__init__()
        self.loss_func = paddle.nn.CrossEntropyLoss(reduction="none", ignore_index=IGNORED)
        self.in_place = in_place

    def forward(self, logits, labels, dtype="float32"):
        losses = self.loss_func(logits.astype(dtype), labels)
        if self.in_place:
            losses.zero_()
        return losses


def batch(samples, length, masked=0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, (samples, length, 1))
    labels[rng.random(labels.shape) < masked] = IGNORED
    return paddle.to_tensor(rng.normal(size=(samples, length, 7)).astype("float32")), paddle.to_tensor(labels)


def rows_of(batches, on_cpu, model=None, **given):
    model = Model() if model is None else model
    hooks = collected.TokenLosses(model)
    hooks._is_on_cpu = on_cpu
    for one in batches:
        model(*one, **given)
    rows, sizes = hooks.take()
    hooks.close()
    return rows, sizes


@pytest.mark.parametrize("masked", [0, 0.4, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_ways_collect_the_same(masked, dtype):
    batches = [batch(3, 5, masked, seed) for seed in range(4)] + [batch(2, 9, masked), batch(3, 5, masked, 9)]
    copied, on_device = (rows_of(batches, on_cpu, dtype=dtype) for on_cpu in (True, False))
    assert copied[1] == on_device[1] == [3, 3, 3, 3, 2, 3]
    assert copied[0].dtype == on_device[0].dtype == np.float32
    np.testing.assert_allclose(copied[0], on_device[0], rtol=1e-6)
    labelled = np.concatenate([(labels.numpy() != IGNORED).sum(axis=(1, 2)) for _, labels in batches])
    np.testing.assert_array_equal(copied[0][:, 2], labelled)
    np.testing.assert_array_equal(copied[0][:, 3], np.repeat([5, 9, 5], [12, 2, 3]))


def test_a_cpu_is_found_to_be_one():
    assert rows_of([batch(2, 4)], None)[0].shape == (2, 4)


def test_losses_of_lower_precision_are_widened():
    layer = Model().loss_func
    losses = paddle.to_tensor([[1.5, 0.25], [0.0, 3.0]]).astype("bfloat16")
    copied = collected._Copied.of(losses, None, layer.ignore_index, 2)
    np.testing.assert_array_equal(collected._rows_of([copied]), [[1.75, 2, 2, 2], [3, 1, 2, 2]])


@pytest.mark.parametrize("on_cpu", [True, False])
def test_what_the_model_does_with_its_losses_later_does_not_reach_what_was_collected(on_cpu):
    rows, _ = rows_of([batch(2, 4)], on_cpu, Model(in_place=True))
    assert (rows[:, 0] > 0).all()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_losses_that_cannot_be_divided_among_the_samples_are_told_by_a_0(on_cpu):
    model = Model()
    hooks = collected.TokenLosses(model)
    hooks._is_on_cpu = on_cpu
    model(*batch(2, 4))
    hooks._begin(model, (paddle.ones([5]),), {})  # five samples, and eight losses
    hooks._take(model.loss_func, (None, paddle.ones([2, 4], dtype="int64")), paddle.ones([2, 4]))
    hooks._end(model, None, None)
    rows, sizes = hooks.take()
    assert (len(rows), sizes) == (2, [2, 0])


def test_much_is_added_up_before_the_window_ends(monkeypatch):
    monkeypatch.setattr(collected, "_COPIED_AT_MOST", 30)
    model = Model()
    hooks = collected.TokenLosses(model)
    batches = [batch(3, 5, seed=seed) for seed in range(7)]
    kept = []
    for one in batches:
        model(*one)
        kept.append(len(hooks._copied))
    assert kept == [1, 2, 0, 1, 2, 0, 1]
    np.testing.assert_array_equal(hooks.take()[0], rows_of(batches, True)[0])


def test_small_microbatches_are_added_up_before_they_are_many():
    """Each copy takes pages of memory, however small it is."""
    model = Model()
    hooks = collected.TokenLosses(model)
    most = 0
    for _ in range(600):
        model(*batch(1, 2))
        most = max(most, len(hooks._copied))
    assert most == 255
    assert hooks.take()[0].shape == (600, 4)


def test_labels_with_a_value_for_each_word_are_not_kept():
    losses, soft = paddle.ones([2, 4]), paddle.ones([2, 4, 7])
    copied = collected._Copied.of(losses, soft, IGNORED, 2)
    assert copied.labels is None
    np.testing.assert_array_equal(collected._rows_of([copied]), [[4, 4, 4, 4]] * 2)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_samples_without_tokens_have_no_loss(on_cpu):
    model = Model()
    hooks = collected.TokenLosses(model)
    hooks._is_on_cpu = on_cpu
    for length in (5, 0, 5):
        labels = paddle.ones([3, length], dtype="int64")
        hooks._begin(model, (labels,), {})
        hooks._take(model.loss_func, (None, labels), paddle.ones([3, length]))
        hooks._end(model, None, None)
    rows, sizes = hooks.take()
    assert sizes == [3, 3, 3]
    np.testing.assert_array_equal(rows[:, 0], np.repeat([5, 0, 5], 3))
