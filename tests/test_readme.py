"""The snippets of the README, and of the page on why the loss drops, are run as they stand.

Those of the Chinese pages are not run again: tests/test_languages.py holds them equal to these, letter by letter.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paddlenlp.data.causal_dataset import build_train_valid_test_datasets

from caches import cli
from corpora import build_train, write_corpus
from pretraining import PretrainingTrainer, collate
from servers import visualdl_server
from training import TokenModel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
WHY = (ROOT / "docs" / "why-the-loss-drops.md").read_text()
PAGES = (
    "README.md",
    "README.zh-CN.md",
    "docs/comparison.md",
    "docs/comparison.zh-CN.md",
    "docs/why-the-loss-drops.md",
    "docs/why-the-loss-drops.zh-CN.md",
)


def snippets(language, page=README):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.mark.host
def test_the_callback_snippet_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adding, _ = snippets("python")
    names = {
        "__name__": "readme",
        "PretrainingTrainer": PretrainingTrainer,
        "model": TokenModel(),
        "train_dataset": build_train([write_corpus(tmp_path / "corpus" / "text", [1000])], 160, 8),
        "data_collator": collate,
    }
    exec(compile(adding, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 20
    assert (tmp_path / "output" / "logs" / "epoch_guard" / "epoch_1").is_dir()


@pytest.mark.slow
def test_the_index_snippet_reads_the_demos_index(demo, monkeypatch, capsys):
    folder, _ = demo
    monkeypatch.chdir(folder)
    _, reading = snippets("python")
    exec(compile(reading, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert "num_epochs=2" in printed
    assert "separated=True" in printed
    assert "Boundary(position=" in printed
    assert printed.splitlines()[-1] == "[1 1 2]"


COMMANDS = [line for block in snippets("bash") for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works(command, demo):
    folder, _ = demo
    words = command.split()
    if words[0] == "make":  # the demo and these tests are what such a command starts
        dry = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0
        started = {"demo": "python examples/demo.py", "test": "python -m pytest"}[words[1]]
        assert started in dry.stdout
    elif words[:2] == [".venv/bin/paddle-epoch-guard", "view"]:
        with visualdl_server(folder / words[2], command=("paddle-epoch-guard", "view")) as server:
            assert "train/loss" in sum(server.get("scalar/tags")["tags"], [])
    elif words[:2] == ["pip", "install"]:
        flags = ["--dry-run", "--no-index", "--no-build-isolation"]  # all of it is installed here
        done = subprocess.run([sys.executable, "-m", *words, *flags], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        pytest.fail(f"the README has a command that no test runs: {command}")


@pytest.mark.slow
def test_the_table_of_resumes_is_what_its_script_prints(tmp_path):
    script = ROOT / "examples" / "resume_table.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    table = "\n".join(line for line in done.stdout.splitlines() if line.startswith("|"))
    assert table.count("\n") == 8
    assert table in README
    # With the guard, a change costs no more than the plan itself leaves out.
    guarded = [row.split("|")[3].split("/") for row in table.splitlines()[2:]]
    assert all(int(doubled) == 0 and int(lost) <= 16 for doubled, lost in guarded)


@pytest.fixture(scope="module")
def billion(tmp_path_factory):
    """A folder with the corpus of the page's example: its size is real, its tokens are a hole in the file."""
    folder = tmp_path_factory.mktemp("why")
    (folder / "data").mkdir()
    documents, of_train, tokens = 1000, 949, 1_000_000_000
    sizes = np.full(documents, tokens // of_train, np.int32)
    sizes[0] += tokens % of_train
    ends = 2 * np.cumsum(sizes, dtype=np.int64)  # bytes of uint16
    counts = np.array([documents, documents + 1], np.int64)
    header = b"MMIDIDX\x00\x00" + np.int64(1).tobytes() + np.uint8(8).tobytes() + counts.tobytes()
    arrays = sizes, np.concatenate([[0], ends[:-1]]), np.arange(documents + 1)
    (folder / "data" / "text.idx").write_bytes(header + b"".join(one.tobytes() for one in arrays))
    with (folder / "data" / "text.bin").open("wb") as stream:
        stream.truncate(int(ends[-1]))
    return folder


def test_the_example_by_hand_gives_what_it_says(capsys):
    (example,) = snippets("python", WHY)
    exec(compile(example, "why-the-loss-drops.md", "exec"), {"__name__": "why"})
    assert capsys.readouterr().out.strip() == example.rsplit("# ", 1)[1].strip()


def test_the_host_logs_what_the_page_says(billion, monkeypatch, capfd):
    monkeypatch.chdir(billion)
    train, _, _ = build_train_valid_test_datasets(
        ["data/text"], "mmap", "949,50,1", [2766 * 256, 1, 0], 2048, 42, skip_warmup=True
    )
    assert len(train) == 976562
    logged = capfd.readouterr().out.splitlines()
    assert set(snippets("text", WHY)[0].splitlines()) <= set(logged)


def test_plan_prints_what_the_page_says(billion, monkeypatch):
    monkeypatch.chdir(billion)
    monkeypatch.setenv("COLUMNS", "100")
    (command,) = snippets("bash", WHY)
    name, *words = command.split()
    assert name == "paddle-epoch-guard"
    status, printed, _ = cli(*words)
    assert status == 0
    lines = iter([line.rstrip() for line in printed.splitlines()])
    for said in snippets("text", WHY)[1].splitlines():  # some of the lines, in their order
        assert said in lines


def test_the_page_counts_what_is_never_drawn():
    drawn = 2766 * 256 / 976562
    for share in ((1 - drawn) ** 2, 2 * drawn * (1 - drawn), drawn**2, (1 - 1.5 / 2) ** 2):
        assert f" {100 * share:.1f}%" in WHY
    assert " 1%" in WHY
    assert round((1 - 1.8 / 2) ** 2, 6) == 0.01


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_and_link_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_the_page_tells_the_demos_figures_as_the_readme_does():
    (caption,) = re.findall(r"^\*The demo.*?\*$", WHY, re.DOTALL | re.MULTILINE)
    figures = re.findall(r"[+-]?\d\.\d\d", caption)
    assert len(figures) == 3
    assert all(figure in README for figure in figures)


def test_every_flag_is_in_the_table():
    from dataclasses import fields

    from paddle_epoch_guard import EpochGuardArguments

    for flag in fields(EpochGuardArguments):
        row = next(line for line in README.splitlines() if line.startswith(f"| `--{flag.name}`"))
        assert all(f"`{choice}`" in row for choice in flag.metadata.get("choices", ()))
        assert f"| `{flag.default}` |" in row or flag.default is None
