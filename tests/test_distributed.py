import json
import shutil

import numpy as np
import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard.order import PositionMap, Reorder
from ranks import fork
from training import arguments, train
from vdl_logs import read_scalars

pytestmark = [pytest.mark.host, pytest.mark.multiprocess]

SIZES = (100, 7, 230, 1, 58, 190, 23, 200)


@pytest.fixture
def corpus(tmp_path):
    """A corpus and, in ``cache``, the index that both ranks read: they do not build it at the same time."""
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    dataset = build_train([prefix], 32 * 4, 8, cache=tmp_path / "cache")
    return prefix, dataset


def test_two_ranks_follow_one_order_and_only_the_first_writes(tmp_path, corpus):
    prefix, dataset = corpus
    status, output = fork(tmp_path, prefix, tmp_path / "cache")
    assert status == 0, output[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    positions = np.arange(32 * 4).reshape(32, 2, 2)
    for rank, found in enumerate(ranks):
        assert found["tokens"] == [[int(dataset[p]["text"][0]) for p in row] for row in positions[:, rank]]
    # Both closed the same windows: before the boundary, after the mixed step, at the end.
    assert ranks[0]["losses"] == ranks[1]["losses"]
    assert [step for step, _ in ranks[0]["losses"]] == [10, 20, 25, 26, 30, 32]
    epochs = np.asarray(dataset.shuffle_idx, dtype=np.int64) * 8 // sum(SIZES) + 1
    windows = [(0, 10), (10, 20), (20, 25), (25, 26), (26, 30), (30, 32)]
    log = tmp_path / "logs" / "epoch_guard"
    assert [value for _, value in read_scalars(log, "epoch_guard/data_epoch")] == pytest.approx(
        [epochs[a * 4 : b * 4].mean() for a, b in windows]
    )
    assert output.count("epoch guard: tracking ") == 1


def test_two_ranks_draw_one_unified_order_and_resume_in_it(tmp_path, corpus):
    prefix, dataset = corpus
    order = PositionMap([Reorder(0, 128, "uniform", (7, 1, 0))]).base(np.arange(128)).reshape(32, 2, 2)
    expected = [[[int(dataset[p]["text"][0]) for p in row] for row in order[:, rank]] for rank in (0, 1)]
    options = {"epoch_guard": "unified", "save_strategy": "steps", "save_steps": 10, "save_total_limit": 1}
    status, output = fork(tmp_path, prefix, tmp_path / "cache", **options)
    assert status == 0, output[-3000:]
    whole = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [found["tokens"] for found in whole] == expected
    # The checkpoints that the trainer rotated away took their sidecars along.
    assert [path.parent.name for path in (tmp_path / "run").rglob("epoch_guard.json")] == ["checkpoint-30"]

    checkpoint = tmp_path / "run" / "checkpoint-30"
    status, output = fork(tmp_path, prefix, tmp_path / "cache", checkpoint, epoch_guard="unified")
    assert status == 0, output[-3000:]
    resumed = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [found["tokens"] for found in resumed] == [tokens[30:] for tokens in expected]
    assert resumed[0]["losses"] == [loss for loss in whole[0]["losses"] if loss[0] > 30]


def tokens_by_rank(folder):
    return [json.loads((folder / f"rank{rank}.json").read_text())["tokens"] for rank in (0, 1)]


def chain_order(folder, prefix, step):
    """The first token of each position of the run that a checkpoint belongs to, from indices of the host alone."""
    sidecar = json.loads((folder / "run" / f"checkpoint-{step}" / "epoch_guard.json").read_text())
    base = []
    for part in sidecar["datasets"][0]["indices"]:
        index = build_train([prefix], part["samples_requested"], 8, seed=part["seed"], cache=folder / "cache")
        base += [int(index[p]["text"][0]) for p in range(len(index))]
    reorders = [Reorder(**{**one, "key": tuple(one["key"])}) for one in sidecar["reorders"]]
    return [base[p] for p in PositionMap(reorders).base(np.arange(len(base)))]


SAVES = {"save_strategy": "steps", "save_steps": 10}


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_from_one_rank_to_two_with_the_batch_doubled(tmp_path, corpus, mode):
    """More is drawn than the first index holds: the first process builds what follows, and both read it."""
    prefix, dataset = corpus
    args = arguments(tmp_path, max_steps=32, epoch_guard=mode, **SAVES)
    before = train(args, dataset)
    options = {"epoch_guard": mode, "per_device_train_batch_size": 4, **SAVES}
    status, output = fork(tmp_path, prefix, tmp_path / "cache", tmp_path / "run" / "checkpoint-10", **options)
    assert status == 0, output[-3000:]
    order = chain_order(tmp_path, prefix, 30)
    assert [token for batch in before.first_tokens[:10] for token in batch] == order[:40]
    positions = 40 + np.arange(22 * 8).reshape(22, 2, 4)
    assert tokens_by_rank(tmp_path) == [
        [[order[p] for p in row] for row in positions[:, rank].tolist()] for rank in (0, 1)
    ]
    assert output.count("what differs") == 1  # the first rank says it


def test_from_two_ranks_to_one(tmp_path, corpus):
    prefix, _ = corpus
    status, output = fork(tmp_path, prefix, tmp_path / "cache", epoch_guard="unified", **SAVES)
    assert status == 0, output[-3000:]
    args = arguments(tmp_path, max_steps=21, per_device_train_batch_size=8, epoch_guard="unified", **SAVES)
    shorter = build_train([prefix], 21 * 8, 8, cache=tmp_path / "cache")
    after = train(args, shorter, resume=str(tmp_path / "run" / "checkpoint-10"))
    order = chain_order(tmp_path, prefix, 20)
    assert [token for batch in after.first_tokens for token in batch] == order[40:128]


def test_a_refusal_ends_every_rank_with_its_reason(tmp_path, corpus):
    prefix, dataset = corpus
    train(arguments(tmp_path, max_steps=32, **SAVES), dataset)
    status, output = fork(tmp_path, prefix, tmp_path / "cache", tmp_path / "run" / "checkpoint-10", index_seed=2)
    assert status != 0
    assert output.count("ResumeMismatchError: the run that resumes at step 10 is not the one") == 2


def test_ranks_that_see_different_orders_are_stopped_together(tmp_path, corpus):
    prefix, _ = corpus
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "cache", other)
    for file in other.glob("*_shuffle_idx.npy"):
        array = np.load(file)
        array[[3, 120]] = array[[120, 3]]  # across the boundary: no longer a separated index
        np.save(file, array)
    status, output = fork(tmp_path, prefix, other)
    assert status != 0
    assert "expected samples within [0, 101), as the last data epoch is shuffled separately" in output
    assert "rank 1 stopped" in output
    assert not (tmp_path / "logs").exists()


def results(folder, name):
    return [json.loads((folder / f"rank{rank}{name}.json").read_text()) for rank in (0, 1)]


def tokens_followed(found, dataset):
    """The first tokens of what the guard says a rank drew, in order."""
    return [int(dataset[p]["text"][0]) for positions in found["followed"] for p in positions]


def tokens_drawn(found):
    return [token for batch in found["tokens"] for token in batch]


TWO_RANKS_IN_PASSES = {
    "trainer": "base",
    "samples": 90,
    "max_steps": 15,
    "gradient_accumulation_steps": 4,
    "model": "KnownLosses",
    "save_strategy": "steps",
    "save_steps": 8,
}
"""Two steps and a half of passes of six steps, on each of two ranks, with a checkpoint in the second pass."""


def ranks_that_are_followed(folder, dataset, of_a_pass):
    """What both ranks tell of such a run, whole and resumed, once it is what the model saw.

    Args:
        folder: the run's.
        dataset: the index.
        of_a_pass: samples that a rank draws in each pass.
    """
    whole, rest = results(folder, ""), results(folder, ".then")
    for rank in (0, 1):
        assert tokens_drawn(whole[rank]) == tokens_followed(whole[rank], dataset)
        assert tokens_drawn(rest[rank]) == tokens_followed(rest[rank], dataset)
        assert rest[rank]["followed"] == whole[rank]["followed"][8:]
        assert len(tokens_drawn(whole[rank])) == 2 * of_a_pass + 3 * 8
    return whole, rest


def test_the_base_trainers_sampler_is_followed_on_two_ranks_with_an_uneven_tail(tmp_path, corpus):
    """101 samples, made up to 102: 26 microbatches for each rank, the last of one sample; 6 steps and 2 left over."""
    prefix, _ = corpus
    dataset = build_train([prefix], 90, 8, cache=tmp_path / "cache")
    assert len(dataset) == 101
    status, output = fork(tmp_path, prefix, tmp_path / "cache", **TWO_RANKS_IN_PASSES, then={"resume": 8})
    assert status == 0, output[-3000:]
    whole, _ = ranks_that_are_followed(tmp_path, dataset, of_a_pass=51)
    first_pass = sum((sum(found["followed"][:6], []) + found["followed"][6][:3] for found in whole), [])
    assert sorted(first_pass) == [0, *range(101)]  # the first sample makes the last batch up
    # Each trainer epoch's last step and its mixed first one, alike on both ranks.
    assert whole[0]["losses"] == whole[1]["losses"]
    assert [step for step, _ in whole[0]["losses"]] == [6, 7, 8, 10, 12, 13, 15]
    assert "by share" not in output
    assert output.count("which is shuffled already") == 2  # the first rank, in both runs
    lines = read_scalars(tmp_path / "logs" / "epoch_guard" / "boundary_1_to_2", "train/loss")
    assert {step for step, _ in lines} == {7}


def test_ranks_without_data_follow_those_that_have_it(tmp_path, corpus):
    """Tensor parallelism with DistDataLoader: the second rank reads nothing."""
    prefix, dataset = corpus
    options = {
        "tensor_parallel_degree": 2,
        "distributed_dataloader": True,
        "samples": 128,
        "per_device_train_batch_size": 4,
        "model": "KnownLosses",
        "epoch_guard": "unified",
        "save_strategy": "steps",
        "save_steps": 10,
        "then": {"resume": 10, "epoch_guard": "track"},
    }
    status, output = fork(tmp_path, prefix, tmp_path / "cache", **options)
    assert status == 0, output[-3000:]
    order = PositionMap([Reorder(0, 128, "uniform", (7, 1, 0))]).base(np.arange(128))
    expected = [int(dataset[p]["text"][0]) for p in order]
    whole, rest = results(tmp_path, ""), results(tmp_path, ".then")
    assert [tokens_drawn(found) for found in whole] == [expected, expected]
    assert [tokens_drawn(found) for found in rest] == [expected[40:]] * 2
    assert [found["followed"] is None for found in whole] == [False, True]
    assert whole[0]["losses"] == whole[1]["losses"]
    assert rest[0]["losses"] == [loss for loss in whole[0]["losses"] if loss[0] > 10]
    assert "by share" not in output
    assert output.count("epoch guard: tracking ") == 2
