"""All faults, the long form: ``make faults``."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.corruption import corruption
from faults.disk import disk_faults
from faults.fuzz import coverage_fuzz, fuzz
from faults.injection import injected_faults, report_faults
from faults.kills import SETTINGS, TWO_RANKS, kill_runs
from faults.launched import launched_kill
from faults.misuse import misuses
from faults.races import races
from faults.soak import soaked
from faults.table import Outcome, table
from faults.users import user_faults

FUZZED = 100_000
COVERED = 5_000


def kills(folder: Path) -> Iterator[Outcome]:
    """A run that is killed, in one process and in two."""
    yield from kill_runs(folder / "one", "SIGKILL: 1 process", SETTINGS, range(2), 8)
    between = SETTINGS[1], SETTINGS[2], SETTINGS[4], SETTINGS[7]
    fault = "SIGKILL: between checkpoint and sidecar"
    yield from kill_runs(folder / "between", fault, between, range(7), 8, aims=("sidecar",))
    yield from kill_runs(folder / "two", "SIGKILL: one of 2 ranks", TWO_RANKS, range(1), 8)
    yield launched_kill(folder / "launched")


def parsers(folder: Path) -> Iterator[Outcome]:
    """Random inputs for every parser."""
    yield from fuzz(folder, FUZZED)
    yield coverage_fuzz(folder, COVERED)


def injection(folder: Path) -> Iterator[Outcome]:
    """A fault in any function."""
    yield from injected_faults(folder)
    yield from report_faults(folder / "report", every=4)


KINDS = {
    "kills": kills,
    "disk": disk_faults,
    "corruption": corruption,
    "fuzz": parsers,
    "races": races,
    "injection": injection,
    "users": user_faults,
    "misuse": misuses,
    "soak": lambda folder: soaked(folder, 20_000, 4_000),
}


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for: all kinds, where it names none."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    # Not `choices`, against which Python 3.11 also holds the list that stands for no argument.
    parser.add_argument(
        "kinds", nargs="*", type=_kind, metavar="kind", help=f"{', '.join(KINDS)}; those to try, all by default"
    )
    parser.add_argument("--keep", type=Path, help="a folder for all files, which is kept")
    options = parser.parse_args(arguments)
    options.kinds = options.kinds or list(KINDS)
    return options


def _kind(name: str) -> str:
    if name not in KINDS:
        raise argparse.ArgumentTypeError(f"{name!r}; expected one of {', '.join(KINDS)}")
    return name


def main() -> int:
    """Tries everything, says how it goes on standard error, and prints the table.

    Returns:
        0 where every promise was kept.
    """
    options = options_of()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # paddle's, in every child
    folder = options.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    began, outcomes = time.monotonic(), {}
    for kind in options.kinds:
        for outcome in KINDS[kind](folder / kind):
            outcomes[outcome.fault] = outcome
            told = "all kept" if outcome.is_kept else f"{len(outcome.broken)} BROKEN"
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            line = f"{minutes:>3}:{seconds:02}  {outcome.fault}: {outcome.tried:,} tried, {told}"
            print(line, file=sys.stderr, flush=True)
    print(table(outcomes.values()))
    broken = [(one.fault, what) for one in outcomes.values() for what in one.broken]
    for fault, what in broken:
        print(f"\n{fault}: {what}")
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(one.is_kept for one in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
