import json
import shutil
from collections import Counter

import numpy as np
import paddle
import pytest
from paddlenlp.trainer import Trainer, TrainerCallback

import paddle_epoch_guard.callback
from corpora import build_train, write_corpus
from models import HashedNgramLM
from paddle_epoch_guard import EpochGuardArguments, EpochGuardCallback, EpochGuardError
from paddle_epoch_guard.order import Order, PositionMap, Reorder
from paddle_epoch_guard.resume import SIDECAR_NAME, read_sidecar
from training import arguments, forget_order, train

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)  # as in test_callback.py: separated at position 101, in step 26
STEPS, BATCH = 32, 4
PLANNED = STEPS * BATCH


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], PLANNED, SEQ_LENGTH)


def unified(folder, **changes):
    return arguments(folder, **{"max_steps": STEPS, "epoch_guard": "unified", **changes})


def first_tokens(dataset):
    """The first token of the sample at each position of the host's own order."""
    return [int(dataset[p]["text"][0]) for p in range(len(dataset))]


def drawn(run):
    return [token for batch in run.first_tokens for token in batch]


def sidecar(folder, step):
    return json.loads((folder / "run" / f"checkpoint-{step}" / "epoch_guard.json").read_text())


@pytest.mark.parametrize("workers", [0, 2])
def test_all_planned_samples_are_drawn_in_one_order(tmp_path, dataset, workers):
    host_order = first_tokens(dataset)
    run = train(unified(tmp_path, dataloader_num_workers=workers), dataset)
    positions = PositionMap([Reorder(0, PLANNED, "uniform", (7, 1, 0))]).base(np.arange(PLANNED))
    assert drawn(run) == [host_order[p] for p in positions]
    assert drawn(run) != host_order[:PLANNED]
    assert Counter(drawn(run)) == Counter(host_order[:PLANNED])
    epochs = np.asarray(dataset.shuffle_idx, dtype=np.int64)[positions] * SEQ_LENGTH // sum(SIZES) + 1
    assert [value for _, value in run.scalars("epoch_guard/data_epoch")] == pytest.approx(
        epochs.reshape(STEPS, BATCH).mean(axis=1)
    )


def test_the_beginning_of_the_order_is_marked_and_no_boundary_is(tmp_path, dataset, host_log):
    run = train(unified(tmp_path), dataset)
    assert run.directories() == [".", "epoch_1", "epoch_2", "unified_from_step_1"]
    (told,) = run.texts("epoch_guard/unified_from_step_1", "unified_from_step_1")
    assert told.startswith("Unified from step 1 (position 0) on: the samples up to position 128 are drawn")
    assert run.scalars("train/loss", "unified_from_step_1") == []  # a line at the very left would mark nothing
    assert f"epoch guard: {told}" in host_log.of_guard()
    assert host_log.warnings == []


def test_the_dataset_is_given_back_as_it_was(tmp_path, dataset):
    base = dataset.shuffle_idx
    train(unified(tmp_path), dataset)
    assert dataset.shuffle_idx is base


def test_positions_past_the_plan_are_the_hosts_own(tmp_path, dataset):
    """The loader prefetches past the last step, up to the end of the index."""
    seen = []

    class Look(TrainerCallback):
        def on_epoch_begin(self, args, state, control, train_dataloader, **kwargs):
            seen.append(train_dataloader.dataset.shuffle_idx)

    train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), Look()])
    (order,) = seen
    assert isinstance(order, Order)
    assert order[PLANNED:].tolist() == dataset.shuffle_idx[PLANNED:].tolist()
    assert len(order) == len(dataset.shuffle_idx) > PLANNED


@pytest.mark.parametrize("mode", ["unified", "track"])
def test_interrupted_at_any_step_the_rest_is_the_same_in_order(tmp_path, dataset, mode):
    args = unified(tmp_path, epoch_guard=mode, save_strategy="steps", save_steps=1)
    whole = train(args, dataset)
    for step in range(1, STEPS):
        kept = tmp_path / "interrupted" / f"checkpoint-{step}"
        shutil.copytree(tmp_path / "run" / f"checkpoint-{step}", kept)
        again = unified(
            tmp_path / f"again{step}",
            epoch_guard=mode,
            save_strategy="steps",
            save_steps=31,
            resume_from_checkpoint=str(kept),
        )
        run = train(again, dataset, resume=str(kept))
        assert run.first_tokens == whole.first_tokens[step:]
        assert run.losses == {at: loss for at, loss in whole.losses.items() if at > step}
        # What the ledger had added up survived, too.
        if step < 31:
            assert sidecar(tmp_path / f"again{step}", 31)["epoch_losses"] == sidecar(tmp_path, 31)["epoch_losses"]


def test_a_model_that_learns_goes_on_to_the_last_digit(tmp_path, dataset):
    def learning():
        paddle.seed(1)
        return HashedNgramLM(vocab_size=1024, width=8, table_size=256)

    args = unified(tmp_path, save_strategy="steps", save_steps=10, learning_rate=1e-2)
    whole = train(args, dataset, model=learning)
    frozen = train(unified(tmp_path / "frozen", learning_rate=0.0), dataset, model=learning)
    assert all(abs(whole.losses[step] - frozen.losses[step]) > 1e-4 for step in range(11, STEPS + 1))  # it does learn
    run = train(args, dataset, model=learning, resume=str(tmp_path / "run" / "checkpoint-10"))
    assert run.losses == {step: loss for step, loss in whole.losses.items() if step > 10}


def test_a_run_that_began_without_the_guard_is_unified_from_its_resume_on(tmp_path, dataset, host_log):
    host_order = first_tokens(dataset)
    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    train(args, dataset, callbacks=[])
    assert not (tmp_path / "run" / "checkpoint-10" / "epoch_guard.json").exists()
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-10"))
    positions = PositionMap([Reorder(40, PLANNED, "ramp", (7, 1, 0), boundary=101)]).base(np.arange(40, PLANNED))
    assert drawn(run) == [host_order[p] for p in positions]
    # With what the first part drew: nothing twice, nothing lost.
    assert Counter(host_order[:40] + drawn(run)) == Counter(host_order[:PLANNED])
    assert "unified_from_step_11" in run.directories()
    assert {step for step, _ in run.scalars("train/loss", "unified_from_step_11")} == {11}
    assert any("rising from zero" in text for text in host_log.of_guard())
    # And interrupted once more, it stays in the order it has begun.
    later = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert later.first_tokens == run.first_tokens[10:]
    assert sum("Unified from step" in text for text in host_log.of_guard()) == 1


def test_resumed_after_the_boundary_nothing_is_changed_and_it_is_said(tmp_path, dataset, host_log):
    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    whole = train(args, dataset, callbacks=[])
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-30"))
    assert run.first_tokens == whole.first_tokens[30:]
    (said,) = [text for text in host_log.of_guard() if "nothing left to unify" in text]
    assert "resumes at position 120" in said
    assert "lies at position 101" in said
    assert any("nothing left to unify" in text for text in run.texts("epoch_guard/notes"))


def test_an_order_once_begun_stays_in_force(tmp_path, dataset, host_log):
    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    whole = train(args, dataset)
    resumed = train(unified(tmp_path, epoch_guard="track"), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert resumed.first_tokens == whole.first_tokens[20:]
    (warning,) = host_log.warnings
    assert "began a unified order at position 0, which stays in force" in warning


def test_leaving_the_order_by_switching_the_guard_off_is_warned_of(tmp_path, dataset, host_log):
    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    train(args, dataset)
    train(unified(tmp_path, epoch_guard="off"), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    (warning,) = host_log.warnings
    assert "off, but the run began a unified order at position 0" in warning


def test_another_seed_and_mix_at_resume_change_nothing(tmp_path, dataset):
    whole = train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    args = unified(tmp_path, epoch_guard_seed=99, epoch_guard_mix="ramp")
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert run.first_tokens == whole.first_tokens[20:]


def test_the_seed_of_the_order_is_its_own_where_given(tmp_path, dataset):
    host_order = first_tokens(dataset)
    run = train(unified(tmp_path, epoch_guard_seed=5, epoch_guard_mix="ramp"), dataset)
    positions = PositionMap([Reorder(0, PLANNED, "ramp", (5, 1, 0), boundary=101)]).base(np.arange(PLANNED))
    assert drawn(run) == [host_order[p] for p in positions]


def test_the_pool_all_shuffles_the_whole_index_and_cuts(tmp_path, dataset):
    host_order = first_tokens(dataset)
    run = train(unified(tmp_path, epoch_guard_pool="all"), dataset)
    positions = PositionMap([Reorder(0, len(dataset), "uniform", (7, 1, 0))]).base(np.arange(PLANNED))
    assert max(positions) >= PLANNED
    assert drawn(run) == [host_order[p] for p in positions]


def test_the_pool_all_is_refused_in_mid_run(tmp_path, dataset):
    args = unified(tmp_path, epoch_guard_pool="all", save_strategy="steps", save_steps=10)
    train(args, dataset, callbacks=[])
    with pytest.raises(EpochGuardError, match=r"only from position 0; the run resumes at position 40.*pool planned"):
        train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-10"))


@pytest.mark.parametrize(
    ("samples", "steps", "why"),
    [
        (60, 15, "the run draws one data epoch"),
        (190, 47, "the host has shuffled all data epochs together already"),
        (128, 20, "the run ends at position 80, before the boundary at 101"),
    ],
)
def test_where_there_is_nothing_to_unify_it_says_so_and_tracks(tmp_path, host_log, samples, steps, why):
    dataset = build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], samples, SEQ_LENGTH)
    host_order = first_tokens(dataset)
    run = train(unified(tmp_path, max_steps=steps), dataset)
    assert drawn(run) == host_order[: steps * BATCH]
    assert any(f"nothing to unify: {why}" in text for text in host_log.of_guard())
    assert len(run.scalars("epoch_guard/data_epoch")) == steps


def test_a_dataset_without_an_index_cannot_be_unified(tmp_path):
    samples = [{"text": np.arange(start, start + 9)} for start in range(18)]
    with pytest.raises(EpochGuardError, match="unified cannot be: the dataset has no sample index"):
        train(unified(tmp_path, max_steps=3, epoch_guard_on_mismatch="warn"), samples, trainer=Trainer)


def test_a_sampler_whose_positions_are_not_known_cannot_be_unified(tmp_path, dataset):
    with pytest.raises(EpochGuardError, match=r"unified cannot be: the sampler .*BatchSampler is not supported"):
        train(unified(tmp_path), dataset, trainer=Trainer)


def test_a_blend_is_unified_by_its_positions(tmp_path):
    prefixes = [
        write_corpus(tmp_path / "corpus" / name, sizes)
        for name, sizes in {"news": (100, 100, 73), "code": (300, 250, 280, 90), "more": (500,)}.items()
    ]
    weighted = [part for pair in zip([0.3, 0.4, 0.3], prefixes, strict=True) for part in pair]
    blend = build_train(weighted, 120, SEQ_LENGTH, cache=tmp_path / "cache")

    def identity(sample):
        return int(sample["dataset_idx"]), int(sample["text"][0])

    host_order = [identity(blend[p]) for p in range(120)]
    seen = []

    class Look(TrainerCallback):
        def on_epoch_begin(self, args, state, control, train_dataloader, **kwargs):
            seen.extend(identity(train_dataloader.dataset[p]) for p in range(120))

    run = train(unified(tmp_path, max_steps=30), blend, callbacks=[EpochGuardCallback(), Look()])
    positions = PositionMap([Reorder(0, 120, "uniform", (7, 1, 0))]).base(np.arange(120))
    assert seen == [host_order[p] for p in positions]
    assert drawn(run) == [token for _, token in seen]
    assert not any("boundary" in one for one in run.directories())


def test_the_checkpoint_is_found_where_the_trainer_resumes_from(tmp_path, dataset):
    whole = train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    moved = tmp_path / "elsewhere" / "step20"
    shutil.copytree(tmp_path / "run" / "checkpoint-20", moved)
    shutil.rmtree(tmp_path / "run")
    named = EpochGuardCallback(resume_from_checkpoint=moved)
    for args, guard in (
        (unified(tmp_path / "a"), named),
        (unified(tmp_path / "b", resume_from_checkpoint=str(moved)), EpochGuardCallback()),
        (unified(tmp_path / "c"), EpochGuardCallback(EpochGuardArguments(epoch_guard="unified"), str(moved))),
    ):
        run = train(args, dataset, callbacks=[guard], resume=str(moved))
        assert run.first_tokens == whole.first_tokens[20:]


def damage(path, change):
    """Changes a sidecar as an older release, which had no digest, would have written it."""
    content = json.loads(path.read_text())
    del content["digest"]
    content["version"] = 1
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(step=19), "written at step 19; the run resumes at step 20"),
        (lambda c: c.update(version=4), "version 4; this release reads versions 1 to 3"),
        (lambda c: c.update(version=2), "damaged, it does not begin with its digest"),
        (lambda c: c.update(max_steps=10**30), "the number 1000000000000000000000000000000"),
        (lambda c: c.pop("reorders"), "missing required field `reorders`"),
        (lambda c: c["reorders"][0].update(stop=-5), "a reorder of positions 0 to -5"),
        (lambda c: c["reorders"][0].update(mix="../x"), "the mix '../x'"),
        (lambda c: c["schedule"].update(segments=[]), "a schedule has no segments"),
        (lambda c: c["datasets"][0]["indices"][0].update(seed=3), "seed was 3, is 1"),
        (lambda c: c["datasets"][0].update(corpus_digest="0" * 32), "document sizes was 000"),
        (lambda c: c["datasets"][0]["indices"][0].update(order_digest="0"), "order of the index was 0"),
    ],
)
def test_a_sidecar_that_does_not_fit_stops_the_run_before_its_first_step(tmp_path, dataset, change, message):
    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    train(args, dataset)
    path = tmp_path / "run" / "checkpoint-20" / "epoch_guard.json"
    damage(path, change)
    with pytest.raises(EpochGuardError) as raised:
        train(args, dataset, resume=str(path.parent))
    assert message in str(raised.value)


def test_every_truncation_of_a_sidecar_is_refused_by_name(tmp_path, dataset):
    from paddle_epoch_guard.errors import SidecarError
    from paddle_epoch_guard.resume import read_sidecar

    train(unified(tmp_path, save_strategy="steps", save_steps=20), dataset)
    path = tmp_path / "run" / "checkpoint-20" / "epoch_guard.json"
    content = path.read_bytes()
    assert read_sidecar(path.parent, 20) is not None
    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        if content[:length].strip() == content.strip():
            continue
        with pytest.raises(SidecarError, match=r"epoch_guard\.json"):
            read_sidecar(path.parent, 20)


def test_the_sidecar_lies_in_its_checkpoint(tmp_path, dataset):
    train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    found = sidecar(tmp_path, 30)
    assert (found["step"], found["position"]) == (30, 120)
    assert found["reorders"] == [{"start": 0, "stop": 128, "mix": "uniform", "key": [7, 1, 0], "boundary": None}]
    assert [path.name for path in (tmp_path / "run" / "checkpoint-30").glob(".*")] == []  # no temporary file


def test_a_sidecar_that_cannot_be_written_is_said_at_every_save_and_stops_nothing(
    tmp_path, dataset, host_log, monkeypatch
):
    plain = train(unified(tmp_path), dataset)

    def full(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(paddle_epoch_guard.session.sidecar_writer, "write_sidecar", full)
    run = train(unified(tmp_path / "b", save_strategy="steps", save_steps=10), dataset)
    assert run.first_tokens == plain.first_tokens
    assert [text.split(",")[0] for text in host_log.warnings] == [
        f"epoch guard: checkpoint {step} keeps its order" for step in (10, 20, 30)
    ]


def test_a_fault_of_ours_never_lets_another_order_start(tmp_path, dataset, monkeypatch):
    def broken(*_args):
        raise TypeError("a bug")

    args = unified(tmp_path, save_strategy="steps", save_steps=10)
    train(args, dataset)
    monkeypatch.setattr(paddle_epoch_guard.host, "describe_loader", broken)
    with pytest.raises(EpochGuardError, match=r"the guard failed before the first step.*TypeError: a bug"):
        train(unified(tmp_path / "b"), dataset)
    with pytest.raises(EpochGuardError, match="the guard failed before the first"):
        train(unified(tmp_path, epoch_guard="track"), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))


def test_a_run_in_two_parts_has_one_mean_loss_for_each_epoch(tmp_path, dataset):
    class StopAt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 10:
                control.should_save = control.should_training_stop = True

    whole = train(unified(tmp_path / "whole"), dataset)
    args = unified(tmp_path)
    train(args, dataset, callbacks=[StopAt(), EpochGuardCallback()])
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-10"))
    assert run.scalars("epoch_guard/epoch_loss") == whole.scalars("epoch_guard/epoch_loss")


def test_a_resumed_run_appends_to_its_log(tmp_path, dataset):
    args = unified(tmp_path, epoch_guard="track", save_strategy="steps", save_steps=10)
    train(args, dataset)
    run = train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-30"))
    assert [step for step, _ in run.scalars("epoch_guard/data_epoch")] == [*range(1, 33), 31, 32]


def unnoticed(folder, dataset):
    """A unified run with checkpoints, and its folder of checkpoint 20 moved to where nobody looks."""
    whole = train(unified(folder, save_strategy="steps", save_steps=10), dataset)
    moved = folder / "elsewhere" / "step20"
    shutil.copytree(folder / "run" / "checkpoint-20", moved)
    return whole, moved


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_a_checkpoint_that_is_not_found_is_not_taken_for_one_without_an_order(tmp_path, dataset, unwatched, mode):
    _, moved = unnoticed(tmp_path, dataset)
    shutil.rmtree(tmp_path / "run")
    forget_order(moved)
    with pytest.raises(EpochGuardError, match="began a unified order at position 0, and no"):
        train(unified(tmp_path, epoch_guard=mode), dataset, resume=str(moved))


@pytest.mark.parametrize("mode", ["track", "unified"])
def test_a_checkpoint_whose_sidecar_was_never_written_goes_on_in_its_order(tmp_path, dataset, host_log, mode):
    """As when the process was killed between the checkpoint and the sidecar."""
    whole = train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    checkpoint = tmp_path / "run" / "checkpoint-20"
    sidecar = read_sidecar(checkpoint, 20)
    (checkpoint / SIDECAR_NAME).unlink()
    (checkpoint / f".{SIDECAR_NAME}.x7w").write_bytes(b'{"digest')  # what a kill leaves behind
    run = train(
        unified(tmp_path, epoch_guard=mode, save_strategy="steps", save_steps=10), dataset, resume=str(checkpoint)
    )
    assert run.first_tokens == whole.first_tokens[20:]
    assert any("the checkpoint of step 20 has no epoch_guard.json" in text for text in host_log.warnings)
    later = read_sidecar(tmp_path / "run" / "checkpoint-30", 30)
    assert (later.run, later.reorders, later.datasets) == (sidecar.run, sidecar.reorders, sidecar.datasets)
    assert run.scalars("epoch_guard/exposure")[20:] == whole.scalars("epoch_guard/exposure")[20:]


def test_a_sidecar_that_was_never_written_is_missed_where_nothing_else_holds_the_order(tmp_path, dataset):
    train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    checkpoint = tmp_path / "run" / "checkpoint-20"
    (checkpoint / SIDECAR_NAME).unlink()
    forget_order(checkpoint)
    with pytest.raises(EpochGuardError, match="without it samples would be drawn twice"):
        train(unified(tmp_path), dataset, resume=str(checkpoint))


def test_an_order_in_the_trainers_state_that_is_damaged_is_refused(tmp_path, dataset):
    train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    checkpoint = tmp_path / "run" / "checkpoint-20"
    (checkpoint / SIDECAR_NAME).unlink()
    state = checkpoint / "trainer_state.json"
    state.write_text(state.read_text().replace('\\"planned\\":1', '\\"planned\\":2'))
    with pytest.raises(EpochGuardError, match="in the trainer's own state cannot be used"):
        train(unified(tmp_path), dataset, resume=str(checkpoint))


def test_the_sidecar_of_another_run_is_not_taken(tmp_path, dataset, unwatched):
    whole, moved = unnoticed(tmp_path, dataset)
    shutil.rmtree(tmp_path / "run")
    train(unified(tmp_path, epoch_guard_seed=5, save_strategy="steps", save_steps=10), dataset)
    run = train(unified(tmp_path), dataset, resume=str(moved))
    assert run.first_tokens == whole.first_tokens[20:]  # by the order in the trainer's own state
    forget_order(moved)
    with pytest.raises(
        EpochGuardError, match=r"is not of the run that the trainer loaded.*looked for in: .*checkpoint-20"
    ):
        train(unified(tmp_path), dataset, resume=str(moved))


def test_the_sidecar_beside_an_unguarded_checkpoint_is_not_taken(tmp_path, dataset, unwatched):
    train(unified(tmp_path / "a", save_strategy="steps", save_steps=10), dataset, callbacks=[])
    train(unified(tmp_path, save_strategy="steps", save_steps=10), dataset)
    with pytest.raises(EpochGuardError, match="saved without the guard"):
        train(unified(tmp_path), dataset, resume=str(tmp_path / "a" / "run" / "checkpoint-20"))


def test_after_an_exception_the_next_run_has_the_hosts_order(tmp_path, dataset):
    host_order = first_tokens(dataset)

    class Fails(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        train(unified(tmp_path), dataset, callbacks=[EpochGuardCallback(), Fails()])
    run = train(unified(tmp_path, epoch_guard="off"), dataset)
    assert drawn(run) == host_order[:PLANNED]


def test_a_boundary_that_a_later_resume_dissolves_is_taken_out_of_sight(tmp_path, dataset):
    args = unified(tmp_path, epoch_guard="track", save_strategy="steps", save_steps=10)
    assert "boundary_1_to_2" in train(args, dataset).directories()
    run = train(unified(tmp_path), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    assert "boundary_1_to_2" not in run.directories()
    assert (tmp_path / "logs" / "epoch_guard" / "boundary_1_to_2" / "kept-1.epoch_guard.log").exists()
    # Once more from the same checkpoint: told once.
    again = train(unified(tmp_path), dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    texts = again.texts("epoch_guard/unified_from_step_21", "unified_from_step_21")
    assert [text.split()[0] for text in texts] == ["Unified", "Verdict", "Verdict"]
