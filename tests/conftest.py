import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

# One core for each of the workers that share the machine; before anything loads numpy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

from paddle_epoch_guard import files, language
from without_host import pytest_collection_modifyitems, pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Does not wait for late files."""
    monkeypatch.setattr(files, "PATIENCE", 0.5)


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch):
    """Does not wait for the disk: a process that is killed loses nothing by it, and most tests would wait."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture(autouse=True)
def in_english(monkeypatch):
    """Whatever the locale of the machine; also in the processes that a test starts."""
    monkeypatch.setenv(language.VARIABLE, "en")
    language.use(None)


@pytest.fixture(autouse=True)
def only_marked_tests_train(request, monkeypatch):
    """Fails a test that trains without the mark ``host``, which keeps it out of ``make test-fast``."""

    def refuse(*_args, **_kwargs):
        pytest.fail("this test trains: mark it with pytest.mark.host")

    if "hosts" in sys.modules and request.node.get_closest_marker("host") is None:
        monkeypatch.setattr(sys.modules["hosts"].Trainer, "train", refuse)


@pytest.fixture(autouse=True)
def no_loader_runs_on():
    """Ends what the host leaves of a loader that is not read to its end.

    A thread of it may hold a lock while a later test forks workers, which then wait for that lock forever.
    """
    yield
    threads = [
        (thread, getattr(getattr(thread, "_target", None), "__self__", None)) for thread in threading.enumerate()
    ]
    left = [each for each in threads if type(each[1]).__module__ == "paddle.io.dataloader.dataloader_iter"]
    for _, iterator in left:
        if hasattr(iterator, "_workers"):
            iterator._try_shutdown_all(1)
        else:
            iterator._exit_thread_expectedly()
    until = time.monotonic() + 5
    for thread, _ in left:
        thread.join(max(0.0, until - time.monotonic()))


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without their figures: matplotlib takes most of a page's second."""
    empty = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    for page in ("report.page", "comparison.page", "comparison.notebook"):
        monkeypatch.setattr(f"paddle_epoch_guard.{page}.as_svg", lambda figure: empty)


_ABOUT_BOUNDARIES = re.compile(r"To avoid it: |draws the first samples|^epoch guard: Verdict ")


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def of_guard(self, level=logging.DEBUG):
        """The guard's messages of at least ``level``."""
        texts = [record.getMessage() for record in self.records if record.levelno >= level]
        return [text for text in texts if text.startswith("epoch guard: ")]

    @property
    def warnings(self):
        """Without those of boundaries, which nothing is wrong with."""
        return [text for text in self.of_guard(logging.WARNING) if not _ABOUT_BOUNDARIES.search(text)]

    @property
    def warnings_of_boundaries(self):
        """That one lies ahead, is reached, or was judged."""
        return [text for text in self.of_guard(logging.WARNING) if _ABOUT_BOUNDARIES.search(text)]


@pytest.fixture
def host_log():
    """The messages in the host's log."""
    from hosts import logger as host_logger  # takes seconds, which only some tests need

    handler = Messages()
    logger = host_logger.logger
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def unwatched(monkeypatch):
    """A Trainer whose ``train`` is its own: the guard is not told when it ends, nor from where it resumes."""
    from paddle_epoch_guard import host

    monkeypatch.setattr(host, "current_training", lambda: None)


def pytest_itemcollected(item):
    """Marks what waits for the demo, or for a run of 100,000 steps, as long."""
    if {"demo", "long_run"} & {*getattr(item, "fixturenames", ())}:
        item.add_marker("long")


@pytest.fixture(scope="session")
def demo(tmp_path_factory, worker_id):
    """Runs the demo as ``make demo`` does; its folder and its output.

    It runs once for all pytest workers: the first to need it runs it, the others wait.
    """
    alone = worker_id == "master"
    folder = tmp_path_factory.mktemp("demo") if alone else tmp_path_factory.getbasetemp().parent / "demo"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"
    script = Path(__file__).parent.parent / "examples" / "demo.py"
    with FileLock(folder / "lock"):
        if not printed.exists():
            done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-4000:]
            printed.write_text(done.stdout)
    return folder, printed.read_text()


@pytest.fixture(scope="module")
def browser():
    """A running browser, for a module that calls ``require_browser``."""
    from browser import NoBrowserError, chromium  # selenium, which few tests need

    try:
        with chromium() as driver:
            yield driver
    except NoBrowserError as reason:
        pytest.skip(str(reason))
