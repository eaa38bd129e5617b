"""Several processes at one time over the same files, and files that are seen late."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.kills import become_rank, endpoints_for
from faults.processes import PATIENCE, ChildError, HungError, end, in_child, started, waited
from faults.table import Outcome

SIZES = (60, 7, 130, 1, 58, 90, 23, 100)
SHORT, LONG, SAVE = 20, 120, 10


def train_here(
    folder: Path, corpus: Path, cache: Path, steps: int, resume: str | None = None, mode: str = "unified",
    begin: str | None = None, patience: float = 10.0, reveal: float | None = None,
) -> list[Any]:  # fmt: skip
    """A run, or a part of one. In a child.

    Args:
        folder: of the run.
        corpus: of the corpus, which is there.
        cache: of the index.
        steps: of the run.
        resume: the checkpoint to go on from.
        mode: of the guard.
        begin: a file that is waited for before it trains, so that two begin at once.
        patience: seconds for which the guard waits for what it does not see.
        reveal: after how many seconds a sidecar that was hidden is shown; None for never.

    Returns:
        The first token of every sample drawn.
    """
    from paddle_epoch_guard import files
    from training import arguments, train

    files.PATIENCE = patience
    dataset = _dataset(corpus, steps, cache)
    args = arguments(
        folder, max_steps=steps, epoch_guard=mode, save_strategy="steps", save_steps=SAVE, overwrite_output_dir=True
    )
    if begin is not None:
        waited(Path(begin).exists, 60)
    if resume is not None and reveal is not None:
        hidden = Path(resume) / "hidden"
        timer = threading.Timer(reveal, lambda: hidden.rename(Path(resume) / "epoch_guard.json"))
        timer.start()
    run = train(args, dataset, resume=resume)
    return [token for batch in run.first_tokens for token in batch]


def write_a_corpus(corpus: Path) -> None:
    """Writes it. In a child."""
    from corpora import write_corpus

    write_corpus(corpus / "text", SIZES)


def build_here(corpus: Path, steps: int, cache: Path) -> None:
    """Lets the host build its index. In a child."""
    _dataset(corpus, steps, cache)


def _dataset(corpus: Path, steps: int, cache: Path) -> Any:
    from corpora import build_train

    return build_train([str(corpus / "text")], steps * 4, 8, cache=cache)


def races(folder: Path, times: int = 6) -> Iterator[Outcome]:
    """All races.

    Args:
        folder: for all files.
        times: how often each is tried.
    """
    corpus, cache = folder / "corpus", folder / "cache"
    in_child(write_a_corpus, corpus)
    in_child(train_here, folder / "begun", corpus, cache, SHORT)
    shutil.copytree(folder / "begun", folder / "alone")
    alone = str(folder / "alone" / "run" / f"checkpoint-{SAVE}")
    expected = in_child(train_here, folder / "alone", corpus, folder / "cache-alone", LONG, alone)
    yield _one_cache(folder, corpus, cache, expected, times)
    yield _one_output(folder, corpus, times)
    yield _read_while_written(folder, corpus, times)
    yield _seen_late(folder, corpus, cache)
    yield _seen_late_by_a_rank(folder)


def _guarded(outcome: Outcome, where: str, *args: Any, **options: Any) -> list[Any] | None:
    try:
        found: list[Any] = in_child(*args, **options)
        return found
    except HungError as cause:
        outcome.hung += 1
        outcome.broken.append(f"{where}: {cause}")
    except ChildError as cause:
        outcome.broken.append(f"{where}: {str(cause)[-1000:]}")
    return None


def _one_cache(folder: Path, corpus: Path, cache: Path, expected: list[Any], times: int) -> Outcome:
    """Two runs that are made longer at once: both build the same index files."""
    outcome = Outcome("race: two runs extend one cache")
    for number in range(times):
        shared = folder / f"shared-{number}"
        shutil.copytree(cache, shared)
        in_child(build_here, corpus, LONG, shared)  # the host itself lets one run read what another is writing
        begin = folder / f"begin-{number}"
        found: dict[int, list[Any] | None] = {}

        def go(which: int, shared: Path = shared, number: int = number, found: Any = found) -> None:
            output = folder / f"run-{number}-{which}"
            shutil.copytree(folder / "begun", output)
            resume = str(output / "run" / f"checkpoint-{SAVE}")
            found[which] = _guarded(
                outcome, f"run {which}", train_here, output, corpus, shared, LONG, resume, "unified",
                str(folder / f"begin-{number}"),
            )  # fmt: skip

        threads = [threading.Thread(target=go, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        begin.touch()
        for thread in threads:
            thread.join()
        outcome.tried += 1
        for which in (0, 1):
            drawn = found.get(which)
            if drawn is not None:
                outcome.expect(drawn == expected, f"run {which} of pair {number} drew other samples")
    return outcome


def _one_output(folder: Path, corpus: Path, times: int) -> Outcome:
    """Two runs that write one output folder, and a third that goes on from what is left."""
    outcome = Outcome("race: two runs write one output folder")
    plain = in_child(train_here, folder / "plain", corpus, folder / "cache-plain", 40)
    for number in range(times):
        output, begin = folder / f"both-{number}", folder / f"begin-both-{number}"
        children = [
            started(train_here, output, corpus, folder / "cache-plain", 40, None, "unified", str(begin))
            for _ in range(2)
        ]
        time.sleep(0.5)
        begin.touch()
        waited(lambda children=children: not any(child.is_alive() for child in children), PATIENCE)
        outcome.hung += sum(child.is_alive() for child in children)
        for child in children:
            end(child)
        outcome.tried += 1
        # What the host itself makes of such a folder is its own matter: one of the two may have failed.
        checkpoint = output / "run" / "checkpoint-20"
        try:
            drawn = in_child(
                train_here, output, corpus, folder / "cache-plain", 40, str(checkpoint), "unified", None, 0.5
            )
        except HungError:
            outcome.hung += 1
        except ChildError as cause:
            refused = "SidecarError" in str(cause) or "ResumeMismatchError" in str(cause)
            outcome.expect(refused or "/paddle_epoch_guard/" not in str(cause).splitlines()[-4], str(cause)[-800:])
        else:
            outcome.expect(drawn == plain[80:], f"pair {number}: the third drew other samples")
    return outcome


def _read_while_written(folder: Path, corpus: Path, times: int) -> Outcome:
    """An index that another process is still writing, as ``numpy.save`` writes: refused until it is whole."""
    import numpy as np

    from paddle_epoch_guard.errors import EpochGuardError
    from paddle_epoch_guard.index.cache import read_cache

    outcome = Outcome("race: an index is read while it is written")
    cache = folder / "cache-plain"
    digest = next(cache.glob("*.dsc")).stem
    names = [f"{digest}.dsc", *(f"{digest}_{which}_idx.npy" for which in ("doc", "sample", "shuffle"))]
    whole = read_cache(cache, corpus / "text", digest=digest)
    expected = whole.epoch_of(np.arange(len(whole)))
    for number in range(times):
        growing = folder / f"growing-{number}"
        growing.mkdir()

        def write(growing: Path = growing) -> None:
            for name in names:
                content = (cache / name).read_bytes()
                with (growing / name).open("wb", buffering=0) as stream:
                    for at in range(0, len(content), 97):
                        stream.write(content[at : at + 97])
                        time.sleep(0.001)

        writer = threading.Thread(target=write)
        writer.start()
        stop = time.monotonic() + 60
        while time.monotonic() < stop:
            is_done = not writer.is_alive()
            outcome.tried += 1
            try:
                index = read_cache(growing, corpus / "text", digest=digest)
            except EpochGuardError as refused:
                outcome.expect(not is_done, f"refused when whole: {refused}")
            except Exception as cause:
                outcome.broken.append(f"{type(cause).__name__}: {cause}")
            else:
                outcome.expect((index.epoch_of(np.arange(len(index))) == expected).all(), "read something else")
            if is_done:
                break
        writer.join()
    return outcome


def _seen_late(folder: Path, corpus: Path, cache: Path) -> Outcome:
    """A sidecar that shows only after a while, and one that never does: the trainer's state has the order."""
    outcome = Outcome("race: a sidecar is seen late, or never")
    whole = in_child(train_here, folder / "whole", corpus, cache, SHORT)
    for seconds in (0.0, 0.7, 2.0, None):
        output = folder / f"late-{seconds}"
        shutil.copytree(folder / "begun", output)
        checkpoint = output / "run" / f"checkpoint-{SAVE}"
        (checkpoint / "epoch_guard.json").rename(checkpoint / "hidden")
        patience = 1.0 if seconds is None else 20.0
        outcome.tried += 1
        try:
            drawn = in_child(
                train_here, output, corpus, cache, SHORT, str(checkpoint), "unified", None, patience, seconds
            )
        except HungError:
            outcome.hung += 1
        except ChildError as cause:
            outcome.broken.append(f"after {seconds} s: {str(cause)[-600:]}")
        else:
            outcome.expect(drawn == whole[SAVE * 4 :], f"after {seconds} s: other samples were drawn")
    return outcome


def _seen_late_by_a_rank(folder: Path) -> Outcome:
    """Of two ranks, the second sees the sidecar late, or not at all."""
    outcome = Outcome("race: one of 2 ranks sees a sidecar late")
    for looks in (0, 3, 10_000):
        where = folder / f"rank-{looks}"
        where.mkdir()
        endpoints = endpoints_for(2)
        children = [started(_rank, where, looks, (rank, endpoints)) for rank in (0, 1)]
        waited(lambda children=children: not any(child.is_alive() for child in children), PATIENCE)
        outcome.tried += 1
        outcome.hung += sum(child.is_alive() for child in children)
        for child in children:
            end(child)
        said = [(where / f"said-{rank}").read_text() for rank in (0, 1) if (where / f"said-{rank}").is_file()]
        outcome.expect(said == ["found", "found"], f"{looks} looks: {said}")
    return outcome


def _rank(folder: Path, looks: int, place: tuple[int, list[str]]) -> None:
    from faults.processes import silence

    silence(str(folder / "log"))
    rank = become_rank(place)
    import paddle

    from paddle_epoch_guard import files, host
    from paddle_epoch_guard.errors import EpochGuardError
    from paddle_epoch_guard.session import checkpoint

    paddle.distributed.init_parallel_env()
    files.PATIENCE = 5.0
    left = looks

    def look(checkpoint: Path, step: int) -> Any:
        nonlocal left
        left -= 1
        return None if rank == 1 and left >= 0 else "a sidecar"

    host.find_checkpoint = lambda candidates: folder  # type: ignore[assignment]
    checkpoint.read_sidecar = look  # type: ignore[assignment]

    class State:
        global_step = 10

    stamp = host.Stamp("run", "part", 10, unified_from=0, repaired=True)
    try:
        found = "found" if checkpoint.agreed_sidecar(None, State, stamp, ()) == "a sidecar" else "lost"
    except EpochGuardError as refused:
        found = str(refused)
    (folder / f"said-{rank}").write_text(found)
