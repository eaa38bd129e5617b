"""`plan` on a run's own configuration: the same answer as on its numbers."""

import json

import pytest

import corpora
from caches import cli, refused, told
from paddle_epoch_guard.cli.plan import REACHED
from paddle_epoch_guard.cli.run_config import config_of

CONFIG = {
    "model_name_or_path": "tiny",
    "split": "95,5,0",
    "max_seq_length": 8,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 3,
    "max_steps": 20,
    "tensor_parallel_degree": 2,
    "pipeline_parallel_degree": -1,
    "sharding": "stage1",
}
NUMBERS = ("--seq-length", 8, "--global-batch", 24, "--max-steps", 20, "--split", "95,5,0")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpora.write_corpus(tmp_path / "data" / "text", corpora.SIZES)
    return tmp_path


def write(path, values):
    text = (
        json.dumps(values)
        if path.suffix == ".json"
        else "".join(f"{name}: {value}\n" for name, value in values.items())
    )
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["pretrain.json", "pretrain.yaml"])
def test_the_runs_own_file_says_what_the_numbers_say(here, name):
    file = write(here / name, CONFIG | {"input_dir": "data"})
    assert told("plan", "--config", file, "--devices", 8) == told("plan", "data/text", *NUMBERS)


def test_flags_in_the_scripts_spelling_win_over_the_file_and_options_over_both(here):
    file = write(here / "pretrain.json", CONFIG)
    expected = told("plan", "data/text", *NUMBERS)
    flags = ("--per_device_train_batch_size=1", "--gradient_accumulation_steps", 6)
    assert told("plan", "data/text", "--config", file, "--devices", 8, *flags) == expected
    assert told("plan", "--max_steps", 99, "--input_dir", "data", "--config", file, *NUMBERS) == expected
    assert told("plan", "--input_dir", "data/text", "--max_steps=20", "--global-batch", 4, "--max_seq_length", 8)


def test_a_folder_of_corpora_is_a_blend_of_equal_weights(here):
    corpora.write_corpus(here / "data" / "code", corpora.SIZES[3:])
    names = [dataset["prefix"] for dataset in told("plan", "--input_dir", "data", *NUMBERS)["datasets"]]
    assert sorted(names) == ["data/code", "data/text"]
    blend = [word for name in names for word in ("1.0", name)]
    assert told("plan", "--input_dir", "data", *NUMBERS) == told("plan", *blend, *NUMBERS)
    assert told("plan", "--input_dir", " ".join(blend), *NUMBERS) == told("plan", *blend, *NUMBERS)


@pytest.mark.parametrize(
    ("degrees", "devices", "batch"),
    [
        ({}, 1, 8),
        ({}, 16, 128),
        ({"tensor_parallel_degree": 4, "pipeline_parallel_degree": 2}, 16, 16),
        ({"sep_parallel_degree": 2, "sharding_parallel_degree": 8}, 16, 64),
        ({"context_parallel_degree": 2}, 2, 8),
    ],
)
def test_devices_that_share_samples_count_once(degrees, devices, batch):
    assert config_of(degrees, devices).global_batch == batch


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("data/text",), "--seq-length, --global-batch and --max-steps missing"),
        (("--config", "pretrain.json", "--max_steps", "-1", "--devices", 2), "PREFIX and --max-steps missing"),
        (("--config", "nowhere.json"), "--config nowhere.json: cannot be read (No such file or directory)"),
        (("--config", "broken.json"), "--config broken.json: is neither JSON nor YAML"),
        (("--config", "broken.yaml"), "--config broken.yaml: is no YAML"),
        (("--config", "list.json"), "--config list.json: holds no names and values"),
        (("data/text", "--config", "pretrain.json", "--devices", 7), "7 is no multiple of tensor_parallel_degree 2"),
        (("data/text", "--devices", 2, *NUMBERS), "--devices 2 belongs to --config"),
        (("data/text", "--max_stepz", 3), "No such option: --max_stepz. Did you mean --max_steps?"),
        (("data/text", "--seq-lenght", 3), "No such option: --seq-lenght. Did you mean --seq-length?"),
        (("data/text", "--max_steps"), "--max_steps has no value"),
        (("data/text", "--max_steps", "many"), "max_steps is 'many'; expected an integer"),
        (("--input_dir", "nowhere", *NUMBERS), "input_dir nowhere: expected a folder with .idx files"),
        (("data", *NUMBERS), "expected the path of a corpus without .idx or .bin; the corpora in it: data/text"),
        (("data/text.bin", *NUMBERS), "is a file of a corpus; expected its path without .bin: data/text"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call_is_one_line(here, call, said):
    write(here / "pretrain.json", CONFIG)
    (here / "broken.json").write_text("{")
    (here / "broken.yaml").write_text("a: [1\nb: }")
    (here / "list.json").write_text("[1]")
    assert said in refused("plan", *call, status=2)


def test_a_script_learns_of_a_boundary_by_the_status(here):
    call = ("data/text", "--seq-length", 8, "--global-batch", 4, "--split", "100,0,0", "--fail-on-boundary")
    reached = next(steps for steps in range(1, 200) if told("plan", *call[:-1], "--max-steps", steps)["separated"])
    for as_json in ((), ("--json",)):
        assert cli("plan", *call, "--max-steps", reached, *as_json)[0] == REACHED
        assert cli("plan", *call, "--max-steps", 1, *as_json)[0] == 0


def test_samples_longer_than_the_corpus_are_a_warning(here):
    call = ("data/text", "--seq-length", 100_000, "--global-batch", 4, "--max-steps", 3)
    (warning,) = told("plan", *call)["warnings"]
    assert warning.startswith("a sample of 100,000 tokens is longer than a data epoch of data/text")
    assert cli("plan", *call)[1].startswith("warning: a sample of")


def test_a_name_with_a_slip_is_a_warning_and_what_was_read_is_shown(here):
    values = {name: value for name, value in CONFIG.items() if name != "max_seq_length"}
    file = write(here / "pretrain.json", values | {"input_dir": "data", "max_seq_lenght": 8, "max_seq_len": 8})
    call = ("--config", file, "--devices", 2, "--per_device_eval_batch_size", 2)
    assert "No such option: --per_device_eval_batch_size" in refused("plan", *call, status=2)
    warnings = told("plan", *call[:-2])["warnings"]
    assert "max_seq_lenght in the run's configuration is not read; did you mean max_seq_length?" in warnings
    assert "the run: 20 steps of 6 samples of 1,024 tokens; split 95,5,0" in cli("plan", *call[:-2])[1]
    file = write(here / "pretrain.json", CONFIG | {"input_dir": "data", "per_device_eval_batch_size": 3})
    assert told("plan", *call[:-2])["warnings"] == []
