"""PaddleFormers' own launchers, whole: the guard reaches each rank, whichever Python starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("paddleformers")

from paddleformers.cli import launcher

from corpora import build_train, write_corpus
from hosts import CPU_ARGUMENTS
from paddle_epoch_guard.order import PositionMap, Reorder

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
ON_CPU = Path(__file__).parent / "on_cpu"
SIZES = (100, 7, 230, 1, 58, 190, 23, 200)
STEPS, BATCH, LENGTH, SEED = 32, 4, 8, 42
TRAINING = {
    "stage": "dsv3_pretrain",  # of the workflows that read a sample index, one with the pretraining sampler
    "model_name_or_path": "./model",
    "continue_training": False,
    "split": "100,0,0",
    "max_seq_len": LENGTH,
    "do_train": True,
    "max_steps": STEPS,
    "eval_steps": 100,
    "logging_steps": 10,
    "save_strategy": "no",
    "output_dir": "./out",
    "device": "cpu",
    "bf16": False,
    "seed": SEED,
    **CPU_ARGUMENTS,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus, and what is drawn of it in unified order: the first token of each sample."""
    prefix = write_corpus(tmp_path_factory.mktemp("corpus") / "text", SIZES)
    dataset = build_train([prefix], STEPS * BATCH, LENGTH, seed=SEED)
    order = PositionMap([Reorder(0, STEPS * BATCH, "uniform", (SEED, 1, 0))]).base(np.arange(STEPS * BATCH))
    return prefix, [int(dataset[p]["text"][0]) for p in order]


@pytest.fixture
def folder(tmp_path, corpus):
    """A folder with all that a training needs, as no hub can be reached: a configuration and a tokenizer."""
    from tokenizers import Tokenizer, models

    prefix, _ = corpus
    model = tmp_path / "model"
    model.mkdir()
    words = {"</s>": 0, **{f"w{n}": n for n in range(1, 1024)}}
    Tokenizer(models.WordLevel(words, unk_token="</s>")).save(str(model / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "</s>"}
    (model / "tokenizer_config.json").write_text(json.dumps(told))
    (model / "config.json").write_text(json.dumps({"model_type": "deepseek_v3", "vocab_size": 1024}))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**TRAINING, "input_dir": f"1.0 {prefix}"}))
    return tmp_path


def run(folder, *arguments):
    """``paddle-epoch-guard run``, in an activated environment: ``paddleformers-cli`` starts the path's ``python``.

    ``CUDA_VISIBLE_DEVICES``: without it, ``paddleformers-cli`` (1.2.0) passes an empty ``--gpus`` on a machine
    that has none, and its own launcher stops at once.
    """
    environment = os.environ | {
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ON_CPU)]),
        "CUDA_VISIBLE_DEVICES": "0",
    }
    command = [sys.executable, "-m", "paddle_epoch_guard", "run", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    logs = "".join(path.read_text() for path in sorted(folder.glob("*/workerlog.*")))
    assert done.returncode == 0, (done.stderr + logs)[-3000:]
    assert "paddle-epoch-guard: warning" not in done.stderr + logs
    assert (done.stdout + done.stderr + logs).count("added to PretrainingTrainer by") >= 1
    return done


def drawn(folder, rank=0):
    return [json.loads(line) for line in (folder / f"drawn{rank}.jsonl").read_text().splitlines()]


def test_its_console_script_trains_in_unified_order(folder, corpus):
    """Three Pythons: the console script, in run's own; the launcher that it starts; and the rank that that starts."""
    options = ["per_device_train_batch_size=4", "--epoch_guard", "unified", "--epoch_guard_report", "False"]
    done = run(folder, "paddleformers-cli", "train", "train.yaml", *options)
    assert sum(drawn(folder), []) == corpus[1]
    said = (
        "paddle-epoch-guard: this process starts another Python; the guard goes with it: python -m paddle.distributed"
    )
    assert said in done.stderr


def test_its_launcher_as_a_module_takes_the_flags_of_the_config(folder, corpus):
    with open(folder / "train.yaml", "a") as stream:
        print("per_device_train_batch_size: 4\nepoch_guard: unified\nepoch_guard_report: false", file=stream)
    run(folder, "-m", "paddleformers.cli.launcher", "train", "train.yaml")
    assert sum(drawn(folder), []) == corpus[1]


@pytest.mark.multiprocess
def test_its_launcher_on_two_ranks_draws_one_unified_order(folder, corpus):
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo", "--log_dir", "logs"]
    options = ["per_device_train_batch_size=2", "--epoch_guard", "unified", "--epoch_guard_report", "False"]
    run(folder, *launch, launcher.__file__, "train", "train.yaml", *options)
    order = np.reshape(corpus[1], (STEPS, 2, BATCH // 2))
    for rank in (0, 1):
        assert drawn(folder, rank) == order[:, rank].tolist()
