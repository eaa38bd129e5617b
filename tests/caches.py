"""Caches of the three hosts for the tests, and the command line that reads them."""

import contextlib
import hashlib
import io
import json
from pathlib import Path

import numpy as np

from paddle_epoch_guard.cli.app import run


def cli(*arguments):
    """Runs a command in this process; its exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def told(*arguments):
    """What a command prints with ``--json``."""
    status, out, err = cli(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(*arguments, status=1):
    """The one line with which a command refuses; nothing on standard output."""
    exit_status, out, err = cli(*arguments, "--json")
    assert (exit_status, out) == (status, ""), err
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("paddle-epoch-guard: ").strip()


def contents(folder):
    """Every file below a folder, with what is in it and when it was changed."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def identifiers(prefix, samples, seq_length, seed=1, split="100,0,0", matrix=((0, 1.0), None, None), name="train"):
    """What megatron-core 0.12 to 0.16 describes a dataset by."""
    return {
        "class": "GPTDataset",
        "dataset_path": str(prefix),
        "num_samples": samples,
        "index_split": name,
        "random_seed": seed,
        "sequence_length": seq_length,
        "split": split,
        "split_matrix": matrix,
        "tokenizer": {"class": "Tokenizer", "tokenizer_path": ["some", "where"]},
    }


def write_megatron(folder, described, arrays, kind="GPTDataset", name="train"):
    """Writes one index as megatron-core does; its md5.

    Args:
        folder: is made.
        described: the identifiers.
        arrays: name of the file's ending -> array.
        kind: the class.
        name: of the split.
    """
    text = json.dumps(described, indent=4)
    digest = hashlib.md5(text.encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{digest}-{kind}-{name}"
    (folder / f"{stem}-description.txt").write_text(text)
    for ending, array in arrays.items():
        np.save(folder / f"{stem}-{ending}.npy", np.asarray(array))
    return digest


def as_megatron(folder, dataset, prefix, samples, seq_length, seed=1):
    """Writes the index of PaddleNLP's dataset as megatron-core would build it: the arrays are the same."""
    arrays = {
        "document_index": dataset.doc_idx, "sample_index": dataset.sample_idx, "shuffle_index": dataset.shuffle_idx
    }  # fmt: skip
    return write_megatron(folder, identifiers(prefix, samples, seq_length, seed), arrays)


def as_megatron_blend(folder, dataset, parts, weights, seq_length):
    """Writes PaddleNLP's blend as megatron-core would.

    Args:
        folder: is made.
        dataset: the live blend.
        parts: ``(prefix, samples)`` of each dataset.
        weights: normalised.
        seq_length: L.
    """
    for part, (prefix, samples) in zip(dataset.datasets, parts, strict=True):
        as_megatron(folder, part, prefix, samples, seq_length)
    described = {
        "class": "BlendedDataset",
        "datasets": [identifiers(prefix, samples, seq_length) for prefix, samples in parts],
        "split": "train",
        "weights": weights,
        "size": len(dataset),
    }
    arrays = {"dataset_index": dataset.dataset_index, "dataset_sample_index": dataset.dataset_sample_index}
    return write_megatron(folder, described, arrays, "BlendedDataset")
