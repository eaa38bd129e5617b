"""In which order the data is drawn: the schedule from steps to positions."""

from paddle_epoch_guard.order.schedule import Draw, Piece, Schedule

__all__ = ["Draw", "Piece", "Schedule"]
