"""Every parser of what is read from disk, as a function of bytes.

Each must refuse what it is given by an error of this package, or take it. Anything else is a fault: another exception,
a wait without end, or memory without bounds.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faults.samples import STEP
from paddle_epoch_guard.index.cache import read_cache
from paddle_epoch_guard.index.choosing import choose
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import Description, split_documents
from paddle_epoch_guard.index.folder import PADDLE, IndexFiles, describe
from paddle_epoch_guard.index.megatron import MegatronBlend, MegatronDescription
from paddle_epoch_guard.order import PositionMap
from paddle_epoch_guard.order.materialise import read_note
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import RECORD_NAME
from paddle_epoch_guard.report.log_folders import parsed_arguments
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, read_sidecar
from paddle_epoch_guard.resume.legacy_verdicts import change_of, report_of
from paddle_epoch_guard.resume.sidecar import _HEAD, _digest
from paddle_epoch_guard.views.logfile import read_log_file, sound_length

Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Parser:
    """One parser, and a file that it takes."""

    name: str
    sample: bytes
    parse: Parse


def parsers(samples: Path, work: Path) -> list[Parser]:
    """All parsers.

    Args:
        samples: what `write_samples` wrote.
        work: an empty folder for what they are to read; best in memory.
    """
    prefix = str(samples / "corpus" / "text")
    digest = next((samples / "cache").glob("*.dsc")).stem

    def placed(name: str, content: bytes) -> Path:
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def sidecar(content: bytes) -> Sidecar | None:
        record = read_sidecar(placed(f"checkpoint/{SIDECAR_NAME}", content).parent, STEP)
        if record is not None:
            use(record)
        return record

    def signed_sidecar(content: bytes) -> Sidecar | None:
        """As the guard writes it, whatever it says: what a digest does not catch."""
        head = _HEAD.match(content)
        body = content if head is None else b"{" + content[head.end() :]
        return sidecar(b'{\n  "digest": "' + _digest(body) + b'",' + body[1:])

    def description(content: bytes) -> object:
        parsed = Description.parse(content.decode("utf-8", "surrogateescape"), "a description")
        return split_documents(parsed.split, parsed.name, 40)

    def described(content: bytes) -> object:
        stem = hashlib.md5(content, usedforsecurity=False).hexdigest()
        for old in work.glob("described/*"):
            old.unlink()
        path = placed(f"described/{stem}.dsc", content)
        choose(path.parent, None)
        return describe(IndexFiles(path.parent, stem, PADDLE))

    def array(which: str) -> Parse:
        folder = work / f"cache-{which}"
        shutil.copytree(samples / "cache", folder)

        def parse(content: bytes) -> object:
            path = folder / f"{digest}_{which}.npy"
            path.unlink(missing_ok=True)  # what a reader has mapped stays whole
            path.write_bytes(content)
            index = read_cache(folder, prefix, digest=digest)
            return index.epoch_of(np.arange(len(index))).sum()

        return parse

    def corpus(content: bytes) -> object:
        path = work / "text.idx"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        sizes = read_sizes(work / "text")
        return int(sizes[:1000].sum())

    def blend(content: bytes) -> object:
        from paddle_epoch_guard.index.folder import _describe_blend

        return _describe_blend(content.decode("utf-8", "surrogateescape"), "a blend")

    def megatron(content: bytes) -> object:
        parsed = MegatronDescription.parse(content.decode("utf-8", "surrogateescape"), "a description")
        return parsed.documents(40)

    def megatron_blend(content: bytes) -> object:
        return MegatronBlend.parse(content.decode("utf-8", "surrogateescape"), "a blend")

    def note(content: bytes) -> object:
        return [
            PositionMap((reorder,)).base([reorder.start, reorder.stop - 1])
            for reorder in read_note(placed("note", content))
        ]

    def log(content: bytes) -> object:
        path = placed("log", content)
        records = read_log_file(path)
        length, _ = sound_length(path)
        if not 0 <= length <= len(content):
            raise AssertionError(f"{length} sound bytes of {len(content)}")
        return records

    def told(content: bytes) -> object:
        return report_of(content.decode("utf-8", "replace"), change_of("boundary_1_to_2", 15))

    def events(content: bytes) -> object:
        record = RecordFile.open(placed(RECORD_NAME, content))
        return [*record.lines()], record.faults

    def arguments(content: bytes) -> object:
        return parsed_arguments(content.decode("utf-8", "replace"))

    shutil.copy(f"{prefix}.bin", work / "text.bin")
    simple: dict[str, Parse] = {
        "description": description,
        "blend": blend,
        "megatron": megatron,
        "megatron-blend": megatron_blend,
        "note": note,
        "log": log,
        "told": told,
        "events": events,
        "arguments": arguments,
    }
    record = (samples / "checkpoint" / SIDECAR_NAME).read_bytes()
    listed = [Parser("sidecar", record, sidecar), Parser("signed sidecar", record, signed_sidecar)]
    listed += [Parser(name, (samples / name).read_bytes(), parse) for name, parse in simple.items()]
    listed.append(Parser("described", (samples / "description").read_bytes(), described))
    listed.append(Parser("corpus", Path(f"{prefix}.idx").read_bytes(), corpus))
    for which in ("doc_idx", "sample_idx", "shuffle_idx"):
        content = (samples / "cache" / f"{digest}_{which}.npy").read_bytes()
        listed.append(Parser(which, content, array(which)))
    return listed


def use(sidecar: Sidecar) -> None:
    """What a start computes from a sidecar, as far as it does not depend on the live run."""
    sidecar.schedule.position_after(sidecar.step)
    sidecar.schedule.draws(sidecar.step, sidecar.step + 3)
    sidecar.schedule.crossings(sidecar.position)
    positions = PositionMap(sidecar.reorders)
    positions.base([0, sidecar.position])
    positions.drawn([0, sidecar.position])


def in_memory(fallback: Path) -> Path:
    """A folder in memory, where there is one."""
    return Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else fallback
