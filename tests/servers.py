"""A real VisualDL server for tests."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path


class Server:
    """A running server over one log folder."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/app"

    def fetch(self, path, **query):
        """The bytes of an API call, as the page itself makes it."""
        address = f"{self.url}/api/{path}?{urllib.parse.urlencode(query)}"
        # Without the header the server answers 500.
        request = urllib.request.Request(address, headers={"Accept-Language": "en"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def get(self, path, **query):
        """The ``data`` of an API call that answers in JSON."""
        return json.loads(self.fetch(path, **query))["data"]

    def texts(self, run, tag):
        """The texts that the page would show, after the server's own sampling."""
        count = len(self.get("text/list", run=run, tag=tag))
        return [self.fetch("text/text", run=run, tag=tag, index=at).decode() for at in range(count)]

    def scalars(self, run, tag):
        """``[(step, value)]`` as the page would draw it, after the server's own sampling."""
        return [(step, value) for _, step, value in self.get("scalar/list", run=run, tag=tag)]


@contextlib.contextmanager
def visualdl_server(logdir, cwd=None, command=("visualdl", "--logdir"), options=()):
    """Starts ``visualdl`` on a free port of this machine, and stops it by its process id.

    Args:
        logdir: its ``--logdir``; the page's names of runs begin with it.
        cwd: the folder to start it in.
        command: what to start, up to the folder.
        options: further ones.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = [
        Path(sys.executable).parent / command[0],
        *command[1:],
        logdir,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        *options,
    ]
    process = subprocess.Popen(
        [str(part) for part in call], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        server = Server(port)
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                server.get("components")
                break
            assert process.poll() is None, "the VisualDL server ended by itself"
            time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
