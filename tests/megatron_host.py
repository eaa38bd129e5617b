"""Builds and reads datasets with the real megatron-core. Run by the interpreter of ``.venv-megatron``, not imported.

Standard input: a JSON list of jobs, each with ``prefixes``, ``weights``, ``samples``, ``seq_length``, ``seed``,
``split`` (None: the corpora are the train split's) and ``cache``. Where wanted, ``threshold``, the share below which
the last epoch is shuffled apart; ``store``, a folder that stands for object storage; ``subclass``, the name of one of
GPTDataset that is built; and fields of ``GPTDatasetConfig``. Standard output: a JSON list with, for each, what the
splits' datasets draw: ``{"train": [first token of each position], ...}``; or ``{"error": its type}``. With ``told``
``layout``, only the layout of the train split: ``{"train": {"datasets": [...], "positions", "draws"}}``.
"""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import threading
import types
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from megatron.core.datasets import gpt_dataset, indexed_dataset, object_storage_utils
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig


class Tokenizer:
    """What a GPT dataset asks of a tokenizer."""

    vocab_size, eod, pad = 60000, 59999, 59998

    def __init__(self):
        self.unique_identifiers = OrderedDict([("class", "Tokenizer"), ("tokenizer_path", ["some", "where"])])


@contextlib.contextmanager
def threshold_of(share):
    """Lets the host have another threshold, as one who edits its source: it is a constant in a method (0.16.1)."""
    method = GPTDataset._build_document_sample_shuffle_indices
    code = method.__code__
    assert code.co_consts.count(0.80) == 1
    method.__code__ = code.replace(co_consts=tuple(share if one == 0.80 else one for one in code.co_consts))
    try:
        yield
    finally:
        method.__code__ = code


def stand_in_for_object_storage(folder):
    """Lets ``s3://BUCKET/KEY`` be the file BUCKET/KEY of a folder: what the host calls of boto3, and nothing else."""

    class Client:
        def download_file(self, bucket, key, target):
            shutil.copy(Path(folder) / bucket / key, target)

        def get_object(self, Bucket, Key, Range):  # noqa: N803 - boto3's names
            first, last = map(int, Range.removeprefix("bytes=").split("-"))
            return {"Body": io.BytesIO((Path(folder) / Bucket / Key).read_bytes()[first : last + 1])}

        def close(self):
            pass

    storage = types.SimpleNamespace(client=lambda _: Client())
    object_storage_utils.boto3 = indexed_dataset.boto3 = storage


def build(job):
    """The datasets of train, valid and test."""
    with threshold_of(job.pop("threshold", 0.80)):
        return build_as_it_is(job)


def build_as_it_is(job):
    """:func:`build`, with the host's threshold as it is."""
    weights, samples = job.pop("weights", None), job.pop("samples")
    prefixes, cache, split = job.pop("prefixes"), job.pop("cache"), job.pop("split")
    stand_in_for_object_storage(job.pop("store", None))
    name = job.pop("subclass", None)
    kind = type(name, (GPTDataset,), {}) if name else GPTDataset
    blend = prefixes, weights
    data = {"blend": blend, "split": split} if split else {"blend_per_split": [blend, None, None]}
    config = GPTDatasetConfig(
        random_seed=job.pop("seed"),
        sequence_length=job.pop("seq_length"),
        path_to_cache=cache,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        tokenizer=Tokenizer(),
        **data,
        **job,
    )
    return BlendedMegatronDatasetBuilder(kind, samples, lambda: True, config).build()


def first_tokens(dataset):
    """The first token that each position draws."""
    return [int(dataset[position]["tokens"][0]) for position in range(len(dataset))]


def layout(dataset):
    """Of which parts a dataset is, and what a blend draws of each."""
    parts = getattr(dataset, "datasets", [dataset])
    found = {"datasets": [layout_of_part(part) for part in parts], "positions": len(dataset)}
    if parts != [dataset]:
        found["draws"] = [dataset.dataset_index.tolist(), dataset.dataset_sample_index.tolist()]
    return found


def layout_of_part(part):
    """Documents, tokens, data epochs, samples asked for and built, and where the last data epoch starts."""
    documents = numpy.unique(part.document_index)
    assert documents.tolist() == list(range(len(documents)))
    return {
        "documents": len(documents), "tokens": int(part.dataset.sequence_lengths[documents].sum()),
        "epochs": len(part.document_index) // len(documents), "asked": part.num_samples,
        "built": len(part.shuffle_index), "start": part.start_of_last_epoch,
    }  # fmt: skip


def shuffled(start, total, random_state, original=gpt_dataset._build_shuffle_index):
    """The host's, but that it keeps where the last data epoch starts."""
    building.start = None if start == total else start
    return original(start, total, random_state)


def made(dataset, *arguments, original=GPTDataset.__init__):
    """The same."""
    vars(building).clear()
    original(dataset, *arguments)
    index = dataset.unique_description_hash, dataset.index_split, dataset.config.path_to_cache
    dataset.start_of_last_epoch = starts.setdefault(index, vars(building).get("start"))  # else it lay in the cache


building, starts = threading.local(), {}


def tokens_of_an_epoch(dataset, original=GPTDataset._get_num_tokens_per_epoch):
    """The host's, but that it does not add up empty data epochs for ever."""
    tokens = original(dataset)
    if tokens == 0:
        raise OverflowError
    return tokens


def main():
    """Does the jobs."""
    GPTDataset._get_num_tokens_per_epoch = tokens_of_an_epoch
    gpt_dataset._build_shuffle_index = shuffled
    GPTDataset.__init__ = made
    torch.distributed.init_process_group("gloo", init_method=f"file://{tempfile.mktemp()}", rank=0, world_size=1)
    found = []
    for job in json.load(sys.stdin):
        told = job.pop("told", None)
        try:
            splits = dict(zip(("train", "valid", "test"), build(job), strict=True))
            if told == "layout":
                train = splits["train"]
                found.append({"train": None if train is None else layout(train)})
                continue
            found.append({name: first_tokens(dataset) for name, dataset in splits.items() if dataset is not None})
        except Exception as cause:  # what stops a run
            found.append({"error": type(cause).__name__})
    torch.distributed.destroy_process_group()
    json.dump(found, sys.stdout)


main()
