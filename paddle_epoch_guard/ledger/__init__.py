"""What each step has drawn: its data epochs, their losses, exposure, and the steps at which boundaries lie."""

from paddle_epoch_guard.ledger.boundary_steps import BoundaryStep, boundary_steps_of, closing_steps, ended_epochs
from paddle_epoch_guard.ledger.change_points import ChangePoint, ChangePointBuffer
from paddle_epoch_guard.ledger.contrast import Contrast, Difference
from paddle_epoch_guard.ledger.epochs import ClosedWindow, EpochLedger, EpochLoss, EpochShare, LossWindow
from paddle_epoch_guard.ledger.evaluation_steps import evaluation_steps
from paddle_epoch_guard.ledger.exposure import EarlierReads, Estimate, Exposure
from paddle_epoch_guard.ledger.losses import Weighted, WindowLosses
from paddle_epoch_guard.ledger.sources import EpochKey, EpochSource, IndexEpochs, TrainerEpochs
from paddle_epoch_guard.ledger.tracing import TRACED_TOKENS, EarlierData, Trace, trace

__all__ = [
    "TRACED_TOKENS",
    "BoundaryStep",
    "ChangePoint",
    "ChangePointBuffer",
    "ClosedWindow",
    "Contrast",
    "Difference",
    "EarlierData",
    "EarlierReads",
    "EpochKey",
    "EpochLedger",
    "EpochLoss",
    "EpochShare",
    "EpochSource",
    "Estimate",
    "Exposure",
    "IndexEpochs",
    "LossWindow",
    "Trace",
    "TrainerEpochs",
    "Weighted",
    "WindowLosses",
    "boundary_steps_of",
    "closing_steps",
    "ended_epochs",
    "evaluation_steps",
    "trace",
]
