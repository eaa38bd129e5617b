"""One rank of a run on several processes; launched by test_distributed.py."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import paddle
from paddle.distributed.fleet.meta_parallel import tensor_parallel

import training
from corpora import build_train
from faults.processes import leave
from followed import FollowedGuard
from hosts import NAME, Trainer
from paddle_epoch_guard.host import library
from paddle_epoch_guard.index import EpochSampledIndex
from pretraining import PretrainingTrainer
from training import arguments, train

TRAINERS = {"pretraining": PretrainingTrainer, "base": Trainer}


def data_loader(dataset, feed_list, places, return_list, *others):
    """``paddle.io.DataLoader`` as DistDataLoader calls it.

    paddlepaddle 3.3.1 has an argument more in the middle, and paddlenlp 3.0.0b4 passes all of them by place.
    """
    names = ["batch_sampler", "batch_size", "shuffle", "drop_last", "collate_fn", "num_workers", "use_buffer_reader"]
    names += ["prefetch_factor", "use_shared_memory", "timeout", "worker_init_fn", "persistent_workers"]
    return paddle.io.DataLoader(
        dataset,
        feed_list=feed_list,
        places=places,
        return_list=return_list,
        **dict(zip(names, others, strict=True)),
    )


def mend_tensor_parallelism():
    """What stands in the way of DistDataLoader with this paddlepaddle, and of tensor parallelism on a CPU."""
    dist_dataloader = library.import_host("data.dist_dataloader")
    # Its check refuses a CPU; DistDataLoader has already given all ranks their inputs.
    tensor_parallel.broadcast_input_data = lambda hcg, *inputs, **named: (inputs, named)
    dist_dataloader.paddle = SimpleNamespace(
        io=SimpleNamespace(DataLoader=data_loader), framework=paddle.framework, distributed=paddle.distributed
    )


def followed(guard, rank, first_step, last_step):
    """The positions of the index that the guard says this rank drew, step by step; None where it knows of none."""
    plan = guard.plan
    if plan is None or plan.index is None or plan.schedule is None:
        return None
    drawn = [plan.schedule.positions(step, rank) for step in range(first_step, last_step + 1)]
    if isinstance(plan.index, EpochSampledIndex):
        drawn = [plan.index.order.at(positions) for positions in drawn]
    return [positions.tolist() for positions in drawn]


def main(folder, prefix, cache_of_rank_1, changes, resume=None):
    place = paddle.distributed.ParallelEnv()
    if NAME == "paddlenlp":
        mend_tensor_parallelism()
    else:  # waits for a device before a step of several microbatches, which a CPU is not taken for
        paddle.device.synchronize = lambda: None
    cache = folder / "cache" if place.rank == 0 else Path(cache_of_rank_1)
    changes = json.loads(changes)
    then = changes.pop("then", None)
    one_run(folder, prefix, cache, changes, resume, f"rank{place.rank}.json")
    if then is not None:  # a second run in the same processes, resumed from the first one
        checkpoint = str(folder / "run" / f"checkpoint-{then.pop('resume')}")
        one_run(folder, prefix, cache, {**changes, **then}, checkpoint, f"rank{place.rank}.then.json")


def one_run(folder, prefix, cache, changes, resume, name):
    ranks = paddle.distributed.ParallelEnv().nranks
    values = {"max_steps": 32, "per_device_train_batch_size": 2, "logging_steps": 10, **changes}
    model = values.pop("model", "TokenModel")
    trainer = TRAINERS[values.pop("trainer", "pretraining")]
    index_seed = values.pop("index_seed", 1)
    samples = values.pop("samples", values["max_steps"] * values["per_device_train_batch_size"] * ranks)
    args = arguments(folder, **values)
    dataset = build_train([prefix], samples, 8, seed=index_seed, cache=cache, need_data=args.should_load_dataset)
    guard = FollowedGuard()
    run = train(args, dataset, resume=resume, model=getattr(training, model), trainer=trainer, callbacks=[guard])
    found = {"tokens": run.first_tokens, "losses": list(run.losses.items()), "steps": run.steps}
    first_step = 1 if resume is None else int(Path(resume).name.split("-")[1]) + 1
    found["followed"] = followed(guard, args.dataset_rank, first_step, run.steps)
    (folder / name).write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    leave()
