"""The loss of each sample, by real runs: of a model whose losses are known in advance, and of PaddleNLP's own."""

import json
import math
import re
from dataclasses import astuple

import numpy as np
import paddle
import pytest
from paddle.distributed.fleet.utils import recompute
from paddlenlp.trainer import TrainerCallback
from paddlenlp.transformers import GPTConfig, GPTForCausalLM, Qwen2Config, Qwen2ForCausalLM

from corpora import build_train, index_of, write_corpus
from models import tiny_llama
from paddle_epoch_guard import EpochGuardCallback, host
from paddle_epoch_guard.cli.report import facts_of_report
from paddle_epoch_guard.ledger import IndexEpochs
from paddle_epoch_guard.ledger.losses import window_of
from paddle_epoch_guard.order import Schedule, Segment
from paddle_epoch_guard.record.events import Message, PartEnded
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.session.loss_collector import LossCollector
from pretraining import collate
from ranks import fork
from test_contrast import fitted
from training import KnownLosses, arguments, train
from vdl_logs import read_scalars

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
# 809 tokens, 101 samples per epoch. 128 samples: two epochs, the last one separated at position 101.
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS = 32
IGNORED = -100


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, SEQ_LENGTH)


@pytest.fixture
def windows(monkeypatch):
    """What the collector makes of each window: first step, last step, the trainer's loss, the samples' losses."""
    found = []
    inner = LossCollector.window

    def window(self, first_step, last_step, logged):
        losses, why = inner(self, first_step, last_step, logged)
        found.append((first_step, last_step, logged, None if losses is None else window_of(*losses)))
        return losses, why

    monkeypatch.setattr(LossCollector, "window", window)
    return found


def known(sample):
    """The losses that the model gives the tokens of a sample."""
    return KnownLosses.of(np.asarray(sample["text"][:-1]))


def epoch_losses(dataset, stop=STEPS * 4, ended=None):
    """The mean of each data epoch's samples up to ``stop``, from what each sample is known to lose.

    That of an epoch that is ``ended`` is taken when its boundary has been passed, 3 of 4 samples beyond it.
    """
    epochs = np.asarray(dataset.shuffle_idx, dtype=np.int64)[:stop] * SEQ_LENGTH // sum(SIZES) + 1
    losses = np.array([known(dataset[p]).mean() for p in range(stop)])
    means = {}
    for epoch in np.unique(epochs).tolist():
        upto = 104 if epoch == ended else stop
        means[epoch] = pytest.approx(losses[:upto][epochs[:upto] == epoch].mean(), rel=1e-5)
    return means


def test_each_epoch_has_the_loss_of_its_own_samples(tmp_path, dataset, host_log):
    """In windows of ten steps."""
    run = train(arguments(tmp_path, max_steps=STEPS, logging_steps=10), dataset, model=KnownLosses)
    assert dict(run.scalars("epoch_guard/epoch_loss")) == epoch_losses(dataset, ended=1)
    assert not any("by share" in text for text in host_log.of_guard())


def test_jointly_shuffled_epochs_have_curves_of_their_own(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    dataset = build_train([prefix], 47 * 4, SEQ_LENGTH)  # 188 of 202: 86 % of the last epoch, shuffled with the first
    run = train(arguments(tmp_path, max_steps=47), dataset, model=KnownLosses)
    assert "boundary_1_to_2" not in run.directories()
    assert dict(run.scalars("epoch_guard/epoch_loss")) == epoch_losses(dataset, 47 * 4)
    curves = [dict(run.scalars("epoch_guard/loss_by_epoch", f"epoch_{epoch}")) for epoch in (1, 2)]
    assert any(abs(curves[0][step] - curves[1][step]) > 1e-3 for step in curves[0].keys() & curves[1].keys())


def test_fresh_and_repeated_samples_are_told_apart(tmp_path, dataset):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset, model=KnownLosses)
    fresh, repeat = dict(run.scalars("epoch_guard/loss_fresh")), dict(run.scalars("epoch_guard/loss_repeat"))
    exposure = dict(run.scalars("epoch_guard/exposure"))
    assert {step: exposure[step] for step in range(1, 26)} == dict.fromkeys(range(1, 26), 0.0)
    # One sample crosses the epoch's end: half of its tokens are of the first epoch, drawn here for the first time.
    assert all(exposure[step] == pytest.approx(1.0, abs=0.3) for step in range(27, STEPS + 1))
    assert fresh.keys() >= set(range(1, 26))
    assert repeat.keys() >= set(range(28, STEPS + 1))
    for step in range(1, 26):
        assert fresh[step] == pytest.approx(run.losses[step], rel=1e-5)


def llama():
    return tiny_llama(1000, SEQ_LENGTH)


def qwen():
    return Qwen2ForCausalLM.from_config(
        Qwen2Config(
            vocab_size=1000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64, use_cache=False,
        )
    )  # fmt: skip


def gpt():
    return GPTForCausalLM.from_config(
        GPTConfig(
            vocab_size=1000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=64, ignore_index=IGNORED,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def masked(samples):
    """Leaves labels out: some of each sample, all of some."""
    batch = collate(samples)
    labels = batch["labels"].copy()
    labels[labels % 3 == 0] = IGNORED
    labels[0] = IGNORED if labels[0, 0] % 2 else labels[0]  # a whole sample; GPT's criterion cannot do without any
    return {"input_ids": batch["input_ids"], "labels": labels}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("collator", [collate, masked])
@pytest.mark.parametrize("model", [llama, qwen, gpt])
def test_the_weighted_mean_is_the_trainers_own_loss(tmp_path, dataset, windows, model, collator, accumulation):
    args = arguments(
        tmp_path, max_steps=STEPS, logging_steps=5, per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    train(args, dataset, model=model, collator=collator)
    assert [last for _, last, _, _ in windows] == [5, 10, 15, 20, 25, 26, 30, 32]
    for first, last, logged, losses in windows:
        assert losses.mean == pytest.approx(logged, rel=1e-4)
        assert sum(one.weight for one in losses.by_epoch.values()) == pytest.approx(4 * (last - first + 1))


class MeanOverLabels(KnownLosses):
    """A criterion that takes its mean over all tokens with a label, those without loss too."""

    def reduce(self, losses, labels):
        counted = (labels != IGNORED).astype("float32")
        return (losses * counted).sum() / counted.sum()


class PositiveMean(KnownLosses):
    """A criterion as PaddleNLP's: the mean over tokens that have a loss."""

    def reduce(self, losses, labels):
        counted = (losses > 0).astype("float32")
        return (losses * counted).sum() / counted.sum()


@pytest.mark.parametrize("model", [KnownLosses, MeanOverLabels, PositiveMean])
def test_tokens_are_left_out_as_the_criterion_leaves_them_out(tmp_path, dataset, windows, model):
    """One token in four has no loss at all, and one in three no label."""

    def collator(samples):
        batch = collate(samples)
        batch["labels"] = np.where(batch["input_ids"] % 3 == 0, IGNORED, batch["labels"])
        return batch

    train(arguments(tmp_path, max_steps=STEPS), dataset, model=model, collator=collator)
    assert len(windows) == STEPS
    assert all(losses.mean == pytest.approx(logged, rel=1e-5) for _, _, logged, losses in windows)


class OtherLossToo(KnownLosses):
    """A model whose loss holds more than that of its tokens, as a router's."""

    def reduce(self, losses, labels):
        return losses.mean() + 1.0


class NoLayer(KnownLosses):
    """A fused loss: no layer to be seen."""

    def __init__(self):
        super().__init__()
        self.loss_func = None


class Twice(KnownLosses):
    """Two heads with a loss each."""

    def forward(self, input_ids, labels=None):
        first, _ = super().forward(input_ids, labels)
        second, logits = super().forward(input_ids, labels)
        return (first + second) / 2, logits


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (OtherLossToo, "is not the loss that the trainer logs, .*, which includes other terms"),
        (NoLayer, "no unreduced token-loss layer"),
        (Twice, "0 sample losses in 1 microbatches, where 4 samples were drawn"),
    ],
)
def test_where_the_samples_losses_cannot_be_had_it_is_said_once(tmp_path, dataset, host_log, model, why):
    run = train(arguments(tmp_path, max_steps=STEPS), dataset, model=model)
    (said,) = [text for text in host_log.of_guard() if "by share" in text]
    assert re.search(why, said)
    assert run.steps == STEPS
    assert host_log.warnings == []
    # The mean of the windows, each by the share of its samples.
    epoch_loss = dict(run.scalars("epoch_guard/epoch_loss"))
    assert epoch_loss[1] == pytest.approx(np.mean([run.losses[step] for step in range(1, 26)]), rel=0.02)


class Probe(TrainerCallback):
    """Runs the model on samples of its own, in train mode, after some steps."""

    def __init__(self, dataset, steps):
        self.samples, self.steps = collate([dataset[p] for p in range(4)]), steps

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step in self.steps:
            model(*(paddle.to_tensor(self.samples[name].astype("int64")) for name in ("input_ids", "labels")))


@pytest.mark.parametrize("steps", [(12,), (1,), (12, 13, 20), tuple(range(1, STEPS))], ids=str)
def test_after_a_forward_pass_of_somebody_else_losses_are_by_sample_again(tmp_path, dataset, windows, host_log, steps):
    args = arguments(tmp_path, max_steps=STEPS)
    train(args, dataset, model=KnownLosses, callbacks=[EpochGuardCallback(), Probe(dataset, steps)])
    # Of each window the losses are known unless the probe ran in it.
    assert [last for _, last, _, losses in windows if losses is None] == list(steps)
    for first, last, logged, losses in windows:
        assert losses is None or losses.mean == pytest.approx(logged, rel=1e-5), (first, last)
    said = [text for text in host_log.of_guard() if "by share" in text]
    assert len(said) == 1
    assert "Let it call model.eval() before and model.train() after" in said[0]
    back = [text for text in host_log.of_guard() if "agree again" in text]
    assert [text.rsplit(" ", 2)[-2] for text in back] == [str(steps[-1] + 1 if len(steps) != 3 else 14)]


def test_evaluations_are_not_counted(tmp_path, dataset, windows):
    args = arguments(tmp_path, max_steps=STEPS, evaluation_strategy="steps", eval_steps=3, logging_steps=2)
    train(args, dataset, model=KnownLosses, evaluation=[dataset[p] for p in range(8)])
    assert all(losses is not None for _, _, _, losses in windows)


class Recomputed(KnownLosses):
    """The loss is computed again in the backward pass."""

    def forward(self, input_ids, labels=None):
        if not self.training:
            return super().forward(input_ids, labels)
        return recompute(super().forward, input_ids, labels)


def test_recomputation_is_not_counted(tmp_path, dataset, windows):
    train(arguments(tmp_path, max_steps=STEPS), dataset, model=Recomputed)
    assert all(losses is not None for _, _, _, losses in windows)
    assert len(windows) == STEPS


def test_skipped_steps_are_left_out(tmp_path, dataset, windows):
    args = arguments(tmp_path, max_steps=STEPS, skip_data_intervals=[[5, 8]])
    train(args, dataset, model=KnownLosses)
    found = {last: losses for _, last, _, losses in windows}
    assert found[4].mean > 0
    assert found[9].mean > 0
    assert all(losses is not None or 5 <= last <= 8 for last, losses in found.items())


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_epoch_losses_survive_an_interruption_exactly(tmp_path, dataset, mode):
    def args(folder):
        return arguments(folder, max_steps=STEPS, save_strategy="steps", save_steps=10, epoch_guard=mode)

    def recorded(folder, step):
        found = json.loads((folder / "run" / f"checkpoint-{step}" / "epoch_guard.json").read_text())
        return {key: found[key] for key in ("epoch_losses", "fresh", "repeat", "contrast", "verdicts", "windows")}

    train(args(tmp_path / "whole"), dataset, model=KnownLosses)
    train(args(tmp_path / "parts"), dataset, model=KnownLosses)
    train(args(tmp_path / "parts"), dataset, model=KnownLosses, resume=str(tmp_path / "parts/run/checkpoint-10"))
    train(args(tmp_path / "parts"), dataset, model=KnownLosses, resume=str(tmp_path / "parts/run/checkpoint-20"))
    assert recorded(tmp_path / "parts", 30) == recorded(tmp_path / "whole", 30)
    if mode == "unified":
        assert recorded(tmp_path / "whole", 30)["contrast"]["strata"] > 10
    assert ended(tmp_path / "parts").contrast == ended(tmp_path / "whole").contrast
    runs = [read_run(tmp_path / which / "logs", tmp_path / which / "run") for which in ("parts", "whole")]
    assert astuple(runs[0].contrast) == pytest.approx(astuple(runs[1].contrast), rel=1e-12)  # added in another order


def ended(folder):
    """How the last part of a run ended, by its record."""
    *_, last = RecordFile.open(folder / "logs" / "epoch_guard" / "record.jsonl").lines()
    assert isinstance(last.event, PartEnded)
    return last.event


class AllTokens(KnownLosses):
    """Keeps the tokens of each microbatch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, input_ids, labels=None):
        if self.training:
            self.batches.append(input_ids.numpy())
        return super().forward(input_ids, labels)


@pytest.mark.parametrize("logging_steps", [1, 5])
def test_repeated_against_fresh_is_what_a_count_of_all_tokens_says(tmp_path, host_log, logging_steps):
    """No token occurs twice in this corpus, so that a set of tokens tells what was drawn before."""
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    dataset = build_train([prefix], 60 * 4, SEQ_LENGTH)
    args = arguments(tmp_path, max_steps=60, logging_steps=logging_steps, epoch_guard="unified")
    run = train(args, dataset, model=AllTokens)
    seen, shares, losses = set(), [], []
    for sample in np.concatenate(run.model.batches):
        shares.append(np.mean([token in seen for token in sample.tolist()]))
        losses.append(KnownLosses.of(sample).mean())
        seen |= set(sample.tolist())
    step = np.arange(60 * 4) // 4
    expected = fitted(np.array(losses), np.array(shares), step // logging_steps, step % logging_steps)
    contrast = ended(tmp_path).contrast
    assert (contrast.difference.value, contrast.difference.error) == pytest.approx(expected, rel=1e-4)
    report = read_run(args.logging_dir, args.output_dir)
    assert report.contrast == contrast
    facts = facts_of_report(report, None, [])
    assert facts["repeated_against_fresh"]["difference"] == contrast.difference.value
    assert any(f"{abs(contrast.difference.value):.4f}" in sentence for sentence in facts["summary"])
    # The points of samples that are wholly new, or wholly repeated, have the errors of their means.
    errors = dict(run.scalars("epoch_guard/loss_fresh_error"))
    fresh = dict(run.scalars("epoch_guard/loss_fresh"))
    assert errors.keys() <= fresh.keys()
    first = np.array(losses[: 4 * logging_steps])
    if not any(shares[: 4 * logging_steps]):
        assert errors[logging_steps] == pytest.approx(first.std(ddof=1) / math.sqrt(len(first)), rel=1e-3)
    (summary,) = [text for text in host_log.of_guard() if "60 steps" in text]
    value, error = contrast.difference.value, contrast.difference.error
    told = f"{abs(value):.4f}", f"{error:.4f}"
    assert "samples have a loss" in summary or "does not differ clearly" in summary
    assert all(number in summary for number in told)
    assert "never drawn before" not in summary


class Fail(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise RuntimeError("as a user's own code may")


def test_a_run_that_ends_in_an_exception_leaves_no_hook_behind(tmp_path, dataset, windows):
    model = KnownLosses()
    args = arguments(tmp_path, max_steps=STEPS)
    with pytest.raises(RuntimeError, match="as a user's own"):
        train(args, dataset, model=lambda: model, callbacks=[EpochGuardCallback(), Fail()])
    windows.clear()
    train(args, dataset, model=lambda: model)
    assert all(losses is not None for _, _, _, losses in windows)
    assert len(model._forward_post_hooks) == len(model.loss_func._forward_post_hooks) == 0


def test_a_fault_of_ours_changes_nothing_of_the_training(tmp_path, dataset, monkeypatch, host_log):
    expected = train(arguments(tmp_path / "a", max_steps=STEPS), dataset, model=KnownLosses)

    def broken(*_args):
        raise ValueError("a fault")

    monkeypatch.setattr("paddle_epoch_guard.session.loss_collector.window_sums", broken)
    run = train(arguments(tmp_path / "b", max_steps=STEPS), dataset, model=KnownLosses)
    assert run.losses == expected.losses
    (said,) = [text for text in host_log.of_guard() if "by share" in text]
    assert "ValueError: a fault" in said


@pytest.mark.multiprocess
def test_two_ranks_add_their_losses_up(tmp_path, dataset):
    prefix = str(tmp_path / "corpus" / "text")
    build_train([prefix], STEPS * 4, SEQ_LENGTH, cache=tmp_path / "cache")
    status, output = fork(tmp_path, prefix, tmp_path / "cache", model="KnownLosses", logging_steps=10)
    assert status == 0, output[-3000:]
    assert "by share" not in output
    train(arguments(tmp_path / "one", max_steps=STEPS, logging_steps=10), dataset, model=KnownLosses)
    assert astuple(ended(tmp_path).contrast) == pytest.approx(astuple(ended(tmp_path / "one").contrast), rel=1e-4)
    assert ended(tmp_path).contrast.strata > 0
    log = tmp_path / "logs" / "epoch_guard"
    assert dict(read_scalars(log, "epoch_guard/epoch_loss")) == epoch_losses(dataset, ended=1)


@pytest.mark.multiprocess
def test_two_ranks_fall_back_together(tmp_path, dataset):
    prefix = str(tmp_path / "corpus" / "text")
    build_train([prefix], STEPS * 4, SEQ_LENGTH, cache=tmp_path / "cache")
    status, output = fork(tmp_path, prefix, tmp_path / "cache", model="FaultOnRank1")
    assert status == 0, output[-3000:]
    assert output.count("by share") == 1


@pytest.mark.parametrize(("process", "adds"), [(0, True), (1, False), (2, True), (3, False)])
def test_of_the_processes_that_draw_the_same_samples_one_adds_its_losses(monkeypatch, dataset, process, adds):
    """Two data ranks of two processes each, as under tensor parallelism."""
    rows = np.array([[rank, 1, 1, 2, 1, 0] for rank in (0, 0, 1, 1)])  # each reads data, has one layer, and no fault
    sent = []
    monkeypatch.setattr(host, "all_gather_ints", lambda own: rows)
    monkeypatch.setattr(host, "process", lambda: process)
    monkeypatch.setattr(host, "all_reduce_sum", lambda values: sent.append(values) or values)
    source = IndexEpochs(index_of(dataset), Schedule((Segment(1, 0, 2, 1, 2, stop=100),)))
    model = KnownLosses()
    collector = LossCollector(model, source, rank=int(rows[process, 0]), ranks=2)
    assert collector.agree() is None
    samples = collate([dataset[p] for p in (0, 1)])
    loss, _ = model(*(paddle.to_tensor(samples[name].astype("int64")) for name in ("input_ids", "labels")))
    collector.window(1, 1, float(loss))
    *sums, surplus, fault, disturbed = sent[0].tolist()
    assert any(sums) == adds
    assert (surplus, fault, disturbed) == (float(process == 0), 0.0, 0.0)
    collector.close()


def test_where_one_process_has_no_hooks_no_losses_are_collected(monkeypatch, dataset):
    monkeypatch.setattr(host, "all_gather_ints", lambda own: np.array([own, [0, 1, 0, *own[3:5], 1]]))
    monkeypatch.setattr(host, "broadcast_from", lambda rank, own: f"a fault on rank {rank}")
    source = IndexEpochs(index_of(dataset), Schedule((Segment(1, 0, 2, 1, 1, stop=100),)))
    collector = LossCollector(KnownLosses(), source, rank=0, ranks=1)
    assert collector.agree() == Message("share_fault", {"fault": "a fault on rank 1"})
    assert not collector.is_open


def test_the_losses_of_the_known_model_are_what_they_are_said_to_be():
    model = KnownLosses()
    tokens = paddle.to_tensor(np.arange(24).reshape(2, 12))
    loss, _ = model(tokens, tokens)
    assert float(loss) == pytest.approx(KnownLosses.of(np.arange(24)).mean(), rel=1e-6)
