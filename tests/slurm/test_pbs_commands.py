"""Submission, scaling, cancelling and looking after jobs through `qsub`, `qdel` and `qstat`.

A test of the command protocol, not of a PBS: the commands are those that Slurm brings for people who come from Torque.
They submit the script of a PBS job, `#PBS` lines included, and Slurm runs it. What they do not do as a PBS does: in
`-l select=` they read the memory and neither `ncpus` nor `ngpus`, output goes where `qsub` was called, and there are no
`PBS_` variables in a job.
"""

import pytest
from program import says
from published import assert_same, results
from slurm_runs import Watched, going_on, pool, run_it, site, started, wait_for_end_of_jobs
from waiting import is_gone, wait_until

from ibl_dask.deploy.cluster import jobs, scaling
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.pipeline.executors import OnCluster

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Let these commands leave what jobs print there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(jobs, "GRACE_S", 1.0)


def pbs(**more):
    return pool(**({"scheduler": "pbs", "queue": "cpu"} | more))


def test_a_session_runs_and_a_job_that_is_deleted_costs_one_chunk(slurm, session, undisturbed, tmp_path):
    with connect(site(tmp_path, pbs())) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            victim = started(watched, 2)[0]
            slurm.call("qdel", victim["job"])
            wait_until(lambda: is_gone(victim["pid"]))
            watched.open_gate()
            result = running.result(120)
        assert result.exit_code == 0, result.sessions[0].failures
        assert_same(results(session), undisturbed)
        n_executions, n_chunks = watched.executions()
        assert n_executions == n_chunks + 1
        wait_for_end_of_jobs(client, slurm)
    wait_until(lambda: not slurm.jobs())


def test_a_job_has_the_memory_the_walltime_and_the_queue_of_its_pool(slurm, tmp_path):
    with connect(site(tmp_path, pbs(memory_gb=2.0, walltime_s=1200, max_jobs=1))) as client:
        client.cluster.scale(cpu=1)
        (job,) = wait_until(slurm.jobs)
        shown = slurm.shown(job)
        assert (shown["MinMemoryNode"], shown["TimeLimit"]) == ("2G", "00:20:00")
        assert (shown["Partition"], shown["JobName"]) == ("cpu", "ibl-cpu-0")
        client.cluster.scale(cpu=0)
        wait_until(lambda: not slurm.jobs())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"queue": "abroad"}, "invalid partition specified: abroad"),
        ({"setup": ("echo the module system is away today", "false")}, "the module system is away today"),
    ],
    ids=["an unknown queue", "a prologue that fails"],
)
def test_a_pool_whose_jobs_do_not_start_is_given_up_and_says_why(slurm, session, tmp_path, more, said):
    with connect(site(tmp_path, pbs(**more))) as client:
        result = run_it(session, OnCluster(client))
        (state,) = client.cluster.pools()
        assert state.n_submitted == scaling.MOST_FAILURES
    assert result.exit_code == 1
    for failure in result.sessions[0].failures:
        says(failure.message, "the jobs of pool cpu do not start", said)
    wait_until(lambda: not slurm.jobs())
