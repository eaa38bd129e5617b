"""Work in a thread of its own: in order, its failure told once, and a fork in the middle of it."""

import os
import threading

import pytest

from paddle_epoch_guard.session.background import Background


@pytest.fixture
def background():
    made = Background()
    yield made
    made.close()


def refuse(cause):
    raise cause


def test_all_is_done_in_order_and_in_another_thread(background):
    done = []
    for number in range(2000):  # more than may wait at once
        background.run(lambda number=number: done.append((number, threading.current_thread())))
    background.wait()
    assert [number for number, _ in done] == list(range(2000))
    assert {thread for _, thread in done} != {threading.current_thread()}
    assert len({thread for _, thread in done}) == 1


@pytest.mark.parametrize("asks", ["run", "wait"])
def test_a_failure_is_told_once_and_nothing_is_done_after_it(background, asks):
    done, may_fail = [], threading.Event()
    background.run(lambda: may_fail.wait() and refuse(OSError("no space left")))
    background.run(lambda: done.append("after it"))
    may_fail.set()
    background._waiting.join()
    with pytest.raises(OSError, match="no space left"):
        background.wait() if asks == "wait" else background.run(lambda: done.append("later"))
    background.wait()
    assert done == []


def test_an_exit_in_the_thread_is_a_failure_and_does_not_end_it(background):
    background.run(lambda: refuse(SystemExit(3)))
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        background.wait()
    background.run(lambda: None)
    background.wait()


def test_in_the_thread_itself_nothing_is_waited_for(background):
    background.run(background.wait)
    background.wait()


def test_what_waits_is_done_before_the_thread_ends(background):
    done = []
    background.run(lambda: done.append(1))
    background.close()
    assert done == [1]
    assert background._thread is None
    background.close()


def test_a_forked_process_never_waits_and_holds_no_lock_of_the_thread(background):
    lock, has_begun, may_end = threading.Lock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            has_begun.set()
            may_end.wait(0.2)

    background.run(hold)
    has_begun.wait()
    child = os.fork()
    if child == 0:
        try:
            background.wait()
            os._exit(0 if lock.acquire(timeout=5) else 1)
        finally:
            os._exit(2)
    may_end.set()
    assert os.waitpid(child, 0)[1] == 0
    background.wait()
