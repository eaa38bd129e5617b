"""The library that trains, by the names that the examples use: PaddleNLP, or PaddleFormers where that is installed.

A script of your own imports its library as it always does; these run on either.
"""

from paddle_epoch_guard.host import library

NAME = library.NAME
"""``paddlenlp`` or ``paddleformers``."""

Trainer = library.import_host("trainer").Trainer
TrainerCallback = library.import_host("trainer").TrainerCallback
TrainingArguments = library.import_host("trainer").TrainingArguments
DistributedBatchSampler = library.import_host("utils.batch_sampler").DistributedBatchSampler
build_train_valid_test_datasets = library.import_host("data.causal_dataset").build_train_valid_test_datasets
make_builder = library.import_host("data.indexed_dataset").make_builder
logger = library.import_host("utils.log").logger
LlamaConfig = library.import_host("transformers").LlamaConfig
LlamaForCausalLM = library.import_host("transformers").LlamaForCausalLM

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
