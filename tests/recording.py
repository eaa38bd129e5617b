"""A recorder with the guard's own views, for tests that feed it losses without a Trainer."""

import time

from paddle_epoch_guard.ledger import ChangePoint
from paddle_epoch_guard.record.events import VERSION, PartBegan
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.recorder import Recorder
from paddle_epoch_guard.record.writer import RecordWriter
from paddle_epoch_guard.views.charts import ChartView
from paddle_epoch_guard.views.console import ConsoleView
from paddle_epoch_guard.views.visualdl import EpochGuardLog


def began(step=0, run="a" * 32, part="b" * 32, naming=None, **values):
    """The event that a part of a run begins."""
    names = naming or Naming()
    kind = "trainer" if names.trainer else "data"
    fields = {"version": VERSION, "time": time.time(), "max_steps": 400, "datasets": names.datasets}
    return PartBegan(run=run, part=part, step=step, epochs_of=kind, **{**fields, **values})


def recorder(
    folder, ledger, naming=None, say=lambda _: None, behind=(), loss_range=None, part=None, verdicts=(), sink=None
):
    """A recorder that draws in VisualDL, says sentences, and keeps a record where a part is given.

    Args:
        folder: the log folder.
        ledger: adds up losses by epoch.
        naming: names of epochs.
        say: takes each sentence.
        behind: boundary steps that an earlier part of the run has passed.
        loss_range: its lowest and highest loss.
        part: what this part tells of its beginning; without it no record is kept.
        verdicts: of the earlier part.
        sink: gets the same points and texts as VisualDL.
    """
    names = naming or Naming()
    log = EpochGuardLog(folder, sink)
    if part is not None and part.step == 0:
        log.set_aside()
    drawn = [ChangePoint.at(boundary, names.boundary_directory(boundary)) for boundary in behind]
    console = ConsoleView(names, say, verdicts=verdicts, is_marked=log.exists)
    views = [console, ChartView(log, names, drawn=drawn, loss_range=loss_range)]
    if part is not None:
        views.insert(0, RecordWriter(folder, part.part, begins_anew=part.step == 0))
    made = Recorder(ledger, views, names)
    if part is not None:
        made.emit(part)
    return made
