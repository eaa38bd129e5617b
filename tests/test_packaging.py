import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from without_host import needs_host

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


def run(*command, **changes):
    return subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, **changes)


def test_the_pinned_set_has_no_conflicts():
    checked = run(sys.executable, "-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout


@needs_host
def test_the_extra_for_the_host_is_satisfied_by_the_pinned_set():
    """The bounds a user installs by are those that were tried."""
    dry = run(
        sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation", ".[paddlenlp]"
    )
    assert dry.returncode == 0, dry.stderr
    would_install = [line for line in dry.stdout.splitlines() if line.startswith("Would install")]
    assert would_install in ([], ["Would install paddle-epoch-guard-0.1.0"])


def test_the_core_is_light():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any("paddle" in name for name in project["dependencies"])
    assert not any("visualdl" in name for name in project["dependencies"])
    assert project["requires-python"] == ">=3.10"


@pytest.mark.parametrize("host", ["paddlenlp", "paddleformers"])
def test_a_host_comes_with_visualdl(host):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "paddle-epoch-guard[visualdl]" in extras[host]
    assert {requirement.partition(">")[0].partition("<")[0] for requirement in extras["visualdl"]} == {
        "visualdl",
        "protobuf",
    }


def test_what_is_shipped_is_the_package_alone(tmp_path):
    built = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, "."
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    assert "paddle_epoch_guard/py.typed" in names
    assert "paddle_epoch_guard/index/gpt.py" in names
    assert ".po " not in names
    assert "tests/" not in names
    assert "examples/" not in names


@pytest.mark.parametrize("compiler", ["gcc", "false"])
def test_the_compiled_part_is_shipped_where_there_is_a_compiler_and_missed_by_nobody_else(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "paddle_epoch_guard", copy / "paddle_epoch_guard", ignore=shutil.ignore_patterns("*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path]
    built = run(*command, copy, env={**os.environ, "CC": compiler})
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    assert (".so" in names) == (compiler == "gcc")
    assert "_network.c " not in names


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_make_knows_its_targets(target):
    assert run("make", "--dry-run", target).returncode == 0


def test_set_up_does_nothing_where_all_is_there():
    done = run("make", "--question", ".venv/.ready")
    # Only a checkout whose own .venv runs these tests can tell.
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve() or not (ROOT / ".venv/.ready").exists():
        pytest.skip("these tests run in another environment than this checkout's .venv")
    assert done.returncode == 0


def test_an_old_python_is_refused_in_one_line(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    refused = run("scripts/make-venv", env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)})
    assert refused.returncode == 1
    assert refused.stderr.startswith("make-venv: Python 3.8.1 found; Python 3.10 or newer is needed")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, built from a copy of what git tracks, and unpacked."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    folder = tmp_path_factory.mktemp("sdist")
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "copy" / name)
    build = "from setuptools import build_meta; print(build_meta.build_sdist('..'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=folder / "copy", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz"), folder / "copy"


@pytest.mark.slow
def test_the_source_distribution_is_the_checkout(unpacked):
    found, checkout = unpacked
    names = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}
    names = {name for name in names if ".egg-info/" not in name}
    assert {name for name in names if not (found / name).is_file()} == set()


@pytest.mark.long
@pytest.mark.slow
def test_its_tests_pass_from_it(unpacked):
    """Those that read most kinds of files: pages, golden files, examples, the package's own sources."""
    found, _ = unpacked
    files = ("architecture", "front", "golden", "languages")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not host"]
        + [f"tests/test_{name}.py" for name in files],
        cwd=found,
        env={**os.environ, "PYTHONPATH": str(found)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
