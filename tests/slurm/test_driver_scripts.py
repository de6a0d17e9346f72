"""The batch script of `cluster/` that runs the driver itself in a job."""

import sys

import pytest
from published import assert_same, results
from slurm_runs import write_profile
from waiting import wait_until

pytestmark = pytest.mark.slurm


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make `ibl-dask` of this Python known to the script."""
    path = tmp_path / "ibl-dask"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from ibl_dask.cli.app import main; main()" "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("IBL_DASK", str(path))


@pytest.fixture
def script(pytestconfig):
    return str(pytestconfig.rootpath / "cluster" / "driver.slurm.sh")


def submit(slurm, tmp_path, script, *arguments):
    log = tmp_path / "driver.log"
    job = slurm.call("sbatch", "--parsable", f"--output={log}", script, *map(str, arguments)).strip()
    return job, log


def ended(slurm, job):
    wait_until(lambda: not slurm.jobs(), 120, step_s=0.2)
    return slurm.shown(job)["ExitCode"]


def test_the_driver_runs_in_a_job_and_starts_others(slurm, session, undisturbed, program, script, tmp_path):
    profile = write_profile(tmp_path / "site.yaml", tmp_path, cpu={})
    job, log = submit(slurm, tmp_path, script, profile, session)
    wait_until(lambda: len(slurm.jobs()) > 1)
    assert ended(slurm, job) == "0:0", log.read_text()
    assert_same(results(session), undisturbed)


def test_a_driver_near_its_walltime_goes_back_to_the_queue_and_goes_on(
    slurm, session, undisturbed, program, script, tmp_path
):
    profile = write_profile(tmp_path / "site.yaml", tmp_path, cpu={})
    job, log = submit(slurm, tmp_path, script, profile, session)
    wait_until(lambda: sum(other.state == "RUNNING" for other in slurm.jobs().values()) > 1)
    # What Slurm sends two minutes before the end.
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: slurm.shown(job)["Restarts"] == "1", 60)
    slurm.start_soon(job)
    assert ended(slurm, job) == "0:0", log.read_text()
    assert "into the queue again, finished chunks are kept" in log.read_text()
    assert_same(results(session), undisturbed)
