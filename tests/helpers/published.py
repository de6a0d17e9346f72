"""What a run publishes, for comparing one run with another."""

import contextlib
import json

import numpy as np
import xarray as xr

CAMERAS = ("left", "right", "body")
SMALL_CHUNKS = 50 * 320 * 256

DRIVER = """
import json, sys
from pathlib import Path
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.pipeline.run import run

if __name__ == "__main__":
    with connect(this_machine(2, dashboard_port=0)) as client:
        result = run([Path(sys.argv[1])], client=client, work_dir=Path(sys.argv[2]), **json.loads(sys.argv[3]))
    sys.exit(result.exit_code)
"""
"""A program that runs a session on two workers: session, work folder, options of tasks as JSON."""


def results(folder):
    """Return every number that a run publishes for a session."""
    out = {}
    for label in CAMERAS:
        out[f"{label}.times"] = np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")
        # Without Dask: a client would compute it on its workers.
        with xr.open_zarr(folder / "ibl_dask" / f"{label}Camera-frames.zarr", chunks=None) as dataset:
            out |= {f"{label}.{name}": v.to_numpy() for name, v in dataset.variables.items()}
    qc = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    values = {
        label: {name: [check["outcome"], check["values"]] for name, check in camera["checks"].items()}
        for label, camera in qc["cameras"].items()
    }
    out["qc"] = np.array(json.dumps([qc["extended_qc"], values], sort_keys=True))
    return out


@contextlib.contextmanager
def one_camera_of(session):
    """Let `results` read what is published of a session that has the left camera alone."""
    global CAMERAS
    before = CAMERAS
    CAMERAS = ("left",)
    try:
        yield session
    finally:
        CAMERAS = before


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].tobytes() == value.tobytes(), name


def passes(outcome, status):
    return [r for r in outcome.records.values() if r.key[0].startswith("framepass") and r.status == status]
