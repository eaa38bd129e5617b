"""The report page: what it says, and that it needs nothing but itself."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import paddle_epoch_guard.report
from paddle_epoch_guard.cli import planning
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.record.events import WindowLogged
from paddle_epoch_guard.record.writer import RecordWriter
from paddle_epoch_guard.report.page import PAGE_NAME, render, report_run, write_page
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, Note, RunData, Series
from paddle_epoch_guard.report.settings import flags_of, stages
from paddle_epoch_guard.report.texts import advice_at, advice_of, headline, next_ahead, summary
from paddle_epoch_guard.resume import SIDECAR_NAME, BlendRecord
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from recording import began
from synthetic_runs import BATCH, Plan, Run, long_run, summarized

pytestmark = pytest.mark.usefixtures("undrawn")

EVIL = "<script>alert('x')</script> & \"quoted\" </p><img src=http://evil.example/x>"
ARGUMENTS = {
    "seed": 7,
    "max_steps": 400,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "epoch_guard": "track",
    "epoch_guard_mix": "auto",
    "wandb_api_key": "secret-key",
}


class Page(HTMLParser):
    """The page's elements, its text section by section, the cells of its tables, and its settings."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.sections = {"": ""}
        self.rows = {}
        self.settings = []
        self._open = [""]
        self._cell = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag == "section" or attrs.get("id") == "summary":
            self._open.append(attrs["id"])
            self.sections[attrs["id"]] = ""
        if tag == "tr":
            self.rows.setdefault(self._open[-1], []).append([])
        if tag in ("td", "th"):
            self.rows[self._open[-1]][-1].append("")
        if tag == "dt":
            self.settings.append(("", ""))
        if tag in ("td", "th", "dt", "dd"):
            self._cell = tag

    def handle_endtag(self, tag):
        if tag == "section" or (tag == "div" and self._open[-1] == "summary"):
            self._open.pop()
        if tag in ("td", "th", "dt", "dd"):
            self._cell = None

    def handle_data(self, data):
        self.sections[self._open[-1]] += data
        if self._cell in ("td", "th"):
            self.rows[self._open[-1]][-1][-1] += " ".join(data.split())
        elif self._cell:
            name, value = self.settings[-1]
            self.settings[-1] = (name + data, value) if self._cell == "dt" else (name, value + data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Resumed unified at step 81 of 200, the boundary before it at step 41."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "out").mkdir()
    run = Run(folder / "logs", Plan((40,)))
    run.train(1, 80, arguments=json.dumps(str(ARGUMENTS)), note=EVIL)
    table = "\nresuming at step 80, what differs\n┏━━━━┳━━━━┓\n┃ a  ┃ b  ┃\n└────┴────┘"
    changed = {**ARGUMENTS, "epoch_guard": "unified", "per_device_train_batch_size": 1, "tensor_parallel_degree": 2}
    run.train(
        81,
        200,
        began=2,
        arguments=json.dumps(str(changed)),
        reorder=Reorder(320, 800, "ramp", (7, 1, 0), 400),
        note=table,
    )
    return folder, run


@pytest.fixture(scope="module")
def page(finished):
    folder, run = finished
    return Page(render(read_run(folder / "logs", folder / "out", state=run.sidecar(200))))


def scripts(html):
    """What stands in the page's script elements."""
    return re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)


def test_it_needs_nothing_but_itself(page, finished):
    folder, run = finished
    html = render(read_run(folder / "logs", state=run.sidecar(200)))
    outside = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "", html)
    for script in scripts(html):
        outside = outside.replace(script, "")
    assert "http" not in outside.replace("http-equiv", "").replace("http://evil.example", "")
    assert page.all("script") == [{"type": "application/json", "id": "curves"}, {}]
    assert not {"link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.elements}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    links = [attrs[name] for _, attrs in page.elements for name in ("href", "action") if name in attrs]
    assert links == ["#why", "#terms"]
    assert {"why", "terms"} <= {attrs.get("id") for _, attrs in page.elements}
    sources = [attrs[name] for _, attrs in page.elements for name in ("src", "srcset") if name in attrs]
    assert len(sources) == 6
    for source in sources:
        assert ET.fromstring(base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))).tag.endswith("svg")
    assert "url(" not in outside
    assert "@import" not in outside
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(scripts(html)[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_the_chart_library_is_the_one_that_its_note_names():
    folder = Path(paddle_epoch_guard.report.__file__).parent / "uplot"
    named = dict(re.findall(r"\| `([\w.]+)` \| `([0-9a-f]{64})` \|", (folder / "README.md").read_text()))
    assert set(named) == {"uPlot.iife.min.js", "uPlot.min.css"}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "1.6.32" in (folder / "README.md").read_text().splitlines()[0]
    assert b"v1.6.32" in (folder / "uPlot.iife.min.js").read_bytes()[:100]
    assert "MIT" in (folder / "LICENSE").read_text()


def test_names_cannot_leave_the_values_of_the_charts(finished):
    folder, run = finished
    read = read_run(folder / "logs", state=run.sidecar(200))
    evil = replace(read, epochs=tuple(replace(epoch, dataset="</script><!--<script>&") for epoch in read.epochs))
    html = render(evil)
    values, script = scripts(html)
    assert not {"<", ">", "&"} & set(values)
    assert "</script" not in script
    labels = [curve["label"] for curve in json.loads(values)["charts"]["loss_by_epoch"]["panels"][0]["curves"]]
    assert labels[0].startswith("</script><!--<script>&, data epoch 1")


def test_it_is_made_for_phones_and_for_those_who_do_not_see_it(page):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert page.all("html") == [{"lang": "en"}]
    assert all(len(one["alt"]) > 40 for one in page.all("img"))
    narrow = {one["media"] for one in page.all("source")}
    assert narrow == {"(max-width: 40rem)"}


def test_alternative_texts_say_what_was_found(page):
    losses, epochs, samples = (" ".join(one["alt"].split()) for one in page.all("img"))
    assert re.search(r"The training loss goes from \d\.\d\d at step 1 to \d\.\d\d at step 200\.", losses)
    assert re.search(
        r"At step 41, where data epoch 2 begins, the training loss jumps by -[01]\.\d{3} \(.*\(artefact\)\.", losses
    )
    assert losses.endswith("Exposure goes from 0.00 to 4.00.")
    assert "In data epoch 5 the loss goes from" in epochs
    assert epochs.count("the loss goes from") == 4  # of five
    assert "The loss of repeated samples goes from" in samples


def test_texts_are_escaped(page):
    assert EVIL in page.sections["resumes"]
    assert len(page.all("img")) == 3


def test_it_begins_with_the_verdicts_in_three_sentences(page, finished):
    _, first, *others = [line for line in page.sections["summary"].split("\n") if line.strip()]
    assert first == (
        "The order of the data changes at 2 places: at 1 the training loss jumps because of the data that is drawn "
        "(artefact; step 41), at 1 the losses cannot tell (undecided; step 81)."
    )
    assert len(others) == 2
    assert re.fullmatch(
        r"The run has reached step 200 of 400; there the trend of the training loss is \d\.\d{3} and the evaluation "
        r"loss \d\.\d{3} nats per token, on tokens that had been drawn 4.00 times before\.",
        others[0],
    )
    assert others[1] == (
        "The order is unified from step 81 on; the run was resumed once, and its first logged step since is 81."
    )


def test_cuts_are_told_with_verdict_and_numbers(page):
    head, boundary, unified = page.rows["cuts"]
    assert len(head) == len(boundary) == len(unified) == 8
    assert boundary[:2] == ["data epoch 2 begins", "41"]
    assert boundary[2].startswith("artefact")
    assert re.fullmatch(r"-[01]\.\d{3} ?\(-[01]\.\d{3} to -[01]\.\d{3}\)", boundary[3])
    assert boundary[5] == "0.00 → 1.00"
    assert unified[0] == "a unified order begins"
    assert "Verdict at the start of data epoch 2 (step 41): artefact" in page.sections["cuts"]
    assert "is no progress by itself" in page.sections["cuts"]


def test_the_summary_is_marked_by_the_verdict_that_matters_most_as_a_word_and_as_a_colour(page):
    (box,) = [attrs for tag, attrs in page.elements if attrs.get("id") == "summary"]
    assert box["class"] == "summary artefact"
    assert page.sections["summary"].split()[0] == "artefact"


def test_it_advises_under_each_verdict(page):
    told = " ".join(page.sections["advice"].split())
    artefact, undecided = told.removeprefix("What to do now ").split("a unified order begins, step 81: undecided ")
    assert artefact.startswith("data epoch 2 begins, step 41: artefact Keep the run, and do not count the fall as")
    assert "resume with --epoch_guard unified from a checkpoint that was saved before step 41" in artefact
    assert undecided.startswith("Evaluate and log more often")
    assert "Why the training loss jumps where data repeats" in undecided


def test_a_run_before_its_boundary_is_told_of_it(tmp_path):
    boundaries = (
        BoundaryStep(31, 1, position=30 * BATCH),
        BoundaryStep(61, 2, position=60 * BATCH),
        BoundaryStep(999, 3),
    )
    write_record(tmp_path, began(boundaries=boundaries), [(step, 3.0) for step in range(1, 41)])
    run = read_run(tmp_path)
    assert [boundary.step for boundary in run.ahead] == [61]  # of 400 steps
    assert "A boundary lies ahead, at step 61" in Page(render(run)).sections["advice"]
    assert next_ahead(RunData(tmp_path, None, ahead=(BoundaryStep(61, 2),))) is None  # of trainer epochs


def test_flags_and_commands_are_in_code_font(finished):
    folder, run = finished
    html = render(read_run(folder / "logs", state=run.sidecar(200)))
    assert "resume with <code>--epoch_guard</code> unified" in html
    assert "let <code>paddle-epoch-guard compare</code> weigh" in html


def test_places_of_one_verdict_are_advised_once(tmp_path):
    cuts = tuple(change("artefact", step=step) for step in (50, 90, 130))
    (group,) = advice_of(RunData(tmp_path, None, cuts=cuts))
    assert (group.verdict, len(group.changes), group.others) == ("artefact", 3, "The same applies at steps 90, 130.")
    assert headline(RunData(tmp_path, None, cuts=(*cuts, change("none", step=150)))) == "artefact"
    assert headline(RunData(tmp_path, None)) == ""
    assert advice_of(RunData(tmp_path, None)) == []
    assert advice_at(replace(cuts[0], change=ChangePoint("b", 1, 0, 1)), RunData(tmp_path, None)) == []


def test_the_lengths_that_need_no_separate_epoch_are_those_of_plan(finished):
    """1,600 samples of 32 tokens over a corpus of 40,000: the second data epoch is needed to 28 %."""
    folder, run = finished
    (dataset,) = run.sidecar(200).datasets
    state = run.sidecar(
        200,
        datasets=(replace(dataset, tokens_per_epoch=40_000),),
        schedule=Schedule((Segment(1, 0, BATCH, 1, 1, 2000),)),
    )
    cut = read_run(folder / "logs", state=state).cuts[0]
    told = advice_at(cut, RunData(folder, None, sidecar=state, data_epoch=Series.of([(1, 1.0)])))
    planned = {one["kind"]: one["max_steps"] for one in plan_advice(40_000, 32, BATCH, 400)}
    assert f"between {planned['threshold']:,} and {planned['whole_epoch']:,} steps" in told[-1]
    elsewhere = replace(state, blend=BlendRecord("[1.0]", 1600, ""))
    assert "between" not in str(advice_at(cut, RunData(folder, None, sidecar=elsewhere)))


def write_record(folder, part, losses):
    writer = RecordWriter(folder, part.part)
    writer.take(part)
    for step, loss in losses:
        writer.take(WindowLogged(step, step, BATCH, loss))
    writer.close()


def plan_advice(tokens, seq_length, batch, steps):
    class Corpus:
        blended = False
        threshold = 0.8
        global_batch = batch

        def layout(self, _, steps):
            return IndexLayout.of(tokens, seq_length, steps * batch)

    return planning.advice(Corpus(), steps)


def test_epochs_are_told_with_samples_steps_and_mean_loss(page, finished):
    _, run = finished
    rows = page.rows["epochs"][1:]
    assert [row[0] for row in rows] == [f"data epoch {epoch}" for epoch in range(1, 6)]
    total = run.recorder.ledger.totals
    for row, (key, one) in zip(rows[2:], sorted(total.items()), strict=True):
        assert row[1:] == [
            f"{one.samples:,}",
            f"{one.first_step:,} to {one.last_step:,}",
            f"{one.mean_loss:.4f}",
        ], key


def test_resumes_and_repairs_are_told(page):
    resumes = page.sections["resumes"]
    assert "The trainer was started 2 times" in resumes
    assert [row[1:] for row in page.rows["resumes"][1:]] == [
        ["1 to 80", "400", "4", "1", "track"],
        ["81 to 200", "400", "1", "1", "unified"],
    ]
    assert "┃ a  ┃ b  ┃" in resumes
    assert "secret-key" not in str(page.sections)


def test_settings_and_flags_are_told(page):
    for told in (
        ("order", "unified"),
        ("positions", "400 to 1,600"),
        ("mix", "ramp"),
        ("key", "7, 1, 0 (seed, purpose, ordinal)"),
        ("share rises of samples from position", "800"),
        ("global batch", "4 samples (1 per device \u00d7 2 accumulated \u00d7 2 data-parallel ranks)"),
        ("incomplete last batch", "not drawn"),
        ("split", "train of 95,5,0"),
        ("sequence length", "32 tokens"),
        ("document sizes, digest", "c0" * 8),
        ("index", "built for 1,600 samples, seed 7"),
    ):
        assert told in page.settings
    reproduce = page.sections["reproduce"]
    assert "--seed 7 \\\n  --max_steps 400 \\\n  --per_device_train_batch_size 1 \\\n" in reproduce
    assert "--epoch_guard unified" in reproduce
    assert "--tensor_parallel_degree 2" in reproduce
    assert "epoch_guard_mix" not in reproduce  # it is at its default
    assert "paddle-epoch-guard" in reproduce


def test_without_the_trainers_log_the_flags_come_from_the_sidecar(finished):
    folder, run = finished
    read = replace(read_run(folder / "logs", state=run.sidecar(200)), parts=())
    (first, begin), (second, later) = stages(read)
    assert first == "From the start, on 1 data-parallel rank"
    assert second == "Resumed; from step 101 on, on 2 data-parallel ranks"
    assert "--per_device_train_batch_size 4 " in begin
    assert "--per_device_train_batch_size 1 " in later
    assert "--gradient_accumulation_steps 2 " in later
    assert "--epoch_guard unified" in later
    assert "--epoch_guard_mix ramp" in later
    assert "--epoch_guard_seed 7" in later
    assert "--seed 7" in later


def test_a_state_older_than_the_run_says_so(finished, tmp_path):
    folder, run = finished
    without_record = shutil.ignore_patterns("record.jsonl")  # which counts to the end of the run
    shutil.copytree(folder / "logs", tmp_path / "logs", ignore=without_record)
    read = read_run(tmp_path / "logs", state=run.sidecar(150))
    found = Page(render(read))
    assert "counted up to step 150" in " ".join(found.sections["epochs"].split())
    assert "The run has continued to step 200 since" in " ".join(found.sections["settings"].split())


def test_what_could_not_be_read_is_told(finished):
    folder, _ = finished
    read = replace(read_run(folder / "logs"), faults=(f"{EVIL}: damaged",))
    found = Page(render(read))
    assert f"{EVIL}: damaged" in found.sections["faults"]
    assert "this run has no matching one" in found.sections["settings"]


def test_a_run_of_which_hardly_anything_is_known_has_a_page(tmp_path):
    found = Page(render(RunData(tmp_path, None)))
    assert "There are no losses to draw." in found.sections["figures"]
    assert "The run has reached no boundary between data epochs" in found.sections["summary"]


def change(verdict, reason="no_evaluation", jump=-1.0, step=50):
    return summarized("b", step, (1, 2), verdict, reason, Jump(jump, 0.1, True))


@pytest.mark.parametrize(
    ("cuts", "sentence"),
    [
        (
            [change("artefact", "no_evaluation")],
            "The fall of the training loss at step 50 (data epoch 1 to 2) is an artefact of the data, not "
            "progress: not confirmed by evaluation.",
        ),
        (
            [change("improvement", "evaluation_confirms")],
            "The fall of the training loss at step 50 (data epoch 1 to 2) is an improvement: confirmed by evaluation.",
        ),
        (
            [change("unexplained", "exposure_unknown", jump=1.0)],
            "The rise of the training loss at step 50 (data epoch 1 to 2) is not explained by the data: exposure is "
            "not known.",
        ),
        ([change("none", "no_jump")], "At step 50 (data epoch 1 to 2) the training loss does not jump."),
        (
            [change("unknown", "too_few_steps")],
            "Whether the training loss jumps at step 50 (data epoch 1 to 2) is not known: too few steps.",
        ),
        ([change("")], "Whether the training loss jumps at step 50 (data epoch 1 to 2) is not known."),
        (
            [change("artefact", step=step) for step in range(2, 9)] + [change("", step=9)],
            "The order of the data changes at 8 places: at 7 the training loss jumps because of the data that is "
            "drawn (artefact; steps 2, 3, 4, 5, 6 and 2 more), at 1 too little is known (step 9).",
        ),
    ],
)
def test_each_verdict_has_a_sentence(tmp_path, cuts, sentence):
    assert summary(RunData(tmp_path, None, cuts=tuple(cuts)))[0] == sentence


def test_flags_that_are_at_their_defaults_are_not_shown():
    shown = flags_of(
        {
            "seed": 0,
            "max_steps": 10,
            "epoch_guard": "track",
            "epoch_guard_pool": "planned",
            "epoch_guard_seed": 0,
            "epoch_guard_position": None,
            "ignore_data_skip": True,
            "dataloader_drop_last": False,
            "pipeline_parallel_degree": -1,
            "tensor_parallel_degree": 1,
            "resume_from_checkpoint": "/secret/place",
        }
    )
    flags = ["--seed 0", "--max_steps 10", "--epoch_guard track", "--epoch_guard_seed 0", "--ignore_data_skip True"]
    assert shown.split(" \\\n  ") == flags


def test_a_report_is_written_and_keeps_what_it_was_told(tmp_path):
    run = Run(tmp_path / "logs").train(1, 120)
    output = tmp_path / "out"
    output.mkdir()
    log = EpochGuardLog(tmp_path / "logs")
    assert report_run(tmp_path / "logs", output, state=run.sidecar(120), log=log) == output / PAGE_NAME
    log.close()
    assert [path.name for path in output.iterdir()] == [PAGE_NAME]
    assert (tmp_path / "logs" / "epoch_guard" / SIDECAR_NAME).is_file()
    # From the command line, later, elsewhere: the same but for the time and the place.
    other = report_run(str(tmp_path / "logs"), str(output), path=str(tmp_path / "page.html"))
    first, second = (Page(path.read_text(encoding="utf-8")) for path in (output / PAGE_NAME, other))
    assert first.rows == second.rows
    assert "1,600" in second.sections["settings"]
    assert first.rows["epochs"][1][1] == f"{100 * BATCH}"


def test_where_it_cannot_be_written_it_is_said_and_what_was_there_stays(tmp_path, monkeypatch):
    Run(tmp_path / "logs").train(1, 20)
    with pytest.raises(ReportError, match="cannot be written"):
        report_run(tmp_path / "logs", tmp_path, path=tmp_path / "nowhere" / "page.html")
    with pytest.raises(ReportError, match="no such folder"):
        report_run(tmp_path / "logs", tmp_path / "nowhere")
    target = tmp_path / "page.html"
    target.write_text("before")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ReportError, match="disk full"):
        report_run(tmp_path / "logs", tmp_path, path=target)
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "page.html"]


def test_many_and_long_notes_stay_readable(tmp_path):
    notes = tuple(Note(step, "x" * 100_000) for step in range(300))
    html = render(RunData(tmp_path, None, notes=notes))
    assert len(html) < 5_000_000
    assert "At step 299" in html


def test_a_run_of_100_000_steps_has_a_page_below_2_mb(tmp_path):
    run = long_run()
    write_page(tmp_path / "page.html", run)
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_the_flags_are_quoted_for_a_shell():
    shown = flags_of({"seed": "42; touch here", "output": "a b$(c)", "report_to": ["visualdl", "x'y"]})
    words = shlex.split(shown.replace("\\\n", " "))
    assert words == ["--seed", "42; touch here", "--output", "a b$(c)", "--report_to", "visualdl", "x'y"]


def test_a_page_of_a_thousand_boundaries_is_bounded_and_says_what_it_leaves_out(tmp_path):
    def change(number):
        step = 10 * number
        point = ChangePoint.at(BoundaryStep(step, number), f"boundary_{number}_to_{number + 1}")
        return ChangeSummary(point, "", (number, number + 1))

    steps = np.arange(1, 10_001)
    epochs = tuple(
        EpochSummary("", number, False, Series(np.arange(10), np.ones(10)), 1.0, None) for number in range(1, 1001)
    )
    run = RunData(
        tmp_path, None, loss=Series(steps, 1.0 + 1.0 / steps), epochs=epochs,
        cuts=tuple(change(number) for number in range(1, 1000)), faults=tuple(f"fault {at}" for at in range(500)),
    )  # fmt: skip
    page = render(run)
    assert len(page) < 2_000_000
    assert "799 more are left out here" in page  # of 999 places, 200 are shown
    assert "800 more are left out here" in page  # of 1,000 epochs
    assert "450 more are left out here" in page  # of 500 faults
    assert "fault 49<" in page
