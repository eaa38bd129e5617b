"""Pretraining as PaddleNLP's ``llm/run_pretrain.py`` does it, in a few dozen lines."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hosts import DistributedBatchSampler, Trainer, TrainerCallback, TrainingArguments, build_train_valid_test_datasets
from paddle_epoch_guard import EpochGuardArguments


@dataclass
class PreTrainingArguments(EpochGuardArguments, TrainingArguments):
    """The trainer's arguments and the guard's."""


class PretrainingTrainer(Trainer):
    """A Trainer that reads the sample index in its own order, as ``run_pretrain.py`` does."""

    def _get_train_sampler(self):
        return DistributedBatchSampler(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=False,
            num_replicas=self.args.dataset_world_size,
            rank=self.args.dataset_rank,
            drop_last=self.args.dataloader_drop_last,
        )


class StopAt(TrainerCallback):
    """Saves a checkpoint at a step and stops there, as a run that is interrupted."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        """Saves and stops at the step."""
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def collate(samples):
    """Splits samples of L + 1 tokens into ``input_ids`` and ``labels``, ``[b, L]`` each.

    Arrays, not tensors: a loader's worker processes cannot make tensors.
    """
    tokens = np.stack([sample["text"] for sample in samples])
    return {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}


@contextlib.contextmanager
def quiet():
    """Keeps what the host's builders print, some of it from C++, off the screen."""
    sys.stdout.flush()
    screen = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        sys.stdout.flush()
    finally:
        os.dup2(screen, 1)
        os.close(screen)
        os.close(nowhere)


def build_datasets(prefixes, args, seq_length, split="95,5,0", cache=None, valid_samples=1):
    """The train and validation datasets that PaddleNLP builds for a run.

    Args:
        prefixes: one corpus prefix, or a blend as ``[weight, prefix, weight, prefix, ...]``.
        args: training arguments; ``max_steps`` and the batch sizes decide how many samples are asked for.
        seq_length: L.
        split: shares of train, validation and test.
        cache: folder for the index files; beside the corpus where None.
        valid_samples: how many samples of the held-out split are asked for.
    """
    global_batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.dataset_world_size
    if cache is not None:
        Path(cache).mkdir(parents=True, exist_ok=True)
    with quiet():
        train, valid, _ = build_train_valid_test_datasets(
            data_prefix=list(prefixes),
            data_impl="mmap",
            splits_string=split,
            train_val_test_num_samples=[args.max_steps * global_batch, valid_samples, 0],
            seq_length=seq_length,
            seed=args.seed,
            skip_warmup=True,
            data_cache_path=None if cache is None else str(cache),
        )
    return train, valid
