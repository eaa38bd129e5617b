"""What was drawn is history: a resume takes it from the checkpoint, whatever the present arguments say."""

import shutil
from collections import Counter

import pytest

from corpora import build_train, write_corpus
from hosts import TrainerCallback
from paddle_epoch_guard import EpochGuardCallback
from paddle_epoch_guard.record.events import WindowLogged
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import record_path
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.resume import read_sidecar
from training import KnownLosses, arguments, train

pytestmark = pytest.mark.host

SIZES = (60, 7, 130, 1, 58, 190, 23, 136)  # 605 tokens
LENGTH, STEPS, BATCH, SAVED = 8, 45, 4, 20
"""180 samples: three data epochs, the boundary in step 38."""


@pytest.fixture
def prefix(tmp_path):
    return write_corpus(tmp_path / "corpus" / "text", SIZES)


def run(folder, prefix, resume=None, callbacks=None, steps=STEPS, seed=1, **changes):
    dataset = build_train([prefix], STEPS * BATCH, LENGTH, seed=seed)
    values = {"save_strategy": "steps", "save_steps": SAVED, "max_steps": steps, **changes}
    checkpoint = None if resume is None else str(folder / "run" / f"checkpoint-{resume}")
    return train(arguments(folder, **values), dataset, model=KnownLosses, callbacks=callbacks, resume=checkpoint)


def exposure(run, after=0):
    """By step, as the record has it: what an earlier part said of steps that were done again does not count."""
    series = read_run(run.args.logging_dir).exposure
    points = zip(series.steps.tolist(), series.values.tolist(), strict=True)
    return {step: value for step, value in points if step > after}


def losses(run, after):
    """Of fresh and repeated samples, window by window."""
    events = [line.event for line in RecordFile.open(record_path(run.args.logging_dir)).lines()]
    windows = [event for event in events if isinstance(event, WindowLogged) and event.last_step > after]
    return [(window.last_step, window.fresh, window.repeat) for window in windows]


def test_what_was_drawn_before_the_guard_came_counts(tmp_path, prefix, host_log):
    whole = run(tmp_path / "whole", prefix)
    run(tmp_path, prefix, callbacks=[])
    resumed = run(tmp_path, prefix, resume=SAVED)
    assert exposure(resumed) == exposure(whole, after=SAVED)
    assert losses(resumed, SAVED) == losses(whole, SAVED)
    # And it is remembered: resumed once more, from a sidecar.
    again = run(tmp_path, prefix, resume=2 * SAVED)
    assert exposure(again, after=2 * SAVED) == exposure(whole, after=2 * SAVED)
    assert host_log.warnings == []


def test_what_was_skipped_stays_skipped_and_is_in_the_audit(tmp_path, prefix, host_log):
    skip = {"skip_data_intervals": [[5, 9]]}
    whole = run(tmp_path / "whole", prefix, **skip)
    run(tmp_path, prefix, **skip)
    resumed = run(tmp_path, prefix, resume=SAVED)
    assert exposure(resumed, after=SAVED) == exposure(whole, after=SAVED)
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "skipped steps so far" in table
    assert "5 to 9" in table


def test_what_is_to_be_skipped_behind_a_resume_was_not(tmp_path, prefix):
    whole = run(tmp_path / "whole", prefix)
    run(tmp_path, prefix)
    resumed = run(tmp_path, prefix, resume=SAVED, skip_data_intervals=[[5, 9], [30, 31]])
    before = {step: value for step, value in exposure(resumed, after=SAVED).items() if step < 30}
    assert before == {step: value for step, value in exposure(whole, after=SAVED).items() if step < 30}
    assert not {30, 31} & set(exposure(resumed))


class EachToken(KnownLosses):
    """Keeps every token that it is trained on."""

    def __init__(self):
        super().__init__()
        self.tokens = []

    def forward(self, input_ids, labels=None):
        if self.training:
            self.tokens.append(input_ids.numpy().ravel().tolist())
        return super().forward(input_ids, labels)


class ReadsAhead(TrainerCallback):
    """Reads all that the sampler lists, as a loader does that is far ahead of the training."""

    def __init__(self):
        self.read = 0

    def on_step_begin(self, args, state, control, train_dataloader=None, **kwargs):
        if not self.read:
            self.read = sum(
                1 for batch in train_dataloader.batch_sampler for at in batch if train_dataloader.dataset[at]
            )


def counted(steps):
    """By step, how often its tokens were drawn before, on average."""
    seen, means = Counter(), {}
    for step, tokens in enumerate(steps, 1):
        priors = []
        for token in tokens:
            priors.append(seen[token])
            seen[token] += 1
        means[step] = sum(priors) / len(priors)
    return means


@pytest.mark.parametrize("mode", ["track", "unified"])
@pytest.mark.parametrize(
    "change",
    [
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "max_steps": 33},
        {"gradient_accumulation_steps": 4, "max_steps": 45},
        {"per_device_train_batch_size": 16, "max_steps": 48},
        {"per_device_train_batch_size": 2},
        {"max_steps": 60},
    ],
    ids=str,
)
def test_exposure_in_a_blend_that_is_repaired_or_extended_is_what_counting_gives(tmp_path, change, mode):
    prefixes = [
        write_corpus(tmp_path / "corpus" / "a", SIZES),
        write_corpus(tmp_path / "corpus" / "b", SIZES[2:6], first=10_000),
    ]

    def part(steps=STEPS, resume=None, **changes):
        values = {"save_strategy": "steps", "save_steps": SAVED, "max_steps": steps, "epoch_guard": mode, **changes}
        args = arguments(tmp_path, **values)
        global_batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        blend = [0.6, prefixes[0], 0.4, prefixes[1]]
        dataset = build_train(blend, args.max_steps * global_batch, LENGTH, cache=tmp_path / "cache")
        ahead = ReadsAhead()
        done = train(args, dataset, model=EachToken, resume=resume, callbacks=[EpochGuardCallback(), ahead])
        assert ahead.read >= global_batch * (args.max_steps - (SAVED if resume else 0))
        micro = done.model.tokens
        many = args.gradient_accumulation_steps
        return done, [sum(micro[at : at + many], []) for at in range(0, len(micro), many)]

    _, before = part()
    resumed, after = part(resume=str(tmp_path / "run" / f"checkpoint-{SAVED}"), **change)
    assert exposure(resumed) == pytest.approx(counted([*before[:SAVED], *after]))


def by_step(run, many=1):
    """The tokens of each step."""
    micro = run.model.tokens
    return [sum(micro[at : at + many], []) for at in range(0, len(micro), many)]


@pytest.fixture
def part(tmp_path, prefix):
    def train_part(resume=None, callbacks=None, **changes):
        args = arguments(tmp_path, **{"save_strategy": "steps", "save_steps": 10, "max_steps": STEPS, **changes})
        many = args.gradient_accumulation_steps
        dataset = build_train([prefix], args.max_steps * BATCH * many, LENGTH, cache=tmp_path / "cache")
        checkpoint = resume if resume is None else str(tmp_path / "run" / f"checkpoint-{resume}")
        run = train(args, dataset, model=EachToken, callbacks=callbacks, resume=checkpoint)
        return run, by_step(run, many)

    return train_part


@pytest.mark.parametrize("kept", ["sidecar", "order in the state", "nothing"])
def test_a_start_from_a_checkpoints_weights_counts_what_they_have_seen_or_logs_none(tmp_path, part, host_log, kept):
    _, before = part(callbacks=[] if kept == "nothing" else None)
    checkpoint = tmp_path / "run" / "checkpoint-20"
    if kept == "order in the state":
        (checkpoint / "epoch_guard.json").unlink()
    shutil.rmtree(tmp_path / "logs", ignore_errors=True)
    anew, after = part(resume=20, ignore_load_lr_and_optim=True)
    assert len(after) == STEPS
    drawn = counted([*before[:20], *after])
    known = {step - 20: mean for step, mean in drawn.items() if step > 20}
    assert exposure(anew) == ({} if kept == "nothing" else pytest.approx(known))
    assert len([text for text in host_log.warnings if "unknown:" in text]) == (kept == "nothing")


@pytest.mark.parametrize("many", [1, 2])
def test_what_a_part_without_the_guard_drew_counts(tmp_path, part, host_log, many):
    _, first = part()
    shutil.rmtree(tmp_path / "run" / "checkpoint-20")
    _, unguarded = part(resume=10, epoch_guard="off", gradient_accumulation_steps=many)
    resumed, after = part(resume=20, gradient_accumulation_steps=many)
    assert after == unguarded[10:]
    points = exposure(resumed, after=20)
    truth = counted([*first[:10], *unguarded[:10], *after])
    assert points == pytest.approx({step: mean for step, mean in truth.items() if step > 20})
    assert [text for text in host_log.warnings if "unknown:" in text] == []


def test_an_order_begun_over_what_was_drawn_before_logs_no_exposure_that_is_not_so(part, host_log):
    _, before = part()
    resumed, after = part(resume=20, epoch_guard="unified", ignore_data_skip=True)
    points = exposure(resumed, after=20)
    truth = counted([*before[:20], *after])
    assert all(points[step] == pytest.approx(truth[step]) for step in points)
    assert [text for text in host_log.warnings if "unknown:" in text] or points


def test_a_corpus_that_was_renamed_keeps_its_name_in_the_charts_and_its_verdicts(tmp_path, host_log):
    def part(names, resume=None):
        prefixes = [
            write_corpus(tmp_path / "corpus" / name, SIZES[:at]) for name, at in zip(names, (8, 6), strict=True)
        ]
        blend = [0.5, prefixes[0], 0.5, prefixes[1]]
        dataset = build_train(blend, STEPS * BATCH, LENGTH, cache=tmp_path / names[1])
        args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=40)
        return train(args, dataset, model=KnownLosses, resume=resume)

    whole = part(("a", "b"))
    reached = [change.name for change in read_run(whole.args.logging_dir).cuts]
    assert reached
    resumed = part(("a", "renamed"), resume=str(tmp_path / "run" / "checkpoint-40"))
    assert [change.name for change in read_run(resumed.args.logging_dir).cuts] == reached
    assert [name for name in resumed.directories() if "renamed" in name] == []
    sidecar = read_sidecar(tmp_path / "run" / "checkpoint-40", 40)
    assert sidecar.names == ("a", "b")
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "file names of the corpora" in table
    assert all(name in table for name in ("a, b", "a, renamed"))
