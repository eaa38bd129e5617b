"""``env``: the versions to name when a fault is reported."""

import platform
import sys
from importlib import metadata, util

from paddle_epoch_guard.cli.output import JsonFlag, print_json, print_table
from paddle_epoch_guard.language import tr

PACKAGES = (
    "paddle-epoch-guard", "paddlepaddle", "paddlepaddle-gpu", "paddlenlp", "paddleformers", "visualdl", "protobuf",
    "numpy", "msgspec", "matplotlib", "rich", "typer",
)  # fmt: skip


def env(as_json: JsonFlag = False) -> None:
    """Show the versions of Python and of the packages that the guard works with.

    Nothing is imported, and nothing about this machine beyond its system and processor is shown.

    \b
    Example:
      paddle-epoch-guard env --json
    """
    packages = {name: _version(name) for name in PACKAGES}
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "encoding": sys.stdout.encoding,
        "compiled": util.find_spec("paddle_epoch_guard.order._network") is not None,
    }
    if as_json:
        print_json(facts | {"packages": packages})
        return
    shown = facts | {"compiled": tr("yes") if facts["compiled"] else tr("no: numpy does the work, more slowly")}
    rows = [(name, str(value or tr("not installed"))) for name, value in (packages | shown).items()]
    print_table(rows, tr("versions"))


def _version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
