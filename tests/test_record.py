"""The record of a run: what is written, and what is made of a file that is not whole."""

import json
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import EpochShare, Weighted
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.record.events import (
    VERSION,
    ChangeReached,
    Evaluated,
    Message,
    Noted,
    WindowLogged,
    step_of,
)
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import RECORD_NAME, RecordWriter, line_of, record_path
from paddle_epoch_guard.report.reading import read_run
from recording import began

FIRST, SECOND = "1" * 32, "2" * 32


def window(step, loss=2.0):
    shares = (EpochShare(0, 1, 4, Weighted(4.0, 4.0 * loss), step),)
    return WindowLogged(step, step, 4, loss, shares, 128, Estimate(0.5, 0.1, 9), Weighted(4.0, 8.0))


def write(folder, *events, part=FIRST, **options):
    writer = RecordWriter(folder, part, **options)
    for event in events:
        writer.take(event)
    writer.close()


def events_of(folder):
    record = RecordFile.open(record_path(folder))
    return [line.event for line in record.lines()], record.faults


def test_events_come_back_as_they_were(tmp_path):
    events = [
        began(part=FIRST, arguments={"seed": 7, "skip": [[1, 2]]}),
        window(1, 1 / 3),
        Evaluated(1, 2.5),
        Noted(1, Message("ran_dry", {"step": 1, "max_steps": 2, "stop": None}), is_warning=True),
    ]
    write(tmp_path, *events)
    assert events_of(tmp_path) == (events, [])
    assert [step_of(event) for event in events] == [0, 1, 1, 1]


def test_each_line_is_json_with_a_checksum_of_the_rest(tmp_path):
    write(tmp_path, began(part=FIRST), window(1))
    for line in record_path(tmp_path).read_bytes().splitlines():
        fields = json.loads(line)
        assert list(fields) == ["crc", "part", "data"]
        assert int(fields["crc"], 16) == zlib.crc32(line[len(b'{"crc":"00000000",') :])
        assert fields["part"] == FIRST[:8]


def test_a_later_part_appends_and_what_was_written_stays(tmp_path):
    write(tmp_path, began(part=FIRST), window(1))
    before = record_path(tmp_path).read_bytes()
    write(tmp_path, began(1, part=SECOND, after=FIRST), window(2), part=SECOND)
    assert record_path(tmp_path).read_bytes().startswith(before)
    events, faults = events_of(tmp_path)
    assert ([step_of(event) for event in events], faults) == ([0, 1, 1, 2], [])


def test_a_run_that_begins_anew_keeps_the_earlier_record_aside(tmp_path):
    write(tmp_path, began(part=FIRST))
    kept = record_path(tmp_path).read_bytes()
    write(tmp_path, began(part=SECOND), part=SECOND, begins_anew=True)
    assert (tmp_path / "epoch_guard" / f"kept-1.{RECORD_NAME}").read_bytes() == kept
    assert [part.part for part in RecordFile.open(record_path(tmp_path)).parts] == [SECOND]


@pytest.mark.parametrize("cut", [2, 7, 100])
def test_half_a_last_line_is_left_out_and_does_not_hide_what_follows(tmp_path, cut):
    write(tmp_path, began(part=FIRST), window(1), window(2))
    path = record_path(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    events, (fault,) = events_of(tmp_path)
    assert [step_of(event) for event in events] == [0, 1]
    assert "ends in the middle of a record" in fault
    write(tmp_path, began(1, part=SECOND, after=FIRST), window(2), part=SECOND)
    events, (fault,) = events_of(tmp_path)
    assert [step_of(event) for event in events] == [0, 1, 1, 2]
    assert "1 damaged line left out (3)" in fault


def test_a_byte_that_changed_is_noticed_though_the_line_still_is_json(tmp_path):
    write(tmp_path, began(part=FIRST), window(1), window(2))
    path = record_path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"last_step":1,', b'"last_step":9,', 1))
    events, (fault,) = events_of(tmp_path)
    assert [step_of(event) for event in events] == [0, 2]
    assert "1 damaged line left out (2)" in fault


def test_what_two_processes_write_at_once_is_told_apart(tmp_path):
    one, other = RecordWriter(tmp_path, FIRST), RecordWriter(tmp_path, SECOND)
    for writer, event in (
        (one, began(part=FIRST)),
        (one, window(1)),
        (other, began(0, part=SECOND)),
        (one, window(2)),
    ):
        writer.take(event)
        writer.flush()
    record = RecordFile.open(record_path(tmp_path))
    assert [line.part for line in record.lines()] == ["11111111", "11111111", "22222222", "11111111"]
    (fault,) = record.faults
    assert "parts 11111111 and 22222222 of the run were written at the same time" in fault
    # From where it began, the one that began later counts.
    run = read_run(tmp_path)
    assert len(run.loss) == 0
    assert fault in run.faults


def test_lines_of_a_part_that_began_in_another_file_are_left_out(tmp_path):
    write(tmp_path, began(part=FIRST))
    write(tmp_path, window(1), part=SECOND)
    events, (fault,) = events_of(tmp_path)
    assert len(events) == 1
    assert "1 line left out of a part that did not begin in this file" in fault


def test_a_record_of_a_later_release_is_read_as_far_as_it_is_known(tmp_path):
    part = FIRST[:8].encode()
    write(tmp_path, began(part=FIRST, version=VERSION + 1), window(1))
    with record_path(tmp_path).open("ab") as stream:
        stream.write(line_of(part, b'{"event":"mood","step":1}'))
        stream.write(line_of(part, b'{"event":"evaluation","step":2,"loss":1.5,"of":"books"}'))
    record = RecordFile.open(record_path(tmp_path))
    events = [line.event for line in record.lines()]
    assert events[2:] == [Evaluated(2, 1.5)]  # a field that is new is passed over
    assert any("1 line left out: a later release wrote" in fault for fault in record.faults)
    assert any(f"written in version {VERSION + 1}" in fault for fault in record.faults)


def test_fields_of_another_kind_are_left_out_and_said(tmp_path):
    write(tmp_path, began(part=FIRST))
    with record_path(tmp_path).open("ab") as stream:
        stream.write(line_of(FIRST[:8].encode(), b'{"event":"evaluation","step":"two","loss":1.5}'))
    record = RecordFile.open(record_path(tmp_path))
    assert len(list(record.lines())) == 1
    assert "fields do not fit this release" in record.faults[0]


def test_a_clock_that_was_set_back_changes_nothing(tmp_path):
    write(tmp_path, began(part=FIRST, time=2e9), window(1), window(2))
    write(tmp_path, began(1, part=SECOND, after=FIRST, time=1e9), window(2, 1.0), window(3, 1.0), part=SECOND)
    run = read_run(tmp_path)
    assert (run.loss.steps.tolist(), run.loss.values.tolist()) == ([1, 2, 3], [2.0, 1.0, 1.0])
    assert [part.first_logged for part in run.parts] == [1, 2]


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    record_path(tmp_path).parent.mkdir(parents=True)
    os.mkfifo(record_path(tmp_path))
    (fault,) = RecordFile.open(record_path(tmp_path)).faults
    assert "not a regular file" in fault


def test_what_cannot_be_written_is_an_error_and_leaves_no_part_of_a_line(tmp_path):
    write(tmp_path, began(part=FIRST))
    writer = RecordWriter(tmp_path, FIRST)
    writer.take(window(1))
    record_path(tmp_path).unlink()
    (tmp_path / "epoch_guard").rmdir()
    (tmp_path / "epoch_guard").touch()
    with pytest.raises(OSError, match="epoch_guard"):
        writer.flush()


def test_it_is_handed_over_once_a_second_and_when_asked(tmp_path):
    writer = RecordWriter(tmp_path, FIRST)
    writer.take(began(part=FIRST))
    writer.flush(at_once=False)  # the first time a second has passed since ever
    writer.take(window(1))
    writer.flush(at_once=False)
    assert len(events_of(tmp_path)[0]) == 1
    writer.flush()
    assert len(events_of(tmp_path)[0]) == 2


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_damage_makes_it_fail_or_believe_a_wrong_event(tmp_path_factory, damage, at):
    folder = tmp_path_factory.mktemp("record")
    whole = [began(part=FIRST), *(window(step) for step in range(1, 6))]
    write(folder, *whole)
    path = record_path(folder)
    content = path.read_bytes()
    at %= len(content)
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    events, _ = events_of(folder)
    assert all(event in whole for event in events)


def test_the_change_points_of_a_part_that_does_not_count_are_left_out(tmp_path):
    from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint

    reached = [
        ChangeReached(ChangePoint.at(BoundaryStep(step, step), f"boundary_{step}_to_{step + 1}")) for step in (2, 4)
    ]
    write(tmp_path, began(part=FIRST), *(window(step) for step in range(1, 6)), *reached)
    write(tmp_path, began(2, part=SECOND, after=FIRST), window(3), part=SECOND)
    assert [change.step for change in read_run(tmp_path).cuts] == [2]


def test_damage_in_the_record_of_an_earlier_part_in_another_folder_is_named(tmp_path):
    first, second = tmp_path / "runs" / "one", tmp_path / "runs" / "two"
    for folder in (first, second):
        folder.mkdir(parents=True)
    write(first, began(part=FIRST, run=FIRST), *map(window, range(1, 11)))
    write(second, began(10, part=SECOND, run=FIRST, after=FIRST), *map(window, range(11, 21)), part=SECOND)
    assert read_run(second, tmp_path).loss.steps.tolist() == list(range(1, 21))
    path = record_path(first)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], lines[4].replace(b"2.0", b"9.0"), *lines[5:]]))
    run = read_run(second, tmp_path)
    assert 4 not in run.loss.steps
    assert any(str(path) in fault and "1 damaged line left out (5)" in fault for fault in run.faults)
