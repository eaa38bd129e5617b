"""The guard's flags for a script, and whether the guard was added to a trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paddle_epoch_guard.autoinject.flags import Flags, arguments_of


@dataclass
class Injection:
    """The guard's flags as they become known, and whether a trainer got the guard."""

    command_line: Flags
    """From the command line; they win over those of a config file."""
    config: Flags = field(default_factory=dict)
    """From a config file, if the script's own parser does not know them."""
    guarded: bool = False
    """Whether a trainer has the guard."""
    announced: bool = False
    """Whether this has been logged."""
    passed_on: bool = False
    """Whether a process that this one started has the guard too."""

    @property
    def flags(self) -> Flags:
        """All flags given to a script that does not know them itself."""
        return {**self.config, **self.command_line}

    def check(self, flags: Mapping[str, str]) -> None:
        """Checks the values of these flags together with those known so far.

        Raises:
            ArgumentsError: a flag has an invalid value.
        """
        arguments_of({**flags, **self.flags})
