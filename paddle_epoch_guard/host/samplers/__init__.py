"""The supported samplers, one file each.

To add one: a file with a ``KIND``, and its entry in ``SAMPLERS``; see docs/extending.md.
"""

from paddle_epoch_guard.host.samplers import mapping, paddle_io, pretraining, sharded
from paddle_epoch_guard.host.samplers.mapping import order_of_rule
from paddle_epoch_guard.host.samplers.pretraining import rewind_sampler, start_sampler
from paddle_epoch_guard.host.samplers.setup import LoaderSetup, SamplerKind

SAMPLERS: list[SamplerKind] = [sharded.KIND, mapping.KIND, pretraining.KIND, paddle_io.KIND]
"""The first kind that owns a loader's sampler says how it reads."""

__all__ = ["SAMPLERS", "LoaderSetup", "SamplerKind", "order_of_rule", "rewind_sampler", "start_sampler"]
