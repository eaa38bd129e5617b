"""The order of a blend beyond what the host has built now, or the same order built again.

The host keeps a blend's weights only as rounded text. So what the run began with is never replaced: it is read, or
built again from the text and proven to be the same by its digest; what a longer run draws beyond it is a blend by the
same weights that starts behind it, each dataset where it was.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexFileError, ResumeMismatchError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index import BlendIndex
from paddle_epoch_guard.index.blend_lookup import shares_by_numpy, shares_by_python
from paddle_epoch_guard.index.cache import load_array
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.resume.fingerprints import BlendRecord
from paddle_epoch_guard.resume.sidecar import Sidecar

Pick = Callable[[npt.NDArray[np.float64], int, np.dtype[Any]], tuple[npt.NDArray[Any], npt.NDArray[np.int64]]]
"""The host's rule: weights ``[datasets]``, n, and a dtype -> ``[n]`` dataset, of that dtype, and position in it."""
_BLOCK = 1 << 20
_DENOMINATOR = 10_000  # fractions of less are told apart by eight digits
_DIGITS = 4
_MULTIPLES = range(1, 10, 2)  # twice as much is the same after the division, to the last bit


def in_force(live: BlendRecord, sidecar: Sidecar | None) -> BlendRecord:
    """Which of the host's orders of a blend the run draws from: the live one, or the one it began with.

    A longer one begins as the shorter did, and takes its place, unless what the run has planned already went beyond
    the shorter one in an order of the guard's own.
    """
    if sidecar is None or sidecar.blend is None:
        return live
    begun = sidecar.blend
    planned = max(sidecar.planned, sidecar.reordered_to)
    return live if live.positions >= begun.positions and planned <= begun.positions else begun


def blend_files(folder: Path, record: BlendRecord, length: int) -> tuple[Path, Path]:
    """Where the order of a blend lies that the guard has built: dataset, and position in it."""
    name = blake2b(f"{record.weights}\n{record.positions}\n{record.digest}\n{length}".encode(), digest_size=16)
    stem = f"epoch_guard_blend_{name.hexdigest()}"
    return folder / f"{stem}_index.npy", folder / f"{stem}_sample_index.npy"


def write_blend(live: BlendIndex, record: BlendRecord, length: int, pick: Pick, folder: Path) -> None:
    """Builds ``length`` positions of a blend and keeps them in two files, if they are not there yet.

    Args:
        live: the blend as the host has built it now.
        record: the order that is in force.
        length: positions to build, at least those of ``record``.
        pick: the host's rule.
        folder: where to; it is made.

    Raises:
        OSError: the folder cannot be written.
        ResumeMismatchError: the order in force cannot be built again.
    """
    files = blend_files(folder, record, length)
    if all(file.is_file() for file in files):
        return
    arrays = build_blend(live, record, length, pick)
    if arrays is None:
        raise _not_the_same(record, length)
    folder.mkdir(parents=True, exist_ok=True)
    for file, array in zip(files, arrays, strict=True):
        with atomic_write(file) as stream:
            np.save(stream, array, allow_pickle=False)


def build_blend(
    live: BlendIndex, record: BlendRecord, length: int, pick: Pick
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]] | None:
    """The order of a blend, and of what is appended to it; None if it cannot be built again.

    Args:
        live: the blend as the host has built it now; of no positions if it is another one.
        record: the order that is in force.
        length: positions to build, at least those of ``record``.
        pick: the host's rule.

    Returns:
        ``[length]`` each: dataset, and position in it.
    """
    kind, kept = live.dataset_index.dtype, record.positions
    candidates = _candidates(live, record)
    built = ((weights, replace(live, **_named(*pick(weights, kept, kind)))) for weights in candidates)
    weights, base = next(
        ((candidate, blend) for candidate, blend in built if BlendRecord.of(blend).digest == record.digest),
        (None, None),
    )
    if len(live) >= kept and candidates:
        weights, base = candidates[0] if weights is None else weights, live
    if weights is None or base is None:
        return None
    which = np.empty(length, dtype=kind)
    inner = np.empty(length, dtype=np.int64)
    which[:kept], inner[:kept] = base.dataset_index[:kept], base.dataset_sample_index[:kept]
    if length > kept:
        drawn = base.drawn_of_each(kept)
        which[kept:], inner[kept:] = pick(weights, length - kept, kind)
        for start in range(kept, length, _BLOCK):
            stop = min(start + _BLOCK, length)
            inner[start:stop] += drawn[which[start:stop]]
    return which, inner


def open_blend(live: BlendIndex, record: BlendRecord, length: int, folder: Path) -> BlendIndex:
    """The blend that :func:`write_blend` has built, memory-mapped.

    Raises:
        IndexFileError: a file is missing or damaged.
        ResumeMismatchError: it is not the one that is in force, or the live blend is another one.
    """
    files = blend_files(folder, record, length)
    which, inner = (load_array(file) for file in files)
    if which.shape != (length,) or inner.shape != (length,):
        raise IndexFileError(
            tr(
                "{path}: {first} and {second} entries; expected ({length},) twice. Delete both of its files",
                path=files[0],
                first=which.shape,
                second=inner.shape,
                length=length,
            )
        )
    blend = replace(live, **_named(which, inner))
    if BlendRecord.of(blend, record.positions).digest != record.digest:
        raise IndexFileError(
            tr("{path}: damaged, its digest is not the recorded one. Delete both of its files", path=files[0])
        )
    both = min(len(live), record.positions)
    if BlendRecord.of(blend, both).digest != BlendRecord.of(live, both).digest:
        raise _not_the_same(record, length)
    return blend


def _candidates(live: BlendIndex, record: BlendRecord) -> list[npt.NDArray[np.float64]]:
    """What the host may have computed with, the most likely first: ties between datasets depend on the last bit.

    The text has eight digits of weights that were divided by their sum. They come from decimals or from small whole
    numbers as a rule. So the smallest whole numbers in their ratio are tried, and decimals with the same digits.
    """
    try:
        text = np.array([float(word) for word in record.weights.strip("[]").split()])
    except ValueError:
        return []  # above 1,000 datasets numpy leaves some out of the text
    if len(text) != len(live.datasets) or not ((text >= 0) & (text <= 1)).all() or not text.any():
        return []
    fractions = [Fraction(weight).limit_denominator(_DENOMINATOR) for weight in text]
    ratios = np.array([float(fraction) for fraction in fractions])
    candidates = [text, text / text.sum(), ratios, ratios / ratios.sum()]
    common = math.lcm(*(fraction.denominator for fraction in fractions))
    if any(fractions) and common <= _DENOMINATOR**2:
        whole = [int(fraction * common) for fraction in fractions]
        whole = [number // math.gcd(*whole) for number in whole]
        units = [10**digits for digits in range(_DIGITS + 1)]
        factors = [(unit // sum(whole), unit) for unit in units if unit % sum(whole) == 0]  # decimals that add up to 1
        factors += itertools.product(_MULTIPLES, units)
        candidates += [_normalised([factor * number / unit for number in whole]) for factor, unit in factors]
    return list({candidate.tobytes(): candidate for candidate in candidates}.values())


def _normalised(weights: Sequence[float]) -> npt.NDArray[np.float64]:
    """Weights divided by their sum as the host does it, to the last bit: twice, and the second time by numpy.

    paddlenlp/data/causal_dataset.py, `get_datasets_weights_and_num_samples`, and data/blendable_dataset.py, 3.0.0b4.
    """
    return np.array(shares_by_numpy(shares_by_python(weights)))


def _named(which: npt.NDArray[Any], inner: npt.NDArray[Any]) -> dict[str, Any]:
    return {"dataset_index": which, "dataset_sample_index": inner}


def _not_the_same(record: BlendRecord, length: int) -> ResumeMismatchError:
    return ResumeMismatchError(
        tr(
            "the run draws {length} positions of a blend whose order for {positions} is in force, and that cannot be "
            "had: the host has built another one now, and keeps the weights ({weights}) only rounded. Build the blend "
            "for at least {needed} samples, that is pass a larger number of train samples than max_steps x global "
            "batch",
            length=length,
            positions=record.positions,
            weights=record.weights,
            needed=max(record.positions, length),
        )
    )
