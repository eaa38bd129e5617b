"""The command line as a whole: help, version, and what they cost."""

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from caches import cli
from paddle_epoch_guard.cli.app import COMMANDS, NAME, app

HEAVY = (
    "numpy",
    "paddle",
    "paddlenlp",
    "visualdl",
    "matplotlib",
    "plotext",
    "jinja2",
    "pandas",
    "scipy",
    "rich.markdown",
)


def parses(line):
    """Checks, without running it, that a command accepts the arguments of a line."""
    name, command, *arguments = shlex.split(re.sub("--lang (en|zh) ", "", line))
    parser = typer.main.get_command(app).get_command(None, command)
    assert (name, parser is not None) == (NAME, True), line
    if "--help" not in arguments:  # which prints it
        parser.make_context(command, arguments)  # raises if it does not
    return True


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands(option):
    status, out, err = cli(option)
    assert (status, err) == (0, "")
    for name, what in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(what)}", out)
    assert "--help shows an example" in out


def test_no_command_at_all_shows_the_help():
    status, out, _ = cli()
    assert status == 2
    assert out == cli("--help")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_teaches_with_an_example(command):
    status, out, err = cli(command, "--help")
    assert (status, err) == (0, "")
    (example,) = re.findall(rf"Example:\n +({NAME} {command} .*)\n", out)
    assert parses(example)
    assert ("--json" in out) == (command not in ("view", "run"))
    assert "\x1b" not in out


def test_the_version_is_told():
    assert cli("--version") == (0, f"{NAME} {importlib.metadata.version(NAME)}\n", "")


@pytest.mark.parametrize("call", [("plann",), ("--no-such",), ("plan", "--no-such"), ("inspect",)], ids=" ".join)
def test_a_wrong_call_says_where_help_is(call):
    status, out, err = cli(*call)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith(" --help\n")


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, io, sys\nfrom paddle_epoch_guard.cli.app import COMMANDS, run\n"
        "def loaded(*call):\n    with contextlib.redirect_stdout(io.StringIO()):\n        assert run(call) == 0\n"
        f"    return [name for name in {HEAVY} if name in sys.modules]\n"
        "assert 'numpy' not in sys.modules\n"
        "print(loaded('--help'), 'numpy' in sys.modules, [loaded(name, '--help') for name in COMMANDS])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == f"[] False {[[] for _ in COMMANDS]}\n"


def test_a_command_with_a_slip_is_understood():
    assert cli("plann")[2] == f"{NAME}: No such command: plann. Did you mean plan? See {NAME} --help\n"
    assert "Expected one of plan, inspect," in cli("xyzzy")[2]
    assert "--seq-length" in cli("plan", "--seq-lenght", "1")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_each_value_is(command):
    out = cli(command, "--help")[1]
    # Types as typer's releases write them say nothing, or something else each.
    assert re.search(r"(<(?!=)|\bINTEGER\b|\bTEXT\b|\{)", out) is None


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_in_lower_case(command):
    """Typer 0.27 takes a metavar for the option's name where the two differ in case alone."""
    names = [name for option in typer.main.get_command(app).get_command(None, command).params for name in option.opts]
    assert names == [name.lower() for name in names]


@pytest.mark.parametrize(
    ("typed", "meant"), [("re", ["rebuild", "report"]), ("plan --seq", ["--seq-length"]), ("view --h", ["--help"])]
)
def test_a_shell_completes_commands_and_options(typed, meant):
    words = f"{NAME} {typed}"
    environment = {
        f"_{NAME.upper().replace('-', '_')}_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.argv = ['{NAME}']; from paddle_epoch_guard.cli import main; main()",
    ]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.stdout.split() == meant


def test_env_names_what_is_installed():
    status, out, err = cli("env")
    assert (status, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines()[1:])
    assert rows[NAME] == importlib.metadata.version(NAME)
    assert rows["numpy"] == importlib.metadata.version("numpy")
    assert rows["paddlepaddle-gpu"] == "not installed"
    assert not [line for line in out.splitlines() if line.endswith(" ")]


@pytest.mark.parametrize("no_color", [True, False])
def test_words_of_a_meaning_have_a_colour_on_a_terminal_alone(monkeypatch, no_color):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    err = cli("xyzzy")[2]
    assert ("\x1b[1;31m" in err) is not no_color
    assert "No such command: xyzzy" in err


def test_the_language_may_stand_behind_the_command(tmp_path):
    assert cli("plan", "--lang", "zh", "--help") == cli("--lang", "zh", "plan", "--help")
    assert cli("--lang", "zh", "plan", "--help")[1] != cli("plan", "--help")[1]
    assert cli("plan", "--lang") != cli("plan")
    assert cli("plan", tmp_path / "text", "--seq-length", "0")[2].count("1. See") == 1
