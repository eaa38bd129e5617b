"""docs/architecture.md: its tree is that of the package, in the order of the layers, and its names exist."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "paddle_epoch_guard"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NOT_IN_THE_CODE = {
    "checkpoint-<g>/epoch_guard.json", "trainer_state.bin", "kept-<n>.record.jsonl",
    "<logging_dir>/epoch_guard/record.jsonl", "<output_dir>/index-cache",
    "startup.py", "opening.py", "startup._read", "Start",
}  # fmt: skip
"""Names of files that are written, and of what there was before."""


def tree():
    """The paths in the page's tree, in its order, relative to the package; a folder ends with a slash."""
    block = PAGE.partition("```\npaddle_epoch_guard/\n")[2].partition("```")[0]
    above = []
    for line in block.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        above[depth:] = [name]
        yield "".join(above)


def files():
    found = {
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".pyi", ".c", ".css", ".jinja", ".js", ".otf")
    }
    modules = {path.with_suffix("") if path.suffix == ".py" else path for path in found}
    rooms = {path.parent.as_posix() + "/" for path in modules if path.name == "__init__"} - {"./"}
    inits = {path for path in modules if path.name == "__init__" and path.parent != Path()}
    return {path.as_posix() for path in modules - inits} | rooms


def test_the_tree_has_every_module_once():
    listed = list(tree())
    assert len(listed) == len(set(listed))
    assert set(listed) == files()


def test_the_rooms_are_listed_in_the_order_of_the_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rooms = [path.rstrip("/") for path in tree() if "/" not in path.rstrip("/") and path != "__init__"]
    assert rooms == layers[::-1]


def test_each_name_in_code_font_exists():
    sources = [
        *PACKAGE.rglob("*.py"),
        *(ROOT / "faults").glob("*.py"),
        *(ROOT / "tests").glob("*.py"),
        ROOT / "Makefile",
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.name != Path(__file__).name)
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    unknown = []
    for name in re.findall(r"`([^`\n]+)`", prose):
        if name in NOT_IN_THE_CODE or re.fullmatch(r"[0-9a-f]{7}", name) or not re.search(r"[A-Za-z_]{4}", name):
            continue
        path = re.sub(r":.*", "", name)
        if "/" in path and any((root / path).exists() for root in (ROOT, PACKAGE)):
            path = name.partition(": ")[2] or "import"
        words = re.findall(r"[A-Za-z_]{4,}", path)
        unknown += [name for word in words if not re.search(rf"\b{word}\b", text)]
    assert not unknown
