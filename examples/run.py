"""Runs the notebooks of this folder and saves them with their outputs: `make examples`.

Each runs in a new temporary folder, where it writes its sample and its store, and in one thread, so
that its figures come out the same. What differs between two runs of the same notebook (times of
execution, progress bars) is left out of the file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 1800
"""Limit on the run of a cell."""


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a new folder. Raises CellExecutionError for a cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "OMP_NUM_THREADS": "1",
            # Nothing is fetched: a model that is not here is an error.
            "HF_HUB_OFFLINE": "1",
            "VITRINA_CACHE": f"{folder}/.cache",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONPATH": os.pathsep.join(
                [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **variables})
    return _stable(notebook)


def _stable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what changes from run to run."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not _is_passing(one)]
    return notebook


def _is_passing(output: nbformat.NotebookNode) -> bool:
    """True for progress and log lines: what is displayed and no picture, and the standard error."""
    if output.output_type == "stream":
        return bool(output.name == "stderr")
    pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
    return output.output_type == "display_data" and not pictures


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    for path in parser.parse_args().notebooks:
        notebook = run(path)
        nbformat.write(notebook, path)
        print(f"{path.name}: {len(notebook.cells)} cells, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
