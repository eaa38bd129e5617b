"""Who has seen what: data epochs of each step, their losses, and what happens at a boundary."""

from paddle_epoch_guard.ledger.crossings import (
    Crossing,
    CrossingWatch,
    MeanLoss,
    closing_steps,
    crossings_of,
    ended_epochs,
)
from paddle_epoch_guard.ledger.epochs import EpochLedger, EpochPoint, EpochTotal, LossWindow
from paddle_epoch_guard.ledger.sources import EpochKey, EpochSource, IndexEpochs, TrainerEpochs

__all__ = [
    "Crossing",
    "CrossingWatch",
    "EpochKey",
    "EpochLedger",
    "EpochPoint",
    "EpochSource",
    "EpochTotal",
    "IndexEpochs",
    "LossWindow",
    "MeanLoss",
    "TrainerEpochs",
    "closing_steps",
    "crossings_of",
    "ended_epochs",
]
