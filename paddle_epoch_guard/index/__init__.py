"""What the data is: descriptions, the GPT sample index, blends, corpora and caches on disk."""

from paddle_epoch_guard.index.blend import BlendIndex
from paddle_epoch_guard.index.cache import read_cache
from paddle_epoch_guard.index.chain import ChainIndex
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.gpt import Boundary, GPTIndex, SampleIndex
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.index.passes import PassesIndex, PassRule

__all__ = [
    "BlendIndex",
    "Boundary",
    "ChainIndex",
    "Description",
    "GPTIndex",
    "IndexLayout",
    "PassRule",
    "PassesIndex",
    "SampleIndex",
    "read_cache",
]
