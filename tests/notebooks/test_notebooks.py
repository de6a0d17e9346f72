"""Every notebook runs from top to bottom, as a reader would run it, and its kept outputs are fit to be read."""

import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from needs import POSE

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted(FOLDER.glob("*.ipynb"))}
FIRST = "first_session"


def marks_of(name, notebook):
    """Return the marks of a notebook: the first one always runs."""
    if notebook.metadata.get("needs") == "pose":
        return [pytest.mark.pose]
    return [] if name == FIRST else [pytest.mark.notebooks]


HERE = [
    pytest.param(name, marks=marks_of(name, notebook))
    for name, notebook in NOTEBOOKS.items()
    if notebook.metadata.get("needs") != "slurm"  # run by `tests/slurm`, where a cluster is
]
PLACES = re.compile(r"/(?:tmp|root|home|var|Users)/")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MOST_BYTES = 400_000


def outputs(notebook, kind):
    """Return the outputs of a kind, in order."""
    found = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[kind] for output in found if kind in output.get("data", {})]


def linked_files(notebook):
    """Return the files that the outputs link to, relative to the folder of the notebook."""
    pages = outputs(notebook, "text/html")
    return [target for page in pages for target in re.findall(r"href=['\"](?!https?:|#)([^'\"]+)['\"]", page)]


@pytest.mark.parametrize("name", HERE)
def test_a_notebook_runs_and_shows_what_it_keeps(name, tmp_path, monkeypatch):
    # Commands in its cells are those of this environment.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("IBL_DASK_POSE_PYTHON", POSE or sys.executable)
    notebook = nbformat.from_dict(NOTEBOOKS[name])
    kept = len(outputs(notebook, "image/png"))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300, resources=resources).execute()
    assert len(outputs(notebook, "image/png")) == kept >= 1
    links = linked_files(notebook)
    assert links
    assert [link for link in links if not (tmp_path / link).is_file()] == []
    printed = "".join(str(output) for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "Usage: ibl-dask" not in printed


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_small_and_names_no_place_of_the_machine_it_ran_on(name):
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < MOST_BYTES
    texts = [
        str({key: value for key, value in output.get("data", output).items() if key != "image/png"})
        for cell in NOTEBOOKS[name].cells
        for output in cell.get("outputs", ())
    ]
    assert [found for text in texts for found in PLACES.findall(text)] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_between_notebooks_and_documents_lead_somewhere(name):
    text = "".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    targets = [target for target in LINK.findall(text) if "://" not in target]
    assert [target for target in targets if not (FOLDER / target.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_uses_public_names(name):
    text = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "code")
    imported = set(re.findall(r"from (ibl_dask[\w.]*) import", text))
    assert imported <= {"ibl_dask.synth", "ibl_dask.pose.toy"}
