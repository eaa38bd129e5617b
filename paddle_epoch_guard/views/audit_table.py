"""The findings of an audit as a table of text."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.resume import Finding


def table_of(step: int, findings: Sequence[Finding]) -> str:
    """The differences, as a table of text.

    Args:
        step: the step at which the run resumes.
        findings: the findings of its audit.
    """
    table = Table(title=tr("resuming at step {step}, what differs", step=step), title_justify="left")
    for column in (tr("what"), tr("then"), tr("now"), tr("action"), tr("why")):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.what, finding.then, finding.now, finding.measure, finding.why)
    stream = io.StringIO()
    Console(file=stream, width=140, color_system=None).print(table)
    return stream.getvalue().rstrip()
