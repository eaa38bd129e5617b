"""examples/look_at_a_run.ipynb: its cells run in their order, and what they show is what a notebook can draw.

Without Jupyter, which the package does not need: a cell is Python, and what its last expression gives is shown.
"""

import ast
import json
from pathlib import Path

import pytest

import corpora
from synthetic_runs import Run

NOTEBOOK = json.loads((Path(__file__).parent.parent / "examples" / "look_at_a_run.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run_cells():
    """What the last expression of each cell gives, unless it gives None."""
    names, shown = {"__name__": "notebook"}, []
    for cell in CELLS:
        body = ast.parse(cell).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names) if last else None
        if value is not None:
            shown.append(value)
    return shown


def test_no_output_is_kept():
    kept = [cell for cell in NOTEBOOK["cells"] if cell.get("outputs") or cell.get("execution_count")]
    assert (NOTEBOOK["nbformat"], kept) == (4, [])


def test_its_cells_run_on_runs_of_the_demos_layout(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpora.write_corpus(Path("demo-output/data/text"), [1319] * 94 + [1360] + [1000] * 5)
    corpora.build_train(["demo-output/data/text"], 709 * 8, 32, seed=42, split="95,5,0")
    for name in ("separated", "unified"):
        Run(tmp_path / "demo-output" / "logs" / name).train(1, 150)
    run, comparison = run_cells()
    printed = capsys.readouterr().out
    assert "separated=True" in printed
    assert "before" in printed
    assert "<table>" in run._repr_html_()
    assert "<table>" in comparison._repr_html_()


@pytest.mark.slow
def test_its_cells_run_on_the_demo(demo, monkeypatch, capsys):
    folder, _ = demo
    monkeypatch.chdir(folder)
    run_cells()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "exposure" in line]
    before, after = (dict(zip(line[1::2], map(float, line[2::2]), strict=True)) for line in lines)
    assert after["exposure"] - before["exposure"] == pytest.approx(1, abs=0.1)
    assert after["loss"] < before["loss"] - 1
