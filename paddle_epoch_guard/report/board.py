"""VisualDL's server, with a sorted run list.

VisualDL lists folders in the order of the file system (``visualdl/io/bfile.py``, 2.5.3), whatever their names.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_KINDS = ("epoch_", "trainer_epoch_", "unified_from_step_", "boundary_", "trainer_boundary_")
"""Name prefixes of the guard's folders, in the order of the list; other folders come first."""


def place_of(folder: str) -> list[Any]:
    """The sort key of a folder: a run, then its epochs, then its boundaries, each by number.

    Args:
        folder: a path.

    Returns:
        A key by which a folder sorts before its subfolders.
    """
    return [_place_of_name(name) for name in folder.split(os.sep)]


def in_order(walked: Iterable[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """The items of ``os.walk``, sorted by :func:`place_of`."""
    return sorted(walked, key=lambda entry: place_of(entry[0]))


def serve(logdir: str, options: Sequence[str] = ()) -> None:
    """Serves a log folder until the process ends.

    Args:
        logdir: a folder with logs in it or below.
        options: further options of ``visualdl``.
    """
    from visualdl.io import bfile
    from visualdl.server import app

    walk = bfile.walk
    bfile.walk = lambda top: in_order(walk(top))
    sys.argv = ["visualdl", "--logdir", logdir, *options]
    app.main()


def _place_of_name(name: str) -> tuple[int, list[Any]]:
    kind = next((at for at, start in enumerate(_KINDS) if re.fullmatch(rf"{start}\d.*", name)), -1)
    # Text and digits alternate, so that numbers are compared with numbers.
    return kind, [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
