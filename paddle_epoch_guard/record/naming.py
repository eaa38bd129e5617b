"""Names of epochs, directories and tags."""

import functools
import re
from collections import Counter
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
FRESH_ERROR_TAG = "epoch_guard/loss_fresh_error"
"""Standard error of each point of :data:`FRESH_TAG`, from the scatter of its samples."""
REPEAT_ERROR_TAG = "epoch_guard/loss_repeat_error"
"""Standard error of each point of :data:`REPEAT_TAG`."""
EXPOSURE_LOSS_TAG = "epoch_guard/loss_by_exposure"
"""Loss of samples by the number of earlier draws of their tokens, one folder each."""
RECENCY_LOSS_TAG = "epoch_guard/loss_by_recency"
"""Loss of repeated samples by the steps since the last draw of their tokens, one folder each."""
EXPOSURE_DIRECTORIES = ("exposure_0", "exposure_1", "exposure_2", "exposure_3", "exposure_4_or_more")
"""The folder of each number of earlier draws."""
RECENCY_DIRECTORIES = (
    "drawn_1_to_9_steps_ago",
    "drawn_10_to_99_steps_ago",
    "drawn_100_to_999_steps_ago",
    "drawn_1000_to_9999_steps_ago",
    "drawn_10000_steps_ago_or_more",
)
"""The folder of each class of recency."""
LOSS_TAG, EVALUATION_TAG = "train/loss", "eval/loss"
"""The trainer's own curves, as PaddleNLP's VisualDLCallback (3.0.0b4) names them."""
_OWN = re.compile(r"(trainer_)?(epoch_|boundary_)\d|(unified_from_step|exposure|drawn)_\d")
"""How the guard's own folders begin."""


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
        """The directory of what belongs to a dataset as a whole."""
        return "." if len(self.datasets) < 2 else _folders(self.datasets)[dataset]

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


@functools.lru_cache(maxsize=8)
def _folders(datasets: tuple[str, ...]) -> tuple[str, ...]:
    """A folder for each dataset, no two alike."""
    plain = [_safe(name) for name in datasets]
    folders: list[str] = []
    taken = {name for name, count in Counter(plain).items() if count == 1}
    for number, name in enumerate(plain):
        folder = name
        if name not in taken:
            folder = f"{name}-{number}"
            while folder in taken:
                folder += "-"
            taken.add(folder)
        folders.append(folder)
    return tuple(folders)


def _safe(name: str) -> str:
    """A corpus's name as one folder's name: it comes from the user's files, and must not lead elsewhere.

    One that reads like a folder of the guard's own gets another beginning.
    """
    safe = re.sub(r"[^\w.\-]", "_", name).lstrip(".") or "dataset"
    return f"corpus_{safe}" if _OWN.match(safe) else safe
