"""The guard in a script that does not know it: flags, hooks, and the script as ``python SCRIPT`` runs it.

Nothing of the host is imported before the script does.
"""

from paddle_epoch_guard.autoinject.flags import arguments_of, as_tokens, split_flags
from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.autoinject.program import Program, execute

__all__ = ["Injection", "Program", "arguments_of", "as_tokens", "execute", "split_flags"]
