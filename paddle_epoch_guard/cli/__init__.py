"""``paddle-epoch-guard``: what a run will draw, before, during and after it. Never imports paddle."""

from paddle_epoch_guard.cli.app import main

__all__ = ["main"]
