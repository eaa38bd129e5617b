"""One parser under atheris: ``python -m faults.coverage SAMPLES WORK PARSER RUNS``, in an environment that has it.

libFuzzer ends the process itself. So the count of inputs is printed as it grows.
"""

import contextlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["paddle_epoch_guard"]):
    from faults.parsers import parsers

from faults.processes import limit_memory
from paddle_epoch_guard.errors import EpochGuardError

EVERY = 100
"""Inputs after which their number is said."""


def main(samples: str, work: str, name: str, runs: str) -> None:
    """Fuzzes one parser; a fault ends the process with another status than 0."""
    for folder in ("seeds", "files"):
        (Path(work) / folder).mkdir()
    one = next(parser for parser in parsers(Path(samples), Path(work) / "files") if parser.name == name)
    (Path(work) / "seeds" / "sample").write_bytes(one.sample)
    limit_memory(1 << 30)
    tried = 0

    def test(content: bytes) -> None:
        nonlocal tried
        tried += 1
        if tried % EVERY == 0:
            print(f'{{"tried": {tried}}}', flush=True)
        with contextlib.suppress(EpochGuardError):
            one.parse(content)

    options = [f"-runs={runs}", "-timeout=20", "-rss_limit_mb=2048", f"-max_len={2 * len(one.sample) + 64}", "-seed=1"]
    options += ["-verbosity=0", f"-artifact_prefix={work}/"]
    atheris.Setup([sys.argv[0], *options, f"{work}/seeds"], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
