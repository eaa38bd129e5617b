"""What is injected into a script, and what became of it."""

from collections.abc import Mapping
from typing import Any

from paddle_epoch_guard.autoinject.flags import Flags, arguments_of


class Injection:
    """The guard's flags as they become known, and whether a trainer got the guard.

    Args:
        command_line: flags of the command line; they win over those of a config file.
        config: flags of a config file that the script's own parser does not know.

    Attributes:
        guarded: whether a trainer has the guard.
        announced: whether the log says so.
        passed_on: whether a process started by this one got the guard too.
    """

    def __init__(self, command_line: Mapping[str, str], config: Mapping[str, str] | None = None) -> None:
        self.command_line: Flags = dict(command_line)
        self._config: Flags = dict(config or {})
        self.guarded = False
        self.announced = False
        self.passed_on = False

    @property
    def flags(self) -> Flags:
        """All that were given to a script that does not know them itself."""
        return {**self._config, **self.command_line}

    def add_config(self, flags: Mapping[str, str]) -> None:
        """Takes flags of a config file."""
        self._config.update(flags)

    def check(self, flags: Mapping[str, str]) -> None:
        """Whether all values are such as their flags take, with those given just now.

        Raises:
            ArgumentsError: one is not.
        """
        arguments_of({**flags, **self.flags})

    def __reduce__(self) -> Any:
        # Unpickled in a process that multiprocessing has spawned, before it unpickles its work.
        from paddle_epoch_guard.autoinject.hooks import install

        self.passed_on = True
        return install, (self.command_line, self._config)
