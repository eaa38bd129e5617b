"""A corpus on a disk that cannot be written, with the host's index beside it."""

import contextlib
import os
from collections import Counter

import pytest

from corpora import build_train, write_corpus
from training import arguments, train

pytestmark = pytest.mark.host
STEPS, BATCH, LENGTH = 32, 4, 8
NOBODY = 65534


@contextlib.contextmanager
def read_only(folders):
    """As root every folder is writable: the run is another user's."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("is_blend", [False, True])
def test_a_longer_run_builds_its_indices_in_its_own_folder(tmp_path_factory, host_log, is_blend):
    folder = tmp_path_factory.mktemp("run")
    for path in (folder, *list(folder.parents)[:-2]):
        path.chmod(0o777 if path == folder else path.stat().st_mode | 0o055)
    prefixes = [write_corpus(folder / "corpus" / name, (60, 7, 130, 1, 58, 190)) for name in ("a", "b")]

    def part(steps, resume=None):
        mixed = [0.7, prefixes[0], 0.3, prefixes[1]] if is_blend else prefixes[:1]
        dataset = build_train(mixed, STEPS * BATCH, LENGTH, cache=folder / "cache" if is_blend else None)
        args = arguments(
            folder, max_steps=steps, epoch_guard="unified", save_strategy="steps", save_steps=10,
            epoch_guard_report=False,
        )  # fmt: skip
        return [token for micro in train(args, dataset, resume=resume).first_tokens for token in micro]

    before = part(STEPS)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    checkpoint = str(folder / "run" / "checkpoint-20")
    with read_only([folder / "corpus", *([folder / "cache"] if is_blend else [])]):
        longer = part(3 * STEPS, checkpoint)
        again = part(3 * STEPS, checkpoint)
    assert not Counter(before) - Counter(before[: 20 * BATCH] + longer)  # nothing that was planned is lost
    assert len(longer) == (3 * STEPS - 20) * BATCH
    assert again == longer
    assert sorted(path.suffix for path in (folder / "run" / "index-cache").iterdir())
