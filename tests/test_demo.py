import json
import re
import struct

import numpy as np
import pytest
from PIL import Image

from caches import refused, told
from corpora import build_train, write_corpus
from models import tiny_llama
from paddle_epoch_guard import EpochGuardCallback
from pretraining import PretrainingTrainer, collate
from servers import visualdl_server
from training import arguments
from vdl_logs import read_scalars, read_texts

pytestmark = pytest.mark.slow

SEQ_LENGTH, BATCH, SPLIT = 32, 8, (95, 5, 0)


def boundary_step_by_hand(prefix):
    """The boundary's step from the bytes of the corpus, with none of the package's code."""
    data = prefix.with_suffix(".idx").read_bytes()
    (documents,) = struct.unpack_from("<Q", data, 18)
    sizes = struct.unpack_from(f"<{documents}i", data, 34)
    train = documents - round(SPLIT[1] / 100 * documents)
    tokens = sum(sizes[:train])
    return (tokens - 1) // SEQ_LENGTH // BATCH + 1


def test_the_loss_falls_off_a_cliff_at_the_boundary_derived_by_hand(demo):
    folder, _ = demo
    summary = json.loads((folder / "demo-output" / "summary.json").read_text())
    separated = summary["separated"]
    assert separated["boundary_step"] == boundary_step_by_hand(folder / "demo-output" / "data" / "text")
    assert separated["jump"] <= -0.8
    assert separated["jump"] == pytest.approx(separated["loss_after"] - separated["loss_before"])
    losses = dict(read_scalars(folder / "demo-output" / "logs" / "separated", "train/loss"))
    step = separated["boundary_step"]
    assert separated["loss_before"] == pytest.approx(np.mean([losses[at] for at in range(step - 30, step)]))


def test_no_cliff_where_unified_and_no_jump_where_resumed(demo):
    summary = json.loads((demo[0] / "demo-output" / "summary.json").read_text())
    cliff = summary["separated"]["jump"]
    for run in ("unified", "resumed"):
        assert summary[run]["boundary_step"] == summary["separated"]["boundary_step"]
        assert abs(summary[run]["jump"]) < abs(cliff) / 4
    resumed = summary["resumed"]
    assert 0 < resumed["resume_step"] < resumed["boundary_step"]
    assert abs(resumed["jump_at_resume"] - resumed["separated_jump_at_resume"]) < abs(cliff) / 10


def test_the_guard_calls_the_cliff_an_artefact_and_nothing_else_a_jump(demo):
    """Confirmed by the held-out split, whose loss does not jump."""
    output = demo[0] / "demo-output"
    summary = json.loads((output / "summary.json").read_text())
    assert summary["separated"]["verdict"] == "artefact"
    # Where nothing jumps, the noise decides whether a jump of 1 % can be excluded.
    unjumped = [summary["unified"]["verdict"], summary["resumed"]["verdict"], summary["resumed"]["verdict_at_resume"]]
    assert set(unjumped) <= {"none", "undecided"}
    log = output / "logs" / "separated" / "epoch_guard" / "boundary_1_to_2"
    told = read_texts(log, "epoch_guard/boundary_1_to_2")[-1]
    assert "artefact (evaluation does not jump with it)" in told
    assert "exposure 0.00 before and 1.00 after" in told
    resumed = output / "logs" / "resumed" / "epoch_guard"
    (name,) = [path.name for path in resumed.iterdir() if path.name.startswith("unified_from_step_")]
    assert re.search(r": (none|undecided) \(no jump", read_texts(resumed / name, f"epoch_guard/{name}")[-1])


def test_exposure_and_the_loss_of_fresh_and_repeated_samples_are_told(demo):
    output = demo[0] / "demo-output"
    summary = json.loads((output / "summary.json").read_text())
    separated, unified = summary["separated"], summary["unified"]
    assert (separated["exposure_before"], separated["exposure_after"]) == pytest.approx((0.0, 1.0), abs=0.02)
    assert unified["exposure_before"] == pytest.approx(unified["exposure_after"], abs=0.1)
    # Side by side in one run: what the model has seen it knows, and of the rest it knows as much as before.
    assert separated["fresh_after"] is None
    assert unified["fresh_after"] - unified["repeat_after"] > 0.8
    assert unified["fresh_after"] == pytest.approx(separated["loss_before"], abs=0.4)


def test_the_three_runs_train_on_the_same_samples(demo):
    """The mean data epoch over the whole run is the same, whatever the order."""
    logs = demo[0] / "demo-output" / "logs"
    epochs = [
        np.array([value for _, value in read_scalars(logs / run / "epoch_guard", "epoch_guard/data_epoch")])
        for run in ("separated", "unified", "resumed")
    ]
    assert len({len(values) for values in epochs}) == 1
    assert epochs[1].mean() == pytest.approx(epochs[0].mean(), abs=1e-9)
    assert epochs[2].mean() == pytest.approx(epochs[0].mean(), abs=1e-9)
    assert not (logs / "unified" / "epoch_guard" / "boundary_1_to_2").exists()


@pytest.mark.host
def test_llama_trains_through_the_same_path(tmp_path):
    dataset = build_train([write_corpus(tmp_path / "corpus" / "text", [1000])], 180, SEQ_LENGTH // 8)
    args = arguments(tmp_path, max_steps=4, epoch_guard="unified")
    trainer = PretrainingTrainer(
        model=tiny_llama(60000, SEQ_LENGTH // 8),
        args=args,
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[EpochGuardCallback()],
    )
    result = trainer.train()
    assert result.global_step == 4
    assert result.training_loss == pytest.approx(np.log(60000), rel=0.05)  # as before any learning
    assert len(read_scalars(tmp_path / "logs" / "epoch_guard", "epoch_guard/data_epoch")) == 4


def test_the_corpus_is_real_text(demo):
    from tokenizers import Tokenizer

    data = demo[0] / "demo-output" / "data"
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    tokens = np.fromfile(data / "text.bin", dtype=np.uint16)
    assert tokens.size > 100_000
    assert "statement" in tokenizer.decode(tokens[:2000].tolist())


def test_the_screen_shows_progress_a_table_and_how_to_look(demo):
    _, printed = demo
    for run in ("separated", "unified", "resumed"):
        assert f"run: {run}" in printed
    printed = " ".join(printed.split())  # the title of the table wraps
    for word in (
        "boundary (step",
        "exposure",
        "verdict",
        "artefact",
        "before",
        "after",
        "jump",
        "At the resume",
        "paddle-epoch-guard view demo-output/logs",
        "epoch_guard_report.html",
    ):
        assert word in printed


def test_the_picture_is_a_picture(demo):
    with Image.open(demo[0] / "demo-output" / "loss.png") as picture:
        assert picture.size[0] >= 900
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    crimson = (np.abs(pixels - (220, 20, 60)).sum(axis=1) < 30).sum()
    assert crimson > 200  # the boundary's line


def test_the_visualdl_server_serves_the_line_in_the_trainers_loss_chart(demo):
    folder, _ = demo
    logs = folder / "demo-output" / "logs" / "separated"
    step = json.loads((folder / "demo-output" / "summary.json").read_text())["separated"]["boundary_step"]
    with visualdl_server(logs) as server:
        tags = server.get("scalar/tags")
        runs = dict(zip(tags["runs"], tags["tags"], strict=True))
        loss = server.scalars(str(logs), "train/loss")
        line = server.scalars(f"{logs}/epoch_guard/boundary_1_to_2", "train/loss")
    assert len(loss) > 300
    assert {at for at, _ in line} == {step}
    height = max(value for _, value in loss) - min(value for _, value in loss)
    assert max(value for _, value in line) - min(value for _, value in line) > 0.9 * height
    assert "epoch_guard/data_epoch" in runs[f"{logs}/epoch_guard"]
    for epoch in (1, 2):
        assert runs[f"{logs}/epoch_guard/epoch_{epoch}"] == ["epoch_guard/loss_by_epoch"]


@pytest.mark.parametrize("run", ["separated", "unified", "resumed"])
def test_a_report_on_the_folder_of_a_run_finds_its_logs(demo, run):
    output = demo[0] / "demo-output" / "runs" / run
    found = told("report", output, "--no-page")
    assert found["logging_dir"] == str(demo[0] / "demo-output" / "logs" / run)
    assert found["finished"]
    other = "unified" if run != "unified" else "resumed"
    refused("report", output, "--logging-dir", demo[0] / "demo-output" / "logs" / other)
