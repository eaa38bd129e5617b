"""What of an index depends on the host that builds it: the split, and how much a blend asks of each dataset.

All else is the same in all hosts: the number of data epochs, the samples built, and whether the last data epoch is
shuffled apart (:mod:`~paddle_epoch_guard.index.layout`), and from which dataset a blend draws next
(:mod:`~paddle_epoch_guard.index.blend_lookup`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from paddle_epoch_guard.index.blend_lookup import shares_by_numpy, shares_by_python
from paddle_epoch_guard.index.description import empty_splits, split_documents
from paddle_epoch_guard.index.megatron_split import documents_of, empty_in_megatron, matrix_of

MARGIN = 1.005
"""Both ask a dataset of a blend for half a percent more than its share."""


@dataclass(frozen=True)
class HostRules:
    """The rules of one host."""

    name: str
    """As ``--host`` takes it."""
    title: str
    """As its own documentation calls it."""
    format: str
    """Of its cache."""
    default_split: str
    documents: Callable[[str, str, int], tuple[int, int]]
    """Split, name of the split and number of documents -> the documents ``[start, stop)``; or CorpusError."""
    empty_splits: Callable[[str, int], tuple[str, ...]]
    """Split and number of documents -> the splits that have a share, but no documents."""
    shares: Callable[[Sequence[float]], tuple[float, ...]]
    """The weights of a blend -> the same normalised, with the host's rounding."""
    asked: Callable[[int, float], int]
    """Samples of a run and share of a dataset -> the samples that a blend asks the dataset for."""
    spare: int
    """At most so many are asked for beyond :data:`MARGIN`, less one."""
    positions: Callable[[int, Sequence[float]], int]
    """Samples of a run and shares -> positions of a blend."""
    is_guarded: bool = True
    """Whether its trainer takes the guard."""
    takes_zero: bool = True
    """Whether a weight of a blend may be 0."""
    suffix: str = ""
    """What may follow a prefix and is not part of it."""


# `get_datasets_weights_and_num_samples` in paddlenlp/data/causal_dataset.py (3.0.0b4), and PaddleFormers 1.2.0's.
PADDLENLP = HostRules(
    name="paddlenlp",
    title="PaddleNLP",
    format="paddlenlp",
    default_split="949,50,1",  # llm/run_pretrain.py
    documents=split_documents,
    empty_splits=empty_splits,
    shares=shares_by_python,
    asked=lambda samples, share: math.ceil(samples * share * MARGIN) + 20,
    spare=20,
    positions=lambda samples, _: samples,
)
# `_build_train_valid_test_datasets` takes the suffix off; the split is that of cli/hparams/data_args.py.
PADDLEFORMERS = replace(PADDLENLP, name="paddleformers", title="PaddleFormers", default_split="950,50", suffix="::CPT")


# `_get_size_per_split_per_dataset` in blended_megatron_dataset_builder.py and `normalize` in utils.py (megatron-core
# 0.16.1). Its configuration has no default split; Megatron-LM's `validate_args` has.
MEGATRON = HostRules(
    name="megatron",
    title="megatron-core",
    format="megatron",
    default_split="969,30,1",
    documents=lambda split, name, documents: documents_of(matrix_of(split), name, split, documents),
    empty_splits=lambda split, documents: empty_in_megatron(matrix_of(split), documents),
    shares=shares_by_numpy,
    asked=lambda samples, share: math.ceil(math.ceil(samples * share) * (1 + 0.005)),
    spare=2,
    positions=lambda samples, shares: sum(math.ceil(samples * share) for share in shares),
    is_guarded=False,
    takes_zero=False,  # `BlendedDataset` asserts it
)
HOSTS = {rules.name: rules for rules in (PADDLENLP, PADDLEFORMERS, MEGATRON)}
