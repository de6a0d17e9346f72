"""The notebook for clusters runs on a cluster, from top to bottom."""

import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from waiting import wait_until

from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE

pytestmark = pytest.mark.slurm

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "on_a_cluster.ipynb"
PROFILE = """
name: loopback
scratch: {folder}/work
dashboard_port: 0
interface: lo
poll_s: 2
engines:
  discs: {{kind: synthetic, keypoints: [nose_tip, pupil_top_r]}}
networks:
  dlc:
    parts:
      whole: {{engine: discs, cameras: [left]}}
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
    setup: [export {check}=none]
"""


def test_the_notebook_runs_on_slurm(slurm, tmp_path, monkeypatch):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "slurm.yaml").write_text(
        PROFILE.format(folder=tmp_path, python=sys.executable, check=CHECK_VARIABLE)
    )
    # The command in one of its cells is that of this environment.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "\n".join(str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code")
    assert "#SBATCH -p cpu" in said
    assert "VideoSyncQC_nidq" in said
    assert "ssh -N -L" in said
    tables = [
        output.data["text/plain"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output
    ]
    submitted = next(table for table in tables if "submitted" in table)
    assert re.search(r"^cpu +[1-9]", submitted, re.MULTILINE)
    assert re.search(r"^gpu +[1-9]", submitted, re.MULTILINE)
    assert any(re.search(r"^pose +[1-9]", table, re.MULTILINE) for table in tables)
    wait_until(lambda: not slurm.jobs())
