"""How long the fingerprint of an index takes, whatever its size.

    .venv/bin/python benchmarks/fingerprint.py

Index files of 10^6, 10^8 and 10^9 samples (sparse: they take no room on the disk) are opened and fingerprinted as at
every start of a guarded run. Beside it stands what the host does with the same files at that point: opening them.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from paddle_epoch_guard.index.fingerprint import digest_array


def main() -> None:
    """Prints a line for each size."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("samples        files    host opens   fingerprint   growth")
    first = None
    for samples in (10**6, 10**8, 10**9):
        with tempfile.TemporaryDirectory() as folder:
            shapes = {"doc": (samples // 10,), "sample": (samples + 1, 2), "shuffle": (samples,)}
            shapes["sizes"] = (samples // 20,)
            paths = {name: Path(folder) / f"{name}.npy" for name in shapes}
            for name, shape in shapes.items():
                dtype = np.uint32 if name == "shuffle" else np.int32
                np.lib.format.open_memmap(paths[name], "w+", dtype, shape)
            total = sum(path.stat().st_size for path in paths.values())
            start = time.perf_counter()
            arrays = [np.load(path, mmap_mode="r") for path in paths.values()]
            opened = time.perf_counter() - start
            start = time.perf_counter()
            for array in arrays:
                digest_array(array)
            taken = time.perf_counter() - start
            first = first or taken
            print(
                f"{samples:>13,} {total / 1e9:>7.2f} GB {opened * 1e3:>9.1f} ms {taken * 1e3:>10.1f} ms "
                f"{taken / first:>10.2f} x the time for {samples // 10**6:,} x the samples"
            )


if __name__ == "__main__":
    main()
