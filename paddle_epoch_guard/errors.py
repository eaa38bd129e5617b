"""The errors of this package. A message says what was found, what was expected, and what to do next.

EpochGuardError            the user can act on it
├── ArgumentsError
├── CorpusError
│   ├── CorpusNotFoundError
│   └── CorpusPointerError
├── IndexFileError
│   └── ForeignIndexError
├── IndexMismatchError
├── MissingPackageError        also an ImportError
├── OrderError
├── RankMismatchError
├── ReportError
├── ResumeMismatchError
├── ScheduleError
├── SidecarError
├── TrainerError
└── UnreadableError
    ├── UnreadableCorpusError  also a CorpusError
    └── UnreadableIndexError   also an IndexFileError
TrackingError              internal: only tracking is affected, and training goes on
"""

from paddle_epoch_guard.language import mark, tr

_CAUSES = (
    mark("Permission denied"),
    mark("Operation not permitted"),
    mark("No such file or directory"),
    mark("File exists"),
    mark("Is a directory"),
    mark("Not a directory"),
    mark("Directory not empty"),
    mark("No space left on device"),
    mark("Disk quota exceeded"),
    mark("Read-only file system"),
    mark("Invalid cross-device link"),
    mark("Input/output error"),
    mark("File name too long"),
    mark("Too many open files"),
    mark("Stale file handle"),
    mark("Broken pipe"),
)
"""What the system says of a file that cannot be used."""


def cause_of(error: OSError) -> str:
    """Why the system refuses a file."""
    return tr(error.strerror or str(error))


class EpochGuardError(Exception):
    """Base class of the errors that a user can act on."""


class ArgumentsError(EpochGuardError):
    """A flag has an invalid value."""


class CorpusError(EpochGuardError):
    """A corpus (``.idx``/``.bin``) is missing or unreadable, or the requested split has no documents."""


class CorpusNotFoundError(CorpusError):
    """The corpus of an index is in none of the expected places."""


class CorpusPointerError(CorpusError):
    """The ``.idx`` file of a corpus points to other text than its documents', or beyond the ``.bin`` file."""


class IndexFileError(EpochGuardError):
    """A file of a sample index is missing, truncated or in an unexpected format."""


class ForeignIndexError(IndexFileError):
    """An index of a class of dataset that this package does not read; it may be sound."""


class IndexMismatchError(EpochGuardError):
    """The files of a sample index do not match each other or the corpus."""


class MissingPackageError(EpochGuardError, ImportError):
    """A package is not installed that is needed for this, and is not needed for everything."""


class OrderError(EpochGuardError):
    """The parameters of an order are invalid, or a position lies outside it."""


class RankMismatchError(EpochGuardError):
    """The processes of a run see different data orders."""


class ReportError(EpochGuardError):
    """There is no run to report on, or a page or figure cannot be written."""


class ResumeMismatchError(EpochGuardError):
    """The resumed run differs from the interrupted one."""


class ScheduleError(EpochGuardError):
    """The sampler cannot deliver the requested step."""


class SidecarError(EpochGuardError):
    """The sidecar of a checkpoint is damaged, of an unknown version, or of another step."""


class TrainerError(EpochGuardError):
    """A Trainer does not accept the guard."""


class UnreadableError(EpochGuardError):
    """A file that may be sound cannot be opened or read."""


class UnreadableCorpusError(UnreadableError, CorpusError):
    """A file of a corpus cannot be opened or read."""


class UnreadableIndexError(UnreadableError, IndexFileError):
    """A file of a sample index cannot be opened or read."""


class TrackingError(Exception):
    """The guard failed at something that does not affect the order: tracking stops, training goes on."""
