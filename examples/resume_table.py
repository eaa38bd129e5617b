"""What becomes of the data when a run is resumed with other arguments: PaddleNLP alone, and with the guard.

    .venv/bin/python examples/resume_table.py

Trains tiny runs on a small corpus in which every token is different, stops each at step 20 of 60, resumes it under
a change, and counts how often each token was drawn. A run over 1.6 data epochs should draw every token once or twice:
a token drawn more often was doubled, one that was not drawn was lost.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")  # paddle's own start-up lines

import numpy as np
import paddle
from paddlenlp.data.indexed_dataset import make_builder
from paddlenlp.trainer import TrainerCallback
from paddlenlp.utils.log import logger

from paddle_epoch_guard import EpochGuardCallback
from pretraining import PreTrainingArguments, PretrainingTrainer, build_datasets, collate, quiet

SEQ_LENGTH, BATCH, STEPS, STOP = 16, 8, 60, 20
SIZES = [13 + 41 * document % 150 for document in range(80)]

CHANGES = {
    "nothing": {},
    "batch doubled, half the steps left": {"per_device_train_batch_size": 2 * BATCH, "max_steps": 40},
    "batch doubled, as many steps": {"per_device_train_batch_size": 2 * BATCH},
    "accumulation of 2, as many steps": {"gradient_accumulation_steps": 2},
    "`max_steps` 60 to 70": {"max_steps": 70},
    "`max_steps` 60 to 150": {"max_steps": 150},
    "`max_steps` 60 to 45": {"max_steps": 45},
}


class OneNumber(paddle.nn.Layer):
    """A model with nothing to learn."""

    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([1])

    def forward(self, input_ids, labels=None):
        """A loss that does not depend on the data."""
        return (self.weight * self.weight).sum(), input_ids


class Record(TrainerCallback):
    """Counts the tokens that are trained on, and stops where it is told to."""

    def __init__(self, counts, stop=None):
        self.counts = counts
        self.stop = stop

    def on_load_data_end(self, args, state, control, inputs, **kwargs):
        """Counts a batch."""
        np.add.at(self.counts, inputs["input_ids"].numpy().ravel(), 1)

    def on_step_end(self, args, state, control, **kwargs):
        """Saves and stops, as a run that is interrupted."""
        if state.global_step == self.stop:
            control.should_save = control.should_training_stop = True


def train(folder, prefix, counts, mode, stop=None, resume=None, **changes):
    """One part of a run."""
    values = {"max_steps": STEPS, "per_device_train_batch_size": BATCH, **changes}
    args = PreTrainingArguments(
        output_dir=str(folder), logging_dir=str(folder / "logs"), save_strategy="no", logging_steps=1000,
        report_to=[], disable_tqdm=True, seed=42, epoch_guard=mode, **values,
    )  # fmt: skip
    dataset, _ = build_datasets([prefix], args, SEQ_LENGTH, split="100,0,0")
    with paddle.utils.unique_name.guard():
        trainer = PretrainingTrainer(
            model=OneNumber(),
            args=args,
            train_dataset=dataset,
            data_collator=collate,
            callbacks=[EpochGuardCallback(), Record(counts, stop)],
        )
        trainer.train(resume_from_checkpoint=resume)


def spoilt(folder, prefix, mode, changes):
    """Tokens doubled and lost by a run that is resumed under ``changes``."""
    counts = np.zeros(sum(SIZES), dtype=np.int64)
    train(folder, prefix, counts, mode, stop=STOP)
    train(folder, prefix, counts, mode, resume=str(folder / f"checkpoint-{STOP}"), **changes)
    # Samples end where they end, not where an epoch does: a run may be a token short or over at each of its ends.
    low, high = divmod(int(counts.sum()), len(counts))
    doubled = np.maximum(counts - (low + (high > 0)), 0).sum()
    lost = np.maximum(low - counts, 0).sum()
    return int(doubled), int(lost)


def main():
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logger.set_level("ERROR")
    print(f"| resumed with | PaddleNLP alone: tokens doubled / lost, of {sum(SIZES):,} | with the guard |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / "text"
        builder = make_builder(f"{prefix}.bin", "mmap", np.uint16)
        for first, size in zip(np.cumsum([0, *SIZES[:-1]]), SIZES, strict=True):
            builder.add_item(np.arange(first, first + size))
            builder.end_document()
        with quiet():
            builder.finalize(f"{prefix}.idx")
        for at, (name, changes) in enumerate(CHANGES.items()):
            cells = []
            for mode in ("off", "track"):
                with quiet():
                    doubled, lost = spoilt(Path(scratch) / f"{mode}-{at}", str(prefix), mode, changes)
                cells.append(f"{doubled:,} / {lost:,}")
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
