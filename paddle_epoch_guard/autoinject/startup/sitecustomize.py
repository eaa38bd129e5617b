"""Python imports this at its start, where ``paddle-epoch-guard run`` has put its folder on the path: adds the guard.

It hides the ``sitecustomize`` of the environment, if there is one, so it runs that too.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _begin() -> None:
    try:
        from paddle_epoch_guard.autoinject.children import begin
    except ImportError:
        print(
            f"paddle-epoch-guard: warning: {sys.executable} has no paddle-epoch-guard: what it trains is not guarded. "
            "Install it there",
            file=sys.stderr,
        )
        return
    begin()


def _run_hidden() -> None:
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
try:
    _begin()
finally:
    _run_hidden()
