"""What is PaddleFormers' own: ``make test-paddleformers``."""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("paddleformers")

import demo
import foretold
from corpora import LENGTH, SEPARATED, SIZES, build_train, index_of, write_corpus
from models import tiny_llama
from runlog import read_scalar
from training import arguments, train
from vdl_logs import read_scalars, read_texts

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]


def test_the_extra_is_satisfied_by_the_pinned_set():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    dry = subprocess.run([*command, ".[paddleformers]"], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    would_install = [line for line in dry.stdout.splitlines() if line.startswith("Would install")]
    assert would_install in ([], ["Would install paddle-epoch-guard-0.1.0"])


def test_the_demos_run_falls_off_its_cliff_which_is_called_an_artefact(tmp_path):
    corpus = demo.write_corpus(tmp_path / "data")
    demo.logger.set_level("WARNING")
    options = argparse.Namespace(model="ngram", output=tmp_path)
    steps_per_epoch = demo.count_train_tokens(corpus) / demo.SEQ_LENGTH / demo.BATCH
    try:
        demo.train(corpus, options, "separated", int(1.2 * steps_per_epoch), "track")
    finally:
        demo.logger.set_level("DEBUG")
    logs = tmp_path / "logs" / "separated"
    marker = logs / "epoch_guard" / "boundary_1_to_2"
    ((step, _), *_) = read_scalars(marker, "train/loss")
    assert step == int(steps_per_epoch) + 1
    before, after = read_scalar(logs, "train/loss").sides(step - 1, step + 1)
    assert after - before < -0.8
    told = read_texts(marker, "epoch_guard/boundary_1_to_2")[-1]
    assert "artefact (evaluation does not jump with it)" in told
    assert "exposure 0.00 before and 1.00 after" in told
    assert (logs / "epoch_guard").is_dir()


def test_its_llama_has_a_loss_for_each_sample(tmp_path, host_log):
    dataset = build_train([write_corpus(tmp_path / "corpus" / "text", [1000])], 180, 8)
    run = train(arguments(tmp_path, max_steps=4, epoch_guard="unified"), dataset, model=lambda: tiny_llama(1024, 8))
    assert list(run.losses.values()) == pytest.approx([np.log(1024)] * 4, rel=0.05)  # as before any learning
    assert not [text for text in host_log.of_guard() if "by share" in text]


def test_a_prefix_may_be_marked_for_continued_pretraining(tmp_path):
    """The mark is not part of the corpus's name, nor of the index's."""
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    plain = build_train([prefix], SEPARATED, LENGTH)
    marked = build_train([f"{prefix}::CPT"], SEPARATED, LENGTH)
    assert index_of(marked).description == index_of(plain).description
    assert set(marked[0]) == {"text", "position_ids"}
    run = train(arguments(tmp_path, max_steps=4), marked)
    assert run.first_tokens == [[int(plain[p]["text"][0]) for p in range(at, at + 4)] for at in range(0, 16, 4)]


def test_it_builds_runs_as_plan_foretells(tmp_path):
    runs = foretold.planned_runs(foretold.write_corpora(tmp_path / "corpora"), 200, seed=25)
    built = [foretold.built_by_paddle(run, tmp_path / str(number)) for number, run in enumerate(runs)]
    assert sum(isinstance(one, dict) for one in built) > 100
    assert foretold.differences(runs, lambda run: foretold.foretold("paddleformers", run), built) == []
