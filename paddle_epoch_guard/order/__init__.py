"""The order in which data is drawn: computed permutations, reorders, and the schedule from steps to positions."""

from paddle_epoch_guard.order.mixes import MIXES, Reorder
from paddle_epoch_guard.order.order import Order, PositionMap
from paddle_epoch_guard.order.permutation import Permutation
from paddle_epoch_guard.order.schedule import Draw, Schedule, Segment, sampler_epochs_ahead

__all__ = [
    "MIXES",
    "Draw",
    "Order",
    "Permutation",
    "PositionMap",
    "Reorder",
    "Schedule",
    "Segment",
    "sampler_epochs_ahead",
]
