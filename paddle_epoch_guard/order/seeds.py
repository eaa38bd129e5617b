"""The purposes for which the seed of a run is used.

A generator is keyed by ``(seed, purpose, ordinal)``, so that no two uses of one seed draw the same numbers.
"""

from typing import Final

UNIFY: Final = 1
"""Keys of unified orders."""
EXTEND: Final = 2
"""Seeds of the indices that are appended to an extended run."""
TRACE: Final = 3
"""The tokens that are traced for the exposure."""
