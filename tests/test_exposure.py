"""Exposure, against a count of every draw of every token that knows nothing of how it is computed."""

import dataclasses
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import JOINT, LENGTH, ONE_EPOCH, SEPARATED, SIZES, arrays_of, build_train, index_of, write_corpus
from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, Description, GPTIndex, IndexLayout
from paddle_epoch_guard.index.fingerprint import read_rows
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.ledger import EarlierData, EarlierReads, tracing
from paddle_epoch_guard.ledger import exposure as exposure_module
from paddle_epoch_guard.ledger.exposure import Exposure
from paddle_epoch_guard.ledger.sample_shares import LEVELS, RECENCIES, UNKNOWN
from paddle_epoch_guard.ledger.tracing import trace
from paddle_epoch_guard.order import PositionMap, Reorder, Schedule, Segment


def tokens_of(dataset):
    """What each position of the host's own order draws. Tokens count up through the corpus: each names its place."""
    return [dataset[p]["text"][:-1].tolist() for p in range(len(dataset))]


def read(schedule, last_step):
    """Step -> positions, in the order they are drawn; nothing of skipped steps. A plain loop over microbatches."""
    found = {}
    for at, segment in enumerate(schedule.segments):
        end = schedule.segments[at + 1].first_step - 1 if at + 1 < len(schedule.segments) else last_step
        position = segment.start
        for step in range(segment.first_step, min(end, last_step) + 1):
            drawn = []
            for _ in range(segment.accumulation):
                upto = position + segment.micro_batch * segment.world_size
                if upto > segment.stop and not (not segment.drop_last and position < segment.stop):
                    break
                drawn += range(position, min(upto, segment.stop))
                position = upto
            else:
                if not any(first <= step <= last for first, last in schedule.skipped):
                    found[step] = drawn
                continue
            break  # the sampler ends in the midst of a step
    return found


class Counted:
    """The exposure of every draw, counted one by one."""

    def __init__(self, drawn, positions, schedule, last_step, datasets, before=()):
        """``drawn``, ``datasets``: the tokens that each position of the base order draws, and from which dataset.

        ``before``: steps, as the run counts them, and the tokens that each drew in another order.
        """
        seen, last = Counter(), {}
        for step, tokens in before:
            seen.update(tokens)
            last |= dict.fromkeys(tokens, step)
        self.of_step = {}
        self.fresh = {}
        self.levels, self.recencies = {}, {}
        for step, at in read(schedule, last_step).items():
            self.of_step[step] = []
            for position, base in zip(at, positions.base(at).tolist(), strict=True):
                mine, since = [], []
                for token in drawn[base]:
                    mine.append(seen[token])
                    since += [step - last[token]] if token in last else []
                    seen[token], last[token] = seen[token] + 1, step
                levels, ages = Counter(min(prior, 4) for prior in mine), Counter(len(str(age)) - 1 for age in since)
                self.levels[step, position] = [levels[level] / len(mine) for level in range(LEVELS)]
                self.recencies[step, position] = [
                    sum(count for age, count in ages.items() if min(age, 4) == recency) / len(mine)
                    for recency in range(RECENCIES)
                ]
                self.fresh[step, position] = sum(prior == 0 for prior in mine) / len(mine)
                self.of_step[step] += [(datasets[base], prior) for prior in mine]

    def mean(self, first_step, last_step, dataset=None):
        drawn = sum((self.of_step.get(step, []) for step in range(first_step, last_step + 1)), [])
        priors = [prior for of, prior in drawn if dataset is None or of == dataset]
        return sum(priors) / len(priors) if priors else None


def agrees(index, drawn, positions, schedule, last_step, earlier=(), before=()):
    """Asserts that every step, every range of steps and every sample has the exposure that counting gives.

    As a whole, and each dataset of a blend alone. ``earlier``: other data and what was read of it; ``before``: as
    ``Counted`` takes it.
    """
    assert len(drawn) == len(index)
    datasets = index.dataset_index.tolist() if isinstance(index, BlendIndex) else [0] * len(index)
    counted = Counted(drawn, positions, schedule, last_step, datasets, before)
    followed = trace(index, positions, earlier=[data for data, _ in earlier])
    assert followed.complete
    exposure = Exposure(followed, schedule, last_step, [reads for _, reads in earlier])
    begin = schedule.segments[0].first_step
    ranges = [(step, step) for step in range(begin, last_step + 1)]
    ranges += [(first, min(first + 6, last_step)) for first in range(begin, last_step + 1, 5)] + [(begin, last_step)]
    for of in (None, *range(len(index.names))):
        for first, last in ranges:
            found, expected = exposure.of_steps(first, last, of), counted.mean(first, last, of)
            assert (None if found is None else found.mean) == expected, (first, last, of)
            assert found is None or found.error == 0.0
    assert exposure.of_steps(1, last_step, len(index.names)) is None
    for step in range(begin, last_step + 1):
        at = [position for one, position in counted.fresh if one == step]
        asked = [(step, position) for position in at[::-1]]
        shares = exposure.shares_of(step, np.array([*at[::-1], len(index) + 5], dtype=np.int64))
        assert shares.fresh.tolist() == [*(counted.fresh[one] for one in asked), 0.0]
        assert shares.known.tolist() == [*[True] * len(at), False]
        assert shares.by_exposure.tolist() == [*(counted.levels[one] for one in asked), [0.0] * LEVELS]
        assert shares.by_recency.tolist() == [*(counted.recencies[one] for one in asked), [0.0] * RECENCIES]
    return exposure


def plain(index, batch=4, samples=None):
    """All whole steps of a run without incidents."""
    stop = len(index) if samples is None else samples
    return Schedule((Segment(1, 0, batch, 1, 1, len(index)),)), stop // batch


REORDERS = {
    "host": lambda index: (),
    "uniform": lambda index: (Reorder(0, len(index) - 5, "uniform", (1, 1, 0)),),
    "uniform resumed": lambda index: (Reorder(44, len(index), "uniform", (1, 1, 0)),),
    "ramp resumed": lambda index: (Reorder(40, len(index) - 3, "ramp", (1, 1, 0), len(index) * 2 // 3),),
    "twice": lambda index: (
        Reorder(10, len(index) - 20, "ramp", (1, 1, 0), len(index) // 2),
        Reorder(36, len(index), "uniform", (1, 1, 1)),
    ),
}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("exposure") / "corpus" / "text", SIZES)


@pytest.fixture(scope="module")
def separated(prefix):
    return build_train([prefix], SEPARATED, LENGTH)


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
@pytest.mark.parametrize("samples", [ONE_EPOCH, 110, SEPARATED, JOINT, 420])
@pytest.mark.parametrize("split", ["100,0,0", "70,30,0"])
def test_every_step_has_the_exposure_that_counting_gives(prefix, samples, split, reorders):
    dataset = build_train([prefix], samples, LENGTH, split=split)
    index = index_of(dataset)
    schedule, last_step = plain(index)
    agrees(index, tokens_of(dataset), PositionMap(reorders(index)), schedule, last_step)


def test_another_split_than_the_first_is_traced_in_its_own_documents(prefix):
    dataset = build_train([prefix], SEPARATED, LENGTH, split="30,70,0")
    description = Description.parse(dataset.desc, "desc")
    sizes = dataset.indexed_dataset.sizes
    # The host builds only what is asked for; an index of the second split is that of the first over other documents.
    skipped = 5
    arrays = dataclasses.replace(
        arrays_of(dataset),
        doc_idx=np.asarray(dataset.doc_idx) + skipped,
        sizes=np.concatenate((np.full(skipped, 3, np.int32), sizes[:12], np.full(23, 9, np.int32))),
    )
    moved = dataclasses.replace(description, name="valid", split="5,12,23")
    index = GPTIndex.from_arrays(moved, arrays)
    schedule, last_step = plain(index)
    agrees(index, tokens_of(dataset), PositionMap(), schedule, last_step)


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
def test_an_extended_run_sees_the_tokens_of_all_its_parts(prefix, reorders):
    parts = [
        build_train([prefix], samples, LENGTH, seed=seed)
        for samples, seed in ((SEPARATED, 1), (ONE_EPOCH, 2), (ONE_EPOCH, 3))
    ]
    index = ConcatenatedIndex(tuple(index_of(part) for part in parts))
    schedule, last_step = plain(index)
    agrees(index, sum(map(tokens_of, parts), []), PositionMap(reorders(index)), schedule, last_step)


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
def test_a_blend_of_the_hosts(tmp_path, reorders):
    prefixes = [write_corpus(tmp_path / name, sizes) for name, sizes in (("a", SIZES), ("b", SIZES[:11]))]
    dataset = build_train([0.7, prefixes[0], 0.3, prefixes[1]], 210, LENGTH, cache=tmp_path / "cache")
    index = BlendIndex(
        tuple(index_of(one) for one in dataset.datasets), dataset.dataset_index, dataset.dataset_sample_index
    )
    drawn = [[(dataset[p]["dataset_idx"], token) for token in dataset[p]["text"][:-1]] for p in range(210)]
    schedule, last_step = plain(index)
    agrees(index, drawn, PositionMap(reorders(index)), schedule, last_step)


def blend_of(datasets, weights, samples, seed, corpora=None):
    """A blend of lists of live datasets, each list drawn one after the other; and what each position draws.

    ``corpora``: a name for the corpus of each dataset; by default no two have the same.
    """
    names = range(len(datasets)) if corpora is None else corpora
    parts = [ConcatenatedIndex(tuple(map(index_of, one))) if len(one) > 1 else index_of(one[0]) for one in datasets]
    tokens = [
        [[(name, token) for token in row] for row in sum(map(tokens_of, one), [])]
        for name, one in zip(names, datasets, strict=True)
    ]
    random = np.random.default_rng(seed)
    which, inner, used = [], [], [0] * len(parts)
    for _ in range(samples):
        one = int(random.choice(len(parts), p=weights))
        which.append(one)
        inner.append(used[one])
        used[one] += 1
    index = BlendIndex(tuple(parts), np.array(which, np.int16), np.array(inner, np.int64))
    return index, [tokens[k][j] for k, j in zip(which, inner, strict=True)]


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
def test_a_blend_whose_dataset_was_extended(prefix, tmp_path, reorders):
    other = write_corpus(tmp_path / "corpus" / "b", SIZES[5:20])
    datasets = [
        [build_train([prefix], 80, LENGTH), build_train([prefix], ONE_EPOCH, LENGTH, seed=5)],
        [build_train([other], 60, LENGTH)],
    ]
    index, drawn = blend_of(datasets, [0.75, 0.25], 160, seed=3)
    schedule, last_step = plain(index)
    agrees(index, drawn, PositionMap(reorders(index)), schedule, last_step)


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
def test_a_blend_that_is_longer_than_the_run_and_names_samples_that_its_datasets_do_not_have(
    prefix, tmp_path, reorders
):
    """As the host builds it for more samples than the run draws, over the indices that the run began with."""
    other = write_corpus(tmp_path / "corpus" / "b", SIZES[5:20])
    datasets = [[build_train([prefix], 80, LENGTH)], [build_train([other], 60, LENGTH)]]
    index, drawn = blend_of(datasets, [0.75, 0.25], 100, seed=3)
    lengths = [len(dataset) for dataset in index.datasets]
    longer = BlendIndex(
        index.datasets,
        np.concatenate([index.dataset_index, np.tile(np.array([0, 1], np.int16), 60)]),
        # Some alias a sample of the next dataset, if both are numbered in one row; some lie behind all.
        np.concatenate([index.dataset_sample_index, np.repeat(np.arange(60), 2) + np.tile(lengths, 60)]),
    )
    schedule = Schedule((Segment(1, 0, 4, 1, 1, 100),))
    agrees(longer, drawn + [[]] * 120, PositionMap(reorders(index)), schedule, 25)


SCHEDULES = {
    "batch and ranks change": Schedule(
        (Segment(1, 0, 4, 1, 1, 220), Segment(9, 32, 1, 3, 2, 220), Segment(20, 98, 5, 1, 1, 220))
    ),
    "drawn again": Schedule((Segment(1, 0, 4, 1, 1, 220), Segment(21, 0, 4, 1, 1, 220))),
    "ran dry": Schedule((Segment(1, 0, 2, 2, 2, 220), Segment(28, 0, 2, 2, 2, 220))),
    "ran dry with a tail": Schedule((Segment(1, 0, 2, 1, 4, 223, True), Segment(29, 0, 2, 1, 4, 223, True))),
    "ends before the next segment": Schedule((Segment(1, 0, 4, 1, 1, 50), Segment(20, 30, 4, 1, 1, 220))),
    "begins late": Schedule((Segment(7, 24, 4, 1, 1, 220),)),
    "skipped": Schedule(
        (Segment(1, 0, 4, 1, 1, 220), Segment(21, 12, 4, 1, 1, 220)), ((3, 5), (18, 22), (24, 24), (30, 90))
    ),
    "skipped at once": Schedule((Segment(1, 0, 4, 1, 1, 220), Segment(3, 0, 4, 1, 1, 220)), ((1, 4), (2, 3))),
}


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_what_earlier_pieces_drew_counts_and_what_is_skipped_does_not(separated, schedule, reorders):
    index = index_of(separated)
    agrees(index, tokens_of(separated), PositionMap(reorders(index)), schedule, 50)


@st.composite
def runs(draw):
    """Document sizes, sequence length, samples, reorders and schedule of any run."""
    sizes = draw(st.lists(st.integers(0, 30), min_size=2, max_size=14).filter(lambda sizes: sum(sizes) > 1))
    length = draw(st.integers(1, 9))
    samples = max(int(draw(st.floats(0.2, 4.2)) * sum(sizes) / length), 1)
    ends = st.integers(0, samples)
    reorders = []
    for start, boundary, stop in sorted(
        sorted(one) for one in draw(st.lists(st.tuples(ends, ends, ends), max_size=2))
    ):
        if start < boundary < stop:
            reorders.append(Reorder(start, stop, draw(st.sampled_from(["uniform", "ramp"])), (1, start), boundary))
    segments, step = [], 1
    for _ in range(draw(st.integers(1, 3))):
        parts = draw(st.tuples(*[st.integers(1, 3)] * 3))
        start = draw(ends)
        segments.append(Segment(step, start, *parts, stop=max(draw(ends), start), drop_last=draw(st.booleans())))
        step += draw(st.integers(1, max(segments[-1].steps, 1) + 2))
    skipped = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=2))
    schedule = Schedule(tuple(segments), tuple((first, first + more) for first, more in skipped))
    return sizes, length, samples, tuple(reorders), schedule, draw(st.integers(1, step + 40))


@settings(max_examples=100, deadline=None)
@given(runs(), st.integers(0, 1000), st.sampled_from([1, 3, 1 << 16]))
def test_any_run_has_the_exposure_that_counting_gives(run, seed, block):
    sizes, length, samples, reorders, schedule, last_step = run
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_BLOCK", block)
        dataset = build_train([write_corpus(Path(folder) / "text", sizes)], samples, length, seed=seed)
        agrees(index_of(dataset), tokens_of(dataset), PositionMap(reorders), schedule, last_step)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_blend_has_the_exposure_that_counting_gives(data):
    with tempfile.TemporaryDirectory() as folder:
        datasets, corpora = [], []
        for name in "abc"[: data.draw(st.integers(1, 3))]:
            sizes = data.draw(
                st.sampled_from(corpora)  # a copy
                if corpora and data.draw(st.booleans())
                else st.lists(st.integers(0, 30), min_size=2, max_size=8).filter(lambda sizes: sum(sizes) > 20)
            )
            text = write_corpus(Path(folder) / name, sizes)
            corpora.append(tuple(sizes))
            parts = data.draw(st.integers(1, 2))
            datasets.append([build_train([text], 50, 6, seed=data.draw(st.integers(1, 99))) for _ in range(parts)])
        weights, seed = np.full(len(datasets), 1 / len(datasets)), data.draw(st.integers(0, 99))
        index, drawn = blend_of(datasets, weights, 50, seed, corpora)
        start = data.draw(st.integers(0, 40))
        schedule, last_step = plain(index, 3)
        agrees(index, drawn, PositionMap([Reorder(start, 48, "uniform", (1,))]), schedule, last_step)


TWICE = {
    "equal weights": ("aa", [0.5, 0.5], 1),
    "unequal weights": ("aa", [0.9, 0.1], 1),
    "three times": ("aaa", [0.2, 0.5, 0.3], 1),
    "another between": ("aba", [0.4, 0.3, 0.3], 1),
    "two of each": ("abba", [0.3, 0.3, 0.2, 0.2], 1),
    "extended": ("aba", [0.4, 0.3, 0.3], 2),
}


@pytest.mark.parametrize("reorders", REORDERS.values(), ids=REORDERS)
@pytest.mark.parametrize(("corpora", "weights", "parts"), TWICE.values(), ids=TWICE)
def test_datasets_of_one_corpus_share_its_tokens(tmp_path, corpora, weights, parts, reorders):
    sizes = {"a": SIZES, "b": SIZES[5:20]}
    prefixes = {name: write_corpus(tmp_path / name, sizes[name]) for name in corpora}
    datasets = [
        [build_train([prefixes[name]], 200 // parts, LENGTH, seed=10 * number + part) for part in range(parts)]
        for number, name in enumerate(corpora)
    ]
    index, drawn = blend_of(datasets, weights, 190, 3, corpora)
    schedule, last_step = plain(index)
    positions = PositionMap(reorders(index))
    agrees(index, drawn, positions, schedule, last_step)
    followed = trace(index, positions)
    assert sum(followed.tokens) == sum(sum(sizes[name]) for name in set(corpora))
    assert {len(set(group)) for group in followed.corpora.groups} <= {2, 3}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_copy_of_a_corpus_shares_its_tokens_through_resumes(tmp_path, schedule):
    prefixes = [write_corpus(tmp_path / name / "text", SIZES) for name in ("a", "copy")]
    datasets = [[build_train([prefix], 220, LENGTH, seed=5)] for prefix in prefixes]
    index, drawn = blend_of(datasets, [0.6, 0.4], 223, 3, "aa")
    reorder = Reorder(40, 170, "ramp", (1,), 90)
    agrees(index, drawn, PositionMap([reorder]), schedule, 50)


def test_only_what_two_splits_of_a_corpus_have_in_common_is_shared(prefix):
    splits = ["100,0,0", "50,50,0", "70,30,0"]
    datasets = [[build_train([prefix], 120, LENGTH, split=split, seed=at)] for at, split in enumerate(splits)]
    index, drawn = blend_of(datasets, [0.4, 0.3, 0.3], 120, 3, "aaa")
    schedule, last_step = plain(index)
    agrees(index, drawn, PositionMap(), schedule, last_step)
    followed = trace(index, PositionMap())
    assert followed.tokens == (sum(SIZES[:20]), sum(SIZES[20:28]), sum(SIZES[28:]))


def test_splits_that_have_nothing_in_common_share_nothing():
    """As where a blend lists the train split of a corpus beside the valid split of the same one."""
    train, valid = made(SIZES[:12], LENGTH, 2.0), made(SIZES[12:], LENGTH, 2.0)
    parts = []
    for part, name, before in ((train, "train", 0), (valid, "valid", 12)):
        arrays = dataclasses.replace(
            part.arrays, doc_idx=part.arrays.doc_idx + before, sizes=np.array(SIZES, dtype=np.int32)
        )
        parts.append(GPTIndex.from_arrays(dataclasses.replace(part.description, name=name, split="30,70,0"), arrays))
    which = np.arange(80, dtype=np.int16) % 2
    followed = trace(BlendIndex(tuple(parts), which, np.repeat(np.arange(40), 2)), PositionMap())
    assert followed.corpora.groups == ((0, 1),)
    assert followed.tokens == (sum(SIZES[:12]), sum(SIZES[12:]))
    assert not set(followed.token[followed.dataset == 0]) & set(followed.token[followed.dataset == 1])


FIXED = (20,) * 30


@pytest.mark.parametrize("without", [None, "b.bin", "a.bin"])
def test_corpora_with_the_same_sizes_but_other_or_unknown_text_share_nothing(tmp_path, without):
    prefixes = [write_corpus(tmp_path / name, FIXED, first) for name, first in (("a", 0), ("b", 30_000))]
    datasets = [[build_train([prefix], 120, LENGTH)] for prefix in prefixes]
    index, drawn = blend_of(datasets, [0.5, 0.5], 120, 3)
    if without is not None:
        (tmp_path / without).unlink()
    schedule, last_step = plain(index)
    agrees(index, drawn, PositionMap(), schedule, last_step)
    corpora = trace(index, PositionMap()).corpora
    assert corpora.groups == ()
    assert corpora.unsure == (() if without is None else ((0, 1),))


def made(sizes, length, epochs, seed=0):
    """An index of random documents in memory, as the host builds it but without its files.

    ``epochs``: the share of them that the run draws decides whether the last is shuffled separately.
    """
    random = np.random.default_rng(seed)
    tokens = int(sum(sizes))
    layout = IndexLayout.of(tokens, length, int(epochs * tokens / length))
    ids = [np.tile(np.arange(len(sizes)), group) for group in layout.epoch_groups]
    doc_idx = np.concatenate([random.permutation(group) for group in ids]).astype(np.int32)
    shuffle_idx = np.concatenate([low + random.permutation(high - low) for low, high in layout.sample_groups])
    place = np.arange(layout.samples_built + 1) * length
    ends = np.cumsum(np.asarray(sizes)[doc_idx])
    entry = np.searchsorted(ends, place, side="right")
    sample_idx = np.stack((entry, place - (ends[entry] - np.asarray(sizes)[doc_idx[entry]])), axis=1)
    sources = {"doc_idx": "d", "sample_idx": "s", "shuffle_idx": "p"}
    arrays = IndexArrays(doc_idx, sample_idx, shuffle_idx, np.asarray(sizes, np.int32), sources)
    return GPTIndex.from_arrays(Description("text", "train", layout.samples_requested, length, 1, "1"), arrays)


LARGE = np.random.default_rng(0).integers(1, 400, 300)  # 60,000 tokens


@pytest.fixture(scope="module")
def large():
    return made(LARGE, 16, 1.5)


def means(exposure, last_step, width=1):
    return np.array(
        [exposure.of_steps(step, step + width - 1).mean for step in range(1, last_step + 2 - width, width)]
    )


def test_separated_exposure_steps_up_by_one_at_the_boundary(large):
    (boundary,) = large.boundaries
    schedule, last_step = plain(large, batch=1, samples=large.layout.samples_requested)
    for tokens in (10**6, 2000):
        found = means(Exposure(trace(large, PositionMap(), tokens), schedule, last_step), last_step)
        assert (found[: boundary.position] == 0.0).all()
        # But for the tokens of the sample that crosses: it is drawn somewhere behind the boundary, and some of its
        # tokens are of the epoch before.
        assert found[boundary.position :].mean() == pytest.approx(1.0, abs=1e-3)
        assert np.median(found[boundary.position :]) == 1.0


@pytest.mark.parametrize(("mix", "low", "high"), [("ramp", 0.0, 0.01), ("uniform", 0.22, 0.27)])
def test_resumed_at_half_of_the_first_epoch_a_ramp_is_continuous_and_a_uniform_mix_is_not(mix, low, high):
    index = made(np.tile(LARGE, 10), 16, 1.5)
    boundary, planned = index.boundaries[0].position, index.layout.samples_requested
    start = boundary // 2
    positions = PositionMap([Reorder(start, planned, mix, (7, 1, 0), boundary if mix == "ramp" else None)])
    schedule, last_step = plain(index, batch=20, samples=planned)
    exposure = Exposure(trace(index, positions, 10**6), schedule, last_step)
    at = start // 20
    assert exposure.of_steps(1, at).mean == 0.0
    assert low <= exposure.of_steps(at + 2, at + 31).mean <= high
    # No order draws a token more often than the host's, or less often.
    assert exposure.of_steps(1, last_step).mean == pytest.approx((planned - boundary) / planned, abs=1e-3)


CASES = {
    "joint": (1.9, ()),
    "three epochs": (3.0, ()),
    "ramp": (1.5, (Reorder(2000, 5500, "ramp", (1,), 3760),)),
    "uniform": (1.5, (Reorder(2000, 5500, "uniform", (1,)),)),
}


@pytest.mark.parametrize(("epochs", "reorders"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("width", [1, 4])
def test_a_sample_of_tokens_tells_the_exposure_within_its_error(epochs, reorders, width):
    """Of windows that hold too few draws of their own, and of windows that hold enough."""
    index = made(LARGE, 16, epochs)
    positions = PositionMap(reorders)
    schedule, last_step = plain(index, batch=60, samples=index.layout.samples_requested)
    exact = Exposure(trace(index, positions, 10**6), schedule, last_step)
    sigmas, draws = [], []
    for seed in range(40):
        sampled = trace(index, positions, 6000, seed)
        assert not sampled.complete
        exposure = Exposure(sampled, schedule, last_step)
        for step in range(1 + seed % 7, last_step - width, 7):
            found, true = exposure.of_steps(step, step + width - 1), exact.of_steps(step, step + width - 1)
            draws.append(found.draws)
            if true.mean < 0.1:  # what is rare scatters lopsidedly
                assert abs(found.mean - true.mean) < 4 * found.error + 0.01
            else:
                sigmas.append((found.mean - true.mean) / found.error)
    assert_honest(sigmas)
    assert min(draws) >= exposure_module.ENOUGH
    assert (np.median(draws) < 210) == (width == 1)


def assert_honest(sigmas):
    """That errors, in units of what they are said to be, scatter as they should."""
    assert np.abs(sigmas).max() < 4
    assert 0.62 < np.mean(np.abs(sigmas) < 1) < 0.86  # where few samples stand for many, errors err upwards
    assert abs(np.mean(sigmas)) < 0.1


def test_a_sample_of_the_tokens_of_a_blend_is_weighted(tmp_path):
    """Datasets of which one is small and drawn often: unweighted, its tokens would count too much."""
    datasets = made(LARGE[:20], 16, 5.0, seed=1), made(LARGE, 16, 1.4, seed=2), made(LARGE[40:140], 16, 1.0, seed=3)
    counts = [len(one) for one in datasets]
    which = np.random.default_rng(4).permutation(np.repeat(np.arange(3), counts))
    inner = np.empty_like(which)
    for one in range(3):
        inner[which == one] = np.arange(counts[one])
    index = BlendIndex(datasets, which.astype(np.int16), inner)
    schedule, last_step = plain(index, batch=8)
    exact = Exposure(trace(index, PositionMap(), 10**6), schedule, last_step)
    sigmas, of_all = [], []
    for seed in range(25):
        sampled = trace(index, PositionMap(), 6000, seed)
        assert min(sampled.traced) >= 200
        exposure = Exposure(sampled, schedule, last_step)
        for step in range(1 + seed, last_step - 20, 61):
            found, true = exposure.of_steps(step, step + 19), exact.of_steps(step, step + 19)
            sigmas.append((found.mean - true.mean) / found.error)
        of_all.append(exposure.of_steps(1, last_step).mean - exact.of_steps(1, last_step).mean)
    assert_honest(sigmas)
    assert abs(np.mean(of_all)) < 0.002


def hosts_blend(weights, epochs, samples):
    """A blend by the host's rule, each of whose datasets is drawn for a number of data epochs."""
    shares = np.array(weights) / sum(weights)
    which = np.empty(samples, dtype=np.int16)
    drawn = np.zeros(len(weights), dtype=np.int64)
    inner = np.empty(samples, dtype=np.int64)
    for position in range(samples):
        one = int(np.argmax(shares * max(position, 1) - drawn))
        which[position], inner[position] = one, drawn[one]
        drawn[one] += 1
    datasets = []
    for number, (count, times) in enumerate(zip(drawn.tolist(), epochs, strict=True)):
        sizes = np.random.default_rng(number).integers(1, 400, max(int(count * 16 / times / 200), 2))
        datasets.append(made(sizes, 16, (count + 21) * 16 / sizes.sum(), seed=number))
    return BlendIndex(tuple(datasets), which, inner)


BLENDS = {
    "half, two data epochs": ([0.5, 0.5], [1.3, 1.9], ()),
    "a tenth, two data epochs": ([0.9, 0.1], [1.2, 1.9], ()),
    "a twentieth, four data epochs": ([0.95, 0.05], [0.8, 3.4], ()),
    "a twentieth of many": ([0.05] * 20, [1.9] * 20, ()),
    "a hundredth, two data epochs": ([0.99, 0.01], [1.0, 1.9], ()),
    "a hundredth, separated": ([0.99, 0.01], [1.0, 1.5], ()),
    "a tenth, unified": ([0.9, 0.1], [1.0, 1.9], (Reorder(5000, 19_000, "uniform", (1,)),)),
}


@pytest.mark.parametrize(("weights", "epochs", "reorders"), BLENDS.values(), ids=BLENDS)
@pytest.mark.parametrize("width", [1, 30])
def test_a_sample_of_tokens_tells_the_exposure_of_one_dataset_within_its_error(weights, epochs, reorders, width):
    index = hosts_blend(weights, epochs, 20_000)
    schedule, last_step = plain(index, batch=32)
    positions = PositionMap(reorders)
    exact = Exposure(trace(index, positions, 10**7), schedule, last_step)
    sigmas = []
    for seed in range(25):
        sampled = trace(index, positions, 4000, seed)
        exposure = Exposure(sampled, schedule, last_step)
        for step in range(1 + seed % 7, last_step - width, 23):
            true = exact.of_steps(step, step + width - 1, 1)
            if true is not None:
                found = exposure.of_steps(step, step + width - 1, 1)
                sigmas.append((found.mean - true.mean) / found.error)
    sigmas = np.abs(sigmas)
    assert np.mean(sigmas < 1) > 0.66
    assert np.mean(sigmas < 2) > 0.94
    assert sigmas.max() < 6  # what is rare scatters lopsidedly


@pytest.mark.parametrize(
    ("lists", "epochs"), [((0, 0), (0.9, 0.9)), ((0, 1, 0), (0.9, 0.6, 1.5)), ((0, 0, 0), (1.9, 0.3, 0.1))], ids=str
)
@pytest.mark.parametrize("dataset", [None, -1])
def test_a_sample_of_the_tokens_of_a_corpus_listed_twice_tells_its_exposure(lists, epochs, dataset):
    documents = [LARGE, LARGE[::-1][:150]]
    datasets = tuple(
        made(documents[one], 16, times, seed=number)
        for number, (one, times) in enumerate(zip(lists, epochs, strict=True))
    )
    counts = [one.layout.samples_requested for one in datasets]
    which = np.random.default_rng(4).permutation(np.repeat(np.arange(len(lists)), counts))
    inner = np.empty_like(which)
    for one, count in enumerate(counts):
        inner[which == one] = np.arange(count)
    index = BlendIndex(datasets, which.astype(np.int16), inner)
    schedule, last_step = plain(index, batch=16)
    exact = Exposure(trace(index, PositionMap(), 10**6), schedule, last_step)
    dataset = None if dataset is None else len(lists) + dataset
    sigmas = []
    for seed in range(30):
        sampled = trace(index, PositionMap(), 6000, seed)
        assert not sampled.complete
        exposure = Exposure(sampled, schedule, last_step)
        for step in range(1 + seed, last_step - 30, 47):
            true = exact.of_steps(step, step + 29, dataset)
            found = exposure.of_steps(step, step + 29, dataset)
            if true.mean > 0.1:  # what is rare scatters lopsidedly
                sigmas.append((found.mean - true.mean) / found.error)
    sigmas = np.abs(sigmas)
    assert np.mean(sigmas < 1) > 0.6
    assert np.mean(sigmas < 2) > 0.93
    assert sigmas.max() < 5


def test_a_corpus_listed_twice_repeats_as_soon_as_both_datasets_are_drawn():
    first, second = made(LARGE, 16, 1.0, seed=1), made(LARGE, 16, 1.0, seed=2)
    count = min(len(first), len(second))
    which = np.repeat([0, 1], count).astype(np.int16)
    index = BlendIndex((first, second), which, np.tile(np.arange(count), 2))
    schedule, last_step = plain(index, batch=10)
    for tokens in (10**6, 2000):
        exposure = Exposure(trace(index, PositionMap(), tokens), schedule, last_step)
        assert exposure.of_steps(1, count // 10).mean == 0.0
        assert exposure.of_steps(count // 10 + 2, last_step).mean == pytest.approx(1.0, abs=1e-3)
        assert exposure.of_steps(count // 10 + 2, last_step, 1).mean == pytest.approx(1.0, abs=1e-3)


def test_a_rare_dataset_that_begins_to_repeat_shows_in_its_own_exposure():
    index = hosts_blend([0.95, 0.05], [0.6, 1.5], 40_000)
    schedule, last_step = plain(index, batch=32)
    (boundary,) = index.boundaries
    step = boundary.position // 32
    exposure = Exposure(trace(index, PositionMap(), 4000), schedule, last_step)
    before, after = ((step - 29, step), (step + 2, step + 31))
    assert exposure.of_steps(*after).mean - exposure.of_steps(*before).mean < 0.07
    assert exposure.of_steps(*before, dataset=1).mean == 0.0
    assert exposure.of_steps(*after, dataset=1).mean == 1.0
    assert exposure.of_steps(*after, dataset=1).error < 0.1
    # The boundary of the one is none of the other.
    assert exposure.of_steps(step - 5, step + 5, 0).mean == 0.0


def test_steps_far_from_a_datasets_draws_have_no_exposure_of_it(large):
    """As where a dataset is drawn only in the first half."""
    other = made(LARGE[:100], 16, 1.0, seed=2)
    count = min(len(large), 3000)
    which = np.concatenate([np.arange(2000) % 2, np.zeros(count - 1000)]).astype(np.int16)
    inner = np.concatenate([np.repeat(np.arange(1000), 2), np.arange(1000, count)])
    index = BlendIndex((large, other), which, inner)
    schedule, last_step = plain(index, batch=8)
    exposure = Exposure(trace(index, PositionMap(), 2000), schedule, last_step)
    assert exposure.of_steps(200, 210, 1) is not None
    assert exposure.of_steps(251, 253, 1) is not None  # it could be
    assert exposure.of_steps(300, 310, 1) is None
    assert exposure.of_steps(300, 310, 0) is not None
    assert exposure.of_steps(300, 310, 2) is None
    assert exposure.of_steps(200, 210, -1) is None


def test_without_a_blend_the_only_dataset_is_the_whole(large):
    schedule, last_step = plain(large, batch=8)
    exposure = Exposure(trace(large, PositionMap(), 1000), schedule, last_step)
    assert all(exposure.of_steps(step, step + 2) == exposure.of_steps(step, step + 2, 0) for step in range(1, 400, 7))
    assert exposure.of_steps(1, 2, 1) is None


def test_means_are_never_taken_from_beyond_a_cut(large):
    boundary = large.boundaries[0].position
    run = Schedule((Segment(1, 0, 1, 1, 1, len(large)), Segment(3001, 0, 1, 1, 1, len(large))))
    exposure = Exposure(trace(large, PositionMap(), 1000), run, 3000 + len(large))
    # From step 3001 on all is drawn again: what was fresh at step 3000 is seen once at once.
    assert exposure.of_steps(2999, 3000).mean == 0.0
    assert exposure.of_steps(3001, 3002).mean == 1.0
    assert exposure.of_steps(3001, 3002).draws == exposure_module.ENOUGH
    assert exposure.of_steps(3000 + boundary, 3000 + boundary).mean < 0.5
    # A window over a cut is judged on either side of it, by its share of the samples.
    assert exposure.of_steps(2998, 3001).mean == pytest.approx(0.25)
    # A segment that only goes on does not hide what lies before it.
    split = Schedule((Segment(1, 0, 1, 1, 1, len(large)), Segment(2001, 2000, 2, 1, 1, len(large))))
    assert Exposure(trace(large, PositionMap(), 1000), split, 2500)._all.jumps.tolist() == [0, 3000]


def test_a_boundary_among_passed_over_positions_is_a_cut(large):
    boundary = large.boundaries[0].position
    schedule = Schedule((Segment(1, 0, 1, 1, 1, len(large)),), ((boundary - 20, boundary + 20),))
    exposure = Exposure(trace(large, PositionMap(), 1000), schedule, boundary + 400)
    assert exposure.of_steps(boundary - 30, boundary - 21).mean == 0.0
    assert exposure.of_steps(boundary + 21, boundary + 30).mean > 0.9
    assert exposure.of_steps(boundary - 20, boundary + 20) is None


def test_steps_that_draw_nothing_have_no_exposure(large):
    exposure = Exposure(trace(large, PositionMap(), 1000), Schedule((Segment(5, 0, 8, 1, 1, 800),)), 50)
    assert exposure.of_steps(1, 4) is None
    assert exposure.of_steps(51, 60) is None
    assert exposure.of_steps(1, 5).mean == 0.0
    before, nothing = exposure.shares_of(4, np.arange(3)), exposure.shares_of(5, np.arange(0))
    assert (before.fresh.tolist(), before.known.tolist()) == ([0.0] * 3, [False] * 3)
    assert (before.by_exposure.tolist(), before.by_recency.tolist()) == ([[0.0] * LEVELS] * 3, [[0.0] * RECENCIES] * 3)
    assert (nothing.fresh.shape, nothing.by_exposure.shape, nothing.by_recency.shape) == ((0,), (0, 6), (0, 5))


def test_where_no_token_is_traced_nothing_is_said(large):
    sampled = trace(large, PositionMap(), 3)
    exposure = Exposure(sampled, Schedule((Segment(1, 0, 1, 1, 1, len(large)),)), 3)
    assert exposure.of_steps(1, 1) is None  # in three samples there is none of the three
    assert not exposure.shares_of(1, np.arange(3)).known.any()


def test_a_sample_of_tokens_says_which_samples_are_fresh(large):
    schedule, last_step = plain(large, batch=1)
    complete, sampled = (Exposure(trace(large, PositionMap(), count), schedule, last_step) for count in (10**6, 9000))
    at = np.random.default_rng(1).permutation(len(large))
    shares = complete.shares_of(1, at)
    assert shares.known.all()
    exact, found = shares.fresh, sampled.shares_of(1, at).fresh
    # A sample none of whose tokens is traced is what all others on its side of the boundary are.
    assert sampled.shares_of(1, at).known.all()
    assert found.mean() == pytest.approx(exact.mean(), abs=0.01)
    assert (found[exact == 1.0] > 0.99).all()
    assert (found[exact == 0.0] < 0.01).all()


def test_where_new_and_known_samples_are_mixed_only_traced_ones_tell(large):
    mixed = PositionMap([Reorder(0, len(large), "uniform", (1, 1, 0))])
    schedule, last_step = plain(large, batch=1)
    exposure = Exposure(trace(large, mixed, 9000), schedule, last_step)
    shares = exposure.shares_of(1, np.arange(len(large)))
    assert 0.8 < shares.known.mean() < 1.0
    for values in (shares.fresh, shares.by_exposure, shares.by_recency):
        assert not values[~shares.known].any()


def by_level(exposure, positions):
    """The mean share of each exposure level in samples at some positions of a run of one segment."""
    shares = exposure.shares_of(1, np.asarray(positions))
    assert shares.by_exposure.sum(axis=1) == pytest.approx(shares.known.astype(float))
    assert shares.by_exposure[:, 0].tolist() == shares.fresh.tolist()
    return shares.by_exposure.mean(axis=0)


def test_a_sample_without_a_traced_token_has_the_level_of_those_around_it_if_they_have_one():
    index = ConcatenatedIndex(tuple(made(LARGE, 16, 1.0, seed=seed) for seed in range(3)))
    schedule, last_step = plain(index, batch=1)
    first, second = (boundary.position for boundary in index.boundaries)
    exposure = Exposure(trace(index, PositionMap(), 3000), schedule, last_step)
    for level, (start, stop) in enumerate([(0, first), (first + 1, second), (second + 1, len(index))]):
        assert by_level(exposure, np.arange(start, stop)) == pytest.approx(np.eye(LEVELS)[level], abs=0.01)
    # Two data epochs in a random order: whatever a sample holds was drawn before, and nobody knows how often.
    mixed = PositionMap([Reorder(first + 1, len(index), "uniform", (1, 1, 0))])
    exposure = Exposure(trace(index, mixed, 3000), schedule, last_step)
    levels = by_level(exposure, np.arange(first + 1, len(index)))
    assert levels[0] < 0.01
    assert levels[1] > 0.1
    assert levels[2] > 0.1
    assert levels[UNKNOWN] == pytest.approx(1 - levels[1] - levels[2], abs=0.01)
    # Recency is known of samples with a traced token only.
    recency = exposure.shares_of(1, np.arange(first + 1, len(index))).by_recency.sum()
    assert recency == pytest.approx(levels[1:UNKNOWN].sum() * (len(index) - first - 1), rel=0.02)


def steps_before(dataset, order, schedule, last_step, shift=0, name=None):
    """What some steps drew in another order, as ``Counted`` takes it."""
    rows = tokens_of(dataset)
    for step, at in read(schedule, last_step).items():
        drawn = sum((rows[base] for base in order.base(at).tolist()), [])
        yield step + shift, drawn if name is None else [(name, token) for token in drawn]


ALIVE = []
"""Datasets: with one, the document sizes that its index points to would go."""
EARLIER = {
    "another seed": {"seed": 2},
    "more samples": {"samples": JOINT, "seed": 1},
    "another length": {"seq_length": 13},
    "another split": {"split": "60,40,0", "samples": 100},
    "a unified order": {"reorders": (Reorder(20, 150, "ramp", (5, 1, 0), 90),)},
}


def earlier_of(prefix, number, schedule, last_step, shift=0, name=None, corpus=0, **values):
    """Other data and what was read of it, and the same as ``Counted`` takes it."""
    given = {"samples": SEPARATED, "seq_length": LENGTH, "seed": 3, **values}
    order = PositionMap(given.pop("reorders", ()))
    dataset = build_train([prefix], **given)
    ALIVE.append(dataset)
    data = EarlierData(index_of(dataset), order, (corpus,))
    before = list(steps_before(dataset, order, schedule, last_step, shift, name))
    return (data, EarlierReads(number, schedule, last_step, shift)), before


@pytest.mark.parametrize("reorders", ["host", "twice"])
@pytest.mark.parametrize("values", EARLIER.values(), ids=EARLIER)
def test_what_was_drawn_before_in_another_order_counts(prefix, values, reorders):
    """Ten steps of another run, whose weights were taken; five of this one; the rest in its present order."""
    dataset = build_train([prefix], SEPARATED, LENGTH, split="80,20,0")
    index = index_of(dataset)
    of_weights = earlier_of(prefix, 0, Schedule((Segment(1, 12, 4, 1, 1, 90),)), 10, shift=-10, seed=4)
    own = earlier_of(prefix, 1, Schedule((Segment(1, 0, 2, 3, 1, 90),), ((2, 3),)), 5, **values)
    schedule = Schedule((Segment(6, 20, 4, 1, 1, len(index)),))
    last_step = 5 + (len(index) - 20) // 4
    earlier, before = [of_weights[0], own[0]], [*of_weights[1], *own[1]]
    order = PositionMap(REORDERS[reorders](index))
    agrees(index, tokens_of(dataset), order, schedule, last_step, earlier, before)


def test_of_a_blend_each_corpus_has_been_drawn_before_by_itself(tmp_path):
    prefixes = [write_corpus(tmp_path / name, sizes) for name, sizes in (("a", SIZES), ("b", SIZES[:11]))]
    datasets = [[build_train([one], 150, LENGTH)] for one in prefixes]
    index, drawn = blend_of(datasets, (0.6, 0.4), 120, 1)
    pairs = [
        earlier_of(
            prefixes[at], number, Schedule((Segment(1 + 5 * number, 0, 4, 1, 1, 90),)), 5 * number + 5, 0, at, at
        )
        for number, at in enumerate((1, 0, 1))
    ]
    schedule = Schedule((Segment(16, 0, 4, 1, 1, 120),))
    before = sum((steps for _, steps in pairs), [])
    agrees(index, drawn, PositionMap(), schedule, 45, [one for one, _ in pairs], before)


def test_the_steps_of_a_run_whose_weights_were_taken_lie_before_the_first(large):
    schedule, _ = plain(large, batch=10)
    traced = trace(large, PositionMap(), 10**6, earlier=[EarlierData(large, PositionMap(), (0,))])
    exposure = Exposure(traced, schedule, 60, [EarlierReads(0, schedule, 60, shift=-60)])
    shares = exposure.shares_of(1, np.arange(600))
    # Each sample is drawn once more after 60 steps.
    assert not shares.fresh.any()
    assert shares.by_exposure[:, 1].tolist() == [1.0] * 600
    assert shares.by_recency[:, 1].tolist() == [1.0] * 600


def test_the_same_seed_picks_the_same_tokens(large):
    first, again, other = (trace(large, PositionMap(), 500, seed) for seed in (1, 1, 2))
    assert first.position.tolist() == again.position.tolist()
    assert first.token.tolist() == again.token.tolist()
    assert first.position.tolist() != other.position.tolist()
    assert first.traced == (500,)
    assert first.tokens == (sum(LARGE),)


def test_the_tokens_are_the_same_whatever_holds_the_arrays(separated, monkeypatch):
    """Mapped files are read, other arrays looked at; blocks of any size."""
    index = index_of(separated)
    arrays = index.arrays
    wide = dataclasses.replace(arrays, doc_idx=np.asarray(arrays.doc_idx, np.int64), sizes=np.array(arrays.sizes))
    others = [
        GPTIndex(index.description, index.layout, np.asarray(arrays.shuffle_idx, np.int64), wide),
        GPTIndex(index.description, index.layout, np.concatenate(([7], arrays.shuffle_idx))[1:], arrays),
        GPTIndex(index.description, index.layout, arrays.shuffle_idx[:], arrays),
    ]
    expected = trace(index, PositionMap(), 100)
    for block in (1, 7, 1 << 16):
        monkeypatch.setattr(tracing, "_BLOCK", block)
        for one in (index, *others):
            found = trace(one, PositionMap(), 100)
            assert found.position.tolist() == expected.position.tolist()
            assert found.token.tolist() == expected.token.tolist()


def test_part_of_a_mapped_array_is_not_mistaken_for_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert read_rows(mapped, 90, 95).tolist() == [90, 91, 92, 93, 94]
    assert read_rows(mapped[50:], 40, 45).tolist() == [90, 91, 92, 93, 94]


def test_what_cannot_be_traced_is_refused(separated):
    index = index_of(separated)
    with pytest.raises(IndexMismatchError, match="built from their arrays"):
        trace(GPTIndex(index.description, index.layout, index.shuffle_idx), PositionMap())
    with pytest.raises(IndexMismatchError, match="tokens of a Schedule cannot be traced"):
        trace(Schedule((Segment(1, 0, 1, 1, 1, 9),)), PositionMap())
