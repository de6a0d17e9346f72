"""A test run on a machine that has nothing but the installed package."""

import os
import subprocess
import sys

from needs import ROOT

FILES = ("peer/test_video.py", "slurm/test_pools.py", "timing/test_camera_files.py", "pose/test_onnx_engine.py")


def test_each_missing_thing_is_told_in_one_line_with_the_way_to_get_it(tmp_path):
    bare = {name: value for name, value in os.environ.items() if not name.startswith("IBL_DASK_")}
    bare |= {"IBL_DASK_TEST_DATA": str(tmp_path / "absent"), "IBL_DASK_SLURM": "none"}
    files = [str(ROOT / "tests" / name) for name in FILES]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n=0",
        "-p",
        "no:cacheprovider",
        "-m",
        "peer or recordings or pose or slurm",
        *files,
    ]
    run = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    told = [line for line in run.stdout.splitlines() if line.startswith("skipped ")]
    assert len(told) == 4, run.stdout
    for name in ("IBL_DASK_PEER_PYTHON", "IBL_DASK_TEST_DATA", "IBL_DASK_POSE_PYTHON", "Slurm"):
        assert sum(name in line for line in told) == 1
    assert "SKIPPED" not in run.stdout
