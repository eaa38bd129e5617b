"""The arguments that decide the order of a run's data, and the packages that it runs with."""

import functools
import importlib.metadata
import platform
from typing import Any

# The trainer's arguments that decide the order of the data. Others may hold secrets, which a page must not show.
SHOWN_ARGUMENTS = (
    "seed",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dataloader_drop_last",
    "tensor_parallel_degree",
    "pipeline_parallel_degree",
    "sharding_parallel_degree",
    "ignore_data_skip",
    "ignore_load_lr_and_optim",
    "skip_data_intervals",
    "resume_from_checkpoint",
    "epoch_guard",
    "epoch_guard_mix",
    "epoch_guard_pool",
    "epoch_guard_seed",
    "epoch_guard_position",
    "epoch_guard_on_mismatch",
)
PACKAGES = (
    "paddle-epoch-guard", "paddlenlp", "paddleformers", "paddlepaddle", "paddlepaddle-gpu", "numpy", "visualdl",
)  # fmt: skip


def shown_arguments(arguments: object) -> dict[str, Any]:
    """The trainer's arguments that are in :data:`SHOWN_ARGUMENTS` and have plain values.

    Args:
        arguments: a mapping, or an object with attributes.
    """
    values = arguments if isinstance(arguments, dict) else _attributes(arguments)
    plain = (bool, int, float, str, list, tuple, type(None))
    return {name: values[name] for name in SHOWN_ARGUMENTS if name in values and isinstance(values[name], plain)}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages among :data:`PACKAGES`."""
    versions = {"Python": platform.python_version()}
    return versions | {name: version for name in PACKAGES if (version := _installed_version(name)) is not None}


@functools.cache  # 10 ms each, and nothing is installed while a run trains
def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _attributes(arguments: object) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in SHOWN_ARGUMENTS if hasattr(arguments, name)}
