"""The training dataloader: how it reads, and where it starts."""

from dataclasses import dataclass, replace
from typing import Any

import paddle

from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.mapping import is_mapping, rule_of
from paddle_epoch_guard.index import EpochSampling
from paddle_epoch_guard.index.epoch_sampling import MOST_PASSES
from paddle_epoch_guard.order import Segment, passes_ahead

NOT_REPRODUCIBLE = "its order comes from numpy's global random state, and cannot be told from the arguments"

DistributedBatchSampler = library.import_host("utils.batch_sampler").DistributedBatchSampler
DistDataLoader = library.import_host("data.dist_dataloader").DistDataLoader


@dataclass(frozen=True)
class Loader:
    """What the training dataloader says of the order in which it reads."""

    dataset: Any
    sampler: str
    """The sampler's type, for messages."""
    start: int | None
    """The position at which the sampler starts; None where the positions are not known."""
    stop: int
    """The sampler ends before this position."""
    micro_batch: int
    world_size: int
    keeps_tail: bool
    accumulation: int = 1
    """Batches of the loader in a step."""
    steps_per_epoch: int = 0
    """Steps in a trainer epoch, as the trainer counts them when it resumes; 0 where they are not known."""
    passed_over: int = 0
    """Batches that the trainer reads and throws away where it resumes."""
    passes: EpochSampling | None = None
    """How the sampler reads the dataset in each trainer epoch; None where it is neither one of ``paddle.io`` nor of
    PaddleFormers' base Trainer."""
    trainer_epochs: int = 1
    """The trainer epoch, from 1, with which such a run ends."""
    reads_once: bool = False
    """Whether nothing is left for a second trainer epoch: DistDataLoader (paddlenlp 3.0.0b4) keeps one iterator."""
    unknown: str = ""
    """Why the positions are not known, where there is a reason to tell."""
    knows_ranks: bool = True
    """Whether it is known which rank draws which samples of a step."""
    has_data: bool = True
    """Whether this process reads data: with DistDataLoader, only the first one of a model-parallel group does."""


def describe_loader(args: Any, loader: Any, state: Any) -> Loader:
    """How the training dataloader reads: exactly, where that follows from its sampler and the arguments.

    In paddleformers 1.2.0 the pretraining sampler is that of ``deepseek_v3_pretrain`` and ``ernie_pretrain``. Its true
    start is its own ``consumed_samples``: the trainer's state is reset before ``on_train_begin`` (trainer/trainer.py,
    `_inner_training_loop`).

    Args:
        args: the training arguments.
        loader: the ``train_dataloader`` that a callback is given.
        state: the trainer's state: ``global_step`` of the checkpoint, and ``num_train_epochs``.
    """
    sampler: Any = getattr(loader, "batch_sampler", None)
    kind = type(loader if sampler is None else sampler)
    found = Loader(
        dataset=getattr(loader, "dataset", None),
        sampler=f"{kind.__module__}.{kind.__qualname__}",
        start=None,
        stop=0,
        micro_batch=int(args.train_batch_size),
        world_size=int(args.dataset_world_size),
        keeps_tail=False,
        accumulation=int(args.gradient_accumulation_steps),
        reads_once=isinstance(loader, DistDataLoader),
        has_data=bool(args.should_load_dataset),
    )
    is_auto = bool(getattr(args, "enable_auto_parallel", False))
    if is_auto:  # a batch of its loader is a step
        found = replace(found, micro_batch=found.micro_batch * found.accumulation, accumulation=1)
    steps = _steps_per_epoch(args, loader)
    done_in_epoch = 0  # batches
    if not args.ignore_data_skip:
        done_in_epoch = state.global_step % (steps or state.max_steps) * found.accumulation
    is_set = not is_auto and (isinstance(sampler, DistributedBatchSampler) or is_mapping(sampler))
    found = replace(found, steps_per_epoch=steps, passed_over=0 if is_set else done_in_epoch)
    # A subclass of loader or sampler with a reading order of its own is another one.
    if type(loader) not in (paddle.io.DataLoader, DistDataLoader) or not found.has_data or sampler is None:
        return found
    if is_auto:
        return _sharded(found, args, sampler, state)
    if _is_pretraining(sampler):
        return replace(
            found,
            start=int(sampler.consumed_samples),
            # paddlenlp 2.8.1 rounds up, to positions that the dataset does not have.
            stop=min(int(sampler.total_size), len(sampler.dataset) // int(sampler.nranks) * int(sampler.nranks)),
            micro_batch=int(sampler.batch_size),
            world_size=int(sampler.nranks),
            keeps_tail=not sampler.drop_last,
        )
    if is_mapping(sampler):
        return _dealt(found, args, sampler, state, done_in_epoch)
    return _by_passes(found, args, sampler, state)


def _by_passes(found: Loader, args: Any, sampler: Any, state: Any) -> Loader:
    """A loader whose sampler is one of ``paddle.io``: each trainer epoch is a pass of it."""
    kind, ranks, shuffled = type(sampler), 1, False
    if isinstance(sampler, paddle.io.DistributedBatchSampler):
        own = paddle.io.DistributedBatchSampler
        known = kind.__iter__ is own.__iter__ and kind.set_epoch is own.set_epoch
        ranks, shuffled = int(sampler.nranks), bool(sampler.shuffle)
    else:
        known = isinstance(sampler, paddle.io.BatchSampler) and kind.__iter__ is paddle.io.BatchSampler.__iter__
        if known and isinstance(sampler.sampler, paddle.io.RandomSampler):
            return replace(found, unknown=NOT_REPRODUCIBLE)
        known = known and type(sampler.sampler) is paddle.io.SequenceSampler
        known = known and len(sampler.sampler) == len(found.dataset)
    if not known or getattr(sampler, "_acc_steps", 1) != 1:
        return found
    why = _of_other_ranks(args, sampler)
    if why:
        return replace(found, unknown=why)
    of_sampler = replace(found, micro_batch=int(sampler.batch_size), keeps_tail=not sampler.drop_last)
    return _in_passes(of_sampler, state, EpochSampling.of(len(found.dataset), ranks, shuffled))


def _of_other_ranks(args: Any, sampler: Any) -> str:
    """Why the sampler is one for other ranks than the run has; empty where it is not."""
    if not isinstance(sampler, paddle.io.DistributedBatchSampler):
        each = args.dataset_world_size
        return f"each of the {each} ranks reads all of the data" if each > 1 else ""
    rank, ranks = sampler.local_rank, sampler.nranks
    if (ranks, rank) == (args.dataset_world_size, args.dataset_rank):
        return ""
    return (
        f"it takes this process for rank {rank} of {ranks}, and it is rank {args.dataset_rank} of "
        f"{args.dataset_world_size}"
    )


def _dealt(found: Loader, args: Any, sampler: Any, state: Any, done_in_epoch: int) -> Loader:
    """A loader whose sampler is one of PaddleFormers' base Trainer: each trainer epoch is a pass of it.

    The trainer tells it the epoch, and lets it begin a resumed one behind ``done_in_epoch`` batches: none of these are
    read again (trainer/trainer.py, ``_inner_training_loop``, 1.2.0).
    """
    samples, ranks = len(found.dataset), int(args.dataset_world_size)
    why = _of_other_ranks(args, sampler)
    if not why and samples < ranks:
        why = f"it reads nothing: the dataset has {samples} samples for {ranks} ranks"
    if why:
        return replace(found, unknown=why)
    rule = rule_of(sampler, samples)
    if rule is None:
        return found
    read = replace(
        _in_passes(replace(found, passed_over=done_in_epoch), state, rule),
        passed_over=0,
        micro_batch=int(sampler.batch_size),
        keeps_tail=not sampler.drop_last,
    )
    # The sampler's length counts the samples that it leaves out: then the trainer counts a step too many.
    whole = Segment(1, 0, read.micro_batch, read.accumulation, ranks, rule.length, read.keeps_tail, is_pass=True)
    if whole.steps < found.steps_per_epoch and state.global_step >= max(whole.steps, 1) and not args.ignore_data_skip:
        why = f"the trainer counts {found.steps_per_epoch} steps in a trainer epoch, which has {whole.steps}"
        return replace(found, unknown=f"{why}: it resumes elsewhere")
    return read


def _sharded(found: Loader, args: Any, sampler: Any, state: Any) -> Loader:
    """AutoTrainer's loader: after ``on_train_begin`` it is divided among the ranks by ``dist.shard_dataloader``.

    That puts a ``paddle.io.DistributedBatchSampler`` in the sampler's place, whatever that was, with its batch size,
    ``shuffle`` and ``drop_last`` (``ShardDataloader`` in paddle/distributed/auto_parallel/api.py, paddlepaddle 3.3.1).
    One of its batches is a whole step (paddlenlp/trainer/auto_trainer.py, 3.0.0b4), and nothing tells it the trainer's
    epoch: its shuffles count from 0 in each part of the run.
    """
    ranks, shuffled = int(args.dataset_world_size), bool(getattr(sampler, "shuffle", False))
    if isinstance(sampler, paddle.io.DistributedBatchSampler) or not isinstance(sampler, paddle.io.BatchSampler):
        return replace(found, unknown="AutoTrainer is followed with a sampler that it divides among the ranks itself")
    each = int(sampler.batch_size / ranks) * getattr(sampler, "_acc_steps", 1)
    if each != found.micro_batch:
        return replace(found, unknown=f"its batches, {each} samples for each rank, are not a step of AutoTrainer")
    if shuffled and state.global_step >= found.steps_per_epoch:
        return replace(found, unknown="after a resume AutoTrainer shuffles each epoch as it shuffled an earlier one")
    of_sampler = replace(found, keeps_tail=not sampler.drop_last, knows_ranks=ranks == 1)
    return _in_passes(of_sampler, state, EpochSampling.of(len(found.dataset), ranks, shuffled))


def _steps_per_epoch(args: Any, loader: Any) -> int:
    """As ``Trainer.train`` counts them (paddlenlp 3.0.0b4); 0 where the loader has no length."""
    try:
        return max(len(loader) // int(args.gradient_accumulation_steps), 1)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError):
        return 0


def _in_passes(found: Loader, state: Any, rule: EpochSampling) -> Loader:
    """Where the trainer begins: a resume passes over the epochs that are done, and reads on in the present one.

    What it passes over there is read and thrown away (`_inner_training_loop`), so that the rest is the same.
    """
    if not found.steps_per_epoch:
        return found
    done = state.global_step // found.steps_per_epoch
    epochs = done + 1 if found.reads_once else int(state.num_train_epochs)
    if epochs > MOST_PASSES:
        return replace(found, unknown=f"more than {MOST_PASSES} trainer epochs over a sample index are not followed")
    start = done * rule.length
    passed_over = found.passed_over * found.micro_batch * found.world_size
    return replace(
        found, start=start + passed_over, stop=start + rule.length, passes=rule, trainer_epochs=max(epochs, done + 1)
    )


def segments_ahead(loader: Loader, step: int, max_steps: int) -> tuple[Segment, ...]:
    """The steps that begin where the sampler stands: of a run that reads in passes, a segment for each.

    Args:
        loader: one whose positions are known.
        step: the last step done.
        max_steps: the last step of the run.
    """
    assert loader.start is not None
    first = Segment(
        first_step=step + 1,
        start=loader.start,
        micro_batch=loader.micro_batch,
        accumulation=loader.accumulation,
        world_size=loader.world_size,
        stop=loader.stop,
        keeps_tail=loader.keeps_tail,
        is_pass=loader.passes is not None,
        deals=loader.passes is not None and loader.passes.deals,
    )
    if loader.passes is None:
        return (first,)
    return passes_ahead(first, loader.passes.length, loader.trainer_epochs, max_steps)


def skipped_steps(args: Any) -> tuple[tuple[int, int], ...]:
    """Ranges of steps, ends included, whose data is passed over (``skip_data_intervals``; not in paddlenlp 2)."""
    return tuple((first, last) for first, last in getattr(args, "skip_data_intervals", None) or ())


def start_sampler(dataloader: Any, position: int, stop: int) -> None:
    """Lets the pretraining sampler read the positions from ``position`` to before ``stop``.

    Args:
        dataloader: the training dataloader; its sampler is one whose positions are known.
        position: a multiple of the world size.
        stop: a multiple of the world size.
    """
    sampler = dataloader.batch_sampler
    sampler.set_epoch(consumed_samples=position)
    sampler.num_samples = stop // sampler.nranks
    sampler.total_size = stop


def rewind_sampler(dataloader: Any) -> int:
    """Lets the pretraining sampler read from its beginning, where it would begin a trainer epoch further on.

    Where a run resumes, the trainer sets the sampler to where it stopped, and never sets it back: each later trainer
    epoch would read the rest of that one again (paddlenlp/trainer/trainer.py, `_inner_training_loop`, 3.0.0b4).

    Returns:
        Where it would have begun; 0 where there was nothing to do.
    """
    sampler: Any = getattr(dataloader, "batch_sampler", None)
    if not _is_pretraining(sampler) or not sampler.consumed_samples:
        return 0
    found, sampler.consumed_samples = int(sampler.consumed_samples), 0
    return found


def _is_pretraining(sampler: Any) -> bool:
    """Whether it is the sampler of ``run_pretrain.py``, and no subclass with a reading order of its own."""
    own = DistributedBatchSampler
    return isinstance(sampler, own) and type(sampler).__iter__ is own.__iter__
