"""The notebook for clusters runs on a cluster, from top to bottom."""

import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.slurm

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "on_a_cluster.ipynb"
PROFILE = """
name: loopback
scratch: {folder}/work
dashboard_port: 0
interface: lo
poll_s: 2
pools:
  cpu:
    scheduler: slurm
    queue: cpu
    memory: 1 GB
    walltime: 00:10:00
    max_jobs: 2
    python: {python}
    interface: lo
  gpu:
    scheduler: slurm
    queue: gpu
    memory: 1 GB
    gpus: 1
    walltime: 00:10:00
    max_jobs: 1
    python: {python}
    interface: lo
"""


def test_the_notebook_runs_on_slurm(slurm, tmp_path, monkeypatch):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "slurm.yaml").write_text(PROFILE.format(folder=tmp_path, python=sys.executable))
    # The command in one of its cells is that of this environment.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "\n".join(str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code")
    assert "#SBATCH -p cpu" in said
    assert "VideoSyncQC_nidq" in said
    assert "ssh -N -L" in said
    assert slurm.jobs() == {}
