"""A doctor's visit to a cluster: a job of each pool is started, looked at from within, and gone afterwards."""

import pytest
from slurm_runs import GPU, pool, site
from waiting import wait_until

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.doctor.examine import examine
from ibl_dask.deploy.doctor.finding import Importance

pytestmark = pytest.mark.slurm

UNSEEN = ("export IBL_DASK_GPU_CHECK=none",)
TRIED = ("export IBL_DASK_GPU_CHECK=cuda",)


def has_no_job(slurm):
    """Return whether none is left but such that are on their way out."""
    return all(job.state in ("COMPLETING", "CANCELLED") for job in slurm.jobs().values())


def by_check(findings, place):
    return {finding.check: finding for finding in findings if finding.place == place}


def test_a_worker_of_each_pool_is_looked_at_and_its_job_is_gone_then(slurm, tmp_path):
    two = {**GPU, "gpus": 2, "cores": 2, "workers_per_job": 2, "memory_gb": 1.6, "setup": UNSEEN}
    profile = site(tmp_path, pool("cpu", min_jobs=0), pool("gpu", **two), security="auto", umask=0o027)
    findings = examine(profile, profile.scratch, wait_s=120)
    assert [finding for finding in findings if finding.importance is Importance.PROBLEM] == []
    assert "/sbatch" in by_check(findings, "driver")["commands of slurm"].found
    for place in ("pool cpu", "pool gpu"):
        found = by_check(findings, place)
        assert found["shared folder"].importance is Importance.OK
        assert found["threads"].importance is Importance.OK
        assert "made with 640" in found["new files"].found
    # Slurm has two, and gives either to the worker that comes first.
    gpu = by_check(findings, "pool gpu")["GPU"].found
    assert gpu in [f"device {number}, not tried (IBL_DASK_GPU_CHECK=none)" for number in (0, 1)]
    assert has_no_job(slurm)


def test_workers_whose_gpus_do_not_work_say_so_and_leave(slurm, tmp_path):
    profile = site(tmp_path, pool("gpu", **{**GPU, "setup": TRIED}))
    found = by_check(examine(profile, profile.scratch, wait_s=120), "pool gpu")["GPU"]
    assert found.importance is Importance.PROBLEM
    assert "NVIDIA's driver library is not there" in found.found
    assert "--exclude=n" in found.do  # a node as Slurm calls it
    assert has_no_job(slurm)


def test_a_job_that_waits_in_the_queue_is_told_by_the_words_of_the_batch_system(slurm, tmp_path):
    profile = site(tmp_path, pool("cpu", directives=("--begin=now+1hour",)))
    found = by_check(examine(profile, profile.scratch, wait_s=30), "pool cpu")["worker"]
    assert "PENDING BeginTime" in found.found
    assert has_no_job(slurm)


def test_a_run_is_told_why_the_workers_of_a_gpu_job_left(slurm, tmp_path):
    profile = site(tmp_path, pool("gpu", **{**GPU, "setup": TRIED}, min_jobs=1))
    with connect(profile) as client:
        failure = wait_until(lambda: client.cluster.pools()[0].failure, 120)
    assert "worker gpu-0 on n" in failure
    assert "left: NVIDIA's driver library is not there" in failure
