"""Adds the guard to an unchanged script: flags, hooks, and running the script as ``python SCRIPT`` does.

Does not import the host before the script does.
"""

from paddle_epoch_guard.autoinject.flags import arguments_of, as_tokens, split_flags
from paddle_epoch_guard.autoinject.program import Program, execute

__all__ = ["Program", "arguments_of", "as_tokens", "execute", "split_flags"]
