"""A run as a table: one row for each log window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger import ChangePoint
from paddle_epoch_guard.record.events import EvaluationSet, PartBegan
from paddle_epoch_guard.resume import Sidecar

if TYPE_CHECKING:
    import pandas

Floats = npt.NDArray[np.float64]

WINDOW = np.dtype(
    [
        ("step", np.int64),
        ("first_step", np.int64),
        ("tokens_before", np.int64),
        ("tokens", np.int64),
        ("samples", np.int64),
        ("loss", np.float64),
        ("fresh", np.float64),
        ("fresh_error", np.float64),
        ("fresh_samples", np.float64),
        ("repeat", np.float64),
        ("repeat_error", np.float64),
        ("repeat_samples", np.float64),
        ("exposure", np.float64),
        ("data_epoch", np.float64),
        ("loss_exposure_1", np.float64),
        ("loss_exposure_2", np.float64),
        ("loss_exposure_3", np.float64),
        ("loss_exposure_4", np.float64),
        ("evaluation", np.float64),
    ]
)
"""The columns of :attr:`Run.windows`. What is unknown is NaN.

====================  ==================================================================================
``step``              the window's last step, 1-based
``first_step``        its first step
``tokens_before``     tokens drawn before it; samples if the sequence length is unknown
``tokens``            tokens drawn up to its end
``samples``           samples that it draws, over all ranks
``loss``              mean training loss, nats per token
``fresh``             mean loss of its samples that are drawn for the first time
``fresh_error``       standard error of ``fresh``, from the scatter of the samples
``fresh_samples``     how many they are; a sample that is fresh in part counts by its share
``repeat`` …          the same of its other samples
``exposure``          how often its tokens had been drawn before, on average
``data_epoch``        mean data epoch of its samples, from 1
``loss_exposure_k``   mean loss of samples drawn ``k`` times before; 4 stands for 4 or more
``evaluation``        the trainer's evaluation loss after ``step``, if it evaluated there
====================  ==================================================================================
"""
EVALUATION = np.dtype([("step", np.int64), ("tokens", np.int64), ("loss", np.float64)])
"""The columns of :attr:`Run.evaluations`."""


def state_of(parts: Sequence[PartBegan]) -> Sidecar | None:
    """Order, schedule and data of a run, by its latest part that knows them."""
    return next((part.state for part in reversed(parts) if part.state is not None), None)


def sequence_length_of(state: Sidecar | None) -> int | None:
    """Tokens of a sample that have a loss; None if unknown, or if the datasets differ in it."""
    lengths = set() if state is None else {dataset.seq_length for dataset in state.datasets}
    return lengths.pop() if len(lengths) == 1 else None


@dataclass(frozen=True, eq=False)
class FreshLosses:
    """The losses of wholly fresh samples by dataset, in each window: none of their tokens had been drawn before.

    A blend of more than 16 datasets counts as one: its record does not hold them by dataset.
    """

    samples: Floats
    """``[windows, datasets]``: how many they are."""
    loss: Floats
    """``[windows, datasets]``: their losses, nats per token, summed up."""
    drawn: Floats
    """``[windows, datasets]``: samples drawn from each dataset, fresh or not."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run, finished or running, as its record tells."""

    name: str
    """What it is called in tables: its folder's name."""
    logging_dir: Path
    windows: npt.NDArray[Any]
    """``[n]`` of :data:`WINDOW`: a row for each log window, in the order of steps."""
    evaluations: npt.NDArray[Any]
    """``[m]`` of :data:`EVALUATION`: the trainer's evaluations, in the order of steps."""
    fresh: FreshLosses
    parts: tuple[PartBegan, ...]
    """The starts of the trainer that count, oldest first."""
    changes: tuple[ChangePoint, ...] = ()
    """The boundaries and unified orders that it has reached, by step."""
    evaluation_set: EvaluationSet | None = None
    """What its evaluations read; None if that was not recorded."""
    ended: bool = False
    """Whether it has reached the planned end."""
    faults: tuple[str, ...] = field(default=())
    """What could not be read, and why."""

    @property
    def run(self) -> str:
        """Identifies the run, through all its parts."""
        return self.parts[-1].run

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets of its blend, or of its only dataset."""
        return self.parts[-1].datasets

    @property
    def state(self) -> Sidecar | None:
        """Order, schedule and data; None if positions are unknown."""
        return state_of(self.parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """What tells the text of each dataset apart; empty if that was not recorded."""
        return self.parts[-1].texts

    @property
    def max_steps(self) -> int:
        """The planned last step."""
        return self.parts[-1].max_steps

    @property
    def sequence_length(self) -> int | None:
        """Tokens of a sample that have a loss; None if unknown, or if the datasets differ in it."""
        return sequence_length_of(self.state)

    @property
    def evaluates_apart(self) -> bool:
        """Whether its evaluation data is known to overlap no training data."""
        return self.evaluation_set is not None and bool(self.evaluation_set.apart)

    def to_pandas(self) -> "pandas.DataFrame":
        """The windows as a table of pandas, which must be installed.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame({name: self.windows[name] for name in WINDOW.names or ()})

    def _repr_html_(self) -> str:
        """What a notebook shows: the run in a sentence, its curves and the last rows of its table."""
        from paddle_epoch_guard.comparison.notebook import html_of_run

        return html_of_run(self)
