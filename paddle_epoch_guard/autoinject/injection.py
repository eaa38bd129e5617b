"""The guard's flags for a script, and whether the guard was added to a trainer."""

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paddle_epoch_guard.autoinject.flags import Flags, arguments_of, misspelt
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.terminal import plain


@dataclass
class Injection:
    """The guard's flags as they become known, and whether a trainer got the guard."""

    command_line: Flags
    """From the command line; they win over those of a config file."""
    config: Flags = field(default_factory=dict)
    """From a config file, if the script's own parser does not know them."""
    guarded: bool = False
    """Whether a trainer has the guard."""
    note: Path | None = None
    """A file to make once a trainer has the guard: the run that started this process looks for it."""
    announced: bool = False
    """Whether this has been logged."""
    passed_on: bool = False
    """Whether a process that this one started has the guard too."""
    misspelt: set[str] = field(default_factory=set)
    """Options that the user was warned of."""

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

    def mark_guarded(self) -> None:
        """A trainer has the guard."""
        if not self.guarded and self.note is not None:
            with contextlib.suppress(OSError):
                self.note.touch()
        self.guarded = True

    def warn_of_misspelt(self, arguments: Iterable[str]) -> None:
        """Warns of each option that looks like a flag of the guard, once, on the first rank."""
        for option, flag in misspelt(arguments).items():
            if option not in self.misspelt and os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
                self.misspelt.add(option)
                print(
                    tr(
                        "paddle-epoch-guard: warning: {option} is not a flag of the guard, and goes to the script; "
                        "did you mean --{flag}?",
                        option=plain(option),
                        flag=flag,
                    ),
                    file=sys.stderr,
                )
