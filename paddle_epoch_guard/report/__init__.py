"""What a person sees: the VisualDL log, boundary markers, and the words of both."""

from paddle_epoch_guard.report.recorder import EpochRecorder
from paddle_epoch_guard.report.visualdl import EpochGuardLog
from paddle_epoch_guard.report.words import Words

__all__ = ["EpochGuardLog", "EpochRecorder", "Words"]
