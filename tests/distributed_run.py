"""One rank of a data-parallel run; launched by test_distributed.py."""

import json
import sys
from pathlib import Path

import paddle

import training
from corpora import build_train
from training import arguments, train


def main(folder, prefix, cache_of_rank_1, changes, resume=None):
    place = paddle.distributed.ParallelEnv()
    values = {"max_steps": 32, "per_device_train_batch_size": 2, "logging_steps": 10, **json.loads(changes)}
    model = values.pop("model", "TokenModel")
    index_seed = values.pop("index_seed", 1)
    args = arguments(folder, **values)
    cache = folder / "cache" if place.rank == 0 else Path(cache_of_rank_1)
    samples = args.max_steps * args.per_device_train_batch_size * place.nranks
    dataset = build_train([prefix], samples, 8, seed=index_seed, cache=cache)
    run = train(args, dataset, resume=resume, model=getattr(training, model))
    found = {"tokens": run.first_tokens, "losses": list(run.losses.items()), "steps": run.steps}
    (folder / f"rank{place.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
