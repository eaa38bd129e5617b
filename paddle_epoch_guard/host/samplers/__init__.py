"""The supported samplers, one file each.

To add one, write a file with a ``KIND`` and add it to ``SAMPLERS``.
"""

from paddle_epoch_guard.host.samplers import mapping, paddle_io, pretraining, sharded
from paddle_epoch_guard.host.samplers.pretraining import rewind_sampler, start_sampler
from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind

SAMPLERS: tuple[SamplerKind, ...] = (sharded.KIND, mapping.KIND, pretraining.KIND, paddle_io.KIND)
"""The first kind that owns a loader's sampler determines how it reads."""

__all__ = ["SAMPLERS", "LoaderSetup", "SamplerKind", "rewind_sampler", "start_sampler"]
