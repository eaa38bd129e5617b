"""The table of the comparison of two runs: coverage of its intervals, false differences and power.

    .venv/bin/python benchmarks/comparison.py [--curves 4000] [--only coverage power ...] [--real FOLDER]

Pairs of runs are simulated (comparing/pairs.py). SciPy's tests see the same pairs, if it is there. Instead, ``--real``
takes a folder of .npz files as benchmarks/discontinuity.py does, named ``<settings>-<number>.npz``: pairs of runs with
equal settings are compared (comparing/real_pairs.py).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for matrices this small, threads only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from comparing import pairs, real_pairs
from diagnosis.command import chosen_groups, parser_of, print_tables
from diagnosis.tables import Setting


def main() -> None:
    """Prints a table for each group."""
    parser = parser_of(__doc__, 4000, "pairs", "real runs", pairs.GROUPS)
    arguments = parser.parse_args()
    groups = chosen_groups(parser, arguments, real_pairs.GROUPS if arguments.real else pairs.GROUPS)
    real = None if arguments.real is None else str(arguments.real)
    what = "real runs" if real else f"{arguments.curves} pairs a row"
    print_tables(groups, Setting(arguments.curves, arguments.seed, real=real), arguments, what)


if __name__ == "__main__":
    main()
