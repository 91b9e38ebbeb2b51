"""The example notebooks: they are committed as they ran, and they run again."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MOST_BYTES = 1_000_000


def runner():
    spec = importlib.util.spec_from_file_location("examples_run", EXAMPLES / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """The kinds of a cell's outputs: MIME types, and names of streams."""
    return [
        sorted(one.data) if "data" in one else one.get("name", one.output_type)
        for one in cell.outputs
    ]


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["catalogue", "finetuning"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_as_it_ran(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [one for cell in cells for one in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error"]
    shown = "\n".join(str(one) for one in outputs)
    assert not re.search(r"/(tmp|home|work|root|Users)/", shown)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path):
    committed = nbformat.read(path, as_version=4)
    # A cell that fails raises CellExecutionError.
    again = runner().run(path)
    assert [cell.source for cell in again.cells] == [cell.source for cell in committed.cells]
    for before, after in zip(code_cells(committed), code_cells(again), strict=True):
        assert kinds(after) == kinds(before), after.source
    figures = [one for cell in code_cells(again) for one in cell.outputs if "data" in one]
    pictures = sum("image/png" in one.data for one in figures)
    assert pictures == sum(cell.source.count("plt.subplots(") for cell in code_cells(again)) + sum(
        "plt." not in cell.source and "plot_" in cell.source for cell in code_cells(again)
    )
