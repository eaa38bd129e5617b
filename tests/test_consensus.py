"""What ranks say to each other: run here one after the other, each with the numbers and words of all."""

import numpy as np
import pytest

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, RankMismatchError, SidecarError, TrackingError
from paddle_epoch_guard.session import consensus
from paddle_epoch_guard.session.consensus import (
    agree_on_sidecar,
    digest_of,
    other_than_first,
    require_same_plan,
    run_on_all_ranks,
)


class Ranks:
    """The collectives of a run of which every rank but one is made up."""

    def __init__(self, monkeypatch, numbers, words):
        self.told = []
        monkeypatch.setattr(consensus.host, "all_gather_ints", lambda own: numbers(np.asarray(own)))
        monkeypatch.setattr(
            consensus.host, "broadcast_from", lambda rank, own: self.told.append(rank) or words.get(rank, own)
        )


def failing(kind):
    def work():
        raise kind("why")

    return work


def test_the_result_of_a_work_that_all_have_done_is_ones_own(monkeypatch):
    ranks = Ranks(monkeypatch, lambda own: np.zeros((3, 1)), {})
    assert run_on_all_ranks(lambda: 7, must_succeed=True) == 7
    assert ranks.told == []


def test_the_first_wrong_call_is_heard_before_any_doubt(monkeypatch):
    outcomes = np.array([[0], [2], [3], [1]])
    ranks = Ranks(monkeypatch, lambda own: outcomes, {2: (ArgumentsError, "a flag")})
    with pytest.raises(ArgumentsError, match="rank 2 stopped: a flag"):
        run_on_all_ranks(lambda: 7, must_succeed=False)
    assert ranks.told == [2]


def test_ones_own_doubt_is_raised_as_it_is(monkeypatch):
    Ranks(monkeypatch, lambda own: np.repeat(own[None], 2, axis=0), {})
    with pytest.raises(SidecarError, match=r"^why$"):
        run_on_all_ranks(failing(SidecarError), must_succeed=False)


@pytest.mark.parametrize(("must", "kind"), [(True, EpochGuardError), (False, TrackingError)])
def test_a_fault_of_another_rank_is_named(monkeypatch, must, kind):
    Ranks(monkeypatch, lambda own: np.array([[0], [1]]), {1: (Exception, "ValueError: odd")})
    with pytest.raises(kind, match="rank 1: ValueError: odd"):
        run_on_all_ranks(lambda: 7, must_succeed=must)


def test_a_rank_without_a_sidecar_is_given_the_one_that_others_read(monkeypatch):
    rows = np.array([[0, 0], digest_of("sidecar"), [0, 0], digest_of("sidecar")])
    ranks = Ranks(monkeypatch, lambda own: rows, {1: "sidecar"})
    assert agree_on_sidecar(None) == "sidecar"
    assert ranks.told == [1]
    Ranks(monkeypatch, lambda own: np.zeros((4, 2)), {})
    assert agree_on_sidecar(None) is None


def test_different_sidecars_are_refused(monkeypatch):
    rows = np.array([[0, 0], digest_of("one"), digest_of("other")])
    Ranks(monkeypatch, lambda own: rows, {})
    with pytest.raises(RankMismatchError, match="read different sidecars"):
        agree_on_sidecar("one")


def test_the_first_of_ten_thousand_that_would_act_otherwise_is_heard(monkeypatch):
    rows = np.repeat(digest_of("plan")[None], 10_000, axis=0)
    Ranks(monkeypatch, lambda own: rows, {})
    require_same_plan("plan")
    rows[7_000] = digest_of("other")
    assert other_than_first(rows) == 7_000
    ranks = Ranks(monkeypatch, lambda own: rows, {7_000: "'other'", 0: "'plan'"})
    with pytest.raises(RankMismatchError, match="rank 7000 would follow another data order than rank 0: 'other'"):
        require_same_plan("plan")
    assert ranks.told == [7_000, 0]


def test_one_process_has_only_itself_to_ask():
    assert host.process() == 0
    assert host.all_gather_ints([3, 4]).tolist() == [[3, 4]]
    assert host.all_reduce_sum(np.array([1.5])).tolist() == [1.5]
    assert host.broadcast_from(0, "word") == "word"
