"""An index of a host with another threshold: whether its last data epoch is shuffled apart is read from its arrays."""

import shutil

import numpy as np
import pytest

import corpora
from caches import cli, told
from paddle_epoch_guard.index import read_cache

ARRAYS = ("doc_idx", "sample_idx", "shuffle_idx")
BATCH = 4


def built_otherwise(folder, samples):
    """A cache with the description of so many samples, and the arrays of the other grouping.

    PaddleNLP's threshold is in its source; :data:`corpora.SEPARATED` and :data:`corpora.JOINT` samples need as many
    epochs and rows.
    """
    other = corpora.SEPARATED if samples == corpora.JOINT else corpora.JOINT
    prefix = corpora.write_corpus(folder / "data" / "text", corpora.SIZES)
    cache = folder / "cache"
    described, arrays = (
        corpora.build_train([prefix], count, corpora.LENGTH, cache=folder / name)
        for count, name in ((samples, "cache"), (other, "other"))
    )
    for which in ARRAYS:
        found = next((folder / "other").rglob(f"{arrays.desc_hash}_{which}.npy"))
        shutil.copy(found, next(cache.rglob(f"{described.desc_hash}_{which}.npy")))
    return prefix, cache


@pytest.mark.parametrize("samples", [corpora.SEPARATED, corpora.JOINT])
def test_inspect_and_doctor_call_it_sound(tmp_path, samples):
    _, cache = built_otherwise(tmp_path, samples)
    found = told("inspect", cache)
    is_apart = samples == corpora.JOINT
    assert (found["separated"], found["follows_threshold"]) == (is_apart, False)
    assert found["boundary_position"] == (151 if is_apart else None)
    status, printed, _ = cli("inspect", cache)
    assert status == 0
    assert ("though it is 80% or more" if is_apart else "though it is below 80%") in " ".join(printed.split())
    assert cli("doctor", cache)[0] == 0


def test_rebuild_writes_it_in_a_unified_order(tmp_path):
    _, cache = built_otherwise(tmp_path, corpora.JOINT)
    assert cli("rebuild", cache, "--output", tmp_path / "unified", "--from-position", "60")[0] == 0
    assert told("inspect", tmp_path / "unified")["boundary_position"] is None


@pytest.mark.host
@pytest.mark.parametrize("samples", [corpora.SEPARATED, corpora.JOINT])
def test_a_run_follows_the_arrays_and_says_so(tmp_path, samples):
    from training import arguments, train

    prefix, cache = built_otherwise(tmp_path, samples)
    dataset = corpora.build_train([prefix], samples, corpora.LENGTH, cache=cache)
    run = train(arguments(tmp_path, max_steps=samples // BATCH), dataset)
    is_apart = samples == corpora.JOINT
    (said,) = [text for text in run.texts("epoch_guard/notes") if "another threshold" in text]
    assert ("apart, though it is 80%" if is_apart else "together with the others, though it is below 80%") in said
    assert ("boundary_2_to_3" in run.directories()) == is_apart
    exposure = np.array([value for _, value in run.scalars("epoch_guard/exposure")])
    if is_apart:
        assert exposure[151 // BATCH + 1 :] == pytest.approx(2.0, abs=0.1)
    else:
        assert exposure[:10].mean() < exposure[20:30].mean() < exposure[-5:].mean() < 1.9


def test_a_plain_index_follows_the_rule(tmp_path):
    prefix = corpora.write_corpus(tmp_path / "text", corpora.SIZES)
    for samples in (corpora.ONE_EPOCH, corpora.SEPARATED, corpora.JOINT):
        corpora.build_train([prefix], samples, corpora.LENGTH, cache=tmp_path / str(samples))
        assert read_cache(tmp_path / str(samples), prefix).layout.follows_rule
