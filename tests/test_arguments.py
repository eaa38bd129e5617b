import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from paddlenlp.trainer import PdArgumentParser, TrainingArguments

from paddle_epoch_guard import EpochGuardArguments, EpochGuardError
from paddle_epoch_guard.arguments import from_training_arguments


@dataclass
class Mixed(EpochGuardArguments, TrainingArguments):
    pass


def test_flags_mixed_into_the_trainers_arguments_parse_from_the_command_line(tmp_path):
    (args,) = PdArgumentParser(Mixed).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--epoch_guard", "off"]
    )
    assert args.epoch_guard == "off"
    assert args.epoch_guard_on_mismatch == "error"
    # The trainer's own checks ran too: logging_dir is derived there.
    assert str(tmp_path) in args.logging_dir


def test_flags_parse_from_a_json_config(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"output_dir": str(tmp_path), "epoch_guard_on_mismatch": "warn"}))
    (args,) = PdArgumentParser(Mixed).parse_json_file(str(config))
    assert (args.epoch_guard, args.epoch_guard_on_mismatch) == ("track", "warn")


def test_flags_parse_beside_the_trainers_arguments(tmp_path):
    parser = PdArgumentParser((EpochGuardArguments, TrainingArguments))
    guard, _ = parser.parse_args_into_dataclasses(["--output_dir", str(tmp_path), "--epoch_guard", "track"])
    assert guard == EpochGuardArguments()


def test_a_wrong_value_says_what_was_found_and_what_is_expected():
    with pytest.raises(EpochGuardError, match=r"--epoch_guard is 'on'; expected one of off, track, unified"):
        EpochGuardArguments(epoch_guard="on")


def test_arguments_without_any_of_the_flags_have_the_defaults():
    assert from_training_arguments(SimpleNamespace(max_steps=5)) == EpochGuardArguments()


def test_a_wrong_value_set_by_hand_on_the_training_arguments_is_found():
    with pytest.raises(EpochGuardError, match="epoch_guard_on_mismatch is 'ignore'"):
        from_training_arguments(SimpleNamespace(epoch_guard_on_mismatch="ignore"))


def test_help_teaches_every_flag():
    text = " ".join(PdArgumentParser(EpochGuardArguments).format_help().split())
    assert "follow the data epochs, mark their boundaries" in text
    assert "--epoch_guard {off,track,unified}" in text
    assert "stop before the first step" in text
