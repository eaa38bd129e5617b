"""What is broken in a cache, and what that does to a run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paddle_epoch_guard.errors import ArgumentsError, CorpusError, CorpusNotFoundError, EpochGuardError, IndexFileError
from paddle_epoch_guard.index.cache import load_array
from paddle_epoch_guard.index.folder import (
    MEGATRON,
    MEGATRON_BLEND,
    PADDLE,
    PADDLE_BLEND,
    IndexFiles,
    describe,
    scan,
)
from paddle_epoch_guard.index.from_files import corpus_of, dataset_files, open_index
from paddle_epoch_guard.order.materialise import host_order

_MOVE = "Move its files aside (--move-aside); the host builds the index anew, the same one from the same corpus"
_REBUILD = "Move its files aside (--move-aside) and run 'rebuild' again: the host would build its own order"
_STOPS = "a run stops when it opens it"
_WAITS = "PaddleNLP and PaddleFormers take it for one that is still being written, and wait for ever"
_SILENT = (
    "a run opens it without a question, and draws other samples than planned, or stops when it meets a missing one"
)

# What the hosts do about an index of which something is missing, once they look for it: `_build_index_mappings` in
# paddlenlp/data/causal_dataset.py (3.0.0b4; paddleformers 1.2.0), `BlendableDataset` beside it, and
# `_build_document_sample_shuffle_indices` in megatron/core/datasets/gpt_dataset.py (0.16.1).
_INCOMPLETE = {
    PADDLE: "PaddleNLP builds it anew",
    PADDLE_BLEND: "PaddleNLP and PaddleFormers build it anew",
    MEGATRON: "megatron-core builds it anew; with fast_cache_load it takes it for whole, and stops",
    MEGATRON_BLEND: "megatron-core builds it anew; with fast_cache_load it takes it for whole, and stops",
}


@dataclass(frozen=True)
class Problem:
    """Something that is broken."""

    kind: str
    """``incomplete``, ``description``, ``unreadable``, ``mismatch``, ``corpus`` or ``leftover``."""
    index: str
    """What the names of its files begin with."""
    what: str
    effect: str
    """What it does to a run."""
    fix: str
    files: tuple[Path, ...]
    """Those to set apart; none where the fault lies elsewhere."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a cache."""

    sound: tuple[IndexFiles, ...]
    """Indices that were checked, and of which nothing is broken."""
    ills: tuple[Problem, ...]
    unchecked: tuple[str, ...]
    """Sentences on what could not be checked."""


def diagnose(cache: Path, prefixes: Sequence[str] = ()) -> Diagnosis:
    """Checks everything in a cache.

    Args:
        cache: the folder.
        prefixes: where corpora lie that have moved, found by their names.

    Raises:
        ArgumentsError: a prefix is of no index's corpus.
        IndexFileError: there is no such folder, or it holds something else.
    """
    held = scan(cache)
    if held.others and not (held.indices or held.guard_blends or held.temporary):
        raise IndexFileError(
            f"{cache}: no index of PaddleNLP, PaddleFormers or megatron-core (found {', '.join(held.others[:3])}). "
            "Name the host's index cache"
        )
    ills: list[Problem] = []
    unchecked: list[str] = []
    sound: list[IndexFiles] = []
    places = _Places(prefixes)
    # Blends last: a fault of a dataset's index is not the blend's.
    for files in sorted(held.indices, key=lambda one: one.kind.is_blend):
        before = len(unchecked)
        found = list(_examine_index(files, places, sound, unchecked))
        ills += found
        if not found and len(unchecked) == before:
            sound.append(files)
    places.refuse_unused()
    for stem in held.guard_blends:
        ills += _examine_guard_blend(cache, stem)
    ills += [_leftover(path) for path in held.temporary]
    return Diagnosis(tuple(sound), tuple(ills), tuple(unchecked))


class _Places:
    """Corpora that have moved, by the names of their files."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._places = {Path(prefix.removesuffix("::CPT")).name: prefix for prefix in prefixes}
        self._unused = set(self._places)

    def of(self, described: str) -> str | None:
        """Where the corpus of a description lies, if it was named."""
        name = Path(described).name
        self._unused.discard(name)
        return self._places.get(name)

    def refuse_unused(self) -> None:
        """Raises ArgumentsError where a prefix was named that no index has."""
        if self._unused:
            raise ArgumentsError(
                f"--prefix {self._places[min(self._unused)]}: no index here is of a corpus of that name"
            )


def _examine_index(
    files: IndexFiles, places: _Places, sound: Sequence[IndexFiles], unchecked: list[str]
) -> Iterator[Problem]:
    """What is broken in one index. What could not be checked is added to ``unchecked``."""
    if files.missing:
        yield _incomplete(files)
        return
    broken = _unreadable(files)
    if broken is not None:
        yield broken
        return
    try:
        described = describe(files)
    except IndexFileError as wrong:
        effect = "a run does not read it; but what the arrays were built from is not known, and cannot be checked"
        yield Problem("description", files.stem, str(wrong), effect, _fix_for(files), files.present)
        return
    prefixes = []
    for one in described.datasets:
        try:
            prefixes.append(str(corpus_of(files, one.prefix, places.of(one.prefix))))
        except CorpusNotFoundError as gone:
            unchecked.append(f"{files.stem}: whether it fits its corpus: {gone}")
            return
    if files.kind.is_blend:
        for one, prefix in zip(described.datasets, prefixes, strict=True):
            why = _not_sound(dataset_files(files, one), prefix, sound)
            if why is not None:
                unchecked.append(f"{files.stem}: whether it fits its datasets: {why}")
                return
    try:
        open_index(files, prefixes, host_order)
    except CorpusError as wrong:
        fix = "Restore the corpus; the index itself may be sound"
        yield Problem("corpus", files.stem, str(wrong), "a run stops when it opens the corpus", fix, ())
    except EpochGuardError as wrong:
        yield Problem("mismatch", files.stem, str(wrong), _SILENT, _fix_for(files), files.present)


def _not_sound(part: IndexFiles, prefix: str, sound: Sequence[IndexFiles]) -> str | None:
    """Why a dataset's index cannot be told from; None where it is sound."""
    if part in sound:
        return None
    if part.missing:
        return f"the index {part.stem} is not whole here"
    try:
        open_index(part, [prefix], host_order)
    except EpochGuardError as wrong:
        return f"the index {part.stem} is broken: {wrong}"
    return None


def _fix_for(files: IndexFiles) -> str:
    return _REBUILD if os.path.lexists(files.note) else _MOVE


def _incomplete(files: IndexFiles) -> Problem:
    missing = ", ".join(path.name for path in files.missing)
    effect = _INCOMPLETE[files.kind]
    if not os.path.lexists(files.description):
        if files.kind is PADDLE:
            effect = "PaddleNLP and PaddleFormers build it anew"
        elif files.kind is PADDLE_BLEND and len(files.missing) == 1:
            effect = "PaddleNLP and PaddleFormers open it all the same; nothing says what it was built from"
    elif files.kind is PADDLE:
        effect += "; PaddleFormers takes the description for an index that is whole, and waits for ever"
    return Problem("incomplete", files.stem, f"without {missing}", effect, _fix_for(files), files.present)


def _unreadable(files: IndexFiles) -> Problem | None:
    for which, path in files.arrays.items():
        try:
            array = load_array(path)
        except IndexFileError as wrong:
            poll_until = files.kind.format == "paddlenlp" and which in ("shuffle_idx", "dataset_index")
            effect = _WAITS if poll_until else _STOPS
            if _is_pickle(path):
                effect = "a run unpickles it, and so runs whatever code it holds"
            return Problem("unreadable", files.stem, str(wrong), effect, _fix_for(files), files.present)
        if array.dtype.kind not in "iu":
            what = f"{path}: dtype {array.dtype}; expected integers"
            return Problem("unreadable", files.stem, what, _SILENT, _fix_for(files), files.present)
    return None


def _is_pickle(path: Path) -> bool:
    """Whether numpy would unpickle a file if it were allowed to, as the hosts do."""
    if not path.is_file():
        return False  # a pipe would be waited for
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError:
        return False
    return head.startswith(b"\x80") or (head.startswith(b"\x93NUMPY") and b"'|O'" in head)


def _examine_guard_blend(cache: Path, stem: str) -> list[Problem]:
    """A blend that the guard has built for a longer run: two files of one length."""
    files = [cache / f"{stem}_index.npy", cache / f"{stem}_sample_index.npy"]
    present = tuple(path for path in files if os.path.lexists(path))
    fix = "Move it aside (--move-aside); the guard builds it anew when the run resumes"
    if len(present) < len(files):
        missing = next(path.name for path in files if path not in present)
        effect = "the guard builds it anew when the run resumes"
        return [Problem("incomplete", stem, f"without {missing}", effect, fix, present)]
    effect = "the guard refuses to resume the run"
    try:
        which, inner = (load_array(path) for path in files)
    except IndexFileError as wrong:
        return [Problem("unreadable", stem, str(wrong), effect, fix, present)]
    if which.shape != inner.shape or which.ndim != 1 or which.dtype.kind not in "iu" or inner.dtype.kind not in "iu":
        what = f"arrays of shapes {which.shape} and {inner.shape}, dtypes {which.dtype} and {inner.dtype}"
        return [
            Problem("mismatch", stem, f"{what}; expected two lists of integers of one length", effect, fix, present)
        ]
    return []


def _leftover(path: Path) -> Problem:
    what = f"{path.stat().st_size:,} bytes of a file that was being written when its process ended"
    fix = "Delete it, or move it aside (--move-aside), unless it is being written now"
    return Problem("leftover", path.name, what, "none: no run reads it", fix, (path,))
