import json
import struct

import numpy as np
import pytest
from PIL import Image

from servers import visualdl_server
from training import read_scalars

SEQ_LENGTH, BATCH, SPLIT = 64, 8, (95, 5, 0)


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


def test_the_corpus_is_real_text(demo):
    from tokenizers import Tokenizer

    data = demo[0] / "demo-output" / "data"
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    tokens = np.fromfile(data / "text.bin", dtype=np.uint16)
    assert tokens.size > 100_000
    assert "statement" in tokenizer.decode(tokens[:2000].tolist())


def test_the_screen_shows_progress_a_table_and_how_to_look(demo):
    _, printed = demo
    for word in ("run: separated", "boundary step", "before", "after", "jump", "visualdl --logdir demo-output/logs"):
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
