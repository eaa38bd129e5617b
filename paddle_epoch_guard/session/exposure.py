"""Exposure whose faults cost exposure alone: data epochs, boundaries and losses by epoch go on."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.exposure import Estimate, Exposure
from paddle_epoch_guard.ledger.sample_shares import NOT_DRAWN, TracedDraws


class ShieldedExposure:
    """An :class:`~paddle_epoch_guard.ledger.Exposure` that is unknown from its first fault on.

    Args:
        exposure: the exposure.
        on_fault: called once, with the fault.
    """

    def __init__(self, exposure: Exposure, on_fault: Callable[[Exception], None]) -> None:
        self._exposure: Exposure | None = exposure
        self._on_fault = on_fault

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate | None:
        """As of an exposure; None after a fault."""
        if self._exposure is not None:
            try:
                return self._exposure.of_steps(first_step, last_step, dataset)
            except Exception as cause:
                self._fail(cause)
        return None

    @property
    def traced(self) -> TracedDraws:
        """As of an exposure; none after a fault."""
        return TracedDraws.none() if self._exposure is None else self._exposure.traced

    def times_of(self, step: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """As of an exposure; `NOT_DRAWN` for all positions after a fault."""
        if self._exposure is not None:
            try:
                return self._exposure.times_of(step, positions)
            except Exception as cause:
                self._fail(cause)
        return np.full(len(positions), NOT_DRAWN, dtype=np.int64)

    def _fail(self, cause: Exception) -> None:
        self._exposure = None
        self._on_fault(cause)
