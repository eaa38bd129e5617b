"""Lets PaddleFormers 1.2.0's pretraining workflow (stage ``dsv3_pretrain``) train without a GPU.

Its launcher, parsers, dataset, sampler and Trainer are its own. Its model is not: the layers of DeepSeek-V3 import
kernels that there are for GPUs only (``paddlefleet_ops``). A tiny model takes its place, and keeps what it saw.
"""

import json
import os
import sys
from types import ModuleType


class Stand(ModuleType):
    """A module of PaddleFormers that needs a GPU. What is asked of it is made then: this runs in every Python."""

    def __getattr__(self, name):
        if name == "DeepseekV3ForCausalLM":
            return tiny_model()
        if name == "get_env_device":
            return lambda: "cpu"
        if name == "DeepseekV2ForCausalLMPipe":
            return None
        raise AttributeError(name)


def tiny_model():
    """A class of models as the workflow makes them."""
    import paddle

    class Bigrams(paddle.nn.Layer):
        @classmethod
        def from_config(cls, config, dtype):
            return cls(config)

        def __init__(self, config):
            super().__init__()
            self.embedding = paddle.nn.Embedding(config.vocab_size, 4)
            self.head = paddle.nn.Linear(4, config.vocab_size)
            self.loss_func = paddle.nn.CrossEntropyLoss(reduction="none")

        def forward(self, input_ids, labels=None):
            with open(f"drawn{os.environ.get('PADDLE_TRAINER_ID', '0')}.jsonl", "a") as stream:
                print(json.dumps(input_ids[:, 0].tolist()), file=stream)
            return self.loss_func(self.head(self.embedding(input_ids)), labels.unsqueeze(-1)).mean()

    return Bigrams


_TRAIN = "paddleformers.cli.train.deepseek_v3_pretrain"
for _name in ("paddleformers.transformers.deepseek_v3", f"{_TRAIN}.modeling_pp", f"{_TRAIN}.moe_utils"):
    sys.modules[_name] = Stand(_name)
