"""How a run reads its data: a closed set of types, each of which defines what the guard can do with it.

``host/samplers/`` recognises samplers: each has a file and an entry in its table, and maps to one of these types.
"""

from paddle_epoch_guard.reading.epochs import EpochReading
from paddle_epoch_guard.reading.pretraining import PretrainingReading
from paddle_epoch_guard.reading.traits import traits_of
from paddle_epoch_guard.reading.unknown import NoDataReading, NoIndexReading, UnknownReading

PositionedReading = PretrainingReading | EpochReading
"""The position of each sample is known."""
Reading = PositionedReading | UnknownReading | NoIndexReading | NoDataReading

__all__ = [
    "EpochReading",
    "NoDataReading",
    "NoIndexReading",
    "PositionedReading",
    "PretrainingReading",
    "Reading",
    "UnknownReading",
    "traits_of",
]
