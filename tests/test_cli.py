"""The command line as a whole: help, version, and what they cost."""

import importlib.metadata
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
    name, command, *arguments = shlex.split(line)
    parser = typer.main.get_command(app).get_command(None, command)
    assert (name, parser is not None) == (NAME, True), line
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
