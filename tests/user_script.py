"""A pretraining script as its users have it, in the manner of PaddleNLP's llm/run_pretrain.py."""

# ruff: noqa: UP045 - PdArgumentParser (paddlenlp 3.0.0b4) knows no str | None

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import paddle
from paddlenlp.data.causal_dataset import build_train_valid_test_datasets
from paddlenlp.trainer import (
    PdArgumentParser,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_last_checkpoint,
    set_seed,
)
from paddlenlp.utils.batch_sampler import DistributedBatchSampler


@dataclass
class PreTrainingArguments(TrainingArguments):
    min_learning_rate: float = field(default=1e-5, metadata={"help": "Minimum learning rate."})


@dataclass
class DataArguments:
    input_dir: Optional[str] = field(default=None, metadata={"help": "Prefix of the corpus."})
    split: str = field(default="100,0,0", metadata={"help": "Train/valid/test data split."})
    max_seq_length: int = field(default=8, metadata={"help": "Tokens of a sample."})
    data_cache: Optional[str] = field(default=None, metadata={"help": "Folder of the sample index."})


@dataclass
class ModelArguments:
    vocab_size: int = field(default=1024, metadata={"help": "Size of the vocabulary."})
    hidden_size: int = field(default=16, metadata={"help": "Width of the model."})
    continue_from: Optional[str] = field(default=None, metadata={"help": "Checkpoint of another run to go on from."})


class BigramModel(paddle.nn.Layer):
    def __init__(self, vocab_size, hidden_size):
        super().__init__()
        self.embedding = paddle.nn.Embedding(vocab_size, hidden_size)
        self.head = paddle.nn.Linear(hidden_size, vocab_size)
        self.loss_func = paddle.nn.CrossEntropyLoss(reduction="none")
        self.first_tokens = []

    def forward(self, input_ids, labels=None):
        if self.training:
            self.first_tokens += input_ids[:, 0].tolist()
        logits = self.head(self.embedding(input_ids))
        return self.loss_func(logits, labels.unsqueeze(-1)).mean(), logits


class PretrainingTrainer(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.is_pretraining = True

    def _get_train_sampler(self):
        return DistributedBatchSampler(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=False,
            num_replicas=self.args.dataset_world_size,
            rank=self.args.dataset_rank,
            drop_last=self.args.dataloader_drop_last,
        )


class SaveAtTheEighth(TrainerCallback):
    """Added late: whoever must see every save has to come after it."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 8:
            control.should_save = True


def collate(samples):
    tokens = np.stack([sample["text"] for sample in samples])
    return {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}


def main():
    parser = PdArgumentParser((ModelArguments, DataArguments, PreTrainingArguments))
    if len(sys.argv) >= 2 and sys.argv[1].endswith(".json"):
        model_args, data_args, training_args = parser.parse_json_file_and_cmd_lines()
    else:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses()

    paddle.set_device(training_args.device)
    set_seed(seed=training_args.seed)

    last_checkpoint = None
    if os.path.isdir(training_args.output_dir) and not training_args.overwrite_output_dir:
        last_checkpoint = get_last_checkpoint(training_args.output_dir)

    global_batch = (
        training_args.per_device_train_batch_size
        * training_args.gradient_accumulation_steps
        * training_args.dataset_world_size
    )
    train_dataset, _, _ = build_train_valid_test_datasets(
        data_prefix=[data_args.input_dir],
        data_impl="mmap",
        splits_string=data_args.split,
        train_val_test_num_samples=[training_args.max_steps * global_batch, 0, 0],
        seq_length=data_args.max_seq_length,
        seed=training_args.seed,
        skip_warmup=True,
        data_cache_path=data_args.data_cache,
    )
    model = BigramModel(model_args.vocab_size, model_args.hidden_size)
    trainer = PretrainingTrainer(model=model, args=training_args, data_collator=collate, train_dataset=train_dataset)
    trainer.add_callback(SaveAtTheEighth())

    checkpoint = model_args.continue_from or training_args.resume_from_checkpoint or last_checkpoint
    if training_args.do_train:
        trainer.train(resume_from_checkpoint=checkpoint)
        found = f"first_tokens.{training_args.process_index}.json"
        with open(os.path.join(training_args.output_dir, found), "w") as stream:
            json.dump(model.first_tokens, stream)
    print("arguments:", sys.argv[1:], flush=True)
    if training_args.world_size > 1:
        os._exit(0)  # gloo's first rank sometimes aborts as the interpreter ends, without the guard as well


if __name__ == "__main__":
    main()
