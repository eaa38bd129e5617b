"""grain's computed shuffle, a lookup after the other, for the row of the random lookups; run in .venv-bench.

Takes a size; at each line read it looks 4,096 random positions up, and prints the processor's seconds.
"""

import random
import sys
import time

from grain._src.python.experimental.index_shuffle.python.index_shuffle_module import index_shuffle

size = int(sys.argv[1])
asked = random.Random(0).choices(range(size), k=4096)
for _ in sys.stdin:
    start = time.process_time()
    found = [index_shuffle(position, size - 1, seed=7, rounds=4) for position in asked]
    print(time.process_time() - start, flush=True)
