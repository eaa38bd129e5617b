"""The guard in a script that does not know it: flags, hooks, and the script run as ``python SCRIPT`` runs it.

Imports nothing of the host before the script does.
"""

from paddle_epoch_guard.autoinject.flags import arguments_of, as_tokens, split_flags
from paddle_epoch_guard.autoinject.program import Program, execute

__all__ = ["Program", "arguments_of", "as_tokens", "execute", "split_flags"]
