"""``compare``: which of two runs is better, once the data that they drew is taken out of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paddle_epoch_guard.cli.output import JsonFlag, print_json, print_table, print_text, say
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import tr

if TYPE_CHECKING:
    from paddle_epoch_guard.comparison.compare import Comparison


def compare(  # noqa: PLR0913 - its options
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A RUN_B [RUN…]",
            help="Log folders (logging_dir) of 2 to 20 runs. Of an output_dir, the newest log below it counts.",
        ),
    ],
    at: Annotated[
        int | None, typer.Option(min=1, metavar="STEP", help="Compare the part that ends at this step of RUN_A.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Compare N steps of RUN_A: up to STEP, or the last that all runs have reached. By default a tenth of "
            "what the runs have in common, at least 30 log windows.",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="NATS",
            help="The least difference that counts; by default 0.5 % of the loss. Runs of equal settings rarely "
            "differ by more.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page: one HTML file.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the figure as PNG.")] = None,
    visualdl: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the difference curves as VisualDL logs below this folder."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell which of two runs is better, once the data that they drew is taken out of it.

    Of two runs, one may draw data that it has drawn before, and the other new data. Then the run with the lower
    training loss may be the worse one. Compare the losses of samples that are drawn for the first time, and the
    evaluation losses, at equal tokens drawn; step by step where both draw the same samples. Give each difference with
    a 95 % interval, and a verdict: better, worse, no difference, not comparable. Runs may still be training; nothing
    of them is changed.

    \b
    Example:
      paddle-epoch-guard compare logs/lr-1e-3 logs/lr-5e-4 --html compare.html
    """
    # Importing matplotlib takes a second; --help does not wait for numpy.
    from paddle_epoch_guard.comparison.compare import compare as compare_runs

    if png is not None and png.suffix.lower() != ".png":
        raise ArgumentsError(tr("--png {path}: expected a file name that ends in .png", path=png))
    comparison = compare_runs(*runs, at=at, last=last, margin=margin)
    written = _write(comparison, html, png, visualdl)
    if as_json:
        print_json(comparison.to_dict() | {"written": [str(path) for path in written]})
        return
    _show(comparison)
    for path in written:
        say(tr("written: {path}", path=path))


def _write(comparison: "Comparison", html: Path | None, png: Path | None, visualdl: Path | None) -> list[Path]:
    """Writes what was asked for.

    Raises:
        ReportError: a file cannot be written.
    """
    written = []
    if html is not None:
        written.append(comparison.write_page(html))
    if png is not None:
        written.append(comparison.write_png(png))
    if visualdl is not None:
        written += comparison.write_visualdl(visualdl)
    return written


def _show(comparison: "Comparison") -> None:
    from paddle_epoch_guard.comparison import texts

    findings = comparison.findings
    print_text(texts.headline(findings))
    say()
    print_table(texts.run_rows(findings), texts.place_sentence(findings), texts.run_head())
    print_text(texts.run_legend())
    say()
    print_table(texts.pair_rows(findings), texts.pair_title(), texts.pair_head())
    say()
    for pair in comparison.pairs:
        print_text(texts.relation_sentence(pair))
        if len(comparison.pairs) > 1:
            print_text(texts.verdict_sentence(pair))
    for note in texts.notes(findings):
        print_text(note)
    for run in comparison.runs:
        for fault in run.faults:
            say(tr("left out: {fault}", fault=fault))
