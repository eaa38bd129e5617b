"""Random inputs for every parser: with hypothesis, which changes sound files, and, where it is there, with atheris."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults.corruption import MEMORY, try_on
from faults.processes import ChildError, HungError, in_child
from faults.table import Outcome

ROOT = Path(__file__).parent.parent
ATHERIS = ROOT / ".venv-atheris" / "bin" / "python"
NAMES = (
    "sidecar", "signed sidecar", "description", "blend", "megatron", "megatron-blend", "note", "log", "told",
    "arguments", "described", "corpus", "doc_idx", "sample_idx", "shuffle_idx",
)  # fmt: skip
_WORDS = (
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-0.0", b"9" * 25, b"9" * 400, b"4611686018427387904", b'""',
    b"[", b"{", b"]", b"}", b",", b":", b'"', b"\\u0000", b"\\ud800", b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"../",
    b"\n", b"\r", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x00" * 8, b"inf", b"{1: {", b"(" * 500,
)  # fmt: skip


def fuzz(folder: Path, cases: int) -> Iterator[Outcome]:
    """Gives each parser its share of the cases, by hypothesis.

    Args:
        folder: for the samples.
        cases: in all.
    """
    from faults.samples import write_samples

    samples = folder / "samples"
    if not samples.is_dir():
        in_child(write_samples, samples)
    outcome = Outcome("fuzzing of every parser (hypothesis)")
    share = -(-cases // len(NAMES))
    for name in NAMES:
        try:
            outcome.add(in_child(fuzz_one, samples, name, share, patience=1800, memory=MEMORY))
        except HungError as cause:
            outcome.hung += 1
            outcome.broken.append(f"{name}: {cause}")
        except ChildError as cause:
            outcome.broken.append(f"{name}: {str(cause)[-1500:]}")
        outcome.note = f"{len(NAMES)} parsers"
        yield outcome


def fuzz_one(samples: Path, name: str, cases: int) -> Outcome:
    """Changes the sample of one parser in random places. In a child."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    from faults.parsers import in_memory, parsers

    outcome = Outcome("")
    edit = st.tuples(
        st.integers(0, 1 << 16),
        st.one_of(st.integers(0, 4), st.integers(0, 200)),
        st.one_of(st.sampled_from(_WORDS), st.binary(max_size=16)),
    )
    with tempfile.TemporaryDirectory(dir=in_memory(samples)) as work:
        tested = next(parser for parser in parsers(samples, Path(work)) if parser.name == name)

        def attempt(edits: list[tuple[int, int, bytes]]) -> None:
            # Ten inputs of one draw, which takes hypothesis longer than a parser.
            for first in range(min(len(edits), cases - outcome.tried)):
                chosen = edits[first : first + 1 + first % 5]
                content = tested.sample
                for place, removed, put in chosen:
                    at = place % (len(content) + 1)
                    content = content[:at] + put + content[at + removed :]
                try_on(outcome, f"{name}: {chosen}", partial(tested.parse, content))

        for number in range(20):
            if outcome.tried >= cases:
                break
            settled = settings(
                max_examples=-(-cases // 10), deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            seed(number)(settled(given(st.lists(edit, min_size=10, max_size=10))(attempt)))()
    return outcome


def coverage_fuzz(folder: Path, runs: int) -> Outcome:
    """Gives each parser so many inputs that atheris makes, guided by which lines they reach.

    It runs in an environment of its own (``scripts/make-atheris-venv``); where that is not there, it is skipped.
    """
    outcome = Outcome("fuzzing of every parser (atheris, by coverage)")
    if not ATHERIS.exists():
        outcome.skipped = "atheris is not installed: scripts/make-atheris-venv"
        return outcome
    for name in NAMES:
        try:
            with tempfile.TemporaryDirectory() as work:
                command = [str(ATHERIS), "-m", "faults.coverage", str(folder / "samples"), work, name, str(runs)]
                done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)
        except subprocess.TimeoutExpired:
            outcome.hung += 1
            outcome.broken.append(f"{name}: took more than 900 s")
            continue
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"tried"')]
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {"tried": 0}
        outcome.tried += result["tried"]
        if done.returncode != 0 or not result["tried"]:
            outcome.broken.append(f"{name}: {done.returncode}, {(done.stderr or done.stdout)[-1500:]}")
    return outcome


if __name__ == "__main__":
    sys.exit("make faults")
