"""Files as earlier releases wrote them: what they say is still read, number for number."""

import json
from pathlib import Path

import pytest

from paddle_epoch_guard.cli.report import facts_of_report
from paddle_epoch_guard.report.reading import read_run

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("run", ["resumed", "blend"])
def test_a_log_of_before_there_was_a_record_says_what_it_said(run):
    folder = GOLDEN / "visualdl" / run
    facts = facts_of_report(read_run(folder / "logs", folder), Path("page.html"), [])
    facts = json.loads(json.dumps(facts, allow_nan=False))
    for moved in ("logging_dir", "output_dir", "page"):
        del facts[moved]
    expected = json.loads((folder / "report.json").read_text())
    schedule = expected["settings"]["schedule"]
    schedule["segments"] = schedule.pop("pieces")  # its name since version 3 of the sidecar
    assert facts == expected
