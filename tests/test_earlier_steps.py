"""What was drawn before the present order, in real trainings: it counts as it is, or nothing is logged, and it is said
why.
"""

import json
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest

from corpora import SIZES, build_train, write_corpus
from paddle_epoch_guard import EpochGuardCallback, host
from paddle_epoch_guard.comparison.reading import read_run
from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.record.events import WindowLogged
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import record_path
from paddle_epoch_guard.resume import encode_sidecar, read_sidecar
from pretraining import StopAt
from test_history import EachToken
from training import arguments, train

pytestmark = pytest.mark.host

STEPS, LENGTH = 30, 8
"""120 samples of 4 a step: two data epochs, and the second is shuffled apart from step 19 on."""
WARN = {"epoch_guard_on_mismatch": "warn"}
PLAIN = {"guarded": False}


class Chain:
    """A run in several parts, and what each step drew."""

    def __init__(self, folder):
        self.folder, self.done, self.steps = folder, 0, []
        self.prefixes = [write_corpus(folder / "corpus" / "a", SIZES)]

    def part(self, upto, guarded=True, resume=None, **changes):
        """Trains on to a step. ``seed`` is the data's and the trainer's, ``data_seed`` the data's alone."""
        data = {name: changes.pop(name) for name in ("length", "split", "weights", "data_seed") if name in changes}
        args = arguments(self.folder, **{"max_steps": STEPS, "seed": 42, **changes})
        many = args.gradient_accumulation_steps
        corpora = self.prefixes
        if len(corpora) > 1:
            corpora = sum(map(list, zip(data.get("weights", (0.6, 0.4)), corpora, strict=True)), [])
        samples = args.max_steps * args.per_device_train_batch_size * many
        seed, length = data.get("data_seed", args.seed), data.get("length", LENGTH)
        split = data.get("split", "100,0,0")
        dataset = build_train(corpora, samples, length, seed, split, cache=self.folder / "cache")
        callbacks = [StopAt(upto), *([EpochGuardCallback()] if guarded else [])]
        resume = self.checkpoint(self.done) if resume is None and self.done else resume
        run = train(args, dataset, model=EachToken, callbacks=callbacks, resume=resume and str(resume))
        micro = run.model.tokens
        self.steps += [sum(micro[at : at + many], []) for at in range(0, len(micro), many)]
        self.done = upto
        return self

    def checkpoint(self, step):
        return self.folder / "run" / f"checkpoint-{step}"

    def windows(self, after=0):
        """The windows that the record has, without those of steps that were done again."""
        found = {}
        for line in RecordFile.open(record_path(str(self.folder / "logs"))).lines():
            if isinstance(line.event, WindowLogged):
                found[line.event.last_step] = line.event
        return {step: window for step, window in found.items() if step > after}


def counted(steps, after):
    """By step: exposure, the share of new tokens, and those that were drawn once, twice, three times, more often."""
    seen, found = Counter(), {}
    for step, tokens in enumerate(steps, 1 - after):
        priors = []
        for token in tokens:
            priors.append(seen[token])
            seen[token] += 1
        levels = Counter(min(prior, 4) for prior in priors)
        found[step] = sum(priors) / len(priors), [levels[level] / len(priors) for level in range(5)]
    return found


def assert_counted(chain, after, of_weights=0):
    """All windows after a step have the exposure, and the shares of samples by exposure, that counting gives."""
    truth = counted(chain.steps, of_weights)
    windows = chain.windows(after)
    assert len(windows) >= 5
    for step, window in windows.items():
        exposure, levels = truth[step]
        assert window.exposure is not None, step
        assert window.exposure.mean == pytest.approx(exposure), step
        samples = window.fresh.weight + window.repeat.weight
        assert window.fresh.weight / samples == pytest.approx(levels[0]), step
        logged = [0.0] * 5
        for one in window.by_exposure:
            logged[one.exposure] += one.weight / samples
        assert logged == pytest.approx(levels), step


def assert_nothing_logged(chain, after, host_log, why):
    """No window after a step says anything of exposure, and one line says why."""
    windows = chain.windows(after)
    assert windows
    for window in windows.values():
        assert window.exposure is None
        assert window.fresh is None or window.fresh.weight == window.repeat.weight == 0
        assert window.by_exposure == window.by_recency == window.wholly_fresh == ()
    said = [text for text in host_log.warnings if "logs no exposure" in text]
    assert len(said) == 1
    assert why in said[0]


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


@pytest.fixture
def blend(chain):
    chain.prefixes.append(write_corpus(chain.folder / "corpus" / "b", SIZES[:25], first=10_000))
    return chain


PARTS = {
    "another seed": [{}, {"seed": 7, **WARN}],
    "another seed, and back": [{}, {"seed": 7, **WARN}, {**WARN}],
    "another split and length": [{}, {"split": "80,20,0", "length": 13, **WARN}],
    "interrupted after it": [{}, {"seed": 7, **WARN}, {"seed": 7}],
    "another batch after it": [{}, {"seed": 7, **WARN}, {"seed": 7, "gradient_accumulation_steps": 2}],
    "a unified order before": [{"epoch_guard": "unified"}, {"seed": 7, **WARN}],
    "a unified order after": [{}, {"seed": 7, "epoch_guard": "unified", **WARN}],
    "without the guard": [{}, PLAIN, {}],
    "without the guard twice": [{}, PLAIN, PLAIN, {}],
    "switched off": [{}, {"epoch_guard": "off"}, {}],
    "without the guard, in a longer run": [{}, {"max_steps": 40, **PLAIN}, {"max_steps": 40}],
    "without the guard, another seed": [{}, {"seed": 7, **PLAIN}, {"seed": 7}],
    "without the guard first": [PLAIN, {"epoch_guard": "unified"}],
    "the data read anew after it": [PLAIN, {"ignore_data_skip": True}],
    "the data read anew, unified": [PLAIN, {"ignore_data_skip": True, "epoch_guard": "unified"}],
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_what_was_drawn_before_counts(chain, parts):
    ends = [*[6, 12, 15][: len(parts) - 1], 24]
    for upto, changes in zip(ends, parts, strict=True):
        chain.part(upto, **changes)
    assert_counted(chain, ends[-2])


def test_of_a_blend_by_other_weights_and_of_one_corpus_before(blend):
    both = list(blend.prefixes)
    blend.prefixes = both[:1]
    blend.part(6)
    blend.prefixes = both
    blend.part(10, **WARN).part(14, weights=(0.3, 0.7), **WARN).part(24, weights=(0.3, 0.7), **WARN)
    assert_counted(blend, 14)


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_what_the_weights_had_seen_counts_after_an_interruption_too(chain, is_interrupted):
    chain.part(10)
    weights = chain.folder / "weights"
    shutil.copytree(chain.checkpoint(10), weights)
    for folder in ("run", "logs"):
        shutil.rmtree(chain.folder / folder)
    chain.done = 0
    chain.part(8 if is_interrupted else 20, resume=weights, ignore_load_lr_and_optim=True, seed=7)
    if is_interrupted:
        chain.part(20, seed=7)
    assert_counted(chain, 8 if is_interrupted else 0, of_weights=10)


def test_a_comparison_counts_the_tokens_of_steps_without_the_guard(chain):
    """By which it finds the place at which runs are compared."""
    longer = {"max_steps": 40, "gradient_accumulation_steps": 2}
    chain.part(6).part(10, **longer, **PLAIN).part(16, **longer)
    compared = read_run(str(chain.folder / "logs"))
    assert compared.windows["tokens"].tolist()[-1] == sum(map(len, chain.steps)) == (6 * 4 + 10 * 8) * LENGTH


def without_index(chain):
    for file in (chain.folder / "cache").glob("*_idx.npy"):
        if file.stat().st_mtime_ns < chain.checkpoint(6).stat().st_mtime_ns:
            file.unlink()


def test_where_the_index_of_before_is_gone_nothing_is_logged(chain, host_log):
    chain.part(6)
    without_index(chain)
    chain.part(16, seed=7, **WARN)
    assert_nothing_logged(chain, 6, host_log, "for 120 samples and seed 42, is no longer in the cache")


def test_where_the_corpus_has_changed_nothing_is_logged(chain, host_log):
    chain.part(6)
    shutil.rmtree(chain.folder / "cache")
    write_corpus(chain.folder / "corpus" / "a", (*SIZES, 9))
    chain.part(16, **WARN)
    assert_nothing_logged(
        chain, 6, host_log, "steps 1 to 6 drew is unknown: they drew from a corpus (a) that is not one"
    )


def test_where_the_corpus_of_a_part_without_the_guard_may_be_read_otherwise_nothing_is_logged(chain, host_log):
    chain.part(6).part(10, length=13, **PLAIN).part(16)
    assert_nothing_logged(chain, 10, host_log, "may have drawn from another index of the same corpus")


def test_where_a_part_without_the_guard_had_another_seed_of_the_data_nothing_is_logged(chain, host_log):
    chain.part(6, data_seed=1).part(10, data_seed=2, **PLAIN).part(16, data_seed=1)
    assert_nothing_logged(chain, 10, host_log, "may have drawn from another index of the same corpus")


def test_where_a_part_without_the_guard_had_other_arguments_nothing_is_logged(chain, host_log):
    """Steps 7 to 8 in batches of 8, then steps 9 to 12 in batches of 4 again."""
    chain.part(6).part(8, gradient_accumulation_steps=2, **PLAIN).part(12, **PLAIN).part(18)
    assert_nothing_logged(chain, 12, host_log, "by checkpoint-8 consumed_samples was 64 then; it is 32 now")


def test_a_part_without_the_guard_in_another_order_is_refused(chain):
    chain.part(6, seed=7, **PLAIN)
    with pytest.raises(ResumeMismatchError, match="seed then: 7, now: 42"):
        chain.part(12)


def test_where_the_trainers_arguments_are_gone_nothing_is_logged(chain, host_log):
    chain.part(6).part(10, **PLAIN)
    (chain.checkpoint(10) / "training_args.bin").unlink()
    chain.part(16)
    assert_nothing_logged(chain, 10, host_log, "checkpoint-10 lacks what the trainer saves of them")


def test_what_was_in_doubt_stays_unknown_where_no_checkpoint_tells_of_it(chain, host_log):
    """At step 6 the guard is in doubt and stands aside. Later, all that is left seems to be of one run."""
    chain.part(6, **PLAIN).part(10, gradient_accumulation_steps=2, **WARN)
    shutil.rmtree(chain.checkpoint(6))
    chain.part(16, gradient_accumulation_steps=2)
    assert_nothing_logged(chain, 10, host_log, "the steps before 11 drew are unknown")


def test_a_sidecar_of_an_earlier_release_says_nothing_of_the_order_before_it(chain, host_log):
    chain.part(6).part(10, seed=7, **WARN)
    folder = chain.checkpoint(10)
    sidecar = read_sidecar(folder, 10)
    assert [(steps.first_step, steps.last_step) for steps in sidecar.earlier] == [(1, 6)]
    fields = json.loads(encode_sidecar(sidecar))
    body = {name: value for name, value in fields.items() if name not in ("digest", "earlier", "knows_weights")}
    with atomic_write(folder / "epoch_guard.json") as stream:
        stream.write(json.dumps({**body, "version": 1}).encode())  # which has no digest
    chain.part(16, seed=7)
    assert_nothing_logged(chain, 10, host_log, "the steps before 7 drew are unknown")


def test_a_dataset_without_an_index_is_followed_after_a_part_without_the_guard(tmp_path, host_log):
    samples = [{"text": np.arange(1, 10)} for _ in range(120)]
    args = arguments(tmp_path, max_steps=STEPS)
    train(args, samples, callbacks=[StopAt(6)])
    resumed = train(args, samples, resume=str(tmp_path / "run" / "checkpoint-6"))
    assert len(resumed.losses) == STEPS - 6
    assert [text for text in host_log.warnings if "switched off" in text] == []


def test_a_boundary_that_may_bring_new_data_is_not_said_to_repeat_all(chain, host_log):
    chain.part(10).part(24, seed=7, **WARN)
    ahead, reached = [text for text in host_log.warnings_of_boundaries if "not drawn this order" in text]
    assert "may fall at step 19 of 30" in ahead
    assert "some of that data may be new" in ahead
    assert "how much of the data it has seen before is what exposure says" in reached


class Loud:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return (print, ("it ran",))


def test_the_trainers_arguments_are_read_without_running_anything(tmp_path, capsys):
    run = Chain(tmp_path).part(3, **PLAIN)
    folder = run.checkpoint(3)
    saved = host.saved_arguments(folder)
    assert (saved["seed"], saved["per_device_train_batch_size"], saved["skip_data_intervals"]) == (42, 4, None)
    capsys.readouterr()
    for content in (pickle.dumps({"seed": Loud()}), pickle.dumps(Loud()), b"\x80\x04no pickle", b""):
        (folder / "training_args.bin").write_bytes(content)
        assert host.saved_arguments(folder) is None
    assert "it ran" not in capsys.readouterr().out
