"""The table of the comparison of two runs: coverage of its intervals, false differences and power.

    .venv/bin/python benchmarks/comparison.py [--curves 4000] [--only coverage power ...] [--real FOLDER]

Pairs of runs are simulated (comparing/pairs.py). SciPy's tests see the same pairs, if it is there. Instead, ``--real``
takes a folder of .npz files as benchmarks/discontinuity.py does, named ``<settings>-<number>.npz``: pairs of runs with
equal settings are compared (comparing/real_pairs.py).
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for matrices this small, threads only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from comparing import pairs, real_pairs
from diagnosis.tables import Setting, markdown
from discontinuity import measure, table_of
from rich.console import Console


def main() -> None:
    """Prints a table for each group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=4000, help="simulated pairs for each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="groups: " + " ".join(pairs.GROUPS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real runs instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    known = real_pairs.GROUPS if arguments.real else pairs.GROUPS
    unknown = set(arguments.only or ()) - set(known)
    if unknown:
        parser.error(f"no such group: {' '.join(sorted(unknown))}; there are {' '.join(known)}")
    groups = {name: group for name, group in known.items() if not arguments.only or name in arguments.only}
    real = None if arguments.real is None else str(arguments.real)

    console, start = Console(), time.perf_counter()
    rows = measure(groups, Setting(arguments.curves, arguments.seed, real=real), arguments.processes)
    for name, group in groups.items():
        console.print(table_of(group, rows[name]))
    taken = time.perf_counter() - start
    what = "real runs" if real else f"{arguments.curves} pairs a row"
    console.print(f"{what}, seed {arguments.seed}, {taken:.0f} s, {arguments.processes} processes")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv[1:], "tables": rows}, indent=1, ensure_ascii=False))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(group, rows[name]) for name, group in groups.items()))


if __name__ == "__main__":
    main()
