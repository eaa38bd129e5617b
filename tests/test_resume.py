"""Every row of the audit's table, by real runs: what is drawn after a resume equals the plan, in order."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardError
from paddle_epoch_guard.order import PositionMap, Reorder
from paddle_epoch_guard.record.reader import RecordFile
from training import arguments, forget_order, train

pytestmark = pytest.mark.host

SEQ_LENGTH = 8
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)  # 809 tokens; two data epochs are 202 samples, the boundary at 101
STEPS, BATCH = 32, 4
MODES = ["track", "unified"]


@pytest.fixture
def prefix(tmp_path):
    return write_corpus(tmp_path / "corpus" / "text", SIZES)


def dataset_for(prefix, steps, batch, **changes):
    """The dataset that a script like run_pretrain.py builds for these arguments."""
    return build_train([prefix], steps * batch, SEQ_LENGTH, **changes)


def run(folder, prefix, *, steps=STEPS, batch=BATCH, resume=None, mode="track", seed=1, split="100,0,0", **changes):
    """A run, or a part of one, with a checkpoint every 10 steps."""
    args = arguments(
        folder, max_steps=steps, per_device_train_batch_size=batch, epoch_guard=mode, save_strategy="steps",
        save_steps=10, **changes,
    )  # fmt: skip
    samples = batch * args.gradient_accumulation_steps
    dataset = dataset_for(prefix, steps, samples, seed=seed, split=split)
    checkpoint = None if resume is None else str(folder / "run" / f"checkpoint-{resume}")
    return train(args, dataset, resume=checkpoint)


def drawn(one):
    return [token for batch in one.first_tokens for token in batch]


def tokens_of(dataset):
    return [int(dataset[p]["text"][0]) for p in range(len(dataset))]


def recorded(folder, step):
    return json.loads((folder / "run" / f"checkpoint-{step}" / "epoch_guard.json").read_text())


def reorders_of(sidecar):
    return [Reorder(**{**one, "key": tuple(one["key"])}) for one in sidecar["reorders"]]


def chain_tokens(prefix, sidecar):
    """The first token of every position of the chain that a sidecar names, from indices built by the host alone."""
    tokens = []
    for part in sidecar["datasets"][0]["indices"]:
        tokens += tokens_of(build_train([prefix], part["samples_requested"], SEQ_LENGTH, seed=part["seed"]))
    return tokens


CHANGES = {
    "nothing": {},
    "the same global batch in two halves": {"batch": 2, "gradient_accumulation_steps": 2},
    "batch doubled, fewer steps": {"batch": 8, "steps": 21},
    "batch doubled, as many steps": {"batch": 8},
    "batch of three": {"batch": 3, "steps": 39},
    "accumulation of two": {"gradient_accumulation_steps": 2, "steps": 21},
    "some steps more": {"steps": 40},
    "many steps more": {"steps": 80},
    "fewer steps": {"steps": 20},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
def test_what_can_be_repaired_goes_on_in_the_order_that_was_planned(tmp_path, prefix, change, mode):
    before = run(tmp_path, prefix, mode=mode)
    first = recorded(tmp_path, 10)
    changed = {"steps": STEPS, "batch": BATCH, **CHANGES[change]}
    after = run(tmp_path, prefix, resume=10, mode=mode, **changed)
    global_batch = changed["batch"] * changed.get("gradient_accumulation_steps", 1)
    needed = 40 + (changed["steps"] - 10) * global_batch
    last = recorded(tmp_path, changed["steps"] // 10 * 10)

    base = chain_tokens(prefix, last)
    order = PositionMap(reorders_of(last)).base(np.arange(len(base)))
    together = drawn(before)[:40] + drawn(after)
    assert len(together) == needed
    assert together == [base[p] for p in order[:needed]]
    # The plan is the beginning; nothing of it is lost or doubled, in whatever order.
    assert last["datasets"][0]["indices"][0] == first["datasets"][0]["indices"][0]
    kept = min(needed, STEPS * BATCH)
    if mode == "track" or needed <= STEPS * BATCH:
        old = tokens_of(dataset_for(prefix, STEPS, BATCH))
        old_order = PositionMap(reorders_of(first)).base(np.arange(len(old)))
        assert together[:kept] == [old[p] for p in old_order[:kept]]
    if needed >= STEPS * BATCH:
        assert Counter(together) == Counter(base[:needed])


def test_appended_data_epochs_are_each_drawn_whole_in_a_fresh_order(tmp_path, prefix):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=10, steps=110)
    parts = recorded(tmp_path, 110)["datasets"][0]["indices"]
    assert [part["samples_requested"] for part in parts] == [128, 101, 101, 101]
    assert len({part["seed"] for part in parts}) == 4
    tokens = chain_tokens(prefix, {"datasets": [{"indices": parts}]})
    appended = [tokens[202 + 101 * at : 202 + 101 * (at + 1)] for at in range(2)]
    assert appended[0] != appended[1]


def test_an_extended_run_shows_where_each_appended_epoch_begins(tmp_path, prefix):
    run(tmp_path, prefix)
    longer = run(tmp_path, prefix, resume=20, steps=80)
    # 202 samples of the first index, then 101: positions 101, 202 and 303 are steps 26, 51 and 76.
    lines = [one for one in longer.directories() if "boundary" in one]
    assert lines == ["boundary_1_to_2", "boundary_2_to_3", "boundary_3_to_4"]
    steps = [{step for step, _ in longer.scalars("train/loss", one)} for one in lines]
    assert steps == [{26}, {51}, {76}]
    assert longer.scalars("epoch_guard/data_epoch")[-1][1] == 4.0


@pytest.mark.parametrize("mode", MODES)
def test_extending_twice(tmp_path, prefix, mode):
    parts = [run(tmp_path, prefix, mode=mode)]
    parts.append(run(tmp_path, prefix, mode=mode, resume=20, steps=60))
    parts.append(run(tmp_path, prefix, mode=mode, resume=40, steps=100))
    last = recorded(tmp_path, 100)
    base = chain_tokens(prefix, last)
    order = PositionMap(reorders_of(last)).base(np.arange(len(base)))
    together = drawn(parts[0])[:80] + drawn(parts[1])[:80] + drawn(parts[2])
    assert together == [base[p] for p in order[:400]]
    assert Counter(together) == Counter(base[:400])
    assert len(last["reorders"]) == (3 if mode == "unified" else 0)


def test_unified_joins_what_is_appended_without_a_boundary(tmp_path, prefix):
    run(tmp_path, prefix, mode="unified")
    longer = run(tmp_path, prefix, mode="unified", resume=10, steps=80)
    assert not any("boundary" in one for one in longer.directories())
    joined = recorded(tmp_path, 80)["reorders"][1]
    assert (joined["start"], joined["stop"], joined["mix"], joined["boundary"]) == (40, 320, "ramp", 128)


@pytest.mark.parametrize("interrupted", range(11, 24))
def test_interrupted_anywhere_after_an_extension_the_rest_is_the_same(tmp_path, prefix, interrupted):
    run(tmp_path, prefix, mode="unified")
    options = {"mode": "unified", "steps": 24, "batch": 10}
    whole = run(tmp_path, prefix, resume=10, **options, overwrite_output_dir=True)
    args = arguments(
        tmp_path,
        max_steps=24,
        per_device_train_batch_size=10,
        epoch_guard="unified",
        save_strategy="steps",
        save_steps=1,
    )
    train(args, dataset_for(prefix, 24, 10), resume=str(tmp_path / "run" / "checkpoint-10"))
    again = train(args, dataset_for(prefix, 24, 10), resume=str(tmp_path / "run" / f"checkpoint-{interrupted}"))
    assert again.first_tokens == whole.first_tokens[interrupted - 10 :]


def index_files(prefix):
    return sorted((Path(prefix).parent / "index-cache").glob("*"))


@pytest.mark.parametrize("mode", MODES)
def test_index_files_that_were_deleted_are_built_anew(tmp_path, prefix, mode):
    run(tmp_path, prefix, mode=mode)
    expected = drawn(run(tmp_path, prefix, mode=mode, resume=10, steps=60))
    for file in index_files(prefix):
        file.unlink()
    assert drawn(run(tmp_path, prefix, mode=mode, resume=10, steps=60)) == expected


def test_an_old_index_that_can_neither_be_read_nor_built_is_refused_by_name(tmp_path, prefix):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=10, steps=60)
    shutil.rmtree(tmp_path / "logs")
    old = dataset_for(prefix, STEPS, BATCH).desc_hash
    (damaged,) = [file for file in index_files(prefix) if file.name == f"{old}_sample_idx.npy"]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(EpochGuardError, match=rf"{old}_sample_idx\.npy: not a readable \.npy array"):
        run(tmp_path, prefix, resume=10, steps=60)
    assert not (tmp_path / "logs").exists()


def test_the_table_names_what_differs_and_what_is_done(tmp_path, prefix, host_log):
    run(tmp_path, prefix)
    after = run(tmp_path, prefix, resume=10, batch=8, steps=60)
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    rows = [" ".join(line.split()) for line in table.splitlines() if "│" in line]
    assert [row.split(" │ ")[:4] for row in rows if not row.startswith("│ │")] == [
        ["│ samples asked for", "128", "480", "repair"],
        ["│ batch size per device", "4", "8", "repair"],
        ["│ max_steps", "32", "60", "repair"],
        ["│ start of the sampler", "40", "80", "repair"],
        ["│ boundaries ahead", "18", "18, 31, 43, 56", "warn"],
    ]
    assert any("resuming at step 10" in text for text in after.texts("epoch_guard/notes"))


def last_beginning(folder):
    """How the last part of a run began, by its record."""
    return RecordFile.open(folder / "logs" / "epoch_guard" / "record.jsonl").parts[-1]


def findings_of(folder):
    """What the audit of the last part found."""
    return {one.code: one for one in last_beginning(folder).findings}


def boundaries_ahead(folder):
    """The boundaries that the last part had ahead."""
    return last_beginning(folder).boundaries


def boundaries_in(one):
    """The steps of the boundaries that a run has marked."""
    lines = [name for name in one.directories() if name.startswith("boundary")]
    return sorted(step for name in lines for step in {step for step, _ in one.scalars("train/loss", name)})


def test_boundaries_that_an_extension_adds_are_named_and_a_new_run_has_none_there(tmp_path, prefix):
    """202 samples are built for 32 steps. A new run of 80 steps shuffles three data epochs of four together."""
    run(tmp_path, prefix)
    longer = run(tmp_path, prefix, resume=20, steps=80)
    (finding,) = [one for one in findings_of(tmp_path).values() if one.code == "boundaries_added"]
    assert (finding.recorded, finding.current, finding.action) == ("26", "26, 51, 76", "warn")
    assert finding.parameters == {"added": "51"}
    assert "--epoch_guard unified" in finding.why
    assert boundaries_in(longer) == [26, 51, 76]
    anew = run(tmp_path / "anew", prefix, steps=80)
    assert boundaries_in(anew) == [76]
    # What it advises does join them.
    run(tmp_path / "other", prefix)
    joined = run(tmp_path / "other", prefix, resume=20, steps=80, mode="unified")
    assert "boundaries_added" not in findings_of(tmp_path / "other")
    assert boundaries_in(joined) == []


@pytest.mark.parametrize(
    ("resume", "steps", "why"),
    [
        (10, 50, "the index that was built is long enough: its boundary was there before"),
        (20, 20, "it is not extended"),
        (20, 60, "a new run of 240 samples has all of two data epochs together, but ends 38 samples into the third"),
    ],
)
def test_an_extension_that_adds_no_boundary_says_nothing_of_it(tmp_path, prefix, resume, steps, why):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=resume, steps=steps)
    assert "boundaries_added" not in findings_of(tmp_path), why


def test_an_extended_run_that_is_resumed_again_adds_nothing(tmp_path, prefix):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=20, steps=80)
    run(tmp_path, prefix, resume=40, steps=80)
    assert "boundaries_added" not in findings_of(tmp_path)
    # A new run of 440 samples has a boundary at position 404, too, where the fifth data epoch begins.
    run(tmp_path, prefix, resume=40, steps=110)
    assert "boundaries_added" not in findings_of(tmp_path)
    run(tmp_path, prefix, resume=80, steps=170)
    finding = findings_of(tmp_path)["boundaries_added"]
    assert (finding.recorded, finding.current, finding.parameters) == ("102", "102, 127, 152", {"added": "127"})


def test_where_nothing_differs_there_is_no_table(tmp_path, prefix, host_log):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=10)
    assert not any("what differs" in text for text in host_log.of_guard())


REFUSED = {
    "seed": ({"seed": 2}, "seed was 1, is 2 .*samples drawn twice"),
    "split": ({"split": "80,20,0"}, "split was 100,0,0, is 80,20,0 .*held out"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_repaired_is_refused_with_what_it_would_do(tmp_path, prefix, what, mode):
    change, message = REFUSED[what]
    run(tmp_path, prefix, mode=mode)
    with pytest.raises(EpochGuardError, match=message):
        run(tmp_path, prefix, resume=10, mode=mode, **change)


def test_another_sequence_length_is_refused(tmp_path, prefix):
    run(tmp_path, prefix)
    args = arguments(tmp_path, max_steps=STEPS)
    other = build_train([prefix], STEPS * BATCH, 9)
    with pytest.raises(EpochGuardError, match=r"sequence length was 8, is 9 \(samples would be cut otherwise"):
        train(args, other, resume=str(tmp_path / "run" / "checkpoint-10"))


def test_another_corpus_of_as_many_tokens_is_refused(tmp_path, prefix):
    run(tmp_path, prefix)
    for file in index_files(prefix):
        file.unlink()
    write_corpus(Path(prefix), (101, 6, *SIZES[2:]))
    with pytest.raises(EpochGuardError, match=r"document sizes was .*the corpus is another one"):
        run(tmp_path, prefix, resume=10)


def test_an_index_that_was_shuffled_otherwise_is_refused(tmp_path, prefix):
    """As by another release of the host: all fits, but the order is another one."""
    run(tmp_path, prefix)
    (file,) = [file for file in index_files(prefix) if file.name.endswith("_shuffle_idx.npy")]
    array = np.load(file)
    array[[60, 70]] = array[[70, 60]]
    np.save(file, array)
    with pytest.raises(EpochGuardError, match=r"order of the index was .*the index files are not those"):
        run(tmp_path, prefix, resume=10)


def test_at_the_users_word_it_goes_on_and_says_so_at_every_start(tmp_path, prefix, host_log):
    run(tmp_path, prefix)
    lenient = {"seed": 2, "epoch_guard_on_mismatch": "warn"}
    after = run(tmp_path, prefix, resume=10, **lenient)
    assert drawn(after) == tokens_of(dataset_for(prefix, STEPS, BATCH, seed=2))[40:128]
    again = run(tmp_path, prefix, resume=20, seed=2)
    assert drawn(again) == drawn(after)[40:]
    changed = "the order was changed in mid-run, because --epoch_guard_on_mismatch is warn"
    said = [text for text in host_log.warnings if changed in text]
    assert len(said) == 2
    assert all("seed was 1, is 2" in text for text in said)
    assert sum(changed in text for text in again.texts("epoch_guard/notes")) == 2


@pytest.mark.parametrize("mode", MODES)
def test_data_that_is_drawn_again_as_asked_is_warned_of(tmp_path, prefix, mode, host_log):
    before = run(tmp_path, prefix, mode=mode)
    after = run(tmp_path, prefix, resume=10, mode=mode, ignore_data_skip=True)
    assert drawn(after) == drawn(before)[: 22 * BATCH]
    exposure = dict(after.scalars("epoch_guard/exposure"))
    assert exposure[11] == 1.0
    if mode == "track":  # unified, the second data epoch is among them
        assert [exposure[step] for step in (20, 21, 32)] == [1.0, 0.0, 0.0]
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "--ignore_data_skip asks" in table


def test_a_start_from_the_first_step_with_an_old_checkpoint_is_warned_of(tmp_path, prefix, host_log):
    before = run(tmp_path, prefix)
    checkpoint = str(tmp_path / "run" / "checkpoint-10")
    after = run(tmp_path, prefix, resume=10, ignore_load_lr_and_optim=True, resume_from_checkpoint=checkpoint)
    assert drawn(after) == drawn(before)
    assert any("ignore_load_lr_and_optim" in text and "draws the data again" in text for text in host_log.warnings)
    exposure = dict(after.scalars("epoch_guard/exposure"))
    # Ten steps were drawn before by those weights; the second data epoch begins at step 26.
    assert [exposure[step] for step in (1, 10, 11, 25)] == [1.0, 1.0, 0.0, 0.0]
    assert exposure[31] > 1.0


def test_a_run_without_a_sidecar_goes_on_where_the_trainer_left_it(tmp_path, prefix):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    before = train(args, dataset_for(prefix, STEPS, BATCH), callbacks=[])
    after = run(tmp_path, prefix, resume=10)
    assert drawn(after) == drawn(before)[40:]
    assert recorded(tmp_path, 20)["position"] == 80


@pytest.mark.parametrize("change", [{"batch": 8}, {"steps": 40}, {"gradient_accumulation_steps": 2}])
def test_a_run_without_a_sidecar_whose_order_is_in_doubt_is_refused(tmp_path, prefix, change):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    train(args, dataset_for(prefix, STEPS, BATCH), callbacks=[])
    with pytest.raises(EpochGuardError, match="in doubt whether the order goes on: ") as refused:
        run(tmp_path, prefix, resume=10, **change)
    assert str(refused.value).endswith("--epoch_guard_position 40")  # what the trainer recorded: 10 steps of 4
    assert "EpochGuardCallback" not in str(refused.value)  # the checkpoint was found


def test_the_position_can_be_stated_by_hand(tmp_path, prefix):
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    train(args, dataset_for(prefix, STEPS, BATCH), callbacks=[])
    after = run(tmp_path, prefix, resume=10, batch=8, epoch_guard_position=40)
    host_order = tokens_of(dataset_for(prefix, STEPS, 8))
    assert drawn(after) == host_order[40 : 40 + 22 * 8]


def stale(folder, prefix, mode="unified"):
    """A run with checkpoints at 10, 20 and 30, of which the later ones are then written anew from 10."""
    return run(folder, prefix, mode=mode)


def test_a_part_without_the_guard_leaves_no_old_sidecar_in_force(tmp_path, prefix, host_log):
    stale(tmp_path, prefix)
    run(tmp_path, prefix, resume=10, mode="off", batch=2)
    assert any("began a unified order at position 0" in text for text in host_log.warnings)
    with pytest.raises(EpochGuardError, match=r"step 20 was saved without the guard.*/checkpoint-10$"):
        run(tmp_path, prefix, resume=20, mode="track", batch=2)


def test_a_part_without_the_callback_leaves_no_old_sidecar_in_force(tmp_path, prefix):
    stale(tmp_path, prefix)
    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    train(args, dataset_for(prefix, STEPS, BATCH), resume=str(tmp_path / "run" / "checkpoint-10"), callbacks=[])
    with pytest.raises(EpochGuardError, match=r"step 20 was saved without the guard.*/checkpoint-10$"):
        run(tmp_path, prefix, resume=20, mode="track")


def test_another_branch_of_the_same_run_is_told_apart(tmp_path, prefix, unwatched):
    whole = stale(tmp_path, prefix)
    backup = tmp_path / "backup" / "checkpoint-20"
    shutil.copytree(tmp_path / "run" / "checkpoint-20", backup)
    run(tmp_path, prefix, resume=10, mode="unified", batch=2, steps=40)
    args = arguments(tmp_path, max_steps=STEPS, epoch_guard="unified")
    branch = train(args, dataset_for(prefix, STEPS, BATCH), resume=str(backup))
    assert drawn(branch) == drawn(whole)[80:]
    forget_order(backup)
    with pytest.raises(EpochGuardError, match="is older than the checkpoint that the trainer loaded"):
        train(args, dataset_for(prefix, STEPS, BATCH), resume=str(backup))


def test_a_sidecar_that_could_not_be_written_does_not_leave_the_old_one(tmp_path, prefix, monkeypatch):
    stale(tmp_path, prefix)

    def full(*_args):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("paddle_epoch_guard.session.sidecar_writer.write_sidecar", full)
        whole = run(tmp_path, prefix, resume=10, mode="unified", batch=2, steps=40)
    assert not (tmp_path / "run" / "checkpoint-20" / "epoch_guard.json").exists()
    assert drawn(run(tmp_path, prefix, resume=20, mode="unified", batch=2, steps=40)) == drawn(whole)[20:]
    forget_order(tmp_path / "run" / "checkpoint-20")
    (tmp_path / "run" / "checkpoint-20" / "epoch_guard.json").unlink(missing_ok=True)
    with pytest.raises(EpochGuardError, match=r"no epoch_guard\.json of its checkpoint was found"):
        run(tmp_path, prefix, resume=20, mode="unified", batch=2, steps=40)


def test_a_repaired_run_cannot_go_on_without_its_sidecar_in_track_mode_either(tmp_path, prefix):
    run(tmp_path, prefix)
    whole = run(tmp_path, prefix, resume=10, batch=2, steps=40)
    (tmp_path / "run" / "checkpoint-20" / "epoch_guard.json").unlink()
    assert drawn(run(tmp_path, prefix, resume=20, batch=2, steps=40)) == drawn(whole)[20:]
    forget_order(tmp_path / "run" / "checkpoint-20")
    with pytest.raises(EpochGuardError, match="has drawn otherwise than the host would by itself"):
        run(tmp_path, prefix, resume=20, batch=2, steps=40)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_done_may_be_started_again_and_again(tmp_path, prefix, mode):
    run(tmp_path, prefix, mode=mode, steps=30)
    for step in (30, 30):
        assert run(tmp_path, prefix, mode=mode, steps=30, resume=step).steps == 31


def test_a_loader_that_will_run_dry_is_unified_as_far_as_it_reads(tmp_path, prefix):
    dataset = dataset_for(prefix, STEPS, BATCH)  # 202 samples, for 60 steps of 4
    expected = Counter(tokens_of(dataset)[:202])
    one = train(arguments(tmp_path, max_steps=60, epoch_guard="unified"), dataset)
    assert Counter(drawn(one)[:202]) == expected


def test_a_resume_that_appends_where_the_loader_would_run_dry_says_so(tmp_path, prefix, host_log):
    dataset = dataset_for(prefix, STEPS, BATCH)
    args = arguments(tmp_path, max_steps=60, save_strategy="steps", save_steps=10)
    train(args, dataset)
    train(args, dataset, resume=str(tmp_path / "run" / "checkpoint-20"))
    (table,) = [text for text in host_log.of_guard() if "what differs" in text]
    assert "the loader would run dry" in " ".join(table.split())


def test_what_was_appended_in_track_mode_is_joined_when_unified_again(tmp_path, prefix):
    run(tmp_path, prefix, mode="unified")
    run(tmp_path, prefix, resume=10, steps=100)
    last = run(tmp_path, prefix, mode="unified", resume=30, steps=130)
    sidecar = recorded(tmp_path, 130)
    assert [(one["start"], one["mix"], one["boundary"]) for one in sidecar["reorders"]] == [
        (0, "uniform", None),
        (120, "ramp", 202),  # the first boundary ahead that no reorder has dissolved
    ]
    assert not any("boundary" in one for one in last.directories())


def test_a_stated_position_at_which_the_sampler_cannot_start_is_refused(tmp_path, prefix, monkeypatch):
    from paddle_epoch_guard import host

    args = arguments(tmp_path, max_steps=STEPS, save_strategy="steps", save_steps=10)
    train(args, dataset_for(prefix, STEPS, BATCH), callbacks=[])
    describe = host.describe_loader

    def with_three_ranks(*given):
        loader = describe(*given)
        ahead = replace(loader.reading.ahead, world_size=3)
        return replace(loader, reading=replace(loader.reading, ahead=ahead))

    monkeypatch.setattr(host, "describe_loader", with_three_ranks)
    with pytest.raises(EpochGuardError, match="position 40, and the host's sampler starts only at multiples"):
        run(tmp_path, prefix, resume=10, epoch_guard_position=40)


def test_a_run_that_is_interrupted_again_and_again_keeps_a_small_sidecar(tmp_path, prefix):
    run(tmp_path, prefix)
    run(tmp_path, prefix, resume=10)
    run(tmp_path, prefix, resume=20)
    assert len(recorded(tmp_path, 30)["schedule"]["segments"]) == 1


def test_a_blend_is_extended_dataset_by_dataset(tmp_path):
    sizes = {"news": (100, 100, 73), "code": (300, 250, 280, 90), "more": (500,)}
    prefixes = [write_corpus(tmp_path / "corpus" / name, rows) for name, rows in sizes.items()]
    weighted = [part for pair in zip([0.3, 0.4, 0.3], prefixes, strict=True) for part in pair]

    def blend(samples):
        return build_train(weighted, samples, SEQ_LENGTH, cache=tmp_path / "cache")

    def tokens(dataset, stop):
        return [int(dataset[p]["text"][0]) for p in range(stop)]

    plan = tokens(blend(120), 120)
    args = arguments(tmp_path, max_steps=30, save_strategy="steps", save_steps=10)
    before = train(args, blend(120))
    assert drawn(before) == plan
    longer = arguments(tmp_path, max_steps=100, save_strategy="steps", save_steps=10)
    after = train(longer, blend(400), resume=str(tmp_path / "run" / "checkpoint-10"))
    assert drawn(after)[:80] == plan[40:]
    assert len(drawn(after)) == 360
    # The boundaries that the audit names as added are all that a new run of this length does not have.
    train(arguments(tmp_path / "new", max_steps=100), blend(400))
    finding = findings_of(tmp_path)["boundaries_added"]
    new = {(one.dataset, one.position) for one in boundaries_ahead(tmp_path / "new")}
    added = [
        one
        for one in boundaries_ahead(tmp_path)
        if one.position >= 120 and not any(one.dataset == of and abs(one.position - at) <= 4 for of, at in new)
    ]
    assert finding.parameters["added"] == ", ".join(str(step) for step in sorted({one.step for one in added}))
    assert len(added) < len([one for one in boundaries_ahead(tmp_path) if one.position >= 120])
    # Each dataset goes on where it was, through the rest of its index and then through whole epochs of its own.
    mixed = blend(400)
    position = Counter()
    for at in range(400):
        position[int(mixed.dataset_index[at])] += 1
    parts = [record["indices"] for record in recorded(tmp_path, 100)["datasets"]]
    chains = [
        sum(
            (tokens_of(build_train([prefix], one["samples_requested"], SEQ_LENGTH, seed=one["seed"])) for one in part),
            [],
        )
        for prefix, part in zip(prefixes, parts, strict=True)
    ]
    which, inner = np.asarray(mixed.dataset_index), np.asarray(mixed.dataset_sample_index)
    assert plan[:40] + drawn(after) == [chains[which[p]][inner[p]] for p in range(400)]
    args = arguments(tmp_path, max_steps=30)
    other = build_train([0.4, *weighted[1:]], 120, SEQ_LENGTH, cache=tmp_path / "cache")
    with pytest.raises(EpochGuardError, match="weights of the blend was"):
        train(args, other, resume=str(tmp_path / "run" / "checkpoint-10"))
