"""The sampler of ``run_pretrain.py``: PaddleNLP's own ``DistributedBatchSampler``.

In paddleformers 1.2.0, ``deepseek_v3_pretrain`` and ``ernie_pretrain`` use it. Its true start is its own
``consumed_samples``: the trainer's state is reset before ``on_train_begin`` (trainer/trainer.py,
`_inner_training_loop`).
"""

from typing import Any

from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.protocols import Dataloader
from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.reading import PretrainingReading, UnknownReading

DistributedBatchSampler = library.import_host("utils.batch_sampler").DistributedBatchSampler


def _is_pretraining(sampler: object) -> bool:
    """Whether this is the sampler of ``run_pretrain.py``, not a subclass with an order of its own."""
    own = DistributedBatchSampler
    return isinstance(sampler, own) and type(sampler).__iter__ is own.__iter__


def _reading(setup: LoaderSetup) -> PretrainingReading | UnknownReading:
    sampler = setup.sampler
    if not _is_pretraining(sampler):
        return setup.unknown()
    ranks = int(sampler.nranks)
    ahead = Segment(
        first_step=setup.state.global_step + 1,
        start=int(sampler.consumed_samples),
        micro_batch=int(sampler.batch_size),
        accumulation=setup.accumulation,
        world_size=ranks,
        # paddlenlp 2.8.1 rounds up, to positions that the dataset does not have.
        stop=min(int(sampler.total_size), len(sampler.dataset) // ranks * ranks),
        drop_last=bool(sampler.drop_last),
    )
    return PretrainingReading(ahead)


def start_sampler(dataloader: Dataloader, position: int, stop: int) -> None:
    """Makes the pretraining sampler read the positions ``[position, stop)``.

    Args:
        dataloader: the training dataloader; its sampler is the pretraining sampler.
        position: a multiple of the world size.
        stop: a multiple of the world size.
    """
    sampler = dataloader.batch_sampler
    sampler.set_epoch(consumed_samples=position)
    sampler.num_samples = stop // sampler.nranks
    sampler.total_size = stop


def rewind_sampler(dataloader: Dataloader | None) -> int:
    """Makes the pretraining sampler read from position 0.

    On a resume, the trainer sets the sampler to the position where the run stopped, and never resets it: each later
    trainer epoch would only read from there (paddlenlp/trainer/trainer.py, `_inner_training_loop`, 3.0.0b4).

    Returns:
        The position at which it would have begun; 0 if there was nothing to do.
    """
    sampler: Any = getattr(dataloader, "batch_sampler", None)
    if not _is_pretraining(sampler) or not sampler.consumed_samples:
        return 0
    position, sampler.consumed_samples = int(sampler.consumed_samples), 0
    return position


KIND = SamplerKind(
    owns=lambda setup: isinstance(setup.sampler, DistributedBatchSampler), reading=_reading, resumes_by_itself=True
)
