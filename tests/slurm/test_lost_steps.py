"""Nodes that do not see the data, and steps that are longer than their job, on a real Slurm."""

import sys

import pytest
from program import says
from published import assert_same, results
from simple_steps import simple_step
from slurm_runs import Watched, pool, run_it, site
from waiting import wait_until

from ibl_dask.deploy.cluster import jobs, scaling
from ibl_dask.deploy.cluster.connect import connect

pytestmark = pytest.mark.slurm

BLIND = """#!/bin/sh
# On one node an empty disk lies over the folder of the sessions, as where it is not mounted.
if [ "$SLURMD_NODENAME" = n1 ]; then
    exec unshare --mount sh -c 'mount -t tmpfs none {data} && exec {python} "$@"' sh "$@"
fi
exec {python} "$@"
"""


@pytest.fixture
def hasty(monkeypatch):
    """Let little time pass between two attempts, and until a job is missed."""
    monkeypatch.setattr(scaling, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(jobs, "GRACE_S", 1.0)


def test_a_node_that_does_not_see_the_sessions_is_left_out_and_the_run_finishes_on_another(
    slurm, session, undisturbed, tmp_path, hasty
):
    """Before, nearly every session failed there within seconds."""
    python = tmp_path / "python"
    python.write_text(BLIND.format(data=session.parents[3], python=sys.executable))
    python.chmod(0o755)
    with connect(site(tmp_path, pool(python=str(python), max_jobs=1))) as client:
        watched = Watched(client, tmp_path)
        result = run_it(session, watched)
        (state,) = client.cluster.pools()
    assert result.exit_code == 0, result.sessions[0].failures
    assert_same(results(session), undisturbed)
    assert state.excluded.keys() == {"n1"}
    says(state.excluded["n1"], str(session), "is not seen there", "No such file")
    assert "n1" not in {line["node"] for line in watched.lines("framepass")}


@pytest.mark.slow_slurm
def test_a_step_that_is_longer_than_its_job_counts_as_that_and_is_not_given_again_and_again(slurm, tmp_path, hasty):
    with connect(site(tmp_path, pool(walltime_s=40))) as client:
        watched = Watched(client, tmp_path)
        watched.submit([simple_step(tmp_path, "long", seconds=200.0)], tmp_path, {}, 0)
        (record,) = watched.completed()
    assert record.status == "failed"
    says(record.failure.message, "this step takes longer than its job lasts", "long of s", "pool cpu")
    says(record.failure.message, "walltime of a job, 00:00:40", "had run for 00:0")
    assert 1 <= len(watched.lines("long")) <= 2
    wait_until(lambda: not slurm.jobs(), 20)


def test_a_step_on_a_job_that_takes_no_further_ones_starts_no_other_job(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_drain_after_s", lambda pool: 1.0)
    with connect(site(tmp_path, pool())) as client:
        watched = Watched(client, tmp_path)
        watched.submit([simple_step(tmp_path, "late", seconds=6.0)], tmp_path, {}, 0)
        assert [record.status for record in watched.completed()] == ["done"]
        (state,) = client.cluster.pools()
    assert state.n_submitted == 1
