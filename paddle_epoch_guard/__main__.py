"""``python -m paddle_epoch_guard``: the command line."""

import os
import sys

if not __package__:
    # Started by path, as `run -m paddle.distributed.launch` does: this folder's modules are not top-level ones.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from paddle_epoch_guard.cli import main

if __name__ == "__main__":
    main()
