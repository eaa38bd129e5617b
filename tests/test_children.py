"""Programs that start another Python: the guard goes with it, and what it did not reach is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddle_epoch_guard.autoinject.children import (
    STARTUP,
    VARIABLE,
    Child,
    Children,
    interpreter_of,
    shown_command,
    starts_python,
)
from paddle_epoch_guard.cli.run import program_of
from test_autoinject import unified
from test_cli_run import NOTHING, SCRIPT, outputs, python, tokens, user  # noqa: F401 - user is a fixture

RUN = ("-m", "paddle_epoch_guard", "run")
ASKS = """
import argparse, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--epoch_guard")
print(parser.parse_known_args()[0].epoch_guard, sys.argv[1:], {startup!r} in sys.path)
"""
"""What a child sees: a parser that knows a flag of the guard gets its value."""


@pytest.fixture
def asks(tmp_path):
    (tmp_path / "child.py").write_text(ASKS.format(startup=str(STARTUP)))
    return tmp_path


def executable(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def test_a_python_that_the_script_starts_gets_the_flags_and_one_that_that_starts_too(asks):
    (asks / "parent.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py', 'a'], check=True)"
    )
    (asks / "user.py").write_text("import subprocess, sys\nsubprocess.run([sys.executable, 'parent.py'], check=True)")
    done = python(*RUN, "user.py", "--epoch_guard", "unified", folder=asks)
    assert done.stdout == "unified ['a'] False\n"
    starts, nothing, children = done.stderr.splitlines(keepends=True)
    assert starts == (
        "paddle-epoch-guard: this process starts another Python; the guard goes with it: "
        f"{shown_command([sys.executable, 'parent.py'])}\n"
    )
    assert nothing == NOTHING
    assert children.startswith("paddle-epoch-guard: warning: it started these Pythons, which built none either: ")
    assert "child.py a" in children


def test_an_environment_of_its_own_is_not_reached_and_said_to_be(asks):
    (asks / "user.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True, env={'PATH': '/bin'})"
    )
    done = python(*RUN, "user.py", "--epoch_guard", "unified", folder=asks)
    assert done.stdout == "None [] False\n"
    assert "in an environment of its own; the guard does not reach it: " in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1].startswith("paddle-epoch-guard: warning: the guard did not reach: ")


def test_what_runs_without_the_guard_pays_nothing_and_nothing_stays(asks):
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("paddle-epoch-guard-*"))
    python(*RUN, "child.py", folder=asks)
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("paddle-epoch-guard-*")) == before
    assert VARIABLE not in os.environ
    code = "import sys; print('sitecustomize' in sys.modules and sys.modules['sitecustomize'].__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert str(STARTUP) not in done.stdout


def test_the_sitecustomize_of_the_environment_still_runs(asks):
    own = asks / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('customised')")
    (asks / "user.py").write_text("import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), str(own)])}
    command = [sys.executable, *RUN, "user.py", "--epoch_guard", "unified"]
    done = subprocess.run(command, cwd=asks, env=environment, capture_output=True, text=True)
    assert done.stdout == "customised\ncustomised\nunified [] False\n"  # of the command's own Python, and of the child


def test_a_python_without_the_guard_says_so(asks):
    (asks / "user.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', 'import sys; sys.path.insert(0, "
        f'"{STARTUP}"'
        "); import sitecustomize'], cwd='/')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", f"import runpy; runpy.run_path('{asks / 'user.py'}')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "has no paddle-epoch-guard: what it trains is not guarded" in done.stderr


def test_a_path_without_the_guards_folder_is_not_reached_and_said_to_be(asks):
    (asks / "user.py").write_text(
        "import os, subprocess, sys\n"
        "subprocess.run([sys.executable, 'child.py'], env={**os.environ, 'PYTHONPATH': '/x'})"
    )
    done = python(*RUN, "user.py", "--epoch_guard", "unified", folder=asks)
    assert done.stdout == "None [] False\n"
    assert "the guard does not reach it" in done.stderr.splitlines()[0]


@pytest.mark.parametrize("option", ["-I", "-E", "-S", "-sE"])
def test_a_python_that_ignores_its_environment_is_not_reached_and_said_to_be(asks, option):
    (asks / "user.py").write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, {option!r}, 'child.py'])")
    done = python(*RUN, "user.py", "--epoch_guard", "unified", folder=asks)
    assert done.stdout.startswith("None ")
    assert "the guard does not reach it" in done.stderr.splitlines()[0]


def test_a_script_of_a_shell_runs_from_its_folder_and_without_a_first_line(asks):
    executable(asks / "train.sh", "#!/bin/sh", f'"{sys.executable}" child.py')
    executable(asks / "bare", f'"{sys.executable}" child.py')
    for name in ("train.sh", "./bare"):
        done = python(*RUN, name, "--epoch_guard", "unified", folder=asks)
        assert (done.returncode, done.stdout) == (0, "unified [] False\n")
    (asks / "train.sh").chmod(0o644)
    done = python(*RUN, "train.sh", folder=asks)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "paddle-epoch-guard: train.sh is a script of /bin/sh, but not executable. chmod +x train.sh\n"
    )


def test_off_warns_of_nothing(asks):
    assert python(*RUN, "child.py", "--epoch_guard", "off", folder=asks).stderr == ""


@pytest.mark.parametrize("by_name", [True, False])
def test_a_shell_script_and_a_console_script_are_run_by_name_or_path(asks, monkeypatch, by_name):
    scripts = asks / "bin"
    scripts.mkdir()
    executable(scripts / "train-it", "#!/bin/sh", f'"{sys.executable}" child.py "$@"', "exit 3")
    executable(scripts / "train-cli", f"#!{sys.executable}", "import runpy", "runpy.run_path('child.py')")
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    place = "" if by_name else f"{scripts}/"
    done = python(*RUN, f"{place}train-it", "--epoch_guard", "unified", "b", folder=asks)
    assert (done.returncode, done.stdout) == (3, "unified ['b'] False\n")
    done = python(*RUN, f"{place}train-cli", "--epoch_guard", "unified", "c", folder=asks)
    assert (done.returncode, done.stdout) == (0, "unified ['c'] False\n")
    assert done.stderr == NOTHING  # in the command's own process
    assert program_of(str(scripts / "train-it"), ["b"], {}).is_command
    assert not program_of(str(scripts / "train-cli"), [], {}).is_command


def test_signals_end_the_command_and_not_only_this_process(asks):
    executable(
        asks / "wait.sh", "#!/bin/sh", "trap 'echo ended; exit 9' TERM", "echo ready", "while :; do sleep 0.1; done"
    )
    command = [sys.executable, *RUN, "./wait.sh"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, cwd=asks, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.communicate(timeout=60) == ("ended\n", None)
    assert process.returncode == 9


def test_however_a_python_is_started_a_line_says_whether_the_guard_goes_with_it(asks):
    calls = [
        ("os.system('{child} a')", True),
        ("os.system('env -i {child} b')", False),
        ("os.waitpid(os.posix_spawn('{python}', ['{python}', 'child.py', 'c'], {{}}), 0)", False),
        ("subprocess.run('cd . && {child} d', shell=True)", True),
        ("subprocess.run('unset PYTHONPATH; {child} e', shell=True)", False),
        ("subprocess.run(['{python}', 'child.py', 'f'], close_fds=False)", True),  # by os.posix_spawn
        ("os.execv('{python}', ['{python}', 'child.py', 'g'])", True),
    ]
    lines = [call.format(child=f"{sys.executable} child.py", python=sys.executable) for call, _ in calls]
    (asks / "user.py").write_text("\n".join(["import os, subprocess", *lines]))
    done = python(*RUN, "user.py", "--epoch_guard", "unified", folder=asks)
    assert done.stdout.splitlines() == [
        f"{'unified' if is_reached else None} ['{letter}'] False"
        for letter, (_, is_reached) in zip("abcdefg", calls, strict=True)
    ]
    said = [line for line in done.stderr.splitlines() if "another Python" in line]
    assert ["the guard goes with it" in line for line in said] == [is_reached for _, is_reached in calls][:5]


def test_a_refusal_in_a_python_that_the_script_starts_is_one_message(asks):
    (asks / "child.py").write_text("from paddle_epoch_guard import EpochGuardError\nraise EpochGuardError('No.')")
    (asks / "user.py").write_text(f"import os, sys\nsys.exit(bool(os.system('{sys.executable} child.py')))")
    done = python(*RUN, "user.py", folder=asks)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "paddle-epoch-guard: No.",
        f"  stopped at {asks / 'child.py'}, line 2, in <module>",
    ]


def test_what_a_killed_run_has_left_goes_with_the_next(asks):
    (asks / "left").mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "TMPDIR": str(asks / "left")}
    (asks / "user.py").write_text("import os; os._exit(3)")
    (asks / "lists.py").write_text("import os; print(len(os.listdir(os.environ['TMPDIR'])))")
    (asks / "outer.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, *{RUN}, 'lists.py'], env=dict({environment!r}))"
    )
    for name, out, left in (("user.py", "", 1), ("lists.py", "1\n", 0), ("outer.py", "2\n", 0)):
        done = subprocess.run(
            [sys.executable, *RUN, name], cwd=asks, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.stdout, len(list((asks / "left").iterdir()))) == (out, left)


@pytest.mark.host
def test_a_shell_script_whose_launcher_starts_the_training_trains_in_unified_order(user):  # noqa: F811
    folder, dataset = user
    (folder / "cli.py").write_text(
        "import subprocess, sys\nsys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
    )
    executable(folder / "train.sh", "#!/bin/sh", f'"{sys.executable}" cli.py {SCRIPT} config.json "$@"')
    done = python(*RUN, "train.sh", *outputs(folder, "launched"), "--epoch_guard", "unified", folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert tokens(folder, "launched") == unified(dataset)
    assert "paddle-epoch-guard: warning" not in done.stderr
    assert "paddle-epoch-guard: the guard goes with " in done.stderr


# What is known of the children.


def test_only_what_neither_trains_nor_starts_what_trains_is_named(tmp_path):
    def note(pid, parent, *command, guarded=False):
        (tmp_path / f"{pid}.json").write_text(json.dumps({"parent": parent, "command": ["python", *command]}))
        if guarded:
            (tmp_path / f"{pid}.guarded").touch()

    note(11, 1, "launch.py")
    note(12, 11, "train.py", guarded=True)
    note(13, 11, "serve.py")
    note(14, 12, "-c", "from multiprocessing.spawn import spawn_main")
    (tmp_path / "15.json").write_text("{")
    children = Children(tmp_path)
    assert children.started()[0] in (Child(pid, 1, ("python", "launch.py"), False) for pid in (11,))
    assert len(children.started()) == 4
    assert children.is_any_guarded
    assert children.unguarded() == ["python serve.py"]


def test_a_shell_between_two_pythons_does_not_hide_which_started_which(asks):
    (asks / "first.py").write_text(f"import os\nos.system('cd . && {sys.executable} child.py')")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    children = Children.expect({}, environment)
    subprocess.run([sys.executable, "first.py"], cwd=asks, env=environment, check=True, stdout=subprocess.DEVNULL)
    first, child = children.started()
    assert (first.parent, child.parent) == (os.getpid(), first.pid)
    (children.folder / f"{child.pid}.guarded").touch()
    assert children.unguarded() == []


def test_a_run_within_a_run_leaves_its_notes_with_the_outer_one(tmp_path):
    environment = {"PYTHONPATH": "mine"}
    outer = Children.expect({"epoch_guard": "unified"}, environment)
    assert environment["PYTHONPATH"] == f"{STARTUP}{os.pathsep}mine"
    inner = Children.expect({"epoch_guard": "track"}, environment)
    assert (inner.folder, inner.is_outermost) == (outer.folder, False)
    assert environment["PYTHONPATH"] == f"{STARTUP}{os.pathsep}mine"
    assert json.loads(environment[VARIABLE])["flags"] == {"epoch_guard": "track"}
    for damaged in ("", "{", "[]", '{"flags": 3}'):
        assert Children.expect({}, {VARIABLE: damaged}).is_outermost


@pytest.mark.parametrize(
    ("first", "interpreter"),
    [
        ("#!/usr/bin/python3", "/usr/bin/python3"),
        ("#! /bin/sh -e", "/bin/sh"),
        ("#!/usr/bin/env python3", "python3"),
        ("#!/usr/bin/env -S A=1 bash -e", "bash"),
        ("import os", None),
        ("#!", None),
    ],
)
def test_interpreters(tmp_path, first, interpreter):
    script = executable(tmp_path / "script", first)
    assert interpreter_of(script) == interpreter
    assert starts_python(str(script)) is bool(interpreter and "python" in interpreter)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "a.py"], True),
        (["/x/python3.11", "-m", "a"], True),
        (["python", "-B", "-c", "1"], False),
        (["python", "a.py", "-c"], True),
        (["ls"], False),
    ],
)
def test_what_starts_a_python(words, expected):
    assert starts_python(words[0], words) is expected
