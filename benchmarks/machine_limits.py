"""What the machine cannot do faster: random reads by compiled code that does nothing else."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("random_reads.c")


def random_read_seconds(values: Any, threads: int) -> float | None:
    """Wall seconds in which threads read as many 4-byte values at random as there are.

    Args:
        values: uint32, contiguous, ``[n]``; usually mapped.
        threads: how many share the reads.

    Returns:
        The seconds; None without a C compiler.
    """
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "random_reads.so"
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", SOURCE, "-o", library], check=True)
        read = ctypes.CDLL(str(library)).random_reads  # ctypes lets other threads run during a call
        read.restype = ctypes.c_uint64
        read.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64]
        where, length = values.ctypes.data, len(values)
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(lambda seed: read(where, length, length // threads, seed), range(1, threads + 1)))
            return time.perf_counter() - start
