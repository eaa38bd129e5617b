"""What must survive an interruption: the sidecar in each checkpoint, and what a resumed run makes of it."""

from paddle_epoch_guard.resume.audit import (
    CurrentSetup,
    Finding,
    audit,
    boundary_findings,
    first_guarded_position,
    needed_positions,
    refuse,
)
from paddle_epoch_guard.resume.blending import in_force, open_blend, write_blend
from paddle_epoch_guard.resume.earlier import EarlierSteps, follow_on, overlaps_earlier
from paddle_epoch_guard.resume.extension import extend_indices, same_indices
from paddle_epoch_guard.resume.fingerprints import BlendRecord, DatasetRecord, IndexRecord
from paddle_epoch_guard.resume.sidecar import (
    SIDECAR_NAME,
    Sidecar,
    decode_sidecar,
    encode_sidecar,
    read_sidecar,
    write_sidecar,
)
from paddle_epoch_guard.resume.unify import Decision, UnifyOptions, decide_order

__all__ = [
    "SIDECAR_NAME",
    "BlendRecord",
    "CurrentSetup",
    "DatasetRecord",
    "Decision",
    "EarlierSteps",
    "Finding",
    "IndexRecord",
    "Sidecar",
    "UnifyOptions",
    "audit",
    "boundary_findings",
    "decide_order",
    "decode_sidecar",
    "encode_sidecar",
    "extend_indices",
    "first_guarded_position",
    "follow_on",
    "in_force",
    "needed_positions",
    "open_blend",
    "overlaps_earlier",
    "read_sidecar",
    "refuse",
    "same_indices",
    "write_blend",
    "write_sidecar",
]
