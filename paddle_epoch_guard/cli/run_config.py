"""A run's own configuration: the JSON or YAML file and the flags that the training script is given."""

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle_epoch_guard.errors import ArgumentsError

DEFAULTS = {
    "max_seq_length": 1024,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "split": "949,50,1",
}
"""Of PaddleNLP's ``TrainingArguments`` and of ``llm/run_pretrain.py`` (3.0.0b4)."""
MODEL_DEGREES = (
    "tensor_parallel_degree", "pipeline_parallel_degree", "sep_parallel_degree", "context_parallel_degree",
)  # fmt: skip
"""Devices that these multiply read the same samples; all others read samples of their own."""
KEYS = ("input_dir", "max_steps", "seed", *DEFAULTS, *MODEL_DEGREES)


@dataclass(frozen=True)
class RunConfig:
    """What decides the samples of a run, as its script is told."""

    data: tuple[str, ...]
    """One prefix; or weight, prefix, weight, prefix and so on. Empty if unknown."""
    seq_length: int
    max_steps: int | None
    split: str
    global_batch: int
    """Samples per step: batch per device x accumulation x data ranks."""


def read_config(path: Path) -> dict[str, Any]:
    """The values of a JSON or YAML file.

    Raises:
        ArgumentsError: it cannot be read, or holds no names and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            import yaml

            values = yaml.safe_load(text)
        else:
            values = json.loads(text)
    except OSError as cause:
        raise ArgumentsError(
            f"--config {path}: cannot be read ({cause.strerror}). Name the file that the training script is given"
        ) from cause
    except ValueError as cause:
        raise ArgumentsError(f"--config {path}: is neither JSON nor YAML ({cause}). Correct it") from cause
    except Exception as cause:  # yaml has errors of its own
        raise ArgumentsError(f"--config {path}: is no YAML ({' '.join(str(cause).split())}). Correct it") from cause
    if not isinstance(values, dict):
        raise ArgumentsError(f"--config {path}: holds no names and values. Name the training script's own file")
    return values


def flags_of(tokens: Sequence[str]) -> dict[str, str]:
    """Flags in the training script's spelling: ``--name value`` or ``--name=value``. The last value of a name counts.

    Raises:
        ArgumentsError: a flag is unknown, or has no value.
    """
    flags, left = {}, list(tokens)
    while left:
        token = left.pop(0)
        name, has_value, value = token.removeprefix("--").partition("=")
        if not token.startswith("--") or name not in KEYS:
            near = difflib.get_close_matches(name.replace("-", "_"), KEYS, n=1)
            meant = f"; did you mean --{near[0]}?" if near else f"; expected one of {', '.join(KEYS)}"
            raise ArgumentsError(f"no such option: {token}{meant}")
        if not has_value and (not left or left[0].startswith("--")):
            raise ArgumentsError(f"--{name} has no value. Add it")
        flags[name] = value if has_value else left.pop(0)
    return flags


def config_of(values: Mapping[str, Any], devices: int) -> RunConfig:
    """What a run's configuration says of its samples.

    Args:
        values: by the script's own names; others are passed over.
        devices: all devices of the run.

    Raises:
        ArgumentsError: a value is impossible.
    """
    degrees = {name: max(_integer(values, name, 1), 1) for name in MODEL_DEGREES}
    shared = 1
    for degree in degrees.values():
        shared *= degree
    if devices % shared:
        told = " x ".join(f"{name} {degree}" for name, degree in degrees.items() if degree > 1)
        raise ArgumentsError(f"--devices {devices} is no multiple of {told}. Name all devices of the run")
    batch = _integer(values, "per_device_train_batch_size") * _integer(values, "gradient_accumulation_steps")
    steps = _integer(values, "max_steps", -1)
    return RunConfig(
        data=data_of(str(values.get("input_dir") or "")),
        seq_length=_integer(values, "max_seq_length"),
        max_steps=steps if steps > 0 else None,
        split=str(values.get("split") or DEFAULTS["split"]),
        global_batch=batch * (devices // shared),
    )


def data_of(input_dir: str) -> tuple[str, ...]:
    """The datasets of ``--input_dir``, as ``run_pretrain.py`` reads it (``get_train_data_file``, 3.0.0b4).

    Args:
        input_dir: weights and prefixes; or a folder, whose corpora are drawn with equal weights.

    Raises:
        ArgumentsError: the folder is missing, or holds no corpus.
    """
    words = tuple(input_dir.split())
    if len(words) != 1:
        return words
    prefixes = prefixes_in(Path(input_dir))
    if not prefixes:
        raise ArgumentsError(
            f"input_dir {input_dir}: expected a folder with .idx files. It is read from {os.getcwd()}"
        )
    return (prefixes[0],) if len(prefixes) == 1 else tuple(word for each in prefixes for word in ("1.0", each))


def prefixes_in(folder: Path) -> list[str]:
    """The prefixes of the corpora in a folder, in the order in which the host finds them; empty if there is none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [str(folder / name[: -len(".idx")]) for name in names if name.endswith(".idx")]


def _integer(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = values.get(name)
    if value is None:
        value = DEFAULTS[name] if default is None else default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ArgumentsError(f"{name} is {value!r}; expected an integer") from None
