import logging
import subprocess
import sys
from pathlib import Path

import pytest

from paddle_epoch_guard import files


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What is not there will not come."""
    monkeypatch.setattr(files, "PATIENCE", 0.5)


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
        return self.of_guard(logging.WARNING)


@pytest.fixture
def host_log():
    """What is written to the host's log."""
    from hosts import logger as host_logger  # seconds, which only some tests need

    handler = Messages()
    logger = host_logger.logger
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A folder in which the demo was run, as ``make demo`` runs it, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    script = Path(__file__).parent.parent / "examples" / "demo.py"
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, done.stdout


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the mark
def pytest_collection_modifyitems(items):
    """Tests of a file run one after the other in one process; so do all that look at the demo, which runs once."""
    for item in items:
        group = "demo" if "demo" in getattr(item, "fixturenames", ()) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
