import argparse
import json
import multiprocessing.spawn
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from paddlenlp.trainer import PdArgumentParser, Trainer, TrainerCallback, TrainingArguments
from paddlenlp.trainer.trainer_callback import CallbackHandler

from caches import cli
from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardArguments, EpochGuardCallback
from paddle_epoch_guard.autoinject import Program, arguments_of, split_flags
from paddle_epoch_guard.autoinject.hooks import install
from paddle_epoch_guard.autoinject.imports import AfterImport
from paddle_epoch_guard.cli.app import app
from paddle_epoch_guard.errors import TrainerError
from paddle_epoch_guard.order import PositionMap, Reorder
from pretraining import PretrainingTrainer, collate
from training import TokenModel, arguments, read_scalars, train

TESTS = Path(__file__).parent
SCRIPT = TESTS / "user_script.py"
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS, BATCH, LENGTH, SEED = 32, 4, 8, 42
BOUNDARY_STEP = 26


@dataclass
class Plain(TrainingArguments):
    pass


@dataclass
class Mixed(EpochGuardArguments, TrainingArguments):
    pass


def program(*arguments):
    """What the command line is understood as, without running it."""
    return app(["run", *map(str, arguments)], standalone_mode=False)


# The command line.


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


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--epoch_guard", "on"], "--epoch_guard is 'on'; expected one of off, track, unified"),
        (["--epoch_guard"], "--epoch_guard has no value; expected one of off, track, unified"),
        (["--epoch_guard_mix", "--x"], "--epoch_guard_mix has no value; expected one of auto, uniform, ramp"),
        (
            ["--epoch_guard_mi", "ramp"],
            "--epoch_guard_mi is no flag of the guard; expected one of --epoch_guard,",
        ),
        (["--epoch-guard", "off"], "--epoch-guard is no flag of the guard"),
        (["--no_epoch_guard"], "--no_epoch_guard is no flag of the guard"),
        (["--epoch_guard_seed", "many"], "--epoch_guard_seed is 'many'; expected a number from 0 on"),
        (["--epoch_guard_seed=-1"], "--epoch_guard_seed is -1; expected a number from 0 on"),
        (["--epoch_guard_report=maybe"], "--epoch_guard_report is 'maybe'; expected true or false"),
    ],
)
def test_a_wrong_flag_is_one_line_before_anything_runs(given, why):
    status, out, err = cli("run", SCRIPT, *given)
    assert (status, out) == (2, "")
    assert err.startswith(f"paddle-epoch-guard: {why}")
    assert err.count("\n") == 1


def test_values_have_their_types():
    flags = {"epoch_guard_seed": "3", "epoch_guard_report": "no", "epoch_guard_position": "None"}
    assert arguments_of(flags) == EpochGuardArguments(epoch_guard_seed=3, epoch_guard_report=False)
    assert arguments_of({}).epoch_guard == "track"
    assert arguments_of({"epoch_guard": "False"}).epoch_guard == "off"  # YAML's off


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "no script is named"),
        (("--epoch_guard", "track"), "no script is named"),
        (("-m",), "no module is named"),
        (("no_such.py", "--x"), "no script no_such.py in /"),
        ((TESTS,), f"{TESTS} is a folder; expected a Python script"),
        (("--quiet", SCRIPT), "--quiet stands before the script"),
        (("-m", "no_such_module.main"), "no module named no_such_module.main"),
        (("-m", "paddle.distributed.launch", "--nnodes", "1", "no_such.py"), "no script no_such.py in /"),
    ],
)
def test_what_cannot_be_run_is_one_line(given, why):
    status, out, err = cli("run", *given)
    assert (status, out) == (2, "")
    assert err.startswith(f"paddle-epoch-guard: {why}")
    assert err.count("\n") == 1


def test_the_script_keeps_its_arguments_and_loses_the_guards():
    flags = {"epoch_guard": "unified"}
    assert program(SCRIPT, "-h", "--epoch_guard", "unified", "--json") == Program(
        str(SCRIPT), arguments=("-h", "--json"), flags=flags
    )
    assert program("--epoch_guard", "unified", SCRIPT, "--", "-m") == Program(
        str(SCRIPT), arguments=("--", "-m"), flags=flags
    )
    module = Program("json.tool", True, ("-h",), flags)
    assert program("-m", "json.tool", "-h", "--epoch_guard=unified") == module
    assert program("--epoch_guard=unified", "-m", "json.tool", "-h") == module
    assert program("--epoch_guard", "unified", "-m", "json.tool", "-h") == module


def test_launch_is_given_the_guards_command_line_before_the_script():
    found = program("-m", "paddle.distributed.launch", "--nnodes", 1, SCRIPT, "c.json", "--epoch_guard", "unified")
    ours = str(TESTS.parent / "paddle_epoch_guard" / "__main__.py")
    assert found.launches
    assert found.arguments == ("--nnodes", "1", ours, "run", "--epoch_guard=unified", str(SCRIPT), "c.json")
    assert not program("-m", "paddle.distributed.launch", "run_check").launches


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
        ({"epoch_guard_mx": "ramp"}, "--epoch_guard_mx is no flag of the guard"),
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
    (said,) = host_log.of_guard()
    assert said == "epoch guard: added to Trainer by 'paddle-epoch-guard run', with --epoch_guard=unified"


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
        (Selective, r"Selective takes no EpochGuardCallback: its add_callback leaves it out\. Train without"),
        (Refusing, r"Refusing takes no .*: its add_callback fails with ValueError: only callbacks of the house\."),
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
    """A corpus and the index of a run over it, whose last data epoch is shuffled apart."""
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


# As python runs it; these scripts import no paddle.


def python(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


RUN = ("-m", "paddle_epoch_guard", "run")
NOTHING = "paddle-epoch-guard: warning: the script built no PaddleNLP Trainer: nothing was guarded\n"


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_script_sees_what_python_shows_it(tmp_path, how):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "beside.py").write_text("")
    (tmp_path / "inner" / "user.py").write_text(
        """
import pickle, sys

class Found: pass

print(__name__, __file__, __package__, __spec__ and __spec__.name, sys.argv, sys.path[0])
assert isinstance(pickle.loads(pickle.dumps(Found())), Found)
def fail(): raise FileNotFoundError(2, "gone", "x")
print("paddle" in sys.modules)
if sys.argv[-1] == "fail": fail()
sys.exit(int(sys.argv[-1]))
"""
    )
    name = ("inner/user.py",) if how == "script" else ("-m", "inner.user")
    for last in ("3", "fail"):
        expected = python(*name, "a", last, folder=tmp_path)
        found = python(*RUN, *name, "a", "--epoch_guard", "track", last, folder=tmp_path)
        assert found.stdout == expected.stdout
        assert found.returncode == expected.returncode != 0
        # python's own traceback of a module has the frames of runpy.
        assert found.stderr == "".join(
            line for line in expected.stderr.splitlines(keepends=True) if "runpy" not in line
        )


def test_a_spawned_process_gets_the_guard_too(tmp_path):
    (tmp_path / "user.py").write_text(
        """
import argparse, multiprocessing, sys

def work(queue):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epoch_guard")
    finder = type(sys.meta_path[0]).__name__
    queue.put([parser.parse_args([]).epoch_guard, finder, "paddle" in sys.modules])

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
"""
    )
    found = python(*RUN, "user.py", "--epoch_guard=unified", folder=tmp_path)
    assert (found.stdout, found.stderr) == ("['unified', 'AfterImport', False]\n", "")


def test_a_script_without_a_trainer_ends_with_a_warning(tmp_path):
    (tmp_path / "user.py").write_text("print('done')")
    found = python(*RUN, "user.py", folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", NOTHING)


# Training, as a user does it.


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with a corpus, its index, and the user's config file; and the dataset."""
    folder = tmp_path_factory.mktemp("user")
    prefix = write_corpus(folder / "corpus" / "text", SIZES)
    dataset = build_train([prefix], STEPS * BATCH, LENGTH, seed=SEED, cache=folder / "cache")
    values = {
        "input_dir": prefix,
        "data_cache": str(folder / "cache"),
        "max_steps": 5,
        "per_device_train_batch_size": BATCH,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": ["visualdl"],
        "disable_tqdm": True,
        "max_grad_norm": 0.0,
        "do_train": True,
        "device": "cpu",
        "epoch_guard_report": False,
    }
    (folder / "config.json").write_text(json.dumps(values))
    return folder, dataset


def outputs(folder, name):
    return ["--output_dir", folder / name, "--logging_dir", folder / name / "logs", "--max_steps", STEPS]


def tokens(folder, name, rank=0):
    return json.loads((folder / name / f"first_tokens.{rank}.json").read_text())


@pytest.fixture(scope="module")
def begun(user):
    """A unified run of the user's script, from step 0 to its end."""
    folder, _ = user
    found = python(*RUN, SCRIPT, "config.json", "--epoch_guard", "unified", *outputs(folder, "one"), folder=folder)
    assert found.returncode == 0, found.stderr[-3000:]
    return found


@pytest.mark.host
def test_a_script_is_unified_without_a_word_of_it(user, begun):
    folder, dataset = user
    assert tokens(folder, "one") == unified(dataset)
    said = "epoch guard: added to PretrainingTrainer by 'paddle-epoch-guard run', with --epoch_guard=unified"
    assert (begun.stdout + begun.stderr).count(said) == 1
    assert "--epoch_guard" not in begun.stdout.splitlines()[-1]
    # The save was decided by a callback that the script added after the trainer had been built.
    assert [path.parent.name for path in (folder / "one").rglob("epoch_guard.json")] == ["checkpoint-8"]
    losses = read_scalars(folder / "one" / "logs", "train/loss")
    assert [step for step, _ in losses] == [8, 10, 20, 30, 32]


@pytest.mark.host
def test_a_script_that_resumes_goes_on_in_its_order(user, begun):
    folder, dataset = user
    there = ["--continue_from", folder / "one" / "checkpoint-8", *outputs(folder, "two")]
    found = python(*RUN, SCRIPT, "config.json", *there, "--epoch_guard=unified", folder=folder)
    assert found.returncode == 0, found.stderr[-3000:]
    assert tokens(folder, "two") == unified(dataset)[8 * BATCH :]


@pytest.mark.host
def test_a_script_is_tracked_where_nothing_is_said(user):
    folder, dataset = user
    found = python(*RUN, SCRIPT, "config.json", *outputs(folder, "three"), folder=folder)
    assert found.returncode == 0, found.stderr[-3000:]
    assert tokens(folder, "three") == [int(dataset[position]["text"][0]) for position in range(STEPS * BATCH)]
    assert f"epoch guard: Step {BOUNDARY_STEP} draws the first samples" in found.stdout + found.stderr
    line = read_scalars(folder / "three" / "logs" / "epoch_guard" / "boundary_1_to_2", "train/loss")
    assert {step for step, _ in line} == {BOUNDARY_STEP}


@pytest.mark.multiprocess
def test_two_launched_ranks_draw_one_unified_order(user):
    folder, dataset = user
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--backend", "gloo", "--log_dir", "launch"]
    options = ["--per_device_train_batch_size", BATCH // 2, "--epoch_guard", "unified", *outputs(folder, "four")]
    found = python(*RUN, *launch, SCRIPT, "config.json", *options, folder=folder)
    output = "".join(path.read_text() for path in sorted((folder / "launch").glob("workerlog.*")))
    assert found.returncode == 0, output[-3000:]
    order = np.reshape(unified(dataset), (STEPS, 2, BATCH // 2))
    for rank in (0, 1):
        assert tokens(folder, "four", rank) == order[:, rank].ravel().tolist()
    assert output.count("by 'paddle-epoch-guard run'") == 1
    assert NOTHING not in found.stderr + output
