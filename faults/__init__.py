"""What the guard promises, under fault: ``make faults`` runs all of it, ``make test`` a short form of each.

Four promises:

1. the planned samples are each drawn exactly as often as planned, over any sequence of interruptions;
2. a fault in tracking or reporting never stops or changes a training run;
3. a doubtful order never starts a step;
4. nothing that is read from disk can run code, or make the guard write outside its folders.
"""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_PATHS = [str(_ROOT), str(_ROOT / "tests"), str(_ROOT / "examples")]
# The corpora and models of the tests are used; the processes that are started find them, too.
sys.path[:0] = [path for path in _PATHS if path not in sys.path]
_given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
os.environ["PYTHONPATH"] = os.pathsep.join([*_PATHS, *(path for path in _given if path not in _PATHS)])
