"""The README's snippets are run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from corpora import build_train, write_corpus
from pretraining import PretrainingTrainer, collate
from servers import visualdl_server
from training import TokenModel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def snippets(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


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


def test_every_picture_and_link_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_flag_is_in_the_table():
    from dataclasses import fields

    from paddle_epoch_guard import EpochGuardArguments

    for flag in fields(EpochGuardArguments):
        row = next(line for line in README.splitlines() if line.startswith(f"| `--{flag.name}`"))
        assert all(f"`{choice}`" in row for choice in flag.metadata.get("choices", ()))
        assert f"| `{flag.default}` |" in row or flag.default is None
