"""The guard on another host than PaddleNLP 3: real runs of its Trainer over its own index.

Run in an environment of that host: ``make test-paddleformers``, ``make test-paddlenlp-2``.
"""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import training
from caches import told
from corpora import build_train, index_of, write_corpus
from hosts import NAME, Trainer
from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.order import PositionMap, Reorder
from ranks import launch
from test_distributed import SAVES, SIZES, chain_order, tokens_by_rank
from training import arguments, train

pytestmark = pytest.mark.host

STEPS, BATCH, LENGTH = 32, 4, 8
BOUNDARY = (sum(SIZES) - 1) // LENGTH
"""The position where the last data epoch begins."""


@pytest.fixture
def corpus(tmp_path):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    return prefix, build_train([prefix], STEPS * BATCH, LENGTH, cache=tmp_path / "cache")


def in_batches(tokens, batch=BATCH):
    return np.asarray(tokens).reshape(-1, batch).tolist()


def first_tokens(dataset, positions):
    return [int(dataset[p]["text"][0]) for p in positions]


def test_the_pinned_set_has_no_conflicts():
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_index_is_the_one_that_the_guard_knows(corpus):
    _, dataset = corpus
    index = index_of(dataset)
    assert [boundary.position for boundary in index.boundaries] == [BOUNDARY]
    assert index.layout.separated


def test_a_tracked_run_is_followed_and_its_boundary_marked(tmp_path, corpus, host_log):
    _, dataset = corpus
    run = train(arguments(tmp_path, max_steps=STEPS, logging_steps=10), dataset, model=training.KnownLosses)
    assert run.first_tokens == in_batches(first_tokens(dataset, range(STEPS * BATCH)))
    step = BOUNDARY // BATCH + 1
    assert BOUNDARY % BATCH  # a step that draws from both sides has a window of its own
    assert sorted(run.losses) == [10, 20, step - 1, step, 30, STEPS]
    line = run.scalars("train/loss", "boundary_1_to_2")
    assert {at for at, _ in line} == {step}
    epochs = index_of(dataset).epoch_of(np.arange(STEPS * BATCH))
    windows = [0, *sorted(run.losses)]
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        [epochs[a * BATCH : b * BATCH].mean() for a, b in pairwise(windows)]
    )
    # Sample by sample, not by share; an epoch's mean is taken when its end has been passed.
    losses = np.array([training.KnownLosses.of(dataset[p]["text"][:-1]).mean() for p in range(STEPS * BATCH)])
    means = [losses[:upto][epochs[:upto] == epoch].mean() for epoch, upto in ((1, step * BATCH), (2, STEPS * BATCH))]
    assert [mean for _, mean in run.scalars("epoch_guard/epoch_loss")] == pytest.approx(means, rel=1e-5)
    assert not [text for text in host_log.of_guard() if "by share" in text]
    assert host_log.warnings == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_unified_run_draws_as_predicted_and_resumes_in_its_order(tmp_path, corpus, workers):
    _, dataset = corpus
    order = PositionMap([Reorder(0, STEPS * BATCH, "uniform", (7, 1, 0))]).base(np.arange(STEPS * BATCH))
    expected = in_batches(first_tokens(dataset, order))
    values = {"max_steps": STEPS, "epoch_guard": "unified", "dataloader_num_workers": workers, **SAVES}
    run = train(arguments(tmp_path, **values), dataset)
    assert run.first_tokens == expected
    sidecar = json.loads((tmp_path / "run" / "checkpoint-10" / "epoch_guard.json").read_text())
    assert sidecar["reorders"][0]["mix"] == "uniform"
    for step in (10, 20, 30):
        resumed = train(arguments(tmp_path, **values), dataset, resume=str(tmp_path / "run" / f"checkpoint-{step}"))
        assert resumed.first_tokens == expected[step:]
        assert resumed.losses == {at: loss for at, loss in run.losses.items() if at > step}


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_another_batch_size_at_a_resume_is_repaired(tmp_path, corpus, host_log, mode):
    prefix, dataset = corpus
    before = train(arguments(tmp_path, max_steps=STEPS, epoch_guard=mode, **SAVES), dataset)
    larger = build_train([prefix], STEPS * 2 * BATCH, LENGTH, cache=tmp_path / "cache")
    args = arguments(tmp_path, max_steps=STEPS, per_device_train_batch_size=2 * BATCH, epoch_guard=mode, **SAVES)
    after = train(args, larger, resume=str(tmp_path / "run" / "checkpoint-10"))
    assert any("what differs" in text for text in host_log.of_guard())
    order = chain_order(tmp_path, prefix, 30)
    assert [token for batch in before.first_tokens[:10] for token in batch] == order[: 10 * BATCH]
    assert after.first_tokens == in_batches(order[10 * BATCH :][: 22 * 2 * BATCH], 2 * BATCH)


def test_the_first_guarded_resume_rests_on_the_trainers_own_record(tmp_path, corpus):
    _, dataset = corpus
    whole = train(arguments(tmp_path, max_steps=STEPS, **SAVES), dataset, callbacks=[])
    checkpoint = str(tmp_path / "run" / "checkpoint-20")
    if NAME == "paddleformers":
        resumed = train(arguments(tmp_path, max_steps=STEPS), dataset, resume=checkpoint)
    else:  # PaddleNLP 2.8.1 records no samples
        with pytest.raises(ResumeMismatchError, match="samples consumed then: None, now: 80"):
            train(arguments(tmp_path, max_steps=STEPS), dataset, resume=checkpoint)
        args = arguments(tmp_path, max_steps=STEPS, epoch_guard_position=20 * BATCH)
        resumed = train(args, dataset, resume=checkpoint)
    assert resumed.first_tokens == whole.first_tokens[20:]


def test_a_first_guarded_resume_under_other_arguments_is_refused(tmp_path, corpus):
    _, dataset = corpus
    train(arguments(tmp_path, max_steps=STEPS, **SAVES), dataset, callbacks=[])
    with pytest.raises(ResumeMismatchError, match="max_steps then: 32, now: 31"):
        train(arguments(tmp_path, max_steps=STEPS - 1), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))


def test_a_blend_is_followed(tmp_path):
    sizes = {"a": SIZES, "b": (190, 100)}
    prefixes = [write_corpus(tmp_path / "corpus" / name, each) for name, each in sizes.items()]
    blend = build_train([0.7, prefixes[0], 0.3, prefixes[1]], STEPS * BATCH, LENGTH, cache=tmp_path / "cache")
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard="unified"), blend)
    order = PositionMap([Reorder(0, STEPS * BATCH, "uniform", (7, 1, 0))]).base(np.arange(STEPS * BATCH))
    assert run.first_tokens == in_batches(first_tokens(blend, order))
    assert {"a", "b"} <= {folder.split("/")[0] for folder in run.directories()}


@pytest.mark.skipif(NAME == "paddleformers", reason="its samplers are followed: test_mapping_runs.py")
def test_the_base_trainers_own_sampler_is_not_followed_which_is_said_once(tmp_path, corpus, host_log):
    _, dataset = corpus
    run = train(arguments(tmp_path, max_steps=8), dataset, trainer=Trainer)
    (told,) = host_log.warnings
    assert "is not supported" in told
    assert len(run.first_tokens) == 8
    assert run.directories() != []


def test_a_cache_that_was_rebuilt_is_opened_without_the_guard(tmp_path):
    """The host finds the files by itself, and draws what the guard would draw."""
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    # Not beside the corpus, where the host looks first.
    base = build_train([prefix], STEPS * BATCH, LENGTH, cache=tmp_path / "cache")
    folder = next(path for path in tmp_path.rglob("*_shuffle_idx.npy")).parent
    before = np.asarray(base.shuffle_idx).copy()
    found = told("rebuild", folder, "--from-position", 0, "--output", tmp_path / "unified")
    for path in folder.iterdir():
        path.unlink()
    rebuilt = build_train([prefix], STEPS * BATCH, LENGTH, cache=tmp_path / "unified")
    order = Reorder(**{**found["reorder"], "key": tuple(found["reorder"]["key"])})
    expected = before[PositionMap([order]).base(np.arange(len(before)))]
    assert rebuilt.shuffle_idx.tolist() == expected.tolist()
    assert not (folder / f"{found['hash']}_shuffle_idx.npy").exists()  # it was not built anew
    run = train(arguments(tmp_path, max_steps=STEPS, epoch_guard="off"), rebuilt)
    assert run.first_tokens == in_batches(first_tokens(rebuilt, range(STEPS * BATCH)))


def test_two_ranks_draw_one_unified_order_and_resume_in_it(tmp_path, corpus):
    prefix, dataset = corpus  # as many samples as two ranks draw with half the batch
    order = PositionMap([Reorder(0, 128, "uniform", (7, 1, 0))]).base(np.arange(128)).reshape(STEPS, 2, 2)
    expected = [[first_tokens(dataset, row) for row in order[:, rank]] for rank in (0, 1)]
    status, output = launch(tmp_path, prefix, tmp_path / "cache", epoch_guard="unified", **SAVES)
    assert status == 0, output[-3000:]
    assert tokens_by_rank(tmp_path) == expected
    checkpoint = tmp_path / "run" / "checkpoint-10"
    status, output = launch(tmp_path, prefix, tmp_path / "cache", checkpoint, epoch_guard="unified")
    assert status == 0, output[-3000:]
    assert tokens_by_rank(tmp_path) == [tokens[10:] for tokens in expected]
