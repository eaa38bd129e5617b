import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caches import cli
from commands import forked
from corpora import build_train, write_corpus
from paddle_epoch_guard.autoinject import Program
from paddle_epoch_guard.cli.app import app
from test_autoinject import BATCH, LENGTH, SEED, SIZES, STEPS, unified
from vdl_logs import read_scalars

TESTS = Path(__file__).parent
SCRIPT = TESTS / "user_script.py"
BOUNDARY_STEP = 26


def program(*arguments):
    """The parsed command line, without running it."""
    return app(["run", *map(str, arguments)], standalone_mode=False)


# The command line.


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--epoch_guard", "on"], "--epoch_guard is 'on'; expected one of off, track, unified"),
        (["--epoch_guard"], "--epoch_guard has no value; expected one of off, track, unified"),
        (["--epoch_guard_mix", "--x"], "--epoch_guard_mix has no value; expected one of auto, uniform, ramp"),
        (
            ["--epoch_guard_mi", "ramp"],
            "--epoch_guard_mi is not a flag of the guard; expected one of --epoch_guard,",
        ),
        (["--epoch-guard", "off"], "--epoch-guard is not a flag of the guard"),
        (["--no_epoch_guard"], "--no_epoch_guard is not a flag of the guard"),
        (["--epoch_guard_seed", "many"], "--epoch_guard_seed is 'many'; expected an integer of 0 or more"),
        (["--epoch_guard_seed=-1"], "--epoch_guard_seed is -1; expected an integer of 0 or more"),
        (["--epoch_guard_report=maybe"], "--epoch_guard_report is 'maybe'; expected true or false"),
    ],
)
def test_a_wrong_flag_is_one_line_before_anything_runs(given, why):
    status, out, err = cli("run", SCRIPT, *given)
    assert (status, out) == (2, "")
    assert err.startswith(f"paddle-epoch-guard: {why}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "no script given"),
        (("--epoch_guard", "track"), "no script given"),
        (("-m",), "no module given"),
        (("no_such.py", "--x"), "no script no_such.py in /"),
        ((TESTS,), f"{TESTS} is a folder; expected a Python script"),
        (("--quiet", SCRIPT), "--quiet comes before the script"),
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
    launch = program("-m", "paddle.distributed.launch", "--nnodes", 1, SCRIPT, "c.json", "--epoch_guard", "unified")
    ours = str(TESTS.parent / "paddle_epoch_guard" / "__main__.py")
    assert launch.launches
    assert launch.arguments == ("--nnodes", "1", ours, "run", "--epoch_guard=unified", str(SCRIPT), "c.json")
    assert not program("-m", "paddle.distributed.launch", "run_check").launches


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

class Record: pass

print(__name__, __file__, __package__, __spec__ and __spec__.name, sys.argv, sys.path[0])
assert isinstance(pickle.loads(pickle.dumps(Record())), Record)
def fail(): raise FileNotFoundError(2, "gone", "x")
print("paddle" in sys.modules)
if sys.argv[-1] == "fail": fail()
sys.exit(int(sys.argv[-1]))
"""
    )
    name = ("inner/user.py",) if how == "script" else ("-m", "inner.user")
    for last in ("3", "fail"):
        expected = python(*name, "a", last, folder=tmp_path)
        completed = python(*RUN, *name, "a", "--epoch_guard", "track", last, folder=tmp_path)
        assert completed.stdout == expected.stdout
        assert completed.returncode == expected.returncode != 0
        # python's own traceback of a module has the frames of runpy, up to 3.10 with their lines.
        assert completed.stderr == re.sub(r'  File "[^"]*runpy[^"]*".*\n(?:    .*\n)*', "", expected.stderr)


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
    completed = python(*RUN, "user.py", "--epoch_guard=unified", folder=tmp_path)
    assert (completed.stdout, completed.stderr) == ("['unified', 'AfterImport', False]\n", "")


def test_a_script_without_a_trainer_ends_with_a_warning(tmp_path):
    (tmp_path / "user.py").write_text("print('done')")
    completed = python(*RUN, "user.py", folder=tmp_path)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "done\n", NOTHING)


def test_a_flag_with_a_slip_goes_to_the_script_with_a_warning(tmp_path):
    (tmp_path / "user.py").write_text(
        """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--epoch_guards")
parser.parse_known_args(["--epoch_gaurd_seed=3", *sys.argv[1:]])
parser.parse_known_args()
print(sys.argv[1:])
"""
    )
    given = ("--epoch_gaurd", "unified", "--epochs", "3", "--epochguard-report=no", "--", "--epoch_gard")
    completed = python(*RUN, "user.py", "--epoch_guard", "track", *given, folder=tmp_path)
    assert completed.stdout == f"{list(given)}\n"
    told = [line for line in completed.stderr.splitlines(keepends=True) if line != NOTHING]
    meant = [
        ("--epoch_gaurd", "epoch_guard"),
        ("--epochguard-report", "epoch_guard_report"),
        ("--epoch_gaurd_seed", "epoch_guard_seed"),  # as a parser reads one from a file
    ]
    assert told == [
        f"paddle-epoch-guard: warning: {option} is not a flag of the guard, and goes to the script; "
        f"did you mean --{flag}?\n"
        for option, flag in meant
    ]


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
    completed = python(*RUN, SCRIPT, "config.json", "--epoch_guard", "unified", *outputs(folder, "one"), folder=folder)
    assert completed.returncode == 0, completed.stderr[-3000:]
    return completed


@pytest.mark.host
def test_a_script_is_unified_without_a_word_of_it(user, begun):
    folder, dataset = user
    assert tokens(folder, "one") == unified(dataset)
    message = "epoch guard: added to PretrainingTrainer by 'paddle-epoch-guard run', with --epoch_guard=unified"
    assert (begun.stdout + begun.stderr).count(message) == 1
    assert "--epoch_guard" not in begun.stdout.splitlines()[-1]
    # The save was decided by a callback that the script added after the trainer had been built.
    assert [path.parent.name for path in (folder / "one").rglob("epoch_guard.json")] == ["checkpoint-8"]
    losses = read_scalars(folder / "one" / "logs", "train/loss")
    assert [step for step, _ in losses] == [8, 10, 20, 30, 32]


@pytest.mark.host
def test_a_script_that_resumes_goes_on_in_its_order(user, begun):
    folder, dataset = user
    there = ["--continue_from", folder / "one" / "checkpoint-8", *outputs(folder, "two")]
    completed = forked("run", SCRIPT, "config.json", *there, "--epoch_guard=unified", folder=folder)
    assert completed.returncode == 0, completed.stderr[-3000:]
    assert tokens(folder, "two") == unified(dataset)[8 * BATCH :]


@pytest.mark.host
def test_a_refusal_is_one_message_and_the_line_of_the_script(user, begun):
    folder, _ = user
    there = ["--continue_from", folder / "one" / "checkpoint-8", "--seed", SEED + 1, *outputs(folder, "refused")]
    completed = python(*RUN, SCRIPT, "config.json", *there, folder=folder)
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    message, where = completed.stderr.splitlines()[-2:]
    assert message.startswith("paddle-epoch-guard: ")
    assert f"seed {SEED} -> {SEED + 1}" in message or "seed" in message
    line = next(number for number, text in enumerate(SCRIPT.read_text().splitlines(), 1) if "trainer.train(" in text)
    assert where == f"  stopped at {SCRIPT}, line {line}, in main"


@pytest.mark.host
def test_a_module_is_tracked_where_nothing_is_said(user):
    folder, dataset = user
    (folder / "module_of_the_user.py").symlink_to(SCRIPT)
    completed = forked("run", "-m", "module_of_the_user", "config.json", *outputs(folder, "three"), folder=folder)
    assert completed.returncode == 0, completed.stderr[-3000:]
    assert tokens(folder, "three") == [int(dataset[position]["text"][0]) for position in range(STEPS * BATCH)]
    assert f"epoch guard: Step {BOUNDARY_STEP} draws the first samples" in completed.stdout + completed.stderr
    line = read_scalars(folder / "three" / "logs" / "epoch_guard" / "boundary_1_to_2", "train/loss")
    assert {step for step, _ in line} == {BOUNDARY_STEP}


@pytest.mark.long
@pytest.mark.multiprocess
def test_two_launched_ranks_draw_one_unified_order(user):
    folder, dataset = user
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--backend", "gloo", "--log_dir", "launch"]
    options = ["--per_device_train_batch_size", BATCH // 2, "--epoch_guard", "unified", *outputs(folder, "four")]
    completed = python(*RUN, *launch, SCRIPT, "config.json", *options, folder=folder)
    output = "".join(path.read_text() for path in sorted((folder / "launch").glob("workerlog.*")))
    assert completed.returncode == 0, output[-3000:]
    order = np.reshape(unified(dataset), (STEPS, 2, BATCH // 2))
    for rank in (0, 1):
        assert tokens(folder, "four", rank) == order[:, rank].ravel().tolist()
    assert output.count("by 'paddle-epoch-guard run'") == 1
    assert NOTHING not in completed.stderr + output


SPAWNS = """
import os, paddle

def rank():
    import user_script
    os.environ["PADDLE_RANK_IN_NODE"] = os.environ["PADDLE_TRAINER_ID"]  # the Trainer asks for it, spawn sets it not
    paddle.distributed.init_parallel_env()
    user_script.main()

if __name__ == "__main__":
    paddle.distributed.spawn(rank, nprocs=2, backend="gloo")
"""


@pytest.mark.long
@pytest.mark.multiprocess
def test_two_spawned_ranks_draw_one_unified_order(user):
    folder, dataset = user
    (folder / "spawns.py").write_text(SPAWNS)
    (folder / "user_script.py").symlink_to(SCRIPT)
    options = ["--per_device_train_batch_size", BATCH // 2, "--epoch_guard", "unified", *outputs(folder, "five")]
    completed = python(*RUN, "spawns.py", "config.json", *options, folder=folder)
    assert completed.returncode == 0, completed.stderr[-3000:]
    order = np.reshape(unified(dataset), (STEPS, 2, BATCH // 2))
    for rank in (0, 1):
        assert tokens(folder, "five", rank) == order[:, rank].ravel().tolist()
    assert "paddle-epoch-guard: warning" not in completed.stderr
