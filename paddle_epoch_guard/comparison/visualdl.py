"""The difference curves of a comparison as VisualDL logs."""

import re
from pathlib import Path

from paddle_epoch_guard.comparison.figures import bands_of
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.texts import relation_sentence, verdict_sentence
from paddle_epoch_guard.errors import ReportError, cause_of
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.writer import record_path
from paddle_epoch_guard.terminal import paragraph
from paddle_epoch_guard.views.visualdl import FILE_NAME, EpochGuardLog

RAW_TAG = "epoch_guard/loss_difference_raw"
"""Difference of the training losses as they were logged, first run minus second, over stretches as long as the part
that is compared."""
FRESH_TAG = "epoch_guard/loss_difference_fresh"
"""Difference of the losses of fresh samples, over the same stretches."""
EVALUATION_TAG = "epoch_guard/evaluation_difference"
"""Difference of the evaluation losses."""
_ENDS = {"low": "95_percent_low", "high": "95_percent_high"}


def write_visualdl(folder: Path, findings: Findings) -> list[Path]:
    """Writes a folder ``compare_<a>_<b>`` for each pair; one of an earlier comparison is replaced.

    The x axis is the step of the pair's first run.

    Returns:
        The folders.

    Raises:
        ReportError: they cannot be written.
    """
    written = []
    for pair in findings.pairs:
        target = folder / f"compare_{_safe(pair.one.name)}_{_safe(pair.other.name)}"
        if record_path(target).exists():
            raise ReportError(
                tr("{path}: the log of a run is there, and is not replaced. Name another folder", path=target)
            )
        log = EpochGuardLog(target)
        try:
            for directory in (".", *_ENDS.values()):  # of an earlier comparison
                (log.root / directory / FILE_NAME).unlink(missing_ok=True)
            _write(log, pair, findings)
        except OSError as cause:
            why = cause_of(cause)
            raise ReportError(
                tr("{path}: cannot be written ({cause}). Name a writable folder", path=target, cause=why)
            ) from cause
        written.append(target)
    return written


def _write(log: EpochGuardLog, pair: Pair, findings: Findings) -> None:
    curves, steps = pair.curves, _Steps(pair)
    raw, fresh = bands_of(curves, findings.place)
    for tokens, value in zip(raw.tokens, raw.value, strict=True):
        log.scalar(RAW_TAG, value, steps.at(tokens))
    if fresh is not None:
        for tokens, value, low, high in zip(*fresh, strict=True):
            log.scalar(FRESH_TAG, value, steps.at(tokens))
            log.scalar(FRESH_TAG, low, steps.at(tokens), _ENDS["low"])
            log.scalar(FRESH_TAG, high, steps.at(tokens), _ENDS["high"])
    if pair.relation.evaluation == "same":
        for tokens, value in zip(curves.evaluation_tokens, curves.evaluation, strict=True):
            log.scalar(EVALUATION_TAG, value, steps.at(tokens))
    sentences = paragraph([verdict_sentence(pair), relation_sentence(pair)])
    log.text("epoch_guard/comparison", sentences, findings.place.last_step)
    log.close()


class _Steps:
    """Tokens drawn -> steps of the pair's first run."""

    def __init__(self, pair: Pair) -> None:
        self._windows = pair.one.windows

    def at(self, tokens: float) -> int:
        at = min(int(self._windows["tokens"].searchsorted(tokens)), len(self._windows) - 1)
        return int(self._windows["step"][at])


def _safe(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)
