"""One parser under atheris: ``python -m faults.coverage SAMPLES PARSER RUNS``, in an environment that has it.

libFuzzer ends the process itself. So the count of inputs is printed as it grows.
"""

import atexit
import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["paddle_epoch_guard"]):
    from faults.parsers import in_memory, parsers

from faults.processes import limit_memory
from paddle_epoch_guard.errors import EpochGuardError


def main(samples: str, name: str, runs: str) -> None:
    """Fuzzes one parser; a fault ends the process with another status than 0."""
    work = tempfile.TemporaryDirectory(dir=in_memory(Path(samples)))
    seeds = tempfile.TemporaryDirectory()
    one = next(parser for parser in parsers(Path(samples), Path(work.name)) if parser.name == name)
    (Path(seeds.name) / "sample").write_bytes(one.sample)
    limit_memory(1 << 30)
    tried = 0

    def test(content: bytes) -> None:
        nonlocal tried
        tried += 1
        with contextlib.suppress(EpochGuardError):
            one.parse(content)

    def end() -> None:
        print(f'{{"tried": {tried}}}', flush=True)
        work.cleanup()
        seeds.cleanup()

    atexit.register(end)
    options = [f"-runs={runs}", "-timeout=20", "-rss_limit_mb=2048", f"-max_len={2 * len(one.sample) + 64}", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", "-artifact_prefix=/tmp/", seeds.name], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
