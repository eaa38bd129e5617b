"""``view``: the real server over damaged logs, on a port in use, and without any connection to elsewhere."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from caches import cli
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from servers import visualdl_server

pytestmark = pytest.mark.slow
VIEW = ("paddle-epoch-guard", "view")
WATCHED = """
import json, os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(os.environ["CONNECTIONS"], "a") as file:
            file.write(json.dumps([event, repr(args[1] if event == "socket.connect" else args[0])]) + "\\n")
sys.addaudithook(watch)
"""


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    for name in ("whole", "damaged", "bent"):
        log = EpochGuardLog(folder / name)
        for step in range(1, 101):
            log.scalar("train/loss", 1 / step, step)
        log.close()
    file = next((folder / "damaged" / "epoch_guard").glob("vdlrecords*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    file.write_bytes(content)
    bent = next((folder / "bent" / "epoch_guard").glob("vdlrecords*"))
    bent.write_bytes(bent.read_bytes()[:-7])
    os.mkfifo(folder / "whole" / "vdlrecords.pipe.log")
    return folder


def test_of_a_damaged_log_the_sound_part_is_shown_and_of_the_others_all(logs):
    with visualdl_server(logs, command=VIEW) as server:
        counts = {}
        for name in ("whole", "damaged", "bent"):
            counts[name] = len(server.scalars(str(logs / name / "epoch_guard"), "train/loss"))
    assert counts["whole"] == 100
    assert 30 < counts["damaged"] < 60
    assert counts["bent"] == 99


def test_a_port_in_use_is_one_line_and_a_status(logs):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, out, err = cli("view", logs, "--port", port)
    message = f"paddle-epoch-guard: 127.0.0.1:{port}: the port is in use. Name another one: --port\n"
    assert (status, out, err) == (1, "", message)


def watched(tmp_path, *call, **more):
    """Runs a Python process and returns the connections that it, or a child, has asked for."""
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(WATCHED)
    connections = tmp_path / "connections"
    connections.write_text("")
    environment = {**os.environ, "CONNECTIONS": str(connections), **more}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [str(part) for part in call], env=environment, stderr=subprocess.PIPE, text=True
    ), connections


def beyond(connections):
    """Those that are not of this machine."""
    events = [json.loads(line) for line in connections.read_text().splitlines()]
    return [event for event in events if not any(own in event[1] for own in ("127.0.0.1", "localhost", "/"))]


def test_view_connects_to_no_other_machine(tmp_path, logs):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process, connections = watched(tmp_path, sys.executable, "-m", "paddle_epoch_guard", "view", logs, "--port", port)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        time.sleep(3)  # the telemetry of VisualDL is a thread of its own
    finally:
        process.terminate()
        process.wait(30)
    assert beyond(connections) == []


@pytest.mark.parametrize(
    "code",
    [
        "import paddle_epoch_guard",
        "from paddle_epoch_guard import EpochGuardCallback",
        *(
            f"from paddle_epoch_guard.cli.app import run; run(['{name}', '--help'])"
            for name in ("plan", "report", "run")
        ),
        "from paddle_epoch_guard.cli.app import run; run(['report', 'nothing', '--logging-dir', 'LOGS/whole'])",
    ],
)
def test_no_import_and_no_command_connects_to_another_machine(tmp_path, logs, code):
    process, connections = watched(tmp_path, sys.executable, "-c", code.replace("LOGS", str(logs)))
    process.communicate(timeout=120)
    assert beyond(connections) == []


def write_part(folder, name, steps, loss):
    """A log as the Trainer opens one each time it starts."""
    log = EpochGuardLog(folder)
    log.text("args", f"from {steps[0]}", 0)
    for step in steps:
        log.scalar("train/loss", loss(step), step)
        if step % 10 == 0:
            log.scalar("eval/loss", loss(step), step)
    log.close()
    os.rename(folder / "epoch_guard" / "vdlrecords.epoch_guard.log", folder / name)


def test_a_resumed_run_has_one_curve_though_the_trainer_opened_several_logs(tmp_path):
    folder = tmp_path / "logs" / "run"
    write_part(folder, "vdlrecords.1700000001.log", range(1, 58), lambda step: 1.0)  # killed after step 57
    write_part(folder, "vdlrecords.1700000002.log", range(41, 91), lambda step: 2.0)  # resumed after step 40
    newest = folder / "vdlrecords.1700000003.log"
    write_part(folder, newest.name, range(81, 101), lambda step: 3.0)
    expected = [(step, 1.0 if step <= 40 else 2.0 if step <= 80 else 3.0) for step in range(1, 101)]
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    at_once = ("--cache-timeout", "1")
    with visualdl_server(tmp_path / "logs", command=VIEW, options=at_once) as server:
        assert server.scalars(str(folder), "train/loss") == expected
        assert server.scalars(str(folder), "eval/loss") == expected[9::10]
        assert len(server.texts(str(folder), "args")) == 3
        # The trainer is started twice more while the server runs: where it stopped, and from an earlier checkpoint.
        for name, steps in (("vdlrecords.1700000004.log", range(101, 111)), ("vdlrecords.17x5.log", range(91, 121))):
            write_part(folder, name, steps, lambda step: step + 0.5)
            shown, expected = expected, [point for point in expected if point[0] < steps[0]]
            expected += [(step, step + 0.5) for step in steps]
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and server.scalars(str(folder), "train/loss") == shown:
                server.get("runs")
                time.sleep(0.5)
            assert server.scalars(str(folder), "train/loss") == expected
            assert server.scalars(str(folder), "eval/loss") == expected[9::10]
    assert before.items() <= {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}.items()


def test_a_log_of_another_run_in_the_same_folder_is_left_out(tmp_path):
    folder = tmp_path / "logs"
    write_part(folder, "vdlrecords.1700000001.log", range(1, 51), lambda step: 1.0)
    write_part(folder, "vdlrecords.1700000002.log", range(1, 11), lambda step: 2.0)
    with visualdl_server(folder, command=VIEW) as server:
        assert server.scalars(str(folder), "train/loss") == [(step, 2.0) for step in range(1, 11)]
