"""Reads the VisualDL logs of a run back, whole (the server shows a sample of them)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from visualdl import LogReader

SIDE = 30


@dataclass(frozen=True)
class Series:
    """Values against steps, ascending."""

    steps: np.ndarray
    values: np.ndarray

    def mean(self, first_step: int, last_step: int) -> float:
        """The mean of the values from ``first_step`` to ``last_step``, both included."""
        chosen = (self.steps >= first_step) & (self.steps <= last_step)
        return float(self.values[chosen].mean())


def read_scalar(folder: Path, tag: str) -> Series:
    """All points of one tag in the newest log of a folder."""
    newest = max(folder.glob("vdlrecords*.log"), key=lambda path: path.name)
    records = LogReader(file_path=str(newest)).get_data("scalar", tag)
    return Series(np.array([record.id for record in records]), np.array([record.value for record in records]))


def jump_at(loss: Series, last_before: int, first_after: int) -> dict[str, float]:
    """Mean loss over 30 steps on each side of a boundary, and their difference."""
    before = loss.mean(last_before - SIDE + 1, last_before)
    after = loss.mean(first_after, first_after + SIDE - 1)
    return {"loss_before": before, "loss_after": after, "jump": after - before}
