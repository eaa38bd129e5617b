"""The errors a user can cause, each with what was found, what was expected and the next move."""


class EpochGuardError(Exception):
    """Base of all errors that this package raises on purpose."""


class ArgumentsError(EpochGuardError):
    """A flag has a value that it does not take."""


class CorpusError(EpochGuardError):
    """A corpus (``.idx``/``.bin``) is missing, unreadable, or has no documents in the asked split."""


class IndexFileError(EpochGuardError):
    """A file of a sample index is missing, truncated or not of the expected form."""


class IndexMismatchError(EpochGuardError):
    """The parts of a sample index do not belong together, or not to this corpus."""


class ScheduleError(EpochGuardError):
    """A step was asked for that the sampler cannot deliver."""


class OrderError(EpochGuardError):
    """An order is asked for that does not exist, or a position outside of it."""


class SidecarError(EpochGuardError):
    """The guard's file in a checkpoint is damaged, of an unknown version or of another step."""


class ResumeMismatchError(EpochGuardError):
    """The run that resumes is not the run that was interrupted."""


class RankMismatchError(EpochGuardError):
    """The processes of one run see different data orders."""


class TrainerError(EpochGuardError):
    """A Trainer does not take the guard."""
