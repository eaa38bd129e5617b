"""What every child needs, imported once in the server from which they are forked: the Trainer alone takes 8 s."""

import contextlib

import corpora  # noqa: F401
import paddle_epoch_guard.cli.plan
import paddle_epoch_guard.report.page
import paddle_epoch_guard.session.pipeline  # noqa: F401
import training  # noqa: F401

with contextlib.suppress(ImportError):  # not where another host is tested
    import hypothesis  # noqa: F401
