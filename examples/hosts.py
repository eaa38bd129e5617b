"""The library that trains, by the names that the examples use: PaddleNLP, or PaddleFormers where that is installed.

A script of your own imports its library as it always does; these run on either.
"""

from paddle_epoch_guard.host import library

NAME = library.NAME
"""``paddlenlp`` or ``paddleformers``."""

Trainer = library.part("trainer").Trainer
TrainerCallback = library.part("trainer").TrainerCallback
TrainingArguments = library.part("trainer").TrainingArguments
DistributedBatchSampler = library.part("utils.batch_sampler").DistributedBatchSampler
build_train_valid_test_datasets = library.part("data.causal_dataset").build_train_valid_test_datasets
make_builder = library.part("data.indexed_dataset").make_builder
logger = library.part("utils.log").logger
LlamaConfig = library.part("transformers").LlamaConfig
LlamaForCausalLM = library.part("transformers").LlamaForCausalLM

CPU_ARGUMENTS = {}
"""Training arguments without which the library does not train, save and resume on a CPU."""
if NAME == "paddleformers":
    # 1.2.0: a master gradient is refused without mixed precision; sharding, its way of data parallelism, asks for one;
    # and its own checkpoint format for groups of processes.
    CPU_ARGUMENTS = {
        "amp_master_grad": False,
        "sharding": "",
        "save_checkpoint_format": None,
        "load_checkpoint_format": None,
    }
