"""What every child needs, imported once in the server from which they are forked: the Trainer alone takes 8 s."""

import corpora  # noqa: F401
import paddle_epoch_guard.report.page
import paddle_epoch_guard.session.pipeline  # noqa: F401
import training  # noqa: F401

# Last: not every environment has it, and an import that fails ends the preparation.
import hypothesis  # noqa: F401, E402, I001
