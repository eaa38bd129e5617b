"""What is read from disk, damaged or made to do harm: a refusal that says why, or what was there all the same."""

import contextlib
import io
import os
import shutil
import signal
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faults.processes import ChildError, HungError, in_child
from faults.table import Outcome

MEMORY = 1 << 30
"""Bytes that a parser may take, with all that it has opened."""
_SECONDS = 20.0
_SHOWN = 20


class _TooLongError(BaseException):
    """Not an `Exception`: a parser must not take it for a fault of its input."""


@contextlib.contextmanager
def bounded(seconds: float = _SECONDS) -> Iterator[None]:
    """Ends what takes too long."""

    def stop(*_: Any) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_on(outcome: Outcome, where: str, call: Callable[[], Any], must_refuse: bool = False, same: Any = None) -> None:
    """Calls a parser once.

    Args:
        outcome: is told.
        where: what it is given, in words.
        call: calls it.
        must_refuse: whether to take it would be a fault.
        same: what it may take it for; None for anything.
    """
    from paddle_epoch_guard.errors import EpochGuardError

    outcome.tried += 1
    what = ""
    try:
        with bounded():
            found = call()
        if must_refuse:
            what = "taken without a word"
        elif same is not None and not np.array_equal(found, same):
            what = f"taken for something else: {str(found)[:80]}"
    except EpochGuardError:
        pass
    except _TooLongError:
        outcome.hung += 1
        what = "took too long"
    except Exception as cause:
        what = f"{type(cause).__name__}: {cause}"
    if what and len(outcome.broken) < _SHOWN:
        outcome.broken.append(f"{where}: {what}"[:400])


def corruption(folder: Path, every: int = 1, cuts: int = 1) -> Iterator[Outcome]:
    """All kinds of damage.

    Args:
        folder: for the samples.
        every: of the flips, one of so many.
        cuts: of the lengths, one of so many.
    """
    from faults.samples import write_samples

    samples = folder / "samples"
    in_child(write_samples, samples)
    for work, args in (
        (sidecars, (samples, every, cuts)),
        (arrays, (samples, every, cuts)),
        (descriptions, (samples,)),
        (pointers, (samples,)),
    ):
        try:
            yield from in_child(work, *args, patience=900, memory=MEMORY)
        except HungError as cause:
            yield Outcome(f"corruption: {work.__name__}", hung=1, broken=[str(cause)])
        except ChildError as cause:
            yield Outcome(f"corruption: {work.__name__}", broken=[str(cause)[-1500:]])
    outcome = Outcome("corruption: another's sidecar, in a real resume")
    for case in FOREIGN:
        outcome.add(in_child(foreign_sidecar, folder / case.replace(" ", "-"), case))
    yield outcome


def sidecars(samples: Path, every: int, each: int) -> list[Outcome]:
    """A sidecar with each bit of each byte flipped, cut at each length, and not a file at all."""
    from faults.parsers import in_memory, parsers

    flips, cuts, odd = (
        Outcome(f"corruption: sidecar, {what}")
        for what in ("every bit flipped", "cut at every length", "no such file")
    )
    with tempfile.TemporaryDirectory(dir=in_memory(samples)) as work:
        one = parsers(samples, Path(work))[0]
        assert one.parse(one.sample) is not None
        for at in range(0, len(one.sample) * 8, every):
            place, bit = divmod(at, 8)
            changed = bytearray(one.sample)
            changed[place] ^= 1 << bit
            try_on(flips, f"byte {place}, bit {bit}", partial(one.parse, bytes(changed)), must_refuse=True)
        for length in range(0, len(one.sample), each):
            try_on(cuts, f"{length} bytes", partial(one.parse, one.sample[:length]), must_refuse=True)
        for name, content in {
            "longer": one.sample + b"\n",
            "twice": one.sample * 2,
            "UTF-16": one.sample.decode().encode("utf-16"),
            "with a byte order mark": b"\xef\xbb\xbf" + one.sample,
            "with other line ends": one.sample.replace(b"\n", b"\r\n"),
            "20 MB": b" " * 20_000_000,
            "deep": b'{"version": 2, "run": ' + b"[" * 1_000_000,
            "zeros": bytes(len(one.sample)),
        }.items():
            try_on(odd, name, partial(one.parse, content), must_refuse=True)
        path = Path(work) / "checkpoint" / "epoch_guard.json"
        from paddle_epoch_guard.resume import read_sidecar

        for name, make in {"a pipe": os.mkfifo, "a folder": os.mkdir, "a link to itself": _link_to_itself}.items():
            path.unlink(missing_ok=True)
            make(path)
            try_on(odd, name, lambda: read_sidecar(path.parent, 10), must_refuse=True)
            path.rmdir() if path.is_dir() else path.unlink()
    return [flips, cuts, odd]


def _link_to_itself(path: Path) -> None:
    os.symlink(path, path)


def arrays(samples: Path, every: int, each: int) -> list[Outcome]:
    """The arrays of an index: cut, of another form, with hostile headers, pickled."""
    from faults.parsers import in_memory, parsers

    cuts, forms, flips = (
        Outcome(f"corruption: index arrays, {what}")
        for what in ("cut at every length", "of another form", "bits flipped")
    )
    with tempfile.TemporaryDirectory(dir=in_memory(samples)) as work:
        for one in parsers(samples, Path(work)):
            if not one.name.endswith("_idx"):
                continue
            right = one.parse(one.sample)
            for length in range(0, len(one.sample), each):
                try_on(cuts, f"{one.name}, {length} bytes", partial(one.parse, one.sample[:length]), must_refuse=True)
            for name, content in _forms(one.sample, Path(work)).items():
                try_on(forms, f"{one.name}, {name}", partial(one.parse, content), same=right)
            for at in range(0, len(one.sample) * 8, every):
                place, bit = divmod(at, 8)
                changed = bytearray(one.sample)
                changed[place] ^= 1 << bit
                # Another valid index of the same corpus is only told by its digest, in the sidecar.
                try_on(flips, f"{one.name}, byte {place}, bit {bit}", partial(one.parse, bytes(changed)))
        if (Path(work) / "ran").exists():
            forms.broken.append("a pickle was executed")
    return [cuts, forms, flips]


class _Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


def _forms(sample: bytes, work: Path) -> dict[str, bytes]:
    array = np.load(io.BytesIO(sample))

    def saved(changed: Any, **options: Any) -> bytes:
        stream = io.BytesIO()
        np.save(stream, changed, **options)
        return stream.getvalue()

    def header(text: str, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
        body = text.encode("latin1")
        form = "<H" if version[0] == 1 else "<I"
        return b"\x93NUMPY" + version + struct.pack(form, len(body) if length is None else length) + body

    def described(descr: str, shape: str, order: str = "False") -> bytes:
        return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n") + array.tobytes()

    payload = np.empty(1, dtype=object)
    payload[0] = _Payload(str(work / "ran"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.npy", sample)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.npy", bytes(1 << 24))
    return {
        "as int64": saved(array.astype(np.int64)),
        "as big-endian": saved(array.astype(array.dtype.newbyteorder(">"))),
        "as float": saved(array.astype(np.float64)),
        "as text": saved(array.astype("U20")),
        "as bool": saved(array.astype(bool)),
        "as complex": saved(array.astype(complex)),
        "in Fortran's order": saved(np.asfortranarray(array)),
        "longer": saved(np.concatenate([array, array[-1:]])),
        "with bytes behind": sample + b"\0" * 100,
        "of more dimensions": saved(array[None]),
        "of none": saved(np.int64(5)),
        "empty": saved(array[:0]),
        "negative": saved(-array.astype(np.int64) - 1),
        "huge": saved(array.astype(np.uint64) + (1 << 63)),
        "all alike": saved(np.zeros_like(array)),
        "pickled": saved(payload, allow_pickle=True),
        "archive": archive.getvalue(),
        "archive that unpacks to much": bomb.getvalue(),
        "shape of 2**40": described("'<i4'", "(1099511627776,)"),
        "shape of 2**124": described("'<i4'", "(4611686018427387904, 4611686018427387904)"),
        "shape below zero": described("'<i4'", "(-1,)"),
        "shape of text": described("'<i4'", "('a',)"),
        "shape of truth": described("'<i4'", "(True,)"),
        "objects": described("'|O'", "(4,)"),
        "fields": described("[('a', '<i4'), ('b', '|O')]", "(4,)"),
        "arrays of arrays": described("('<i4', (1000000000,))", "(4,)"),
        "bytes of no kind": described("'|V8'", "(4,)"),
        "items of 2 GB": described("'|S2147483647'", "(1,)"),
        "order of text": described("'<i4'", "(4,)", "'no'"),
        "header that calls": header("__import__('os').mkdir('/tmp/ran')"),
        "header that is deep": header("(" * 9000),
        "header of 4 GB": header("{}", b"\x02\x00", 0xFFFFFFFF),
        "header of nothing": header(""),
        "version 9": sample[:6] + b"\x09\x00" + sample[8:],
        "text": b"GPT Dataset\n",
        "nothing": b"",
    }


def descriptions(samples: Path) -> list[Outcome]:
    """Descriptions with tricks in them."""
    from faults.parsers import in_memory, parsers

    outcome = Outcome("corruption: descriptions, paths, numbers, encodings")
    changes: dict[bytes, list[bytes]] = {
        b"Data prefix ": [
            b"Data prefix ../../../etc/",
            b"Data prefix /dev/zero\n",
            b"Data prefix \x00",
            b"Data prefix ",
        ],
        b"train": [b"../../x", b"valid", b"train\x00", b"TRAIN", b"\xff\xfe", "tr\u00e4in".encode()],
        b"samples 96": [
            b"samples 999999999999999999",
            b"samples -1",
            b"samples 1e9",
            b"samples 0x60",
            b"samples " * 99,
        ],
        b"length 8": [b"length 0", b"length 999999999999999999", b"length 08", "length \u0668".encode()],
        b"seed 1": [b"seed 99999999999999999999999", b"seed -1", b"seed 1.0"],
        b"100,0,0": [
            b"1e308,1e308,1e308",
            b"nan,1,1",
            b"-1,2,3",
            b"inf",
            b"0,0,0",
            b"1" * 100_000,
            b"1," * 50_000,
            b"",
        ],
        b"\n": [b"\r\n", b"\n\n", b"\x85", b""],
        b'"GPTDataset"': [b'"X"', b"null", b"[]"],
        b"1.0": [b"1e999", b"NaN", b"-1", b"true", b"1" * 5000],
        b": 96": [b": 1" + b"0" * 400, b": -1", b": true", b': "96"', b": 1e3"],
        b": 8": [b": 0", b": 1" + b"0" * 400, b": 1e3"],
        b"[0, 1.0]": [b"[0, 1, 2]", b"{}", b"[1.0, 0]", b"[[[[[[[["],
    }
    with tempfile.TemporaryDirectory(dir=in_memory(samples)) as work:
        for one in parsers(samples, Path(work)):
            if one.name not in ("description", "described", "blend", "megatron", "megatron-blend", "note"):
                continue
            contents = [one.sample.replace(old, new) for old, some in changes.items() for new in some]
            contents += [one.sample.decode().encode(code) for code in ("utf-16", "utf-32", "cp037")]
            contents += [one.sample[:length] for length in range(0, len(one.sample), 3)]
            contents += [b"", b"\0" * 70_000, b"[" * 100_000, b"\xed\xa0\x80" * 100, b"\xef\xbb\xbf" + one.sample]
            for at, content in enumerate(contents):
                try_on(outcome, f"{one.name}, {at}: {content[:60]!r}", partial(one.parse, content))
    return [outcome]


def pointers(samples: Path) -> list[Outcome]:
    """Pointers of a corpus, broken at each document, alone or from there on: each is refused by its document."""
    from corpora import shift_pointers
    from faults.parsers import in_memory
    from paddle_epoch_guard.index.corpus import check_live_corpus, read_sizes

    outcome = Outcome("pointers")
    with tempfile.TemporaryDirectory(dir=in_memory(samples)) as work:
        prefix = Path(work) / "text"
        for suffix in (".idx", ".bin"):
            shutil.copy(samples / "corpus" / f"text{suffix}", f"{prefix}{suffix}")
        documents = len(read_sizes(prefix))
        for first in range(documents):
            for change in (-(2**31), 2**31, -(2**62), -2, 2, -1, 1):
                for rows in (slice(first, first + 1), slice(first, None)):
                    shift_pointers(prefix, rows, change)
                    where = f"documents {rows.start} to {rows.stop}, {change:+}"
                    for check in (read_sizes, check_live_corpus):
                        try_on(outcome, where, partial(check, str(prefix)), must_refuse=True)
                    shift_pointers(prefix, rows, -change)
        outcome.expect(len(read_sizes(prefix)) == documents, "the sound corpus is refused")
    return [outcome]


FOREIGN = ("of another run", "of an earlier checkpoint", "of the same run begun anew", "a byte flipped")


def foreign_sidecar(folder: Path, case: str) -> Outcome:
    """A real resume beside a sidecar that is not the checkpoint's. In a child.

    A damaged one is refused. One of another run or checkpoint is not taken: the run goes on in its own order, which
    the trainer's own state holds, and is refused where that holds none.
    """
    from corpora import build_train, write_corpus
    from paddle_epoch_guard import files
    from training import arguments, forget_order, train

    files.PATIENCE = 0.5
    outcome = Outcome("")
    prefix = write_corpus(folder / "corpus" / "text", (60, 7, 130, 1, 58, 90, 23, 100))
    options = {"max_steps": 24, "save_strategy": "steps", "save_steps": 10, "overwrite_output_dir": True}
    for mode in ("track", "unified"):
        here, there = folder / mode, folder / f"other-{mode}"
        dataset = build_train([prefix], 96, 8)
        for place in (there, here):
            drawn = train(arguments(place, epoch_guard=mode, **options), dataset).first_tokens
        path = here / "run" / "checkpoint-20" / "epoch_guard.json"
        kept = path.read_bytes()
        if case == "of another run":
            shutil.copy(there / "run" / "checkpoint-20" / path.name, path)
        elif case == "of an earlier checkpoint":
            shutil.copy(here / "run" / "checkpoint-10" / path.name, path)
        elif case == "of the same run begun anew":
            train(arguments(here, epoch_guard=mode, **options), dataset)
            path.write_bytes(kept)
        else:
            digit = kept.index(b'"position": ') + len(b'"position": ')
            path.write_bytes(kept[:digit] + bytes([kept[digit] ^ 1]) + kept[digit + 1 :])

        args = arguments(here, epoch_guard=mode, **options)
        resumed = partial(train, args, dataset, resume=str(path.parent))
        if case in ("of another run", "of the same run begun anew"):
            outcome.tried += 1
            outcome.expect(resumed().first_tokens == drawn[20:], f"{mode}, {case}: other samples were drawn")
            forget_order(path.parent)
        try_on(outcome, f"{mode}, {case}", resumed, must_refuse=True)
    return outcome
