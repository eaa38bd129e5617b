"""Names of epochs, directories and tags."""

import re
from dataclasses import dataclass

from paddle_epoch_guard.ledger import BoundaryStep, EpochKey

NOTES_TAG = "epoch_guard/notes"
"""Sentences about the run as a whole."""
EXPOSURE_TAG = "epoch_guard/exposure"
"""Mean exposure of the tokens drawn."""
FRESH_TAG = "epoch_guard/loss_fresh"
"""Loss of samples drawn for the first time."""
REPEAT_TAG = "epoch_guard/loss_repeat"
"""Loss of samples drawn before."""
LOSS_TAG, EVALUATION_TAG = "train/loss", "eval/loss"
"""The trainer's own curves, as PaddleNLP's VisualDLCallback (3.0.0b4) names them."""


@dataclass(frozen=True)
class Naming:
    """Names of the epochs of a run.

    Args:
        datasets: a name for each dataset of a blend; one or none if there is one dataset.
        trainer: True if only the trainer's own epochs are known, and they are not the data's.
    """

    datasets: tuple[str, ...] = ()
    trainer: bool = False

    @property
    def kind(self) -> str:
        """The word for an epoch in tags."""
        return "trainer_epoch" if self.trainer else "data_epoch"

    @property
    def epoch_tag(self) -> str:
        """Tag of the mean epoch of the samples of a log window."""
        return f"epoch_guard/{self.kind}"

    @property
    def loss_by_epoch_tag(self) -> str:
        """Tag of every epoch's loss curve."""
        return f"epoch_guard/loss_by_{self._prefix}epoch"

    @property
    def epoch_loss_tag(self) -> str:
        """Tag of one point per epoch, its mean loss."""
        return f"epoch_guard/{self._prefix}epoch_loss"

    def dataset_directory(self, dataset: int) -> str:
        """The directory of a dataset as a whole."""
        if len(self.datasets) < 2:
            return "."
        folders = [_safe(name) for name in self.datasets]
        folder = folders[dataset]
        return folder if folders.count(folder) == 1 else f"{folder}-{dataset}"

    def epoch_directory(self, key: EpochKey) -> str:
        """The directory of one epoch's loss curve."""
        return self._within(key.dataset, f"{self._prefix}epoch_{key.epoch}")

    def boundary_name(self, boundary: BoundaryStep) -> str:
        """``boundary_<e>_to_<e+1>``."""
        return f"{self._prefix}boundary_{boundary.from_epoch}_to_{boundary.to_epoch}"

    def boundary_directory(self, boundary: BoundaryStep) -> str:
        """The directory of one boundary's marker."""
        return self._within(boundary.dataset, self.boundary_name(boundary))

    def reorder_name(self, step: int) -> str:
        """The directory of a unified order's beginning."""
        return f"unified_from_step_{step}"

    @property
    def _prefix(self) -> str:
        return "trainer_" if self.trainer else ""

    def _within(self, dataset: int, directory: str) -> str:
        return directory if len(self.datasets) < 2 else f"{self.dataset_directory(dataset)}/{directory}"


def _safe(name: str) -> str:
    """A corpus's name as a folder name: it comes from the user's files, and must not lead elsewhere."""
    return re.sub(r"[^\w.\-]", "_", name).lstrip(".") or "dataset"
