"""What ``plan`` predicts, against the indices that PaddleNLP builds."""

import contextlib
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpora
from caches import cli, contents, refused, told
from paddle_epoch_guard.cli.plan_picture import exposures
from paddle_epoch_guard.cli.planned_run import Dataset, Run, run_of
from paddle_epoch_guard.cli.planning import facts_of_run
from paddle_epoch_guard.cli.trial import trial_facts
from paddle_epoch_guard.index.equal_corpora import EqualCorpora
from paddle_epoch_guard.ledger.repeated_data import effective_tokens, worth_of_next_token
from paddle_epoch_guard.order import PositionMap, Reorder

DIALOGUE = tuple(2 + 11 * document % 17 for document in range(60))
"""60 documents, 576 tokens or so."""
_RUN = ("--seq-length", corpora.LENGTH, "--global-batch", 4, "--max-steps", 45, "--split", "100,0,0")


@dataclass
class Built:
    """What the host built, from its log."""

    dataset: object
    epochs: list
    """Of each dataset, counted in its document list."""
    samples: list
    boundaries: list
    """Of each dataset, the first position of the last epoch; None if it is shuffled with the others."""

    def reached(self, dataset):
        """The position of the blend that first draws from beyond a dataset's boundary."""
        if self.boundaries[dataset] is None:
            return None
        blend = self.dataset
        beyond = (blend.dataset_index == dataset) & (blend.dataset_sample_index >= self.boundaries[dataset])
        return int(np.argmax(beyond)) if beyond.any() else None


_numbers = itertools.count()


def build(folder, data, steps, batch, seq_length, split="100,0,0", seed=42):
    """Lets the host build its index in a new cache, and reads its log."""
    from paddlenlp.data.causal_dataset import build_train_valid_test_datasets

    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        dataset, _, _ = build_train_valid_test_datasets(
            [str(word) for word in data], "mmap", split, [steps * batch, 0, 0], seq_length, seed, skip_warmup=True,
            data_cache_path=str(folder / f"cache{next(_numbers)}"),
        )  # fmt: skip
    splits = re.findall(r"building shuffle index with split \[0, (\d+)\) and \[\d+, (\d+)\)", log.getvalue())
    parts = dataset.datasets if len(data) > 1 else [dataset]
    # Each dataset has valid and test indices, too.
    trains = [ends for ends, part in zip(splits[:: len(splits) // len(parts)], parts, strict=True) if part is not None]
    return Built(
        dataset,
        [len(part.doc_idx) // len(set(part.doc_idx.tolist())) for part in parts],
        [len(part) for part in parts],
        [None if low == high else int(low) for low, high in trains],
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with three corpora."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, sizes in (("text", corpora.SIZES), ("code", corpora.SIZES[10:]), ("dialogue", DIALOGUE)):
        corpora.write_corpus(folder / name, sizes)
    return folder


def plan(data, steps, batch, seq_length, *options):
    return told(
        "plan", *data, "--seq-length", seq_length, "--global-batch", batch, "--max-steps", steps,
        "--split", "100,0,0", *options,
    )  # fmt: skip


# Within one epoch; separated; just below, at, above the threshold; whole epochs; many; samples longer than the corpus.
SINGLE = [
    (10, 4, 8), (19, 4, 8), (45, 4, 8), (52, 4, 8), (53, 4, 8), (55, 4, 8), (56, 4, 8), (57, 4, 8), (500, 1, 8),
    (151, 1, 8), (152, 1, 8), (226, 1, 8), (227, 1, 8), (3, 64, 8), (7, 1, 700), (40, 2, 100), (1, 1, 1), (9, 300, 3),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "batch", "seq_length"), SINGLE, ids=str)
def test_the_host_builds_what_was_foretold(corpus, tmp_path, steps, batch, seq_length):
    data = [corpus / "text"]
    facts = plan(data, steps, batch, seq_length)
    built = build(tmp_path, data, steps, batch, seq_length)
    assert [facts["num_epochs"], facts["samples_built"]] == [*built.epochs, *built.samples]
    assert facts["samples_requested"] == steps * batch
    (boundary,) = built.boundaries
    assert (facts["separated"], facts["boundary_position"]) == (boundary is not None, boundary)
    assert facts["boundary_step"] == (None if boundary is None else boundary // batch + 1)
    if boundary is not None:
        assert facts["last_epoch_samples"] == steps * batch - boundary
        assert boundary < steps * batch
    for advice in facts["advice"]:
        assert advice["max_steps"] != steps
        check(advice, build(tmp_path, data, advice["max_steps"], batch, seq_length), tmp_path, data, batch, seq_length)


def check(advice, built, tmp_path, data, batch, seq_length):
    """Checks that an advice holds, and is the nearest of its kind."""
    assert built.boundaries == [None], advice
    steps = advice["max_steps"]
    if advice["kind"] in ("one_epoch", "whole_epoch"):
        assert built.epochs == [1 if advice["kind"] == "one_epoch" else advice["num_epochs"]]
        assert build(tmp_path, data, steps + 1, batch, seq_length).epochs > built.epochs
    else:
        assert advice["kind"] == "threshold"
        assert built.epochs == [advice["num_epochs"]]
        fewer = build(tmp_path, data, steps - 1, batch, seq_length)
        assert fewer.epochs < built.epochs or fewer.boundaries != [None]


def test_advice_says_what_there_is_to_choose(corpus):
    separated = plan([corpus / "text"], 45, 4, 8)
    kinds = [(advice["kind"], advice["max_steps"]) for advice in separated["advice"]]
    assert kinds == [("one_epoch", 18), ("whole_epoch", 37), ("threshold", 53), ("whole_epoch", 56)]
    assert [advice["kind"] for advice in plan([corpus / "text"], 18, 4, 8)["advice"]] == []
    assert [advice["max_steps"] for advice in plan([corpus / "text"], 10, 4, 8)["advice"]] == [18]
    # A batch that is larger than the epoch: no number of steps ends near one.
    assert all(advice["num_epochs"] > 1 for advice in plan([corpus / "text"], 3, 100, 8)["advice"])


@pytest.mark.parametrize("split", ["949,50,1", "80/20", "1", "50,25,25"])
def test_the_split_is_the_hosts(corpus, tmp_path, split):
    data = [corpus / "text"]
    facts = told(
        "plan", *data, "--seq-length", 8, "--global-batch", 4, "--max-steps", 45, "--split", split, "--seed", 5
    )
    built = build(tmp_path, data, 45, 4, 8, split, seed=5)
    assert [facts["num_epochs"], facts["samples_built"], facts["boundary_position"]] == [
        *built.epochs, *built.samples, *built.boundaries
    ]  # fmt: skip
    assert (facts["split"], facts["seed"]) == (split, 5)


BLENDS = [
    ((3, 7), ("text", "code"), 75, 4),
    ((3, 7), ("text", "code"), 62, 4),
    ((0.5, 0.5), ("text", "code"), 90, 4),
    ((1, 1, 1), ("text", "code", "dialogue"), 75, 4),
    ((605, 455.5, 577), ("text", "code", "dialogue"), 100, 8),
    ((1e-3, 1), ("text", "code"), 60, 4),
    ((0.7, 0.2, 0.1), ("dialogue", "text", "text"), 500, 2),
    ((0, 1), ("text", "code"), 60, 4),
    ((2, 0, 1), ("text", "code", "dialogue"), 75, 4),
    ((1,), ("text",), 45, 4),
]


@pytest.mark.parametrize(("weights", "names", "steps", "batch"), BLENDS, ids=str)
def test_the_host_builds_the_blend_that_was_foretold(corpus, tmp_path, weights, names, steps, batch):
    data = [word for weight, name in zip(weights, names, strict=True) for word in (weight, corpus / name)]
    facts = plan(data, steps, batch, 8)
    built = build(tmp_path, data, steps, batch, 8)
    assert [dataset["num_epochs"] for dataset in facts["datasets"]] == built.epochs
    assert [dataset["samples_built"] for dataset in facts["datasets"]] == built.samples
    assert [dataset["separated"] for dataset in facts["datasets"]] == [
        boundary is not None for boundary in built.boundaries
    ]
    reached = [built.reached(at) for at in range(len(names))]
    assert [dataset["boundary_position"] for dataset in facts["datasets"]] == reached
    known = [position for position in reached if position is not None]
    assert (facts["separated"], facts["boundary_position"]) == (bool(known), min(known, default=None))
    for described, position in zip([*facts["datasets"], facts], [*reached, facts["boundary_position"]], strict=True):
        assert described["boundary_step"] == (None if position is None else position // batch + 1)
    drawn = np.bincount(built.dataset.dataset_index, minlength=len(names))
    assert np.abs(drawn - [dataset["samples_drawn"] for dataset in facts["datasets"]]).max() <= len(names) - 1
    assert facts["samples_built"] == facts["samples_requested"] == len(built.dataset)
    for advice in facts["advice"]:
        then = build(tmp_path, data, advice["max_steps"], batch, 8)
        assert [then.reached(at) for at in range(len(names))] == [None] * len(names), advice
        if advice["kind"] == "one_epoch":
            epochs = zip(then.epochs, then.boundaries, strict=True)
            assert all(count - (boundary is not None) <= 1 for count, boundary in epochs)
    if known:
        assert any(advice["kind"] == "no_boundary" for advice in facts["advice"])


def drawn_tokens(dataset, order):
    """``[n, L]``: the tokens that each position of an order draws, as places in the corpus."""
    sizes = np.asarray(dataset.indexed_dataset.sizes, np.int64)
    firsts = np.cumsum(sizes) - sizes
    stream = np.concatenate(
        [np.arange(firsts[document], firsts[document] + sizes[document]) for document in dataset.doc_idx]
    )
    starts = np.cumsum(sizes[dataset.doc_idx]) - sizes[dataset.doc_idx]
    rows = np.asarray(dataset.sample_idx, np.int64)
    begins = (starts[rows[:, 0]] + rows[:, 1])[order]
    return stream[begins[:, None] + np.arange(8)]


def priors_of(tokens):
    """``[n]``: mean number of earlier draws of each position's tokens, counted draw by draw."""
    seen = np.zeros(tokens.max() + 1, np.int64)
    priors = []
    for sample in tokens:  # a sample may hold a token twice, but hardly
        priors.append(seen[sample].mean())
        np.add.at(seen, sample, 1)
    return np.array(priors)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """A corpus of 30,000 tokens, large enough to count shares."""
    random = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("larger")
    return corpora.write_corpus(folder / "text", random.integers(5, 60, 900).tolist())


@pytest.mark.parametrize("epochs", [0.6, 1.4, 1.9, 2.3, 2.85, 4.5])
def test_exposure_and_what_is_never_drawn_are_counted(larger, tmp_path, epochs):
    per_epoch = told("plan", larger, *_RUN)["samples_per_epoch"]
    steps, batch = int(epochs * per_epoch / 10), 10
    facts = plan([larger], steps, batch, 8)
    dataset = build(tmp_path, [larger], steps, batch, 8).dataset
    order, planned = np.asarray(dataset.shuffle_idx, np.int64), steps * batch
    own = drawn_tokens(dataset, order[:planned])
    unified = drawn_tokens(dataset, order[PositionMap([Reorder(0, planned, "uniform", (1,))]).base(range(planned))])
    whole = PositionMap([Reorder(0, len(order), "uniform", (2,))]).base(range(planned))
    counted = {"planned": own, "all": drawn_tokens(dataset, order[whole])}
    for pool, tokens in counted.items():
        unseen = 1 - len(np.unique(tokens)) / facts["tokens_per_epoch"]
        assert facts["unseen_fraction"][pool] == pytest.approx(unseen, abs=0.006), pool
    assert 1 - len(np.unique(unified)) / facts["tokens_per_epoch"] == pytest.approx(
        facts["unseen_fraction"]["planned"], abs=0.006
    )
    priors, mixed = priors_of(own), priors_of(unified)
    run = Run((Dataset(larger, 1.0, facts["tokens_per_epoch"], 900),), 8, batch)
    host_curve, unified_curve = exposures(run, facts)
    at = np.arange(planned) / batch
    boundary = facts["boundary_position"]
    for start, stop in itertools.pairwise(sorted({0, planned, *(() if boundary is None else (boundary,))})):
        for segment in np.array_split(np.arange(start, stop), 6):
            middle = at[segment].mean()
            (which,) = [n for n in range(0, len(host_curve[0]), 2) if host_curve[0][n] * batch == start]
            expected = np.interp(middle, *(axis[which : which + 2] for axis in host_curve))
            assert priors[segment].mean() == pytest.approx(expected, abs=0.06)
            assert mixed[segment].mean() == pytest.approx(np.interp(middle, *unified_curve), abs=0.06)
    if boundary is None:
        assert facts["exposure"] == {"before": None, "after": None}
        assert facts["unified_exposure"] is None
    else:
        assert facts["exposure"]["before"] == pytest.approx(priors[boundary - 60 : boundary].mean(), abs=0.08)
        assert facts["exposure"]["after"] == pytest.approx(priors[boundary:].mean(), abs=0.01)
        assert facts["unified_exposure"] == pytest.approx(mixed[boundary - 400 : boundary + 400].mean(), abs=0.08)


def test_what_a_blend_never_draws_is_counted(larger, corpus, tmp_path):
    data = [2, larger, 1, corpus / "text"]
    facts = plan(data, 300, 10, 8)
    blend = build(tmp_path, data, 300, 10, 8).dataset
    first = blend.dataset_index == 0
    dataset = blend.datasets[0]
    tokens = drawn_tokens(dataset, np.asarray(dataset.shuffle_idx, np.int64)[blend.dataset_sample_index[first]])
    unseen = facts["datasets"][0]["unseen_fraction"]
    assert unseen["planned"] == unseen["all"]  # a blend's pool has no more positions than the run draws
    assert unseen["planned"] == pytest.approx(
        1 - len(np.unique(tokens)) / dataset.indexed_dataset.sizes.sum(), abs=0.006
    )
    assert facts["datasets"][1]["unseen_fraction"]["planned"] == 0


def test_a_plan_of_a_blend_draws_the_mean_of_its_datasets():
    run = Run((Dataset("a", 3.0, 605, 40), Dataset("b", 7.0, 460, 30)), 8, 4)
    facts = facts_of_run(run, 75)
    (steps, exposure), (_, unified) = exposures(run, facts)
    assert steps == [0.0, 62.5, 62.5, 75.0]
    assert exposure[2] - exposure[1] == pytest.approx(0.3)  # one more draw of each token of the first dataset
    assert unified[0] == 0
    assert exposure[0] == 0
    assert exposure[1] < exposure[3]


REPEATED = {
    "equal weights": (["text", "text"], [1, 1], 2.3),
    "one epoch": (["text", "text"], [1, 1], 1.6),
    "unequal weights, the same order": (["text", "text"], [5, 4], 2.8),
    "unequal weights, other orders": (["text", "text"], [3, 1], 2.3),
    "a copy, and another between": (["text", "code", "copy"], [2, 1, 3], 3.4),
    "three times": (["text", "copy", "text"], [1, 1, 1], 4.0),
    "jointly shuffled": (["text", "text"], [2, 1], 5.6),
}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A corpus of 30,000 tokens, a copy of it, and another."""
    sizes = np.random.default_rng(3).integers(5, 60, 900).tolist()
    folder = tmp_path_factory.mktemp("several")
    for name, documents in (("text", sizes), ("copy", sizes), ("code", sizes[:500])):
        corpora.write_corpus(folder / name, documents)
    return folder


@pytest.mark.parametrize(("names", "weights", "epochs"), REPEATED.values(), ids=REPEATED)
def test_a_corpus_that_is_listed_several_times_is_counted_as_one(several, tmp_path, names, weights, epochs):
    data = [word for pair in zip(weights, (several / name for name in names), strict=True) for word in pair]
    batch = 10
    steps = int(epochs * 30_000 / 8 / batch)
    facts = plan(data, steps, batch, 8)
    planned = steps * batch
    blend = corpora.build_train(data, planned, 8, seed=42, cache=tmp_path / "cache")
    own = [drawn_tokens(one, np.asarray(one.shuffle_idx, np.int64)) for one in blend.datasets]
    # Tokens of another corpus are others.
    which = np.asarray(blend.dataset_index, int)
    tokens = np.array(
        [
            own[one][inner] + 10**6 * (names[one] == "code")
            for one, inner in zip(which, blend.dataset_sample_index, strict=True)
        ]
    )
    same = [number for number, name in enumerate(names) if name != "code"]
    (group,) = facts["same_corpora"]
    assert group["datasets"] == same
    assert group["prefixes"] == [str(several / names[number]) for number in same]
    of_corpus = np.isin(which, same)
    total = facts["datasets"][0]["tokens_per_epoch"]
    assert group["data_epochs"] == pytest.approx(of_corpus.sum() * 8 / total, rel=0.001)
    unseen = 1 - len(np.unique(tokens[of_corpus])) / total
    for number in same:
        assert facts["datasets"][number]["unseen_fraction"]["planned"] == pytest.approx(unseen, abs=0.01)
    priors = priors_of(tokens)
    mixed = priors_of(tokens[PositionMap([Reorder(0, planned, "uniform", (1,))]).base(range(planned))])
    run = run_of([str(word) for word in data], "100,0,0", 8, batch, steps)
    host_curve, unified_curve = exposures(run, facts)
    ends = np.array(host_curve[0][::2] + host_curve[0][-1:]) * batch
    for at, (start, stop) in enumerate(itertools.pairwise(ends.astype(int))):
        for segment in np.array_split(np.arange(start, stop), 5):
            middle = segment.mean() / batch
            expected = np.interp(middle, *(axis[2 * at : 2 * at + 2] for axis in host_curve))
            if len(segment) > 400:
                assert priors[segment].mean() == pytest.approx(expected, abs=0.08)
                assert mixed[PositionMap().base(segment)].mean() == pytest.approx(
                    np.interp(middle, *unified_curve), abs=0.1
                )
    for number, told_of in enumerate(facts["datasets"]):
        boundary = told_of["boundary_position"]
        if boundary is not None:
            mine, at = which == number, np.arange(planned)
            before, after = (
                mine & (at >= low) & (at < high)
                for low, high in ((boundary - 300, boundary), (boundary, boundary + 300))
            )
            assert told_of["exposure"]["before"] == pytest.approx(priors[before].mean(), abs=0.12)
            assert told_of["exposure"]["after"] == pytest.approx(priors[after].mean(), abs=0.12)


def test_people_are_told_of_a_corpus_that_is_listed_twice(several, monkeypatch):
    monkeypatch.chdir(several)
    _, out, _ = cli("plan", 1, "text", 1, "text", *_RUN)
    (line,) = [line for line in out.splitlines() if "listed" in line]
    assert line.startswith("text is listed 2 times: its data epochs add up to ")
    assert "no data is repeated" not in out
    _, out, _ = cli("plan", 1, "text", 1, "copy", 1, "code", *_RUN)
    assert "\ntext and copy are the same corpus: their data epochs add up to " in out
    assert "same" not in cli("plan", 1, "text", 1, "code", *_RUN)[1]


def test_corpora_that_may_be_the_same_are_told(several, monkeypatch):
    monkeypatch.chdir(several)
    monkeypatch.setattr("paddle_epoch_guard.index.equal_corpora.text_of", lambda path, blocks: "")
    _, out, _ = cli("plan", 1, "text", 1, "copy", *_RUN)
    assert "\ntext and copy have the same document sizes. The text of one cannot be read" in out
    assert told("plan", 1, "text", 1, "copy", *_RUN)["same_corpora"] == []


def words_of(*arguments):
    """What a command prints, in one line without indents."""
    status, out, err = cli(*arguments)
    assert (status, err) == (0, "")
    return " ".join(out.split())


def test_repeated_data_is_worth_less(corpus):
    facts = plan([corpus / "text"], 500, 4, 8)
    epochs = 500 * 4 * 8 / 605
    assert facts["data_epochs"] == epochs
    assert facts["worth_as_fresh"] == {
        "drawn": 16_000,
        "tokens": effective_tokens(605, 16_000),
        "next_token": worth_of_next_token(605, 16_000),
    }
    assert 0.05 < facts["worth_as_fresh"]["tokens"] / 16_000 < 0.6
    assert facts["trial"] is None
    words = words_of("plan", corpus / "text", *_RUN, "--max-steps", 500)
    tokens = round(facts["worth_as_fresh"]["tokens"])
    share = f"{tokens / 16_000:.1%}"
    assert f"worth as fresh data {tokens:,} of 16,000 tokens drawn ({share}), the next one" in words


def test_data_that_is_drawn_once_is_worth_what_it_is(corpus):
    facts = plan([corpus / "text"], 18, 4, 8)
    assert facts["worth_as_fresh"] == {"drawn": 576, "tokens": 576, "next_token": 1}
    assert "worth as fresh" not in words_of("plan", corpus / "text", *_RUN, "--max-steps", 18)
    assert "trial" not in words_of("plan", corpus / "text", *_RUN)


def test_each_dataset_of_a_blend_is_worth_what_its_own_repetition_leaves(corpus):
    data = [5, corpus / "text", 1, corpus / "code"]
    facts = plan(data, 75, 4, 8)
    for dataset in facts["datasets"]:
        unique, drawn = dataset["tokens_per_epoch"], dataset["samples_drawn"] * 8
        assert dataset["data_epochs"] == drawn / unique
        assert dataset["worth_as_fresh"]["tokens"] == pytest.approx(effective_tokens(unique, drawn))
    whole = facts["worth_as_fresh"]
    for key in ("drawn", "tokens"):
        assert whole[key] == pytest.approx(sum(dataset["worth_as_fresh"][key] for dataset in facts["datasets"]))
    first, second = (dataset["worth_as_fresh"]["next_token"] for dataset in facts["datasets"])
    assert (first < 1, second) == (True, 1)
    assert whole["next_token"] == pytest.approx((5 * first + second) / 6, rel=1e-3)
    words = words_of("plan", *data, *_RUN, "--max-steps", 75)
    assert words.count("worth as fresh data") == 2  # of the dataset that is repeated, and of the blend
    assert "by Muennighoff et al. (2023), each dataset by its own repetition" in words


def test_a_corpus_that_is_listed_twice_is_worth_what_one_is(corpus):
    both = plan([1, corpus / "text", 1, corpus / "text"], 60, 4, 8)
    one = plan([corpus / "text"], 60, 4, 8)
    assert [dataset["data_epochs"] for dataset in both["datasets"]] == [one["data_epochs"]] * 2
    assert both["worth_as_fresh"] == pytest.approx(one["worth_as_fresh"])
    halves = [dataset["worth_as_fresh"] for dataset in both["datasets"]]
    assert sum(half["tokens"] for half in halves) == pytest.approx(one["worth_as_fresh"]["tokens"])
    assert {half["next_token"] for half in halves} == {one["worth_as_fresh"]["next_token"]}


def subsampled(prefix, sizes, tokens, seed):
    """Writes a corpus of whole documents, drawn at random until they hold that many tokens; their number of tokens."""
    chosen, total = [], 0
    for document in np.random.default_rng(seed).permutation(len(sizes)):
        if total >= tokens:
            break
        chosen.append(sizes[document])
        total += sizes[document]
    corpora.write_corpus(prefix, chosen)
    return total


@pytest.mark.parametrize(("steps", "trial_steps", "batch"), [(900, 120, 10), (520, 130, 10), (900, 60, 20)])
def test_the_subsample_gives_the_trial_the_targets_data_epochs(several, tmp_path, steps, trial_steps, batch):
    sizes = np.random.default_rng(3).integers(5, 60, 900).tolist()
    facts = plan([several / "text"], steps, 10, 8, "--trial-steps", trial_steps, "--trial-batch", batch)
    (row,) = facts["trial"]["corpora"]
    taken = row["subsample"]
    assert taken["share"] == pytest.approx(trial_steps * batch / (steps * 10))
    assert taken["of_documents"] == 900
    assert taken["documents"] == round(900 * taken["share"])
    total = subsampled(tmp_path / "part", sizes, taken["tokens"], seed=1)
    assert total == pytest.approx(taken["tokens"], abs=max(sizes))
    trial = plan([tmp_path / "part"], trial_steps, batch, 8)
    within_a_document = max(sizes) / total * facts["data_epochs"]
    assert trial["data_epochs"] == pytest.approx(facts["data_epochs"], abs=within_a_document)
    assert row["data_epochs"]["trial"] < 0.4 * facts["data_epochs"]
    built = build(tmp_path, [tmp_path / "part"], trial_steps, batch, 8)
    target = build(tmp_path, [several / "text"], steps, 10, 8)
    assert built.epochs == target.epochs
    assert (built.boundaries == [None]) == (target.boundaries == [None])
    for boundary in target.boundaries:
        if boundary is not None:
            share = boundary / (steps * 10)
            assert built.boundaries[0] / (trial_steps * batch) == pytest.approx(share, abs=0.02)
    # Counted draw by draw: each token of the subsample as often as one of the corpus at the target.
    counted = [
        drawn_tokens(one.dataset, np.asarray(one.dataset.shuffle_idx, np.int64)[:planned])
        for one, planned in ((target, steps * 10), (built, trial_steps * batch))
    ]
    often = [tokens.size / len(np.unique(tokens)) for tokens in counted]
    assert often[1] == pytest.approx(often[0], rel=0.02)


def test_only_what_the_target_repeats_is_subsampled(several):
    data = [1, several / "text", 1, several / "code"]
    steps = 500  # 20,000 of 29,000 tokens, and of 16,000
    facts = plan(data, steps, 10, 8, "--trial-steps", 100)
    text, code = facts["trial"]["corpora"]
    assert (text["differs"], code["differs"], facts["trial"]["differs"]) == (False, True, True)
    assert (text["subsample"]["share"], text["subsample"]["documents"]) == (1, 900)
    assert text["subsample"]["tokens"] == facts["datasets"][0]["tokens_per_epoch"]
    assert code["subsample"]["share"] == pytest.approx(0.2, rel=1e-3)
    assert (code["subsample"]["documents"], code["subsample"]["of_documents"]) == (100, 500)
    for number, row in enumerate((text, code)):
        assert row["data_epochs"]["target"] == facts["datasets"][number]["data_epochs"]
        assert row["data_epochs"]["trial"] == pytest.approx(row["data_epochs"]["target"] / 5, rel=2e-3)


def test_a_corpus_that_is_listed_twice_is_one_subsample(several, monkeypatch):
    monkeypatch.chdir(several)
    facts = plan([1, "text", 1, "copy", 2, "code"], 800, 10, 8, "--trial-steps", 200)
    rows = facts["trial"]["corpora"]
    assert [row["datasets"] for row in rows] == [[0, 1], [2]]
    assert [row["name"] for row in rows] == ["text and copy", "code"]
    assert rows[0]["data_epochs"]["target"] == facts["same_corpora"][0]["data_epochs"]
    assert all(row["subsample"]["share"] == pytest.approx(0.25, rel=1e-3) for row in rows)


def test_people_are_warned_of_a_trial_that_repeats_less(several, monkeypatch):
    monkeypatch.chdir(several)
    monkeypatch.setenv("COLUMNS", "120")
    run = ("--seq-length", 8, "--global-batch", 10, "--split", "100,0,0")
    words = words_of("plan", "text", *run, "--max-steps", 900, "--trial-steps", 90)
    epochs = told("plan", "text", *run, "--max-steps", 900)["data_epochs"]
    assert f"the trial repeats no data, the target draws text {epochs:.2f} times: what is tuned on it may not" in words
    assert "arXiv 2606.07597" in words
    assert f"text {epochs:.2f} {epochs / 10:.2f} 10.0%: 90 of 900 documents, " in words
    assert "whole documents at random" in words
    assert "cannot stand for" not in words
    words = words_of("plan", "text", *run, "--max-steps", 900, "--trial-steps", 800)
    assert f"the trial draws text {epochs * 8 / 9:.2f} times, the target {epochs:.2f} times: what" in words
    words = words_of("plan", 1, "text", 1, "code", *run, "--max-steps", 1500, "--trial-steps", 100)
    assert re.search(r"the trial repeats no data, the target draws code [\d.]+ times \(1 more differ\): what", words)
    words = words_of("plan", "text", *run, "--max-steps", 900, "--trial-steps", 3)
    assert "text: so few documents cannot stand for the corpus. Lengthen the trial." in words


@pytest.mark.parametrize("columns", [40, 80])
def test_nothing_is_said_of_a_trial_that_repeats_as_much(several, monkeypatch, columns):
    monkeypatch.chdir(several)
    monkeypatch.setenv("COLUMNS", str(columns))
    words = words_of("plan", "text", *_RUN, "--max-steps", 100, "--trial-steps", 90)
    assert "a trial: --max-steps 90 instead of 100" in words
    assert words.endswith("100%: not needed")
    assert told("plan", "text", *_RUN, "--max-steps", 100, "--trial-steps", 90)["trial"]["differs"] is False


sizes_and_weights = st.lists(
    st.tuples(st.integers(1, 10**6), st.floats(0.01, 100), st.integers(1, 10**4)), min_size=1, max_size=4
)


@given(sizes_and_weights, st.integers(2, 10**6), st.floats(0.001, 0.999), st.booleans())
def test_any_subsample_repeats_as_the_target_does(parts, max_steps, share, doubled):
    datasets = tuple(Dataset(str(at), weight, size, documents) for at, (size, weight, documents) in enumerate(parts))
    if doubled:
        datasets = (*datasets, datasets[0])
    same = EqualCorpora(((0, len(datasets) - 1),)) if doubled else EqualCorpora()
    run = Run(datasets, 16, 4, same)
    trial_steps = min(max(round(share * max_steps), 1), max_steps - 1)
    trial = trial_facts(run, max_steps, trial_steps)
    assert sorted(number for row in trial["corpora"] for number in row["datasets"]) == list(range(len(datasets)))
    for row in trial["corpora"]:
        taken, target = row["subsample"], row["data_epochs"]["target"]
        corpus = datasets[row["datasets"][0]]
        drawn = sum(run.drawn(number, trial_steps) for number in row["datasets"]) * 16
        assert row["data_epochs"]["trial"] == drawn / corpus.tokens
        assert 1 <= taken["documents"] <= taken["of_documents"] == corpus.documents
        assert 0 < taken["share"] <= 1
        if row["differs"]:
            assert target > 1
            # As many tokens as the table says, but for rounding to one.
            assert abs(taken["tokens"] - drawn / target) <= max(0.5, 1 - drawn / target) + 1e-6 * taken["tokens"]
        else:
            assert (taken["share"], taken["tokens"]) == (1, corpus.tokens)
            assert max(target, 1) == pytest.approx(max(row["data_epochs"]["trial"], 1), abs=0.0101)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("nothing", *_RUN), 1, "nothing.idx: no such file"),
        (("text.idx", *_RUN), 2, "text.idx: is a file of a corpus; expected its path without .idx: text"),
        ((), 2, "PREFIX"),
        (("text",), 2, "--seq-length"),
        (("text", *_RUN, "--max-steps", 0), 2, "--max-steps"),
        (("text", *_RUN, "--max-steps", -3), 2, "--max-steps"),
        (("text", *_RUN, "--max-steps", 10**30), 2, "expected at most 2**62"),
        (("text", *_RUN, "--global-batch", 0), 2, "--global-batch"),
        (("text", *_RUN, "--global-batch", 2.5), 2, "--global-batch"),
        (("text", *_RUN, "--seq-length", -8), 2, "--seq-length"),
        (("text", *_RUN, "--seq-length", 10**30), 2, "Check the three numbers"),
        (("text", *_RUN, "--seed", -1), 2, "--seed"),
        (("text", *_RUN, "--seed", 1 << 32), 2, "--seed"),
        (("text", *_RUN, "--split", "0,0,0"), 2, "split '0,0,0' is unreadable"),
        (("text", *_RUN, "--split", "some"), 2, "expected shares such as '949,50,1'"),
        (("text", *_RUN, "--split", "90,-10,20"), 2, "split"),
        (("text", *_RUN, "--split", "nan,1,1"), 2, "split"),
        (("text", *_RUN, "--split", ""), 2, "split"),
        (("text", *_RUN, "--split", "0,100,0"), 1, "train split of '0,100,0' has no documents"),
        (("text", *_RUN, "--split", "1,999,0"), 1, "text: the train split"),
        (("text", *_RUN, "--no-such"), 2, "--no-such"),
        (("text", *_RUN, "--trial-steps", 0), 2, "--trial-steps"),
        (("text", *_RUN, "--trial-steps", 45), 2, "--trial-steps 45 is a trial of 180 samples; expected fewer than"),
        (("text", *_RUN, "--trial-steps", 10**20), 2, "the 180 of --max-steps 45. Lower --trial-steps"),
        (("text", *_RUN, "--trial-steps", 5, "--trial-batch", 36), 2, "--trial-steps 5 is a trial of 180 samples"),
        (("text", *_RUN, "--trial-steps", 5, "--trial-batch", 0), 2, "--trial-batch"),
        (("text", *_RUN, "--trial-batch", 4), 2, "--trial-batch 4 without a trial; expected --trial-steps"),
        (("1", "text", *_RUN, "2"), 2, "expected WEIGHT PREFIX WEIGHT PREFIX"),
        (("1", "text", "2", *_RUN), 2, "neither one prefix nor a blend"),
        (("text", "code", *_RUN), 2, "neither one prefix nor a blend"),
        (("text", "1", "code", "2", *_RUN), 2, "neither one prefix nor a blend"),
        (("-1", "text", "2", "code", *_RUN), 2, "-1"),
        (("0", "text", "0", "code", *_RUN), 2, "all weights are 0"),
        (("nan", "text", "2", "code", *_RUN), 2, "expected a positive number"),
        (("inf", "text", "2", "code", *_RUN), 2, "expected a positive number"),
        (("1e308", "text", "1e308", "code", *_RUN), 2, "expected a positive number"),
        (("1", "text", "2", "nothing", *_RUN), 1, "nothing.idx: no such file"),
        (("text", *_RUN, "--png", "missing/plan.png"), 1, "--png missing/plan.png: cannot be written"),
        (("text", *_RUN, "--png", "."), 2, "--png .: expected a file name that ends in .png"),
        (("text", *_RUN, "--png", "plan.svg"), 2, "--png plan.svg: expected a file name that ends in .png"),
        (("text", *_RUN, "--png", "text.idx/plan.png"), 1, "cannot be written (Not a directory)"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call_says_so_in_one_line_and_writes_nothing(corpus, monkeypatch, options, status, said):
    monkeypatch.chdir(corpus)
    before = contents(corpus)
    assert said in refused("plan", *options, status=status)
    assert contents(corpus) == before


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda raw: b"", "expected b'MMIDIDX"),
        (lambda raw: raw[:20], "expected b'MMIDIDX"),
        (lambda raw: raw[:100], "its header's 40 documents need at least"),
        (lambda raw: b"TNTIDX\x00\x00" + raw[8:], "Build the corpus again with --data_impl mmap"),
        (lambda raw: b"PK\x03\x04" + raw[4:], "Build the corpus again with --data_impl mmap"),
        (lambda raw: raw[:9] + b"\x07" + raw[10:], "version 7"),
        (lambda raw: raw[:17] + b"\x63" + raw[18:], "dtype code 99"),
        (lambda raw: raw[:18] + b"\xff" * 8 + raw[26:], "need at least"),
        (lambda raw: raw[:34] + bytes(160 + 320) + raw[514:], "0 tokens in the train split"),
        (lambda raw: raw[:18] + bytes(8) + raw[26:], "has no documents"),
        (None, "no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_corpus_that_is_none_is_refused_by_name(tmp_path, broken, said):
    prefix = corpora.write_corpus(tmp_path / "text", corpora.SIZES)
    index = Path(f"{prefix}.idx")
    raw = index.read_bytes()
    index.unlink()
    if broken is None:
        index.mkdir()
    else:
        index.write_bytes(broken(raw))
    message = refused("plan", prefix, *_RUN)
    assert said in message
    assert message.startswith(prefix)


def test_a_data_file_that_is_too_short_is_refused(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "text", corpora.SIZES)
    data = Path(f"{prefix}.bin")
    data.write_bytes(data.read_bytes()[:-2])
    assert "text.bin: 1208 bytes; text.idx describes 1210" in refused("plan", prefix, *_RUN)
    data.unlink()
    assert "text.bin: no such file" in refused("plan", prefix, *_RUN)


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("data", [("text",), ("3", "text", "7", "code")], ids=len)
def test_the_terminal_shows_the_plan(corpus, monkeypatch, data, columns):
    monkeypatch.chdir(corpus)
    monkeypatch.setenv("COLUMNS", str(columns))
    options = [*_RUN[:-4], "--max-steps", 75, *_RUN[-2:]] if len(data) > 1 else _RUN
    status, out, err = cli("plan", *data, *options)
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    table, chart = out.split("exposure: how often drawn before\n")
    chart, advice = chart.split("without a cliff:\n")
    rows = [line for line in table.splitlines() if not line.startswith("blend of")]
    assert max(len(line.rstrip()) for line in [*rows, *chart.splitlines()]) <= columns
    assert chart.splitlines()[0].startswith("    \u250c")
    words = " ".join(table.split())
    assert "boundary step 38 of 45, position 151" in words or "boundary is reached at step 63 of 75" in words
    assert re.search(r"--max-steps \d+: ", advice)
    assert advice.endswith("or, with these max_steps: --epoch_guard unified\n")


def test_colours_are_left_out_where_they_are_not_wanted(corpus, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("caches.io.StringIO", Terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = cli("plan", corpus / "text", *_RUN)
    assert "boundary" in out
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9;]+m", out)  # nothing but bold type


def test_a_plan_without_a_cliff_has_no_chart(corpus):
    _, out, _ = cli("plan", corpus / "text", *_RUN, "--max-steps", 10)
    assert "no: there is no cliff" in out
    assert "exposure:" not in out
    assert "other lengths without a cliff:\n  --max-steps 18: stays within one data epoch" in out
    assert "unified" not in out


@pytest.mark.parametrize("data", [("text",), ("3", "text", "7", "code")], ids=len)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=len)
def test_a_picture_is_written_whole(corpus, tmp_path, monkeypatch, data, as_json):
    monkeypatch.chdir(corpus)
    target = tmp_path / "plan.png"
    status, out, _ = cli("plan", *data, *_RUN, "--png", target, *as_json)
    assert status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["plan.png"]
    picture = matplotlib.image.imread(target)
    assert picture.shape == (432, 960, 4)
    assert picture[..., :3].min() < 0.3
    assert (f"picture: {target}" in out) == (not as_json)


def test_a_picture_that_cannot_be_written_leaves_nothing(corpus, tmp_path, monkeypatch):
    def fails(_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("paddle_epoch_guard.files.os.fsync", fails)  # root may write everywhere
    assert "cannot be written (Read-only file system)" in refused(
        "plan", corpus / "text", *_RUN, "--png", tmp_path / "plan.png"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_that_is_listed_twice_is_repeated_at_any_length(corpus):
    run = ("--seq-length", 8, "--global-batch", 4, "--max-steps", 14, "--split", "100,0,0")
    twice = ("1", corpus / "text", "1", corpus / "text")
    assert told("plan", *twice, *run)["advice"] == []
    out = " ".join(cli("plan", *twice, *run)[1].split())
    assert "no data is repeated" not in out
    assert "data epochs add up to 0.74. They draw the same samples in the same order, so data is repeated" in out
    out = " ".join(cli("plan", *twice, *run, "--trial-steps", 5)[1].split())
    assert "the trial repeats no data" not in out
    assert told("plan", "1", corpus / "text", "0", corpus / "text", *run)["advice"] != []  # drawn by one alone


def test_without_a_cliff_it_is_said_how_often_each_token_is_drawn(corpus, tmp_path):
    run = ("--seq-length", 8, "--global-batch", 4, "--split", "100,0,0", "--max-steps")
    samples = 166 * 605 // 8 // 4 * 4
    out = " ".join(cli("plan", corpus / "text", *run, samples // 4)[1].split())
    assert "no: there is no cliff each token is drawn 166.0 times" in out
    assert "each token" not in cli("plan", corpus / "text", *run, 10)[1]
    corpora.build_train([corpus / "text"], samples, 8, cache=tmp_path / "cache")
    assert told("inspect", tmp_path / "cache")["data_epochs"] == pytest.approx(166, abs=0.1)
    out = " ".join(cli("inspect", tmp_path / "cache")[1].split())
    assert "no: there is no cliff each token is drawn 166.0 times" in out


@pytest.mark.parametrize(
    ("split", "empty"), [("980,10,10", ["valid", "test"]), ("950,49,1", ["test"]), ("949,50,0", [])]
)
def test_a_split_without_documents_is_named(corpus, tmp_path, split, empty):
    from paddlenlp.data.causal_dataset import build_train_valid_test_datasets

    notes = told("plan", corpus / "text", *_RUN[:-1], split)["notes"]
    assert [re.search("the ([a-z]+) split", note)[1] for note in notes] == empty
    assert all("gets none of the 40 documents: PaddleNLP builds no dataset of it" in one for one in notes)
    with contextlib.redirect_stdout(io.StringIO()):
        built = build_train_valid_test_datasets(
            [str(corpus / "text")], "mmap", split, [8, 8, 8], 8, 1, True, data_cache_path=str(tmp_path)
        )
    names = [name for name, one in zip(("train", "valid", "test"), built, strict=True) if one is None]
    assert names == empty + [name for name in ("test",) if split.endswith(",0")]


def test_a_host_with_another_threshold(tmp_path):
    """The real builds of both groupings are in test_grouping.py."""
    prefix = corpora.write_corpus(tmp_path / "text", corpora.SIZES)
    call = ("plan", prefix, "--seq-length", corpora.LENGTH, "--global-batch", 4, "--split", "100,0,0")
    separated, joint = corpora.SEPARATED // 4, corpora.JOINT // 4
    assert told(*call, "--max-steps", separated)["boundary_position"] == 151
    found = told(*call, "--max-steps", separated, "--threshold", 0)
    assert (found["separated"], found["boundary_position"], found["threshold"]) == (False, None, 0)
    assert told(*call, "--max-steps", joint)["boundary_position"] is None
    assert told(*call, "--max-steps", joint, "--threshold", 1.1)["boundary_position"] == 151
    assert "'--threshold'" in refused(*call, "--max-steps", joint, "--threshold", 3, status=2)
