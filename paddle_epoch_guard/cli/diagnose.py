"""Finds what is broken in a cache, and how that affects a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from paddle_epoch_guard.cli.corpus_notes import LIST_STOPS, missing_texts, notes_of_index
from paddle_epoch_guard.errors import (
    ArgumentsError,
    CorpusError,
    CorpusNotFoundError,
    CorpusPointerError,
    EpochGuardError,
    ForeignIndexError,
    IndexFileError,
    UnreadableError,
)
from paddle_epoch_guard.index.cache import load_array
from paddle_epoch_guard.index.corpus import fault_of_document_list
from paddle_epoch_guard.index.description import Description
from paddle_epoch_guard.index.folder import (
    MEGATRON,
    MEGATRON_BLEND,
    PADDLE,
    PADDLE_BLEND,
    Described,
    IndexFiles,
    describe,
    is_there,
    scan,
)
from paddle_epoch_guard.index.from_files import corpus_of, dataset_files, open_index, text_without_sizes
from paddle_epoch_guard.index.megatron import MegatronDescription
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.order.materialise import host_order

_MOVE = mark("Move its files aside (--move-aside); the host then builds the same index again from the same corpus")
_REBUILD = mark("Move its files aside (--move-aside) and run 'rebuild' again: the host would build its own order")
_STOPS = mark("a run stops when it opens it")
_WAITS = mark("PaddleNLP and PaddleFormers take it for an unfinished file and wait forever")
_SILENT = mark("a run opens it without an error, then draws other samples than planned or stops at a missing one")
_STOPS_AT_CORPUS = mark("a run stops when it opens the corpus")
_OTHER_TEXT = mark(
    "a run opens it without an error, then draws other text, or its loader dies and the run waits forever"
)
_RESTORE = mark("Restore the corpus; the index itself may be sound")
_MEND_DATASET = mark(
    "Restore the dataset's index, or let the host build it again from the same corpus; the blend itself may be sound"
)
_BESIDE = "index-cache"  # the folder beside a corpus where PaddleNLP looks first

# What the hosts do when a file of an index is missing: `_build_index_mappings` in
# paddlenlp/data/causal_dataset.py (3.0.0b4; paddleformers 1.2.0), `BlendableDataset` beside it, and
# `_build_document_sample_shuffle_indices` in megatron/core/datasets/gpt_dataset.py (0.16.1).
_INCOMPLETE = {
    PADDLE: mark(
        "PaddleNLP builds it again; PaddleFormers takes the description for a complete index and waits forever"
    ),
    PADDLE_BLEND: mark("PaddleNLP and PaddleFormers build it again"),
    MEGATRON: mark("megatron-core builds it again; with fast_cache_load it takes it for complete and stops"),
    MEGATRON_BLEND: mark("megatron-core builds it again; with fast_cache_load it takes it for complete and stops"),
}


class Problem(msgspec.Struct, frozen=True, rename={"fix": "mend"}):
    """Something that is broken."""

    kind: str
    """``incomplete``, ``description``, ``unreadable``, ``mismatch``, ``corpus`` or ``leftover``."""
    index: str
    """The common beginning of its file names."""
    what: str
    effect: str
    """How it affects a run."""
    fix: str
    files: tuple[Path, ...]
    """The files to move aside; none if the cache is not at fault."""


@dataclass(frozen=True)
class Diagnosis:
    """The result for a cache."""

    sound: tuple[IndexFiles, ...]
    """Indices that were checked and have no problem."""
    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...]
    """What could not be checked and why, as sentences."""
    notes: tuple[str, ...] = ()
    """What another host does not accept, as sentences."""
    unreadable: tuple[str, ...] = ()
    """Of these, what could not be opened or read: it may be sound, and must not be moved."""


@dataclass(frozen=True)
class _Sound:
    """The result for an index that has no problem."""

    notes: tuple[str, ...]


def diagnose(cache: Path, prefixes: Sequence[str] = ()) -> Diagnosis:
    """Checks everything in a cache.

    Args:
        cache: the folder.
        prefixes: paths of corpora that have moved; they are recognised by their names.

    Raises:
        ArgumentsError: no index belongs to the corpus of a prefix.
        IndexFileError: there is no such folder, or it is not a cache.
    """
    contents = scan(cache)
    known = contents.indices, contents.guard_blends, contents.temporary, contents.foreign
    if contents.others and not any(known):
        raise IndexFileError(
            tr(
                "{cache}: no index of PaddleNLP, PaddleFormers or megatron-core (found {found}). Name the host's "
                "index cache",
                cache=cache,
                found=", ".join(contents.others[:3]),
            )
        )
    problems: list[Problem] = []
    unchecked: list[str] = []
    unreadable: list[str] = []
    sound: list[IndexFiles] = []
    notes: list[str] = []
    moved = _MovedCorpora(prefixes)
    # Blends last: a problem of a dataset's index is not one of the blend.
    for files in sorted(contents.indices, key=lambda files: files.kind.is_blend):
        try:
            result = _examine_index(files, moved, sound)
        except UnreadableError as error:
            unreadable.append(tr("{path}: {fault}", path=files.stem, fault=error))
            continue
        if isinstance(result, _Sound):
            sound.append(files)
            notes += result.notes
        elif isinstance(result, Problem):
            problems.append(result)
        else:
            unchecked.append(tr("{path}: {fault}", path=files.stem, fault=result))
    for index in contents.foreign:
        values = {"stem": index.stem, "name": index.class_name}
        unchecked.append(
            tr("{stem}: an index of the class {name}; only GPTDataset and blends of it are read", **values)
        )
    is_sure = not unreadable and not contents.foreign and len(sound) + len(unchecked) == len(contents.indices)
    unchecked += moved.unused(is_sure)
    for stem in contents.guard_blends:
        try:
            problems += _examine_guard_blend(cache, stem)
        except UnreadableError as error:
            unreadable.append(tr("{path}: {fault}", path=stem, fault=error))
    problems += [_leftover(path) for path in contents.temporary]
    return Diagnosis(
        tuple(sound), tuple(problems), (*unchecked, *unreadable), tuple(dict.fromkeys(notes)), tuple(unreadable)
    )


class _MovedCorpora:
    """Corpora that have moved, by the names of their files."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = {Path(prefix.removesuffix("::CPT")).name: prefix for prefix in prefixes}
        self._unused = set(self._prefixes)

    def prefix_of(self, described: str) -> str | None:
        """The new prefix of the corpus that a description names; None if none was given."""
        name = Path(described).name
        self._unused.discard(name)
        return self._prefixes.get(name)

    def unused(self, is_sure: bool) -> list[str]:
        """Sentences about the prefixes to whose corpora no index belongs.

        Args:
            is_sure: whether the corpora of all indices are known: those of a broken one may not be.

        Raises:
            ArgumentsError: it is sure that there is no index of such a corpus.
        """
        unused = [self._prefixes[name] for name in sorted(self._unused)]
        if unused and is_sure:
            raise ArgumentsError(
                tr("--prefix {prefix}: no index here was built from a corpus of that name", prefix=unused[0])
            )
        return [
            tr("--prefix {prefix}: whether a broken index here was built from it", prefix=prefix) for prefix in unused
        ]


def _examine_index(files: IndexFiles, moved: _MovedCorpora, sound: Sequence[IndexFiles]) -> Problem | str | _Sound:
    """The problem of an index, or what could not be checked and why.

    Raises:
        UnreadableError: a file cannot be opened or read.
    """
    if files.kind is MEGATRON_BLEND:
        try:
            describe(files)
        except ForeignIndexError as error:
            return str(error)
        except IndexFileError:
            pass  # told below
    if files.missing:
        return _incomplete(files)
    return _unreadable(files) or _contradiction(files, moved, sound)


def _contradiction(files: IndexFiles, moved: _MovedCorpora, sound: Sequence[IndexFiles]) -> Problem | str | _Sound:
    """As :func:`_examine_index`, of an index whose arrays are there and can be read."""
    try:
        described = describe(files)
    except UnreadableError:
        raise
    except IndexFileError as error:
        effect = tr("a run does not read it; but without it, nothing shows whether the arrays are the right ones")
        return Problem("description", files.stem, str(error), effect, _fix_for(files), files.present)
    try:
        prefixes = [
            str(corpus_of(files, dataset.prefix, moved.prefix_of(dataset.prefix))) for dataset in described.datasets
        ]
    except CorpusNotFoundError as error:
        return _without_sizes(files, described) or tr("whether it fits its corpus: {fault}", fault=error)
    if files.kind.is_blend:
        for number, dataset in enumerate(described.datasets):
            found = _of_dataset(files, number, dataset, prefixes[number], moved, sound)
            if found is not None:
                return found
    return _fit(files, prefixes)


def _without_sizes(files: IndexFiles, described: Described) -> Problem | None:
    """The problem of an index of whose corpus only the text is there; None if there is none, or its dataset tells."""
    for dataset in described.datasets:
        text = text_without_sizes(files, dataset.prefix)
        if text is None or (files.kind.is_blend and _is_here(files, dataset_files(files, dataset))):
            continue
        values = {"path": text.with_suffix(".idx"), "text": text}
        what = tr("{path}: no such file, though the text, {text}, is there", **values)
        return Problem("corpus", files.stem, what, tr(_STOPS_AT_CORPUS), tr(_RESTORE), ())
    return None


def _is_here(blend: IndexFiles, dataset: IndexFiles) -> bool:
    """Whether a dataset's index lies beside its blend, where it is examined by itself."""
    return dataset.folder == blend.folder and bool(dataset.present)


def _of_dataset(
    blend: IndexFiles,
    number: int,
    dataset: Description | MegatronDescription,
    prefix: str,
    moved: _MovedCorpora,
    sound: Sequence[IndexFiles],
) -> Problem | str | None:
    """What keeps a blend from being checked: the index of one of its datasets. None if that is sound.

    Args:
        blend: its files.
        number: of the dataset, from 0.
        dataset: its description.
        prefix: of its corpus.
        moved: corpora that have moved.
        sound: the sound indices of the cache.

    Raises:
        UnreadableError: a file cannot be opened or read.
    """
    files = dataset_files(blend, dataset)
    if files in sound:
        return None
    if _is_here(blend, files):
        reason = _not_sound(files, prefix)
        return None if reason is None else tr("whether it fits its datasets: {fault}", fault=reason)
    found = _examine_index(files, moved, sound)
    if isinstance(found, str):
        return found
    if isinstance(found, _Sound):
        return None
    what = found.what
    if not files.present:
        beside = Path(dataset.prefix).parent / _BESIDE
        what = tr("its index {stem} is not here", stem=files.stem)
        if files.kind is PADDLE:
            what = tr("its index {stem} is neither here nor in {folder}", stem=files.stem, folder=beside)
    return Problem(
        found.kind,
        blend.stem,
        tr("dataset {number}, {corpus}: {fault}", number=number, corpus=dataset.prefix, fault=what),
        found.effect,
        tr(_RESTORE) if found.kind == "corpus" else tr(_MEND_DATASET),
        (),
    )


def _fit(files: IndexFiles, prefixes: Sequence[str]) -> Problem | _Sound:
    """Whether the files of an index fit each other and its corpora.

    Raises:
        UnreadableError: a file cannot be opened or read.
    """
    try:
        opened = open_index(files, prefixes, host_order)
    except UnreadableError:
        raise
    except CorpusError as error:
        effect = _OTHER_TEXT if isinstance(error, CorpusPointerError) else _STOPS_AT_CORPUS
        return Problem("corpus", files.stem, str(error), tr(effect), tr(_RESTORE), ())
    except EpochGuardError as error:
        return Problem("mismatch", files.stem, str(error), tr(_SILENT), _fix_for(files), files.present)
    for path in missing_texts(opened):
        what = tr("{path}: no such file", path=path)
        return Problem("corpus", files.stem, what, tr(_STOPS_AT_CORPUS), tr(_RESTORE), ())
    if files.kind.format == "megatron":
        for corpus in opened.corpora:
            fault = fault_of_document_list(corpus)
            if fault:
                return Problem("corpus", files.stem, fault, tr(LIST_STOPS), tr(_RESTORE), ())
    return _Sound(tuple(notes_of_index(opened)))


def _not_sound(dataset: IndexFiles, prefix: str) -> str | None:
    """Why the index of a blend's dataset cannot be relied on; None if it can be."""
    if dataset.missing:
        return tr("the index {stem} is not complete here", stem=dataset.stem)
    try:
        open_index(dataset, [prefix], host_order)
    except UnreadableError:
        raise
    except EpochGuardError as error:
        return tr("the index {stem} is broken: {fault}", stem=dataset.stem, fault=error)
    return None


def _fix_for(files: IndexFiles) -> str:
    return tr(_REBUILD) if is_there(files.note) else tr(_MOVE)


def _incomplete(files: IndexFiles) -> Problem:
    missing = ", ".join(path.name for path in files.missing)
    effect = _INCOMPLETE[files.kind]
    if not is_there(files.description):
        if files.kind is PADDLE:
            effect = mark("PaddleNLP and PaddleFormers build it again")
        elif files.kind.format == "megatron" and len(files.missing) == 1:
            effect = mark(
                "megatron-core builds it again; with fast_cache_load it opens the arrays, and nothing shows what they "
                "were built from"
            )
        elif files.kind is PADDLE_BLEND and len(files.missing) == 1:
            effect = mark("PaddleNLP and PaddleFormers open it anyway; nothing shows what it was built from")
    what = tr("missing {names}", names=missing)
    return Problem("incomplete", files.stem, what, tr(effect), _fix_for(files), files.present)


def _unreadable(files: IndexFiles) -> Problem | None:
    for name, path in files.arrays.items():
        try:
            array = load_array(path)
        except UnreadableError:
            raise
        except IndexFileError as error:
            waits = files.kind.format == "paddlenlp" and name in ("shuffle_idx", "dataset_index")
            effect = _WAITS if waits else _STOPS
            if _is_pickle(path):
                effect = mark("a run unpickles it, and executes any code that it holds")
            return Problem("unreadable", files.stem, str(error), tr(effect), _fix_for(files), files.present)
        if array.dtype.kind not in "iu":
            what = tr("{path}: dtype {dtype}; expected integers", path=path, dtype=array.dtype)
            return Problem("unreadable", files.stem, what, tr(_SILENT), _fix_for(files), files.present)
    return None


def _is_pickle(path: Path) -> bool:
    """Whether numpy unpickles the file when allowed to, as the hosts allow it."""
    if not path.is_file():
        return False  # reading a pipe would block
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError:
        return False
    return head.startswith(b"\x80") or (head.startswith(b"\x93NUMPY") and b"'|O'" in head)


def _examine_guard_blend(cache: Path, stem: str) -> list[Problem]:
    """Problems of a blend that the guard has built for a longer run: two arrays of the same length."""
    files = [cache / f"{stem}_index.npy", cache / f"{stem}_sample_index.npy"]
    present = tuple(path for path in files if is_there(path))
    fix = tr("Move it aside (--move-aside); the guard builds it again when the run resumes")
    if len(present) < len(files):
        missing = next(path.name for path in files if path not in present)
        effect = tr("the guard builds it again when the run resumes")
        return [Problem("incomplete", stem, tr("missing {names}", names=missing), effect, fix, present)]
    effect = tr("the guard refuses to resume the run")
    try:
        datasets, samples = (load_array(path) for path in files)
    except UnreadableError:
        raise
    except IndexFileError as error:
        return [Problem("unreadable", stem, str(error), effect, fix, present)]
    if datasets.ndim == 1 and datasets.shape == samples.shape and {datasets.dtype.kind, samples.dtype.kind} <= {*"iu"}:
        return []
    what = tr(
        "arrays of shapes {shape} and {other_shape}, dtypes {dtype} and {other_dtype}; expected two lists of integers "
        "of the same length",
        shape=datasets.shape,
        other_shape=samples.shape,
        dtype=datasets.dtype,
        other_dtype=samples.dtype,
    )
    return [Problem("mismatch", stem, what, effect, fix, present)]


def _leftover(path: Path) -> Problem:
    size = path.stat().st_size
    what = tr("{size:,} bytes of a file whose writer ended before it was complete", size=size)
    fix = tr("Delete it, or move it aside (--move-aside), unless a process is writing it now")
    return Problem("leftover", path.name, what, tr("none: no run reads it"), fix, (path,))
