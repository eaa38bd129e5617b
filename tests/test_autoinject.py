import argparse
import json
import multiprocessing.spawn
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
from paddlenlp.trainer import PdArgumentParser, Trainer, TrainerCallback, TrainingArguments
from paddlenlp.trainer.trainer_callback import CallbackHandler

from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardArguments, EpochGuardCallback
from paddle_epoch_guard.autoinject import arguments_of, hooks, split_flags
from paddle_epoch_guard.autoinject.hooks import install
from paddle_epoch_guard.autoinject.imports import AfterImport
from paddle_epoch_guard.errors import TrainerError
from paddle_epoch_guard.order import PositionMap, Reorder
from pretraining import PretrainingTrainer, collate
from training import TokenModel, arguments, train

SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS, BATCH, LENGTH, SEED = 32, 4, 8, 42


@dataclass
class Plain(TrainingArguments):
    pass


@dataclass
class Mixed(EpochGuardArguments, TrainingArguments):
    pass


@pytest.mark.parametrize(
    ("given", "flags", "others"),
    [
        (["a.json", "--epoch_guard", "unified", "--x", "1"], {"epoch_guard": "unified"}, ["a.json", "--x", "1"]),
        (["--epoch_guard_seed=3", "-x"], {"epoch_guard_seed": "3"}, ["-x"]),
        (["--epoch_guard", "track", "--epoch_guard=off"], {"epoch_guard": "off"}, []),
        (["--epoch", "5", "--epoch_g", "y"], {}, ["--epoch", "5", "--epoch_g", "y"]),
        (["--", "--epoch_guard", "off"], {}, ["--", "--epoch_guard", "off"]),
        (["--epoch_guard_report", "--x"], {"epoch_guard_report": "True"}, ["--x"]),
        (["--epoch_guard_report", "false", "x"], {"epoch_guard_report": "false"}, ["x"]),
        (["--no_epoch_guard_report", "x"], {"epoch_guard_report": "False"}, ["x"]),
        (["--note", "--epoch_guard is nice"], {}, ["--note", "--epoch_guard is nice"]),
    ],
)
def test_flags_are_taken_out_wherever_they_stand(given, flags, others):
    assert split_flags(given) == (flags, others)


def test_values_have_their_types():
    flags = {"epoch_guard_seed": "3", "epoch_guard_report": "no", "epoch_guard_position": "None"}
    assert arguments_of(flags) == EpochGuardArguments(epoch_guard_seed=3, epoch_guard_report=False)
    assert arguments_of({}).epoch_guard == "track"
    assert arguments_of({"epoch_guard": "False"}).epoch_guard == "off"  # YAML's off


# Hooks, on the real host in this process.


@pytest.fixture
def inject(monkeypatch):
    """Installs the hooks, as ``run`` does, until the test ends."""
    for owner, name in (
        (argparse.ArgumentParser, "parse_known_args"),
        (PdArgumentParser, "parse_dict"),
        (Trainer, "__init__"),
        (Trainer, "train"),
        (CallbackHandler, "add_callback"),
        (multiprocessing.spawn, "get_preparation_data"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(hooks, "_installed", None)

    def injected(*tokens):
        flags, rest = split_flags(tokens)
        monkeypatch.setattr(sys, "argv", ["script.py", *rest])
        return install(flags)

    return injected


@pytest.fixture
def config(tmp_path):
    def written(**values):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"output_dir": str(tmp_path / "run"), **values}))
        return str(path)

    return written


def test_a_config_file_is_understood_and_the_command_line_wins(inject, config):
    path = config(epoch_guard="unified", epoch_guard_seed=5, epoch_guard_position=None, max_steps=3)
    injection = inject(path, "--epoch_guard_seed", "6", "--max_steps", "4")
    (args,) = PdArgumentParser(Plain).parse_json_file_and_cmd_lines()
    assert args.max_steps == 4
    assert not hasattr(args, "epoch_guard")
    assert arguments_of(injection.flags) == EpochGuardArguments("unified", epoch_guard_seed=6)
    (args,) = PdArgumentParser(Plain).parse_json_file(path)
    assert args.max_steps == 3


def test_a_dictionary_read_from_yaml_is_understood(inject, tmp_path):
    injection = inject("--epoch_guard_seed", "6")
    values = {"output_dir": str(tmp_path), "epoch_guard": False, "epoch_guard_seed": 5}
    (args,) = PdArgumentParser(Plain).parse_dict(dict(values))
    assert not hasattr(args, "epoch_guard")
    assert arguments_of(injection.flags) == EpochGuardArguments("off", epoch_guard_seed=6)
    (args,) = PdArgumentParser(Mixed).parse_dict(dict(values))
    assert (args.epoch_guard, args.epoch_guard_seed) == ("off", 6)


def test_a_script_whose_own_arguments_have_the_flags_gets_them(inject, config):
    path = config(epoch_guard="unified", epoch_guard_seed=5, epoch_guard_position=None, epoch_guard_report=False)
    inject(path, "--epoch_guard_seed", "6", "--no_epoch_guard_report", "--max_steps", "4")
    (args,) = PdArgumentParser(Mixed).parse_json_file_and_cmd_lines()
    assert (args.epoch_guard, args.epoch_guard_seed, args.max_steps) == ("unified", 6, 4)
    assert args.epoch_guard_report is False
    parser = argparse.ArgumentParser()
    parser.add_argument("--epoch_guard_seed", type=int)
    parser.add_argument("config", nargs="+")
    assert vars(parser.parse_args(["a", "b"])) == {"epoch_guard_seed": 6, "config": ["a", "b"]}


@pytest.mark.parametrize("kind", [Plain, Mixed])
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"epoch_guard": "on"}, "--epoch_guard is 'on'; expected one of off"),
        ({"epoch_guard_mx": "ramp"}, "--epoch_guard_mx is not a flag of the guard"),
    ],
)
def test_a_wrong_value_in_a_config_file_is_one_line(inject, config, capsys, kind, wrong, why):
    inject(config(**wrong))
    with pytest.raises(SystemExit) as end:
        PdArgumentParser(kind).parse_json_file_and_cmd_lines()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"paddle-epoch-guard: {why}")
    assert err.count("\n") == 1


class Other(TrainerCallback):
    pass


def build(folder, cls=PretrainingTrainer, kind=Plain, **options):
    args = arguments(folder, kind, max_steps=STEPS)
    return cls(model=TokenModel(), args=args, data_collator=collate, **options)


def guards_of(trainer):
    return [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, EpochGuardCallback)]


def test_every_trainer_gets_the_guard_last_and_the_log_says_so_once(inject, tmp_path, host_log):
    injection = inject("--epoch_guard", "unified")
    for cls in (Trainer, PretrainingTrainer):
        trainer = build(tmp_path, cls, callbacks=[Other()])
        trainer.add_callback(Other)
        assert trainer.callback_handler.callbacks[-1] in guards_of(trainer)
        assert len(guards_of(trainer)) == 1
        assert guards_of(trainer)[0].arguments == EpochGuardArguments("unified")
    assert injection.guarded
    (message,) = host_log.of_guard()
    assert message == "epoch guard: added to Trainer by 'paddle-epoch-guard run', with --epoch_guard=unified"


def test_a_guard_of_the_scripts_own_is_the_only_one_and_gets_the_flags(inject, tmp_path, host_log):
    inject("--epoch_guard_seed", "3")
    own = EpochGuardCallback(arguments=EpochGuardArguments("unified", epoch_guard_seed=1))
    trainer = build(tmp_path, callbacks=[own, Other()])
    assert trainer.callback_handler.callbacks[-1] is own
    assert len(guards_of(trainer)) == 1
    assert own.arguments == EpochGuardArguments("unified", epoch_guard_seed=3)
    assert "the script's own in PretrainingTrainer is kept" in host_log.of_guard()[0]

    trainer = build(tmp_path)
    trainer.add_callback(later := EpochGuardCallback())
    trainer.add_callback(Other())
    assert guards_of(trainer) == [later]
    assert trainer.callback_handler.callbacks[-1] is later


def test_arguments_of_the_scripts_own_are_read_from_the_trainers(inject, tmp_path):
    inject("--epoch_guard_seed", "3")
    args = arguments(tmp_path, Mixed, max_steps=STEPS, epoch_guard="unified")
    (guard,) = guards_of(PretrainingTrainer(model=TokenModel(), args=args))
    assert (guard.arguments.epoch_guard, guard.arguments.epoch_guard_seed) == ("unified", 3)


class Selective(Trainer):
    def add_callback(self, callback):
        if not isinstance(callback, EpochGuardCallback):
            super().add_callback(callback)


class Refusing(Trainer):
    def add_callback(self, callback):
        if isinstance(callback, EpochGuardCallback):
            raise ValueError("only callbacks of the house")
        super().add_callback(callback)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Selective, r"Selective rejects EpochGuardCallback: its add_callback ignores it\. Train without"),
        (
            Refusing,
            r"Refusing rejects .*: its add_callback fails with ValueError: only callbacks of the house\.",
        ),
    ],
)
def test_a_trainer_that_refuses_the_guard_is_an_error(inject, tmp_path, cls, why):
    inject()
    with pytest.raises(TrainerError, match=why):
        build(tmp_path, cls)


def test_a_trainer_without_a_model_is_left_alone(inject, tmp_path):
    injection = inject()
    Trainer(args=arguments(tmp_path, Plain))
    assert not injection.guarded


@pytest.fixture
def corpus(tmp_path):
    """A corpus and the index of a run over it, whose last data epoch is shuffled separately."""
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    return prefix, build_train([prefix], STEPS * BATCH, LENGTH, seed=SEED, cache=tmp_path / "cache")


def unified(dataset):
    order = PositionMap([Reorder(0, STEPS * BATCH, "uniform", (SEED, 1, 0))]).base(np.arange(STEPS * BATCH))
    return [int(dataset[position]["text"][0]) for position in order]


@pytest.mark.host
def test_the_guard_is_told_the_checkpoint_that_train_is_given(inject, tmp_path, corpus, host_log):
    inject("--epoch_guard", "unified", "--no_epoch_guard_report")
    saves = {"save_strategy": "steps", "save_steps": 10, "max_steps": STEPS, "seed": SEED}
    train(arguments(tmp_path / "one", Plain, **saves), corpus[1], callbacks=[])
    other = arguments(tmp_path / "two", Plain, **saves)
    run = train(other, corpus[1], callbacks=[], resume=str(tmp_path / "one" / "run" / "checkpoint-10"))
    drawn = [token for batch in run.first_tokens for token in batch]
    assert drawn == unified(corpus[1])[10 * BATCH :]
    assert host_log.warnings == []


def test_a_module_is_hooked_when_it_is_imported_and_again_when_reloaded(tmp_path, monkeypatch):
    (tmp_path / "hooked_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "hooked_module", raising=False)
    seen = []
    AfterImport({"hooked_module": lambda module: seen.append(module.value), "no_such_module": print}).install()
    assert find_spec("hooked_module") is not None
    assert find_spec("no_such_module") is None
    assert seen == []
    import hooked_module  # noqa: F401

    assert seen == [1]
    AfterImport({"hooked_module": lambda module: seen.append(-module.value)}).install()
    assert seen == [1, -1]
