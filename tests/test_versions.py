"""Every version that the project claims is one that it tests."""

import re
import sys
from pathlib import Path

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CLAIMED = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def test_each_python_that_is_claimed_is_tested():
    tested = re.search(r"^PYTHONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert tested == [*CLAIMED, "lowest"]
    assert WORKFLOWS["ci"]["jobs"]["python"]["strategy"]["matrix"]["python"] == tested


def test_there_is_a_wheel_for_each_python_that_is_claimed():
    build = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert build == [f"cp{version.replace('.', '')}-manylinux_*" for version in CLAIMED]


def test_the_lowest_releases_that_are_claimed_are_tested():
    pins = re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints" / "lowest.txt").read_text(), re.MULTILINE)
    needed = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["visualdl"]
    bounds = dict(re.findall(r"^([a-z0-9]+)>=([0-9.]+)", "\n".join(needed), re.MULTILINE))
    assert {name for name, _ in pins} == set(bounds)
    for name, pin in pins:
        bound = [int(number) for number in bounds[name].split(".")]
        assert [int(number) for number in pin.split(".")][: len(bound)] == bound, name


def test_actions_are_pinned_to_a_release():
    steps = [step for flow in WORKFLOWS.values() for job in flow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", one) for one in used), used


def test_the_targets_of_the_workflows_exist():
    text = "\n".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    targets = {
        *re.findall(r"run: make ([a-z0-9-]+)", text),
        *WORKFLOWS["nightly"]["jobs"]["other"]["strategy"]["matrix"]["target"],
    }
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()
