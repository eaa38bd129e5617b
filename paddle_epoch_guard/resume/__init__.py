"""What must survive an interruption: the sidecar in each checkpoint, and what a resumed run makes of it."""

from paddle_epoch_guard.resume.audit import check_resume
from paddle_epoch_guard.resume.sidecar import (
    SIDECAR_NAME,
    DatasetRecord,
    EpochLoss,
    Sidecar,
    find_sidecar,
    read_sidecar,
    write_sidecar,
)
from paddle_epoch_guard.resume.unify import Decision, UnifyOptions, decide_order

__all__ = [
    "SIDECAR_NAME",
    "DatasetRecord",
    "Decision",
    "EpochLoss",
    "Sidecar",
    "UnifyOptions",
    "check_resume",
    "decide_order",
    "find_sidecar",
    "read_sidecar",
    "write_sidecar",
]
