"""Random runs, what ``plan --host`` foretells of them, and what the hosts build of them: in one form, to be compared.

The form: for each dataset its documents, tokens, data epochs, samples asked for and built, the position at which its
last data epoch begins (None if that is shuffled with the others), and the position of the run that first draws from
it; and the positions of the run. If a host does not build a run, it is the word that says why: ``empty`` or
``oversampled``.
"""

import contextlib
import io
import json
import random
import re
from dataclasses import asdict, dataclass

import numpy as np

import corpora
from caches import cli
from hosts import build_train_valid_test_datasets
from megatron_package import host
from paddle_epoch_guard.host import library

DOCUMENTS = (1, 2, 3, 5, 7, 10, 13, 20, 33, 40, 50, 60, 77, 100, 128, 200, 333, 500, 750, 1000)
SPLITS = (
    "900,60,40", "90,8,2", "0.7,0.2,0.1", "949,50,1", "100", "969, 30, 1", "98,1,1", "80/20", "8/1/1", "1,1,1",
    "95,5,0", "99,1", "0.95,0.05", "999,1,0", "50,25,25", "33.3,33.3,33.4", ".6,.3,.1", "100,0,0", "90,0,10",
    "0.5,0,0.5", "7,2,1", "85,14,1", "2,1,0", "5", "1.0,0.0,0.0", "89.5,10.5,0", "0.001,0.0005,0", "6/3/1",
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A run."""

    data: tuple[str, ...]
    """One prefix; or weight, prefix, weight, prefix and so on."""
    split: str
    seq_length: int
    batch: int
    steps: int

    @property
    def prefixes(self):
        return self.data[1::2] if len(self.data) > 1 else self.data

    @property
    def weights(self):
        return [float(weight) for weight in self.data[::2]] if len(self.data) > 1 else None

    @property
    def samples(self):
        return self.batch * self.steps


def write_corpora(folder):
    """A corpus of each number of documents; their prefixes and tokens."""
    drawn = random.Random(7)
    sizes = {count: [drawn.randint(1, 60) for _ in range(count)] for count in DOCUMENTS}
    return {corpora.write_corpus(folder / f"text{count}", of_each): sum(of_each) for count, of_each in sizes.items()}


def planned_runs(tokens, count, seed, separators=",/"):
    """``count`` random runs over corpora, of one to ten datasets.

    Args:
        tokens: prefix -> tokens.
        count: of runs.
        seed: of the random numbers.
        separators: that the host knows between shares.
    """
    drawn = random.Random(seed)
    return [_planned_run(drawn, tokens, separators) for _ in range(count)]


def _planned_run(drawn, tokens, separators):
    seq_length, batch = drawn.choice((1, 3, 8, 16, 31, 64, 200)), drawn.choice((1, 2, 4, 7, 16))
    datasets = drawn.choice((0, 0, 0, 1, 2, 2, 3, 4, 9, 10))
    known = list(tokens)
    known = drawn.choice((known, known[len(known) // 2 :], known[-3:]))  # small corpora seldom fill all splits
    prefixes = [drawn.choice(known) for _ in range(max(datasets, 1))]
    smallest = min(max(tokens[prefix] // seq_length, 1) for prefix in prefixes)
    samples = min(max(int(smallest * max(datasets, 1) * drawn.uniform(0.1, 5)), 1), 20_000)
    data = [prefixes[0]] if not datasets else [word for prefix in prefixes for word in (_weight(drawn), prefix)]
    return Planned(tuple(data), _split(drawn, separators), seq_length, batch, max(samples // batch, 1))


def _weight(drawn):
    share = round(drawn.uniform(0.1, 1), drawn.choice((2, 3)))
    return str(drawn.choice((drawn.randint(1, 9), drawn.randint(1, 1000), share)))


def _split(drawn, separators):
    if drawn.random() < 0.4:
        return drawn.choice(SPLITS)
    shares = [drawn.choice((drawn.randint(1, 999), round(drawn.uniform(1, 100), 1), drawn.randint(50, 99)))]
    for _ in range(drawn.randint(0, 2)):
        shares.append(drawn.choice((0, drawn.randint(0, 60), round(drawn.uniform(0, 9), 2))))
    return drawn.choice(separators).join(map(str, shares))


def foretold(host, run):
    """What ``plan`` says of a run."""
    status, out, err = cli(
        "plan", *run.data, "--host", host, "--split", run.split, "--seq-length", run.seq_length,
        "--global-batch", run.batch, "--max-steps", run.steps, "--json",
    )  # fmt: skip
    if status:
        assert "the train split" in err, err
        return "empty"
    facts = json.loads(out)
    never_built = "never ends" if host == "megatron" else "stops when it builds the blend"
    if any(never_built in note for note in facts["notes"]):
        return "empty"
    if any("mid_level_dataset_surplus" in warning for warning in facts["warnings"]):
        return "oversampled"
    assert facts["samples_requested"] == run.samples
    parts = facts.get("datasets", [facts])
    assert all(part.get("boundary_is_exact") is not False for part in parts)
    starts = [part["samples_requested"] - part["last_epoch_samples"] if part["separated"] else None for part in parts]
    datasets = [
        Dataset(
            part["documents"], part["tokens_per_epoch"], part["num_epochs"], part["samples_requested"],
            part["samples_built"], start, part["boundary_position"],
        )
        for part, start in zip(parts, starts, strict=True)
    ]  # fmt: skip
    return in_form(datasets, facts["samples_built"])


@dataclass(frozen=True)
class Dataset:
    """What is compared of one dataset."""

    documents: int
    tokens: int
    epochs: int
    asked: int
    built: int
    start: int | None
    reached: int | None


def in_form(datasets, positions):
    """The form of a run."""
    return {"datasets": [asdict(one) for one in datasets], "positions": positions}


def reached_in(dataset_index, dataset_sample_index, number, start, samples):
    """The position of a run that first draws beyond the start of a dataset's last epoch; None if none does."""
    if start is None:
        return None
    which, inner = np.asarray(dataset_index[:samples]), np.asarray(dataset_sample_index[:samples])
    beyond = np.flatnonzero((which == number) & (inner >= start))
    return int(beyond[0]) if len(beyond) else None


@contextlib.contextmanager
def watched():
    """Gives where the Paddle library begins the last data epoch: digest of an index -> position, or None."""
    host = library.import_host("data.causal_dataset")
    mappings, shuffle = host._build_index_mappings, host._build_shuffle_idx
    starts, last = {}, []

    def shuffled(start, total, random_state):
        last.append(None if start == total else start)
        return shuffle(start, total, random_state)

    def mapped(*arguments, **named):
        made = mappings(*arguments, **named)
        if last:  # else it lay in the cache
            starts[made[4]] = last.pop()
        return made

    host._build_index_mappings, host._build_shuffle_idx = mapped, shuffled
    try:
        yield starts
    finally:
        host._build_index_mappings, host._build_shuffle_idx = mappings, shuffle


def built_by_paddle(run, cache):
    """What the Paddle library that is installed builds of a run, in an empty cache."""
    try:
        with watched() as starts, contextlib.redirect_stdout(io.StringIO()):
            # Of 0 samples, it builds no blend.
            train, _, _ = build_train_valid_test_datasets(
                list(run.data), "mmap", run.split, [run.samples, 1, 1], run.seq_length, 1, skip_warmup=True,
                data_cache_path=str(cache),
            )  # fmt: skip
    except AssertionError:  # of `BlendableDataset`: fewer datasets than weights
        return "empty"
    if train is None:
        return "empty"
    datasets = []
    for number, part in enumerate(train.datasets if run.weights else [train]):
        start = reached = starts[part.desc_hash]
        documents, sizes = np.unique(part.doc_idx), np.asarray(part.indexed_dataset.sizes)
        assert documents.tolist() == list(range(len(documents)))
        if run.weights:
            reached = reached_in(train.dataset_index, train.dataset_sample_index, number, start, run.samples)
        asked = int(re.search(r"Number of samples (\d+)", part.desc)[1])
        epochs = len(part.doc_idx) // len(documents)
        tokens = int(sizes[documents].sum())
        datasets.append(Dataset(len(documents), tokens, epochs, asked, len(part), start, reached))
    return in_form(datasets, len(train))


def built_by_megatron(runs, cache):
    """What megatron-core builds of each run, in empty folders of ``cache``."""
    jobs = [
        {
            "prefixes": list(run.prefixes), "weights": run.weights, "samples": [run.samples, 0, 0],
            "seq_length": run.seq_length, "seed": 1, "split": run.split, "cache": str(cache / str(number)),
            "told": "layout",
        }
        for number, run in enumerate(runs)
    ]  # fmt: skip
    return [_in_form_of_megatron(run, built) for run, built in zip(runs, host(jobs), strict=True)]


def _in_form_of_megatron(run, built):
    if "error" in built:
        return {"OverflowError": "empty", "IndexError": "oversampled"}.get(built["error"], built["error"])
    if built["train"] is None:
        return "empty"
    draws, datasets = built["train"].get("draws"), []
    for number, part in enumerate(built["train"]["datasets"]):
        reached = part["start"] if draws is None else reached_in(*draws, number, part["start"], run.samples)
        datasets.append(Dataset(**part, reached=reached))
    return in_form(datasets, built["train"]["positions"])


def differences(runs, foretold_of, built):
    """The runs of which something else is foretold than what is built, with both."""
    triples = ((run, foretold_of(run), one) for run, one in zip(runs, built, strict=True))
    return [(run, said, one) for run, said, one in triples if said != one]
