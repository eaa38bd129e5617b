"""VisualDL's server, with its run list in an order that people can read.

VisualDL lists folders in the order in which the file system gives them (``visualdl/io/bfile.py``, 2.5.3), which no
naming can change.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_KINDS = ("epoch_", "trainer_epoch_", "unified_from_step_", "boundary_", "trainer_boundary_")
"""Folders of the guard, in the order of the list; any other comes before."""


def place_of(folder: str) -> list[Any]:
    """The place of a folder in the list: a run, then its epochs, then its boundaries, each by number.

    Args:
        folder: a path.

    Returns:
        What to sort by. A folder sorts before those in it.
    """
    return [_place_of_name(name) for name in folder.split(os.sep)]


def in_order(walked: Iterable[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """What ``os.walk`` gives, sorted by :func:`place_of` its folders."""
    return sorted(walked, key=lambda one: place_of(one[0]))


def serve(logdir: str, options: Sequence[str] = ()) -> None:
    """Serves a log folder until the process is ended.

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
    # Text and digits in turn, so that numbers meet numbers.
    return kind, [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
