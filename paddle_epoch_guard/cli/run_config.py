"""A run's own configuration: the JSON or YAML file and the flags that the training script is given."""

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from paddle_epoch_guard.cli.host_rules import PADDLEFORMERS, PADDLENLP, HostRules
from paddle_epoch_guard.errors import ArgumentsError, cause_of
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.terminal import joined

_LISTED = 12  # prefixes, in a message
_BATCH, _ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"


@dataclass(frozen=True)
class ScriptNames:
    """The names by which a host's training script takes what describes a run, and their defaults."""

    length: str
    """Of the sequence length."""
    degrees: tuple[str, ...]
    """Devices that these multiply read the same samples; all others read samples of their own."""
    defaults: Mapping[str, int]
    split: str

    @property
    def keys(self) -> tuple[str, ...]:
        """All names that are read."""
        return ("input_dir", "max_steps", "seed", *self.defaults, "split", *self.degrees)


# ``TrainingArguments`` and ``llm/run_pretrain.py`` of PaddleNLP 3.0.0b4.
_OF_PADDLENLP = ScriptNames(
    "max_seq_length",
    ("tensor_parallel_degree", "pipeline_parallel_degree", "sep_parallel_degree", "context_parallel_degree"),
    {"max_seq_length": 1024, _BATCH: 8, _ACCUMULATION: 1},
    PADDLENLP.default_split,
)
# ``TrainingArguments`` and cli/hparams/data_args.py of PaddleFormers 1.2.0.
_OF_PADDLEFORMERS = ScriptNames(
    "max_seq_len",
    ("tensor_model_parallel_size", "pipeline_model_parallel_size", "sep_parallel_size", "context_parallel_size"),
    {"max_seq_len": 4096, _BATCH: 8, _ACCUMULATION: 1},
    PADDLEFORMERS.default_split,
)
_NAMES = {PADDLENLP.name: _OF_PADDLENLP, PADDLEFORMERS.name: _OF_PADDLEFORMERS}


@dataclass(frozen=True)
class RunConfig:
    """What decides the samples of a run, as its script is told."""

    data: tuple[str, ...]
    """One prefix; or weight, prefix, weight, prefix and so on. Empty if unknown."""
    seq_length: int
    max_steps: int | None
    split: str
    global_batch: int | None
    """Samples per step: batch per device x accumulation x data ranks; None if that was not asked."""


class RunOptions(NamedTuple):
    """The options of `plan` that describe a run; None if they are not given."""

    seq_length: int | None
    global_batch: int | None
    max_steps: int | None
    split: str | None


class AskedRun(NamedTuple):
    """The run that a call asks about."""

    data: tuple[str, ...]
    seq_length: int
    global_batch: int
    max_steps: int
    split: str
    is_configured: bool = False
    """Whether the script's file or flags were read."""
    warnings: tuple[str, ...] = ()
    """About names in the file that were probably meant to be others."""


def asked_run(
    words: Sequence[str],
    config: Path | None,
    devices: int,
    options: RunOptions,
    rules: HostRules = PADDLENLP,
    known: Sequence[str] = (),
) -> AskedRun:
    """The run that a call asks about: its options win over the script's flags, and these over the script's file.

    Args:
        words: the datasets, then flags in the script's spelling.
        config: the script's file.
        devices: all devices of the run.
        options: those in the spelling of `plan`.
        rules: of the host.
        known: names of all options of `plan`.

    Raises:
        ArgumentsError: something is missing or impossible, or there is no such option.
    """
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    names = _NAMES.get(rules.name, _OF_PADDLENLP)
    values = ({} if config is None else read_config(config)) | flags_of(words[first:], known, names)
    if not values and devices > 1:
        raise ArgumentsError(
            tr("--devices {n} belongs to --config; --global-batch counts all devices already", n=devices)
        )
    if values and not rules.is_guarded:
        raise ArgumentsError(
            tr(
                "--config and a script's own flags are read for PaddleNLP and PaddleFormers; found {host}. Give "
                "--seq-length, --global-batch, --max-steps and --split",
                host=rules.title,
            )
        )
    own = config_of(values, None if options.global_batch else devices, names) if values else None
    data = tuple(words[:first]) or (() if own is None else own.data)
    seq_length = options.seq_length or (None if own is None else own.seq_length)
    global_batch = options.global_batch or (None if own is None else own.global_batch)
    max_steps = options.max_steps or (None if own is None else own.max_steps)
    if not data or seq_length is None or global_batch is None or max_steps is None:
        told = {"PREFIX": data, "--seq-length": seq_length, "--global-batch": global_batch, "--max-steps": max_steps}
        missing = joined([name for name, value in told.items() if not value])
        raise ArgumentsError(
            tr("{missing} missing; expected as options, or --config with the run's own file", missing=missing)
        )
    split = rules.default_split if own is None else own.split
    if options.split is not None:
        split = options.split
    return AskedRun(
        data, seq_length, global_batch, max_steps, split, bool(values), tuple(misspelt_keys(values, names))
    )


def misspelt_keys(values: Mapping[str, Any], names: ScriptNames) -> list[str]:
    """A sentence for each name that is not read, and looks like one that is and that is missing.

    Args:
        values: of the script's file and flags.
        names: that are read.
    """
    missing = [name for name in names.keys if name not in values]
    near = {
        key: difflib.get_close_matches(str(key), missing, n=1, cutoff=0.9) for key in values if key not in names.keys
    }
    return [
        tr("{name} in the run's configuration is not read; did you mean {meant}?", name=key, meant=meant[0])
        for key, meant in near.items()
        if meant
    ]


def check_prefix(prefix: str) -> None:
    """Checks that a prefix is one, and neither a folder nor a file of the corpus.

    Raises:
        ArgumentsError: it is; with the prefixes that may be meant.
    """
    if Path(f"{prefix}.idx").exists():
        return
    stem, ending = os.path.splitext(prefix)
    if ending in (".bin", ".idx"):
        raise ArgumentsError(
            tr(
                "{path}: is a file of a corpus; expected its path without {ending}: {stem}",
                path=prefix,
                ending=ending,
                stem=stem,
            )
        )
    if os.path.isdir(prefix):
        found = sorted(prefixes_in(Path(prefix)))
        listed, more = ", ".join(found[:_LISTED]), len(found) - _LISTED
        what = tr("there is no .idx file in it")
        if found:
            what = tr("the corpora in it: {listed}", listed=listed)
        if more > 0:
            what = tr("the corpora in it: {listed} and {more} more", listed=listed, more=more)
        raise ArgumentsError(
            tr(
                "{path}: is a folder; expected the path of a corpus without .idx or .bin; {what}",
                path=prefix,
                what=what,
            )
        )


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
        why = tr(
            "--config {path}: cannot be read ({cause}). Name the file that the training script is given",
            path=path,
            cause=cause_of(cause),
        )
        raise ArgumentsError(why) from cause
    except ValueError as cause:
        why = tr("--config {path}: is neither JSON nor YAML ({cause}). Correct it", path=path, cause=cause)
        raise ArgumentsError(why) from cause
    except Exception as cause:  # yaml has errors of its own
        fault = " ".join(str(cause).split())
        raise ArgumentsError(
            tr("--config {path}: is no YAML ({cause}). Correct it", path=path, cause=fault)
        ) from cause
    if not isinstance(values, dict):
        why = tr("--config {path}: holds no names and values. Name the training script's own file", path=path)
        raise ArgumentsError(why)
    return values


def flags_of(tokens: Sequence[str], options: Sequence[str], names: ScriptNames) -> dict[str, str]:
    """Flags in the training script's spelling: ``--name value`` or ``--name=value``. The last value of a name counts.

    Args:
        tokens: of the command line.
        options: of `plan` itself, for who has misspelt one.
        names: that are read.

    Raises:
        ArgumentsError: a flag is unknown, or has no value.
    """
    flags, left = {}, list(tokens)
    while left:
        token = left.pop(0)
        name, has_value, value = token.removeprefix("--").partition("=")
        if not token.startswith("--") or name not in names.keys:
            meant = _meant(token.partition("=")[0], options, names.keys)
            if meant is None:
                raise ArgumentsError(tr("No such option: {name}. See paddle-epoch-guard plan --help", name=token))
            raise ArgumentsError(
                tr(
                    "No such option: {name}. Did you mean {meant}? See paddle-epoch-guard plan --help",
                    name=token,
                    meant=meant,
                )
            )
        if not has_value and (not left or left[0].startswith("--")):
            raise ArgumentsError(tr("--{name} has no value. Add it", name=name))
        flags[name] = value if has_value else left.pop(0)
    return flags


def _meant(token: str, options: Sequence[str], keys: Sequence[str]) -> str | None:
    """What a misspelt option may have been meant to be; None if none is near."""
    spelt = token.replace("_", "-")
    own, theirs = list(options), [f"--{key}" for key in keys]
    known = {option.replace("_", "-"): option for option in (own + theirs if "_" in token else theirs + own)}
    near = difflib.get_close_matches(spelt, known, n=1)
    return known[near[0]] if near else None


def config_of(values: Mapping[str, Any], devices: int | None, names: ScriptNames = _OF_PADDLENLP) -> RunConfig:
    """What a run's configuration says of its samples.

    Args:
        values: by the script's own names; others are passed over.
        devices: all devices of the run; None if the batch is known otherwise.
        names: the script's.

    Raises:
        ArgumentsError: a value is impossible.
    """
    steps = _integer(values, "max_steps", -1)
    return RunConfig(
        data=data_of(str(values.get("input_dir") or "")),
        seq_length=_integer(values, names.length, names.defaults[names.length]),
        max_steps=steps if steps > 0 else None,
        split=str(values.get("split") or names.split),
        global_batch=None if devices is None else _global_batch(values, devices, names),
    )


def _global_batch(values: Mapping[str, Any], devices: int, names: ScriptNames) -> int:
    degrees = {name: max(_integer(values, name, 1), 1) for name in names.degrees}
    shared = 1
    for degree in degrees.values():
        shared *= degree
    if devices % shared:
        told = " x ".join(f"{name} {degree}" for name, degree in degrees.items() if degree > 1)
        raise ArgumentsError(
            tr("--devices {n} is no multiple of {degrees}. Name all devices of the run", n=devices, degrees=told)
        )
    batch, accumulation = (_integer(values, name, names.defaults[name]) for name in (_BATCH, _ACCUMULATION))
    return batch * accumulation * (devices // shared)


def data_of(input_dir: str) -> tuple[str, ...]:
    """The datasets of ``--input_dir``, as ``run_pretrain.py`` reads it (``get_train_data_file``, 3.0.0b4).

    Args:
        input_dir: weights and prefixes; or a folder, whose corpora are drawn with equal weights; or a single prefix,
            which ``run_pretrain.py`` itself does not take.

    Raises:
        ArgumentsError: the folder is missing, or holds no corpus.
    """
    words = tuple(input_dir.split())
    if len(words) != 1 or Path(f"{input_dir}.idx").exists():
        return words
    prefixes = prefixes_in(Path(input_dir))
    if not prefixes:
        raise ArgumentsError(
            tr(
                "input_dir {path}: expected a folder with .idx files. It is read from {folder}",
                path=input_dir,
                folder=os.getcwd(),
            )
        )
    return (prefixes[0],) if len(prefixes) == 1 else tuple(word for each in prefixes for word in ("1.0", each))


def prefixes_in(folder: Path) -> list[str]:
    """The prefixes of the corpora in a folder, in the order in which the host finds them; empty if there is none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [str(folder / name[: -len(".idx")]) for name in names if name.endswith(".idx")]


def _integer(values: Mapping[str, Any], name: str, default: int) -> int:
    value = values.get(name)
    if value is None:
        value = default
    try:
        return int(str(value))
    except (TypeError, ValueError):
        raise ArgumentsError(tr("{name} is {value!r}; expected an integer", name=name, value=value)) from None
