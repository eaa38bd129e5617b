"""docs/command-line.md: runs its calls and compares their output and JSON keys with the page."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import corpora
from caches import cli
from paddle_epoch_guard.cli.app import COMMANDS, NAME
from paddle_epoch_guard.record.run_file import add_part
from synthetic_runs import Run
from test_cli import parses

PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text()
STARTED_ELSEWHERE = ("view", "run")  # a server and a training: test_browser.py, test_cli_run.py
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def calls(text):
    """``(line, output)`` of each call in the console blocks of a text."""
    parsed = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for call in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = call.partition("\n")
            parsed.append((line, output))
    return parsed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus of as many tokens and documents as the demo's, its index, and a run."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        corpora.write_as_in_the_demo()
    config = {"input_dir": "data/text", "split": "95,5,0", "max_seq_length": 32, "per_device_train_batch_size": 4}
    (folder / "pretrain.json").write_text(json.dumps(config))
    for name in ("separated", "unified"):
        logs, output = folder / "output" / "logs" / name, folder / "output" / "runs" / name
        run = Run(logs)
        run.train(1, 120)
        output.mkdir(parents=True)
        add_part(output, run.run_id, run.last_part, logs)
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "here"))
    monkeypatch.setenv("COLUMNS", "80")


def test_every_command_has_a_section():
    assert list(SECTIONS) == list(COMMANDS)
    for name, what in COMMANDS.items():
        assert any(f"{line} ".startswith(f"{NAME} {name} ") for line, _ in calls(SECTIONS[name])), what


@pytest.mark.parametrize("name", STARTED_ELSEWHERE)
def test_what_is_started_elsewhere_is_a_call(name):
    lines = [line for line, _ in calls(SECTIONS[name]) if line.startswith(NAME)]
    assert lines
    assert all(parses(line) for line in lines)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name not in STARTED_ELSEWHERE])
def test_what_the_page_shows_is_what_is_printed(here, name):
    if name == "rebuild":
        assert len(calls(SECTIONS[name])) == 2
    for line, output in calls(SECTIONS[name]):
        if not line.startswith(NAME):
            subprocess.run(line, shell=True, check=True)
            continue
        status, out, err = cli(*shlex.split(line)[1:])
        assert (status, err) == (1 if name == "doctor" else 0, "")
        if name not in ("report", "compare", "env"):  # runs were real ones; versions are those of here
            assert [shown.rstrip() for shown in out.splitlines()] == output.splitlines()


def test_calls_in_a_sentence_are_calls_too():
    lines = re.findall(rf"`({NAME} [^`]+)`", PAGE)
    assert len(lines) > 1
    assert all(parses(line) for line in lines if "COMMAND" not in line)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name not in STARTED_ELSEWHERE])
def test_every_key_is_explained(here, name):
    text = SECTIONS[name] + (SECTIONS["plan"] if name == "inspect" else "")
    explained = {
        key for row in re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    nested = set(re.findall(r"`(\w+)`", text))
    for line, _ in calls(SECTIONS[name]):
        if f"{line} ".startswith(f"{NAME} {name} "):
            result = json.loads(cli(*shlex.split(line)[1:], "--json")[1])
            assert set(result) <= explained
            inner = [
                entry
                for value in result.values()
                if isinstance(value, list)
                for entry in value
                if isinstance(entry, dict)
            ]
            for entry in inner:
                assert set(entry) <= nested
        elif not line.startswith(NAME):
            subprocess.run(line, shell=True, check=True)
