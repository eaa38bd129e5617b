"""A short form of ``make faults``: every kind of fault, a little of each."""

import os

import pytest

from faults.__main__ import KINDS, options_of
from faults.corruption import corruption
from faults.disk import DISKS, disk_faults
from faults.fuzz import fuzz
from faults.injection import injected_faults
from faults.kills import Setting, kill_runs
from faults.misuse import misuses
from faults.races import races
from faults.soak import soaked
from faults.table import Outcome, table
from faults.users import user_faults

pytestmark = [pytest.mark.slow, pytest.mark.long]


def kept(outcomes):
    """The outcomes, of which none may tell of a broken promise."""
    found = {outcome.fault: outcome for outcome in outcomes}
    assert all(outcome.is_kept for outcome in found.values()), "\n".join(
        [table(found.values()), *(what for outcome in found.values() for what in outcome.broken)]
    )
    return list(found.values())


def test_a_run_that_is_killed_again_and_again_draws_what_was_planned(tmp_path):
    settings = (Setting("unified"), Setting("track", accumulation=2, batch=2, keeps=2))
    (outcome,) = kept(kill_runs(tmp_path, "SIGKILL", settings, range(1), 5))
    assert outcome.tried == 10


def test_no_checkpoint_is_refused_because_of_a_kill_before_its_sidecar_was_written(tmp_path):
    settings = (Setting("unified", accumulation=2, batch=2, keeps=2),)
    (outcome,) = kept(kill_runs(tmp_path, "SIGKILL", settings, range(1), 4, aims=("sidecar",)))
    assert outcome.tried == 4


def test_a_run_of_two_ranks_of_which_one_is_killed(tmp_path):
    (outcome,) = kept(kill_runs(tmp_path, "SIGKILL", (Setting("unified", batch=2, ranks=2),), range(1), 2))
    assert outcome.tried == 2


def test_a_bad_disk_changes_nothing_and_is_said(tmp_path):
    chosen = tuple(disk for disk in DISKS if disk.name.startswith(("no file", "full", "nothing can be renamed")))
    outcomes = kept(disk_faults(tmp_path, chosen, modes=("unified",)))
    assert all(outcome.tried or outcome.skipped or outcome.note for outcome in outcomes)


def test_damaged_files_are_refused(tmp_path):
    outcomes = kept(corruption(tmp_path, every=61, cuts=17))
    assert sum(outcome.tried for outcome in outcomes) > 1_000
    assert [outcome.tried for outcome in outcomes if outcome.fault == "pointers"] == [8 * 7 * 2 * 2]


def test_random_inputs_are_refused_or_taken(tmp_path):
    *_, outcome = kept(fuzz(tmp_path, 450))
    assert outcome.tried >= 450


def test_races_end(tmp_path):
    kept(races(tmp_path, times=1))


def test_hostile_and_careless_use_costs_nothing(tmp_path):
    outcomes = kept(misuses(tmp_path))
    assert [outcome.fault for outcome in outcomes] == ["unreadable", "two writers", "no regular file", "terminal"]
    assert all(outcome.tried for outcome in outcomes)


def test_what_users_do_within_a_run_takes_nothing_from_it(tmp_path):
    outcomes = kept(user_faults(tmp_path, every=13))
    assert [outcome.fault for outcome in outcomes] == ["order taken by another run", "loss without a number"]
    assert all(outcome.tried for outcome in outcomes)


def test_a_fault_in_any_function_changes_nothing(tmp_path):
    (outcome,) = kept(injected_faults(tmp_path, every=37))
    assert outcome.tried >= 15


def test_memory_and_files_stay_as_they_are(tmp_path):
    kept(soaked(tmp_path, 240, 120, points=8, judged=False))


def test_all_kinds_are_tried_where_none_is_named():
    assert options_of([]).kinds == list(KINDS)
    assert options_of(["disk", "soak"]).kinds == ["disk", "soak"]
    with pytest.raises(SystemExit):
        options_of(["flood"])


def test_a_broken_promise_shows_in_the_table():
    outcome = Outcome("a fault", tried=2, lost=1)
    assert not outcome.is_kept
    assert table([outcome]).splitlines()[1].split() == ["a", "fault", "2", "1", "0", "0", "0"]


@pytest.mark.skipif(os.geteuid() == 0, reason="as root, all can be tried")
def test_what_takes_root_is_skipped_and_says_so(tmp_path):
    chosen = tuple(disk for disk in DISKS if disk.name == "full")
    assert [outcome.skipped for outcome in disk_faults(tmp_path, chosen, modes=())] == ["it takes root"]
