"""AutoTrainer, the real one, in one process.

paddlenlp 3.0.0b4's AutoTrainer imports ``paddle.distributed.checkpoint``, which paddlepaddle 3.3.1 calls
``flex_checkpoint.dcp``, and which there refuses the state that AutoTrainer saves: a resumed run goes on with fresh
weights here. The data is not touched by that.
"""

import importlib
import sys
from dataclasses import dataclass, replace

import paddle
import pytest

from corpora import build_train, write_corpus
from followed import FollowedGuard
from paddle_epoch_guard import EpochGuardArguments, EpochGuardError, host
from paddle_epoch_guard.index import EpochSampling, SamplerOrder
from test_trainer_paths import SEQ_LENGTH, SIZES, drawn, followed
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

CHECKPOINT = "paddle.distributed.checkpoint"


@pytest.fixture(scope="module")
def auto():
    """AutoTrainer without its checkpoints, one that reads in order, and their arguments."""
    new = "paddle.distributed.flex_checkpoint.dcp"
    names = ["", ".load_state_dict", ".metadata", ".utils"]
    if not importlib.util.find_spec(CHECKPOINT):
        sys.modules.update({CHECKPOINT + name: importlib.import_module(new + name) for name in names})
    from paddlenlp.trainer.auto_trainer import AutoTrainer
    from paddlenlp.trainer.auto_training_args import AutoTrainingArguments

    @dataclass
    class Arguments(EpochGuardArguments, AutoTrainingArguments):
        pass

    class Shuffling(AutoTrainer):
        def _load_from_checkpoint(self, *args, **kwargs):
            pass

        def _load_rng_state(self, *args):
            pass

    class InOrder(Shuffling):
        """As PaddleNLP's ``run_pretrain_auto.py`` has it."""

        def _get_train_sampler(self):
            args = self.args
            sampler = paddle.io.BatchSampler(
                self.train_dataset,
                shuffle=False,
                batch_size=args.per_device_train_batch_size * args.dataset_world_size,
                drop_last=args.dataloader_drop_last,
            )
            sampler._acc_steps = args.gradient_accumulation_steps
            return sampler

    def run(folder, dataset, trainer="Shuffling", resume=None, **values):
        args = arguments(
            folder, cls=Arguments, enable_auto_parallel=True, dataloader_drop_last=True, save_strategy="steps",
            save_steps=10, **values,
        )  # fmt: skip
        guard = FollowedGuard()
        cls = {"Shuffling": Shuffling, "InOrder": InOrder}[trainer]
        checkpoint = None if resume is None else str(folder / "run" / f"checkpoint-{resume}")
        return guard, train(args, dataset, trainer=cls, callbacks=[guard], model=KnownLosses, resume=checkpoint)

    return run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build_train([write_corpus(tmp_path_factory.mktemp("corpus") / "text", SIZES)], 128, SEQ_LENGTH)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("trainer", ["Shuffling", "InOrder"])
def test_auto_trainer_is_followed_a_step_for_each_batch_of_its_loader(
    tmp_path, dataset, auto, host_log, trainer, accumulation
):
    guard, run = auto(tmp_path, dataset, trainer, max_steps=110, gradient_accumulation_steps=accumulation)
    assert (run.steps, len(drawn(run))) == (110, 110 * 4 * accumulation)
    assert followed(guard, dataset, 1, 110) == drawn(run)
    passes = range(1, 110 // (50 // accumulation) + 1)
    found = {one for one in run.directories() if "boundary" in one}
    between = {f"boundary_{2 * n}_to_{2 * n + 1}" for n in passes}
    own = {f"boundary_{2 * n + 1}_to_{2 * n + 2}" for n in (0, *passes)} if trainer == "InOrder" else set()
    assert between <= found <= between | own
    steps = {step for step, _ in run.scalars("train/loss", "boundary_2_to_3")}
    assert steps == {50 // accumulation + 1}
    assert not any("by share" in text for text in host_log.of_guard())


def test_auto_trainer_resumes_where_it_stopped_within_the_steps_that_it_counts(tmp_path, dataset, auto):
    _, whole = auto(tmp_path, dataset, max_steps=60)
    guard, run = auto(tmp_path, dataset, max_steps=60, resume=10)
    assert drawn(run) == drawn(whole)[40:]
    assert followed(guard, dataset, 11, 60) == drawn(run)


def test_a_resume_that_auto_trainer_begins_elsewhere_is_refused(tmp_path, dataset, auto):
    """It counts 25 batches of two microbatches as 12 steps, and skips a trainer epoch for each twelve."""
    for trainer, why in (("InOrder", "start of the sampler was 160, is "), ("Shuffling", "as it shuffled an earlier")):
        values = {"max_steps": 30, "gradient_accumulation_steps": 2}
        auto(tmp_path, dataset, trainer, **values)
        with pytest.raises(EpochGuardError, match=why):
            auto(tmp_path, dataset, trainer, resume=20, **values)


def test_where_ranks_divide_a_step_in_their_own_way_losses_go_by_share(tmp_path, dataset, auto, host_log, monkeypatch):
    describe = host.describe_loader

    def divided(*given):
        loader = describe(*given)
        return replace(loader, reading=replace(loader.reading, knows_ranks=False))

    monkeypatch.setattr(host, "describe_loader", divided)
    _, run = auto(tmp_path, dataset, max_steps=5)
    assert sum("by share of samples: which rank draws" in text for text in host_log.of_guard()) == 1
    assert len(run.scalars("epoch_guard/exposure")) == 5


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("acc_steps", [1, 3])
def test_what_auto_trainer_divides_among_ranks_is_a_step_for_each_batch(shuffle, acc_steps):
    """The sampler that ``dist.shard_dataloader`` puts in the trainer's place, for ranks that are not run here."""
    samples, each, ranks = 101, 6, 4
    batches = []
    for rank in range(ranks):
        sampler = paddle.io.DistributedBatchSampler(range(samples), each // acc_steps, ranks, rank, shuffle)
        sampler._acc_steps = acc_steps
        batches.append(list(sampler))
    rule = EpochSampling.padded(samples, ranks, shuffle)
    for step, by_rank in enumerate(zip(*batches, strict=True)):
        drawn_at = range(step * each * ranks, min((step + 1) * each * ranks, rule.length))
        assert sorted(sum(by_rank, [])) == sorted(SamplerOrder(rule).at(list(drawn_at)).tolist())
