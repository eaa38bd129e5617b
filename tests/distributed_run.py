"""One rank of a data-parallel run; launched by test_distributed.py."""

import json
import sys
from pathlib import Path

import paddle

from corpora import build_train
from training import arguments, train


def main(folder, prefix, cache_of_rank_1, changes, resume=None):
    rank = paddle.distributed.ParallelEnv().rank
    args = arguments(folder, max_steps=32, per_device_train_batch_size=2, logging_steps=10, **json.loads(changes))
    cache = folder / "cache" if rank == 0 else Path(cache_of_rank_1)
    dataset = build_train([prefix], 32 * 4, 8, cache=cache)
    run = train(args, dataset, resume=resume)
    found = {"tokens": run.first_tokens, "losses": list(run.losses.items()), "steps": run.steps}
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
