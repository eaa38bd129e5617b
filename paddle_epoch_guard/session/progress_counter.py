"""Where the trainer is in its own epochs: batches read, steps done, microbatches left over."""

from dataclasses import dataclass


@dataclass
class TrainerEpochCounter:
    """Counts trainer epochs as they begin, and the batches that the loader delivers in each.

    Args:
        epochs_before: trainer epochs that earlier parts of the run have completed.
        accumulation: batches in a step.
        passed_over: batches that the trainer reads and throws away where it resumes.
    """

    epochs_before: int = 0
    accumulation: int = 1
    passed_over: int = 0
    begun: int = 0
    """Trainer epochs that this part of the run has begun."""
    batches: int = 0
    """Batches delivered in the present one."""
    first_step: int = 0
    """The first step of the present one."""
    loader_ended: bool = False
    """Whether the loader had no more data when the last trainer epoch ended."""

    @property
    def epoch(self) -> int:
        """The present trainer epoch, from 1, counted through all parts of the run."""
        return self.epochs_before + self.begun

    def surplus(self, step: int) -> int:
        """Batches that were delivered in the present trainer epoch, less those that its steps up to ``step`` take."""
        passed_over = self.passed_over if self.begun == 1 else 0
        return self.batches - passed_over - (step + 1 - self.first_step) * self.accumulation

    def begin(self, step: int) -> int:
        """A trainer epoch begins after ``step``.

        Returns:
            Microbatches that were read since the last step of the one before, and belong to no step.
        """
        left_over = self.surplus(step)
        self.begun += 1
        self.batches, self.first_step = 0, step + 1
        return max(left_over, 0)
