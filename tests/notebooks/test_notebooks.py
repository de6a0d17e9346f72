"""Every notebook runs from top to bottom, as a reader would run it."""

from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ELSEWHERE = {"on_a_cluster"}
"""Run by `tests/slurm`, where a cluster is."""


HERE = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.stem not in ELSEWHERE]


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert len(shown) >= 8
