"""A blend that the host has built for fewer positions than the run draws: the same order, and on by its weights."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardError
from paddle_epoch_guard.index import BlendIndex
from paddle_epoch_guard.order import PositionMap, Reorder
from paddle_epoch_guard.resume import BlendRecord, read_sidecar, write_sidecar
from paddle_epoch_guard.resume.blending import build_blend
from training import arguments, train

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
SIZES = {"news": (100, 100, 73), "code": (300, 250, 280, 90), "more": (500,)}
MODES = ["track", "unified"]


class Blend:
    """Three corpora and their blend."""

    def __init__(self, folder, weights):
        self.folder = folder
        self.prefixes = [write_corpus(folder / "corpus" / name, rows) for name, rows in SIZES.items()]
        self.weights = weights
        self.listing = range(len(weights))

    @property
    def weighted(self):
        return [part for at in self.listing for part in (self.weights[at], self.prefixes[at])]

    def of(self, samples):
        return build_train(self.weighted, samples, SEQ_LENGTH, cache=self.folder / "cache")

    def run(self, steps, batch=4, resume=None, mode="track", samples=None):
        args = arguments(
            self.folder, max_steps=steps, per_device_train_batch_size=batch, epoch_guard=mode, save_strategy="steps",
            save_steps=10,
        )  # fmt: skip
        checkpoint = None if resume is None else str(self.folder / "run" / f"checkpoint-{resume}")
        done = train(args, self.of(steps * batch if samples is None else samples), resume=checkpoint)
        return [token for micro in done.first_tokens for token in micro]

    def recorded(self, step):
        return json.loads((self.folder / "run" / f"checkpoint-{step}" / "epoch_guard.json").read_text())

    def built(self):
        return sorted((self.folder / "cache").glob("epoch_guard_blend_*"))

    def chains(self, sidecar):
        """The first token of every position of each dataset, from indices built by the host alone."""
        found = []
        for prefix, record in zip(self.prefixes, sidecar["datasets"], strict=True):
            tokens = []
            for part in record["indices"]:
                dataset = build_train([prefix], part["samples_requested"], SEQ_LENGTH, seed=part["seed"])
                tokens += [int(dataset[p]["text"][0]) for p in range(len(dataset))]
            found.append(tokens)
        return found

    def tokens(self, sidecar, length):
        """What the run should draw: the blend in force, and behind it one that begins anew, datasets going on."""
        begun = sidecar["blend"]["positions"]
        which, inner = [], []
        drawn = np.zeros(len(SIZES), dtype=np.int64)
        for count in (begun, length - begun):
            if count > 0:
                segment = self.of(count)
                which += np.asarray(segment.dataset_index).tolist()
                inner += (np.asarray(segment.dataset_sample_index) + drawn[segment.dataset_index]).tolist()
                drawn += np.bincount(segment.dataset_index, minlength=len(SIZES))
        chains = self.chains(sidecar)
        order = PositionMap([Reorder(**{**one, "key": tuple(one["key"])}) for one in sidecar["reorders"]])
        return [chains[which[p]][inner[p]] for p in order.base(np.arange(len(which)))[:length]]


@pytest.fixture(params=[(0.3, 0.4, 0.3), (1, 1, 1), (2, 3, 7), (0.1, 0.2, 0.7), (0.1, 0.2, 0.3)], ids=str)
def blend(tmp_path, request):
    """What is drawn is compared for each of several weights."""
    return Blend(tmp_path, request.param)


@pytest.fixture
def one_blend(tmp_path):
    """For what does not depend on the weights."""
    return Blend(tmp_path, (0.3, 0.4, 0.3))


@pytest.mark.parametrize("mode", MODES)
def test_a_smaller_batch_at_as_many_steps_draws_from_the_blend_that_was_begun(blend, mode):
    before = blend.run(30, mode=mode)
    after = blend.run(30, batch=2, resume=10, mode=mode)  # the host builds for 60 positions; the run draws 80
    plan = blend.tokens(blend.recorded(10), 120)
    assert before == plan
    assert before[:40] + after == plan[:80]
    assert len(blend.built()) == 2


def test_a_unified_order_cut_short_still_spans_the_blend_that_was_begun(blend):
    before = blend.run(30, mode="unified")
    after = blend.run(15, resume=10, mode="unified")
    assert before[:40] + after == before[:60]


@pytest.mark.parametrize("mode", MODES)
def test_a_blend_goes_on_where_the_host_has_built_too_little(blend, mode):
    """The dataset is built by hand for as many samples as at first, whatever max_steps is."""
    parts = [blend.run(30, mode=mode)]
    parts.append(blend.run(60, resume=20, mode=mode, samples=120))
    assert blend.recorded(60)["blend"]["positions"] == 120
    parts.append(blend.run(80, resume=40, mode=mode, samples=100))
    parts.append(blend.run(100, resume=70, mode=mode, samples=400))
    assert blend.recorded(100)["blend"]["positions"] == 120  # no longer the host's own: something was appended
    together = parts[0][:80] + parts[1][:80] + parts[2][:120] + parts[3]
    assert together == blend.tokens(blend.recorded(100), 400)


def test_what_was_built_is_built_anew_where_it_was_deleted(one_blend):
    one_blend.run(30)
    first = one_blend.run(30, batch=2, resume=10)
    for file in one_blend.built():
        file.unlink()
    assert one_blend.run(30, batch=2, resume=10) == first


def test_a_damaged_file_of_the_guard_is_refused_by_name(one_blend):
    one_blend.run(30)
    one_blend.run(30, batch=2, resume=10)
    file = one_blend.built()[0]
    content = bytearray(file.read_bytes())
    content[-30] ^= 1
    file.write_bytes(content)
    with pytest.raises(EpochGuardError, match=rf"{file.name}: damaged"):
        one_blend.run(30, batch=2, resume=10)
    file.write_bytes(content[:-30])
    with pytest.raises(EpochGuardError, match=rf"{file.name}: not a readable"):
        one_blend.run(30, batch=2, resume=10)


def test_a_blend_that_cannot_be_built_again_is_refused_with_the_number_to_build_it_for(one_blend):
    one_blend.run(30)
    folder = one_blend.folder / "run" / "checkpoint-10"
    sidecar = read_sidecar(folder, 10)
    other = replace(sidecar.blend, digest="0123456789abcdef-0123456789abcdef")
    write_sidecar(folder, replace(sidecar, blend=other))
    with pytest.raises(EpochGuardError, match="Build the blend for at least 120 samples"):
        one_blend.run(30, batch=2, resume=10)
    assert one_blend.built() == []
    with pytest.raises(EpochGuardError, match="order of the blend was 0123456789abcdef"):
        one_blend.run(30, resume=10)


def test_a_larger_blend_of_the_hosts_takes_the_place_of_the_one_that_was_begun(blend):
    before = blend.run(30)
    after = blend.run(50, resume=10)
    assert before[40:] == after[:80]
    assert blend.recorded(50)["blend"]["positions"] == 200
    assert blend.built() == []


def test_the_table_says_what_is_done_with_the_blend(one_blend, host_log):
    one_blend.run(30)
    one_blend.run(30, batch=2, resume=10)
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "positions of the blend │ 120 │ 60 │ repair" in " ".join(table.split())


def test_every_rank_but_the_first_waits_for_the_files(one_blend, monkeypatch):
    """Another machine's first process builds its own; a process that is not the first builds nothing."""
    one_blend.run(30)
    monkeypatch.setenv("PADDLE_RANK_IN_NODE", "1")
    with pytest.raises(EpochGuardError, match="no such file"):
        one_blend.run(30, batch=2, resume=10)
    assert one_blend.built() == []


def test_the_rule_of_the_host_begins_alike_whatever_the_length():
    """What the continuation rests on."""
    from paddle_epoch_guard.host import pick_datasets

    weights = np.array([0.3, 0.4, 0.3])
    lengths = (10, 100, 1000)
    found = [pick_datasets(weights, length, np.dtype(np.int16)) for length in lengths]
    for (shorter, inner), (longer, longer_inner) in pairwise(found):
        assert shorter.tolist() == longer[: len(shorter)].tolist()
        assert inner.tolist() == longer_inner[: len(inner)].tolist()


@pytest.mark.parametrize("mode", MODES)
def test_a_folder_that_lists_its_corpora_in_another_order_is_read_in_the_order_of_then(blend, mode, host_log):
    listing = {"track": (1, 0, 2), "unified": (2, 0, 1)}[mode]
    before = blend.run(30, mode=mode)
    blend.listing = listing
    live = blend.of(120)
    of_host = [int(live[p]["text"][0]) for p in range(120)]
    after = blend.run(30, resume=10, mode=mode)
    assert before[:40] + after == before
    assert of_host != before
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    names = list(SIZES)
    assert ", ".join(names) in table
    assert ", ".join(names[at] for at in listing) in table
    # It goes on so, in either order.
    assert blend.run(30, resume=20, mode=mode) == before[80:]
    blend.listing = range(3)
    assert blend.run(30, resume=20, mode=mode) == before[80:]
    # And the dataset is as it was.
    assert [int(live[p]["text"][0]) for p in range(120)] == of_host


def test_a_longer_run_over_a_folder_that_lists_otherwise_goes_on_by_the_weights_of_then(blend):
    before = blend.run(30)
    blend.listing = (2, 0, 1)
    after = blend.run(50, resume=10)
    blend.listing = range(3)
    assert before[:40] + after == blend.tokens(blend.recorded(50), 200)


@pytest.mark.parametrize(
    "draw",
    [
        lambda random: random.integers(1, 10) / 10,
        lambda random: random.integers(1, 100) / 100,
        lambda random: random.integers(1, 1000) / 1000,
        lambda random: random.choice([0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0]),
        lambda random: float(random.integers(1, 50)),
    ],
    ids=["tenths", "hundredths", "thousandths", "mixed", "whole numbers"],
)
def test_an_order_is_built_again_from_the_rounded_text_of_its_weights(draw):
    from paddle_epoch_guard.host import pick_datasets

    random = np.random.default_rng(5)
    for _ in range(100):
        given = [float(draw(random)) for _ in range(random.integers(2, 8))]
        total = 0.0
        for weight in given:
            total += weight
        weights = np.array([weight / total for weight in given])
        weights /= np.sum(weights)
        begun = BlendIndex(
            (None,) * len(given), *pick_datasets(weights, 1500, np.dtype(np.int16)), weights=str(weights)
        )
        smaller = replace(
            begun, dataset_index=begun.dataset_index[:1000], dataset_sample_index=begun.dataset_sample_index[:1000]
        )
        again = build_blend(smaller, BlendRecord.of(begun), 1500, pick_datasets)
        assert again is not None, given
        np.testing.assert_array_equal(again, (begun.dataset_index, begun.dataset_sample_index))


@pytest.mark.parametrize(
    "text", ["[nan 0.5]", "[inf 0.5]", "[1e300 1e-300]", "[0. 0.]", "[-0.5 1.5]", "[1.]", "", "[x]"]
)
def test_a_text_that_holds_no_weights_is_not_built_from(text):
    none = np.empty(0, dtype=np.int16)
    nothing = BlendIndex((None, None), none, none.astype(np.int64), weights=text)
    record = BlendRecord(positions=10, digest="0" * 16, weights=text)

    def pick(weights, positions, dtype):
        raise AssertionError(weights)

    assert build_blend(nothing, record, 10, pick) is None


def test_weights_of_no_simple_ratio_are_tried_as_they_are():
    from paddle_epoch_guard.host import pick_datasets

    weights = np.random.default_rng(5).random(200)
    weights /= weights.sum()
    begun = BlendIndex((None,) * 200, *pick_datasets(weights, 1000, np.dtype(np.int16)), weights=str(weights))
    nothing = replace(
        begun, dataset_index=begun.dataset_index[:0], dataset_sample_index=begun.dataset_sample_index[:0]
    )
    again = build_blend(nothing, BlendRecord.of(begun), 1000, pick_datasets)
    assert again is None or np.array_equal(again[0], begun.dataset_index)


def test_another_listing_whose_order_cannot_be_built_again_is_refused_with_the_order_of_then(one_blend):
    one_blend.run(30)
    checkpoint = one_blend.folder / "run" / "checkpoint-10"
    sidecar = read_sidecar(checkpoint, 10)
    write_sidecar(checkpoint, replace(sidecar, blend=replace(sidecar.blend, digest="0" * 16)))
    one_blend.listing = (2, 0, 1)
    with pytest.raises(EpochGuardError, match=f"List them as then: {', '.join(SIZES)}"):
        one_blend.run(30, resume=10)


def test_corpora_of_equal_sizes_that_are_listed_otherwise_are_told_apart_by_their_names(tmp_path, host_log):
    sizes = next(iter(SIZES.values()))
    first, second = (
        write_corpus(tmp_path / "corpus" / name, sizes, first=at) for name, at in (("a", 0), ("b", 10**4))
    )

    def part(blend, resume=None):
        dataset = build_train(blend, 120, 8, cache=tmp_path / "cache")
        args = arguments(tmp_path, max_steps=30, save_strategy="steps", save_steps=10)
        checkpoint = None if resume is None else str(tmp_path / "run" / f"checkpoint-{resume}")
        return [token for batch in train(args, dataset, resume=checkpoint).first_tokens for token in batch]

    before = part([0.5, first, 0.5, second])
    assert before[:40] + part([0.5, second, 0.5, first], resume=10) == before
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "file names of the corpora" not in table
