"""The data: corpora, descriptions, GPT sample indices, blends, and caches on disk."""

from paddle_epoch_guard.index.blend import BlendIndex
from paddle_epoch_guard.index.cache import read_cache
from paddle_epoch_guard.index.concatenated import ConcatenatedIndex
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.epoch_sampling import EpochSampledIndex, EpochSampling, SamplerOrder
from paddle_epoch_guard.index.gpt import Boundary, GPTIndex, SampleIndex
from paddle_epoch_guard.index.layout import IndexLayout

__all__ = [
    "BlendIndex",
    "Boundary",
    "ConcatenatedIndex",
    "Description",
    "EpochSampledIndex",
    "EpochSampling",
    "GPTIndex",
    "IndexLayout",
    "SampleIndex",
    "SamplerOrder",
    "read_cache",
]
