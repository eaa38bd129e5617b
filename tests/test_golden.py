"""Files as earlier releases wrote them: what they say is still read, number for number."""

import json
from pathlib import Path

import pytest

from paddle_epoch_guard.cli.report import facts_of_report
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.resume import SIDECAR_NAME, read_sidecar

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("run", ["resumed", "blend"])
def test_a_log_of_before_there_was_a_record_says_what_it_said(run):
    folder = GOLDEN / "visualdl" / run
    facts = facts_of_report(read_run(folder / "logs", folder), Path("page.html"), [])
    facts = json.loads(json.dumps(facts, allow_nan=False))
    for told in ("logging_dir", "output_dir", "page", "summary"):  # sentences may be reworded; numbers may not
        del facts[told]
    assert facts.pop("repeated_against_fresh") is None  # losses were not compared then
    expected = json.loads((folder / "report.json").read_text())
    del expected["summary"]
    # The names of version 3 of the sidecar.
    schedule = expected["settings"]["schedule"]
    schedule["segments"] = schedule.pop("pieces")
    for segment in schedule["segments"]:
        segment["drop_last"] = not segment.pop("keeps_tail")
        for old, new in (("is_pass", "is_sampler_epoch"), ("deals", "strided"), ("carries", "leftover_microbatches")):
            segment[new] = segment.pop(old)
    for dataset in expected["settings"]["datasets"]:
        dataset["indices"] = dataset.pop("parts")
    assert known_then(facts, expected) == expected


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("record-v*/*")), ids=lambda folder: folder.name)
def test_a_record_of_an_earlier_release_says_what_it_said(folder):
    """Of a resumed run: a change of batch and length, evaluations, verdicts, a sidecar of version 3."""
    facts = facts_of_report(read_run(folder / "logs", folder), Path("page.html"), [])
    facts = json.loads(json.dumps(facts, allow_nan=False))
    for told in ("logging_dir", "output_dir", "page", "summary"):  # sentences may be reworded; numbers may not
        del facts[told]
    assert facts.pop("repeated_against_fresh") is None  # losses were not compared then
    expected = json.loads((folder / "report.json").read_text())
    del expected["summary"]
    if folder.name == "track":  # since then, an epoch ends at its boundary, whatever sample of it is drawn later
        assert expected["epochs"][1]["last_step"] == 35
        expected["epochs"][1]["last_step"] = expected["cuts"][0]["step"]
    assert known_then(facts, expected) == expected


def known_then(facts, expected):
    """The facts without keys that the earlier release did not have."""
    if isinstance(expected, dict) and isinstance(facts, dict):
        return {key: known_then(value, expected[key]) for key, value in facts.items() if key in expected}
    if isinstance(expected, list) and isinstance(facts, list) and len(facts) == len(expected):
        return [known_then(*pair) for pair in zip(facts, expected, strict=True)]
    return facts


_RENAMED_IN_3 = {
    "epoch_sampling": "passes",
    "segments": "pieces",
    "indices": "parts",
    "leftover_microbatches": "carries",
    "strided": "deals",
    "is_sampler_epoch": "is_pass",
}


def in_version_2(fields):
    """The fields of version 3 under the names that they had before."""
    if isinstance(fields, list):
        return [in_version_2(value) for value in fields]
    if not isinstance(fields, dict):
        return fields
    renamed = {_RENAMED_IN_3.get(name, name): in_version_2(value) for name, value in fields.items()}
    if "drop_last" in renamed:
        renamed["keeps_tail"] = not renamed.pop("drop_last")
    return renamed


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("sidecar-v*.json")), ids=lambda path: path.stem)
def test_a_sidecar_of_an_earlier_version_says_what_it_said(path, tmp_path):
    """Each value is found again, under its present name."""
    fields = json.loads(path.read_text())
    (tmp_path / SIDECAR_NAME).write_bytes(path.read_bytes())
    sidecar = read_sidecar(tmp_path, fields["step"])
    for name in ("run", "part", "step", "position", "planned", "max_steps"):
        assert getattr(sidecar, name) == fields.get(name, "")
    assert (sidecar.earlier, sidecar.knows_weights) == ((), True)  # nothing was said of it then
    fields = in_version_2(fields)
    pieces = fields["schedule"]["pieces"]
    assert [segment.global_batch for segment in sidecar.schedule.segments] == [
        piece["micro_batch"] * piece["accumulation"] * piece["world_size"] for piece in pieces
    ]
    for segment, piece in zip(sidecar.schedule.segments, pieces, strict=True):
        assert (segment.first_step, segment.start, segment.stop) == (
            piece["first_step"],
            piece["start"],
            piece["stop"],
        )
        assert segment.drop_last is not piece["keeps_tail"]
        assert segment.is_sampler_epoch is piece.get("is_pass", False)
        assert segment.leftover_microbatches == piece.get("carries", 0)
    assert [[index.seed for index in dataset.indices] for dataset in sidecar.datasets] == [
        [part["seed"] for part in dataset["parts"]] for dataset in fields["datasets"]
    ]
    assert [list(reorder.key) for reorder in sidecar.reorders] == [reorder["key"] for reorder in fields["reorders"]]
    assert [window.loss for window in sidecar.windows] == [window["loss"] for window in fields.get("windows", ())]
    assert [(report.change.name, report.verdict, report.final) for report in sidecar.verdicts] == [
        (verdict["name"], verdict["verdict"], verdict["final"]) for verdict in fields.get("verdicts", ())
    ]
    assert (sidecar.epoch_sampling is None) == (fields.get("passes") is None)
