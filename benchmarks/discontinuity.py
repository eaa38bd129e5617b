"""The table of the diagnosis: how often it reports a jump that does not exist, and how often one that does.

    .venv/bin/python benchmarks/discontinuity.py [--curves 1000] [--only placebo power ...] [--real FOLDER]

The curves are simulated with the noise of real runs (diagnosis/curves.py). Peers are measured on the same curves if
scripts/make-bench-venv has made .venv-bench. Instead, ``--real`` takes a folder of .npz files, one for each run, with
``loss`` [steps], ``first`` (the number of the first step), ``val_steps`` and ``val``.
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for matrices this small, threads only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from diagnosis import peers, real_rows, rows_of_tests, shapes, verdict_rows
from diagnosis.command import chosen_groups, parser_of, print_tables
from diagnosis.tables import Setting

SIMULATED = rows_of_tests.GROUPS | verdict_rows.GROUPS | shapes.GROUPS
ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-bench" / "bin" / "python"


def main() -> None:
    """Prints a table for each group."""
    parser = parser_of(__doc__, 1000, "curves", "real curves", SIMULATED)
    parser.add_argument("--no-peers", action="store_true", help="do not measure the peers")
    arguments = parser.parse_args()
    groups = chosen_groups(parser, arguments, real_rows.GROUPS if arguments.real else SIMULATED)
    interpreter = str(PEERS) if PEERS.exists() and peers.are_installed(PEERS) and not arguments.no_peers else None
    real = None if arguments.real is None else str(arguments.real)
    setting = Setting(arguments.curves, arguments.seed, interpreter, real)
    print_tables(groups, setting, arguments, "real curves" if real else f"{arguments.curves} curves a row")
    if interpreter is None and not arguments.no_peers:
        print(peers.HOW_TO)


if __name__ == "__main__":
    main()
