"""Events handed to a function of the user's: all of them, in order, and training never waits or stops for it."""

import contextlib
import copy
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from alerts import webhook
from corpora import build_train, write_corpus
from paddle_epoch_guard import EpochGuardCallback, EpochGuardError
from paddle_epoch_guard.record.events import ChangeReached, Event, Noted, PartBegan, PartEnded, Refused, WindowLogged
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.views import listener
from paddle_epoch_guard.views.listener import Listener
from test_callback import BOUNDARY_STEP, SEQ_LENGTH, SIZES, STEPS, replace_corpus
from training import arguments, train

NOTE = Noted(1, "a message")


def recorded(logs):
    """The events of a run's record."""
    return [line.event for line in RecordFile.open(logs / "epoch_guard" / "record.jsonl").lines()]


@pytest.fixture
def dataset(tmp_path):
    return build_train([write_corpus(tmp_path / "corpus" / "text", SIZES)], STEPS * 4, SEQ_LENGTH)


@pytest.mark.parametrize("given", ["http://localhost/alerts", 7, ["a", "list"], {"webhook": "x" * 100}])
def test_what_cannot_be_called_is_refused_at_once(given):
    with pytest.raises(EpochGuardError, match=r"cannot be called; expected a function that takes an event, or None$"):
        EpochGuardCallback(on_event=given)


@pytest.mark.host
def test_a_listener_that_is_set_later_is_checked_when_training_begins(tmp_path, dataset):
    guard = EpochGuardCallback()
    guard.on_event = "a name"
    with pytest.raises(EpochGuardError, match="on_event='a name'"):
        train(arguments(tmp_path, max_steps=STEPS), dataset, callbacks=[guard])


@pytest.mark.parametrize("given", [{"epoch_guard": "unified"}, "unified", True])
def test_arguments_of_another_type_are_refused_at_once(given):
    with pytest.raises(EpochGuardError, match="expected EpochGuardArguments, or None"):
        EpochGuardCallback(given)


def test_events_come_in_order_and_all_before_the_end():
    taken, warnings = [], []
    hearing = Listener(taken.append, warnings.append)
    events = [Noted(step, "a message") for step in range(1000)]
    for event in events:
        hearing.take(event)
    hearing.close()
    hearing.close()
    assert (taken, warnings) == (events, [])


@pytest.mark.parametrize("kind", [ConnectionError, SystemExit])
def test_a_failing_function_is_told_once_and_gets_the_later_events(kind):
    taken, warnings = [], []

    def fail(event):
        taken.append(event)
        raise kind("no\nroute")

    hearing = Listener(fail, warnings.append)
    for _ in range(3):
        hearing.take(NOTE)
    hearing.close()
    assert len(taken) == 3
    (warning,) = warnings
    assert f"on_event failed at Noted: {kind.__name__}: no route" in warning


def test_a_function_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(listener, "_MOST_WAITING", 5)
    warnings, released = [], threading.Event()
    hearing = Listener(lambda event: released.wait(60), warnings.append, patience=0.2)
    for _ in range(20):
        hearing.take(NOTE)
    hearing.close()
    released.set()
    (warning,) = warnings
    assert "on_event did not take all events within 0.2 s" in warning


@pytest.mark.host
def test_a_run_hands_over_what_it_records(tmp_path, dataset, host_log):
    taken, threads = [], set()

    def hear(event):
        taken.append(event)
        threads.add(threading.current_thread().name)

    guard = EpochGuardCallback(on_event=hear)
    train(arguments(tmp_path, max_steps=STEPS, logging_steps=4), dataset, callbacks=[guard])
    decoded = [msgspec.json.decode(msgspec.json.encode(event), type=Event) for event in taken]
    assert decoded == recorded(tmp_path / "logs")
    assert isinstance(taken[0], PartBegan)
    assert isinstance(taken[-1], PartEnded)
    assert [event.change.step for event in taken if isinstance(event, ChangeReached)] == [BOUNDARY_STEP]
    assert threads == {"epoch-guard-on-event"}
    assert not [thread for thread in threading.enumerate() if thread.name in threads]
    assert host_log.warnings == []


@pytest.mark.host
def test_a_function_that_fails_changes_nothing_of_the_run(tmp_path, dataset, host_log):
    def fail(event):
        raise SystemError("gone")

    run = train(arguments(tmp_path, max_steps=STEPS), dataset, callbacks=[EpochGuardCallback(on_event=fail)])
    assert run.steps == STEPS
    (warning,) = host_log.warnings
    assert "on_event failed at PartBegan: SystemError: gone" in warning
    windows = [event for event in recorded(tmp_path / "logs") if isinstance(event, WindowLogged)]
    assert windows[-1].last_step == STEPS


@pytest.mark.host
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_refusal_is_an_event_too(tmp_path, goes_on):
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    build_train([prefix], STEPS * 4, SEQ_LENGTH)
    replace_corpus(prefix, (*SIZES[:-1], SIZES[-1] + 5))
    stale = build_train([prefix], STEPS * 4, SEQ_LENGTH)
    taken = []
    word = "warn" if goes_on else "error"
    args = arguments(tmp_path, max_steps=3, epoch_guard_on_mismatch=word)
    with contextlib.nullcontext() if goes_on else pytest.raises(EpochGuardError):
        train(args, stale, callbacks=[EpochGuardCallback(on_event=taken.append)])
    (refused,) = taken
    assert isinstance(refused, Refused)
    assert (refused.step, refused.goes_on) == (0, goes_on)
    assert refused.error == "IndexMismatchError"
    assert "_idx.npy" in refused.message


def test_a_callback_is_copied_with_its_function():
    guard = EpochGuardCallback(on_event=print)
    assert copy.deepcopy(guard).on_event is print
    assert pickle.loads(pickle.dumps(guard)).on_event is print


@contextlib.contextmanager
def receiver():
    """An address, and the texts that are posted to it."""
    texts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", texts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.host
def test_the_example_posts_alerts(tmp_path, dataset):
    with receiver() as (address, texts):
        guard = EpochGuardCallback(on_event=webhook(address))
        train(arguments(tmp_path, max_steps=STEPS, logging_steps=1), dataset, callbacks=[guard])
    assert texts[0] == f"Step {BOUNDARY_STEP}: data is repeated from here on"
    assert texts[-1].startswith(f"Verdict on step {BOUNDARY_STEP}: ")
