"""Jobs are cancelled, refused and preempted, nodes die: the run ends as if nothing had been, or says why it cannot."""

import shutil
import signal
import subprocess
from dataclasses import replace
from itertools import pairwise

import pytest
from program import PROGRAM, environment, says
from published import assert_same, results
from simple_steps import simple_step
from slurm_machine import NODES
from slurm_runs import (
    GPU,
    Watched,
    going_on,
    pool,
    run_it,
    site,
    started,
    write_profile,
)
from waiting import is_gone, wait_until

from ibl_dask.deploy.cluster import jobs, scaling
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.executors import OnCluster

pytestmark = pytest.mark.slurm

ALONE = ("--exclusive",)
"""Directive of jobs that want a node each."""


@pytest.fixture
def hasty(monkeypatch):
    """Let little time pass between two attempts, and until a job is missed."""
    monkeypatch.setattr(scaling, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(jobs, "GRACE_S", 1.0)


def insist_on_success(result, session, undisturbed):
    assert result.exit_code == 0, result.sessions[0].failures
    assert_same(results(session), undisturbed)


def test_a_job_that_is_cancelled_in_the_middle_of_a_chunk_costs_that_chunk_alone(slurm, session, undisturbed, tmp_path):
    with connect(site(tmp_path, pool())) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            victim = started(watched, 2)[0]
            slurm.call("scancel", victim["job"])
            wait_until(lambda: is_gone(victim["pid"]))
            watched.open_gate()
            insist_on_success(running.result(120), session, undisturbed)
        n_executions, n_chunks = watched.executions()
    assert n_executions == n_chunks + 1
    wait_until(lambda: not slurm.jobs())


def test_a_node_that_dies_takes_its_jobs_along_and_the_others_go_on(slurm, session, undisturbed, tmp_path):
    with connect(site(tmp_path, pool(directives=ALONE))) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            victim, other = started(watched, 2)
            assert victim["node"] != other["node"]
            assert victim["pid"] in slurm.kill_node(victim["node"])
            wait_until(lambda: is_gone(victim["pid"]))
            watched.open_gate()
            insist_on_success(running.result(120), session, undisturbed)
        n_executions, n_chunks = watched.executions()
        assert {line["node"] for line in watched.lines("framepass", "end")} <= {*NODES} - {victim["node"]}
    assert n_executions == n_chunks + 1


def test_a_node_whose_daemon_dies_alone_works_on(slurm, session, undisturbed, tmp_path):
    """Nobody can cancel its jobs then: their workers leave with the driver."""
    with connect(site(tmp_path, pool())) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            places = started(watched, 2)
            for node in {place["node"] for place in places}:
                assert slurm.kill_daemon(node)
            watched.open_gate()
            insist_on_success(running.result(120), session, undisturbed)
        n_executions, n_chunks = watched.executions()
    assert n_executions == n_chunks
    wait_until(lambda: all(is_gone(place["pid"]) for place in places), 60)


def test_a_pool_whose_jobs_are_refused_is_named_and_the_others_go_on(slurm, session, undisturbed, tmp_path, hasty):
    greedy = {"gpus": 3, "cores": 3, "workers_per_job": 3, "memory_gb": 3.0}
    said = "Requested node configuration is not available"
    with connect(site(tmp_path, pool(), pool("gpu", **(GPU | greedy)))) as client:
        watched = Watched(client, tmp_path, search=True)
        insist_on_success(run_it(session, watched), session, undisturbed)
        assert watched.found
        for record in watched.found.values():
            assert record.status == "failed"
            says(record.failure.message, "the jobs of pool gpu do not start", said)
        assert [state.n_submitted for state in client.cluster.pools() if state.pool.name == "gpu"] == [
            scaling.MOST_FAILURES
        ]
        n_executions, n_chunks = watched.executions()
    assert n_executions == n_chunks


def test_what_nobody_foresaw_while_a_job_is_made_ends_the_run_with_its_words(slurm, tmp_path, hasty, monkeypatch):
    def make_nothing(*args, **kwargs):
        raise TypeError("got an unexpected keyword argument")

    monkeypatch.setattr(jobs, "make_job", make_nothing)
    with connect(site(tmp_path, pool())) as client:
        executor = OnCluster(client)
        executor.submit([simple_step(tmp_path, "step")], tmp_path, {}, 0)
        (record,) = executor.completed()
    assert record.status == "failed"
    says(record.failure.message, "the jobs of pool cpu do not start", "got an unexpected keyword argument")


def test_a_pool_whose_prologue_fails_is_given_up_with_the_words_of_its_log(slurm, session, tmp_path, hasty):
    broken = pool(setup=("echo the module system is away today", "false"))
    with connect(site(tmp_path, broken)) as client:
        result = run_it(session, OnCluster(client))
        (state,) = client.cluster.pools()
        assert state.n_submitted == scaling.MOST_FAILURES
    assert result.exit_code == 1
    messages = [failure.message for failure in result.sessions[0].failures]
    assert messages
    for message in messages:
        says(message, "the jobs of pool cpu do not start", "the module system is away today")
    wait_until(lambda: not slurm.jobs())


@pytest.mark.slow_slurm
def test_attempts_come_more_and_more_slowly(slurm, tmp_path):
    broken = pool(setup=(f"date +%s.%N >> {tmp_path}/times", "false"), max_jobs=1)
    with connect(site(tmp_path, broken)) as client:
        executor = OnCluster(client)
        executor.submit([simple_step(tmp_path, "step")], tmp_path, {}, 0)
        (record,) = executor.completed()
    assert record.status == "failed"
    times = [float(line) for line in (tmp_path / "times").read_text().split()]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == scaling.MOST_FAILURES - 1
    assert all(pause >= scaling.FIRST_PAUSE_S * 2**n for n, pause in enumerate(pauses))


def test_a_preempted_job_is_requeued_and_its_worker_comes_back(slurm, session, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "REQUEUED_S", 600.0)  # a busy Slurm takes its time
    with connect(site(tmp_path, pool("scavenge", max_jobs=1))) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            (victim,) = started(watched, 1)
            first = slurm.submit("sleep 600", "--exclusive", f"--nodes={len(NODES)}", "--partition=cpu")
            wait_until(lambda: is_gone(victim["pid"]))
            wait_until(lambda: slurm.shown(victim["job"])["Restarts"] == "1")
            slurm.call("scancel", first)
            watched.open_gate()
            slurm.start_soon(victim["job"])
            insist_on_success(running.result(120), session, undisturbed)
        (state,) = client.cluster.pools()
        assert state.n_submitted == 1
        n_executions, n_chunks = watched.executions()
    assert n_executions == n_chunks + 1


def test_a_preempted_job_that_waits_for_long_is_replaced_and_not_added_to(
    slurm, session, undisturbed, tmp_path, monkeypatch
):
    """Slurm holds it for two minutes, and lets it wait as if it had been submitted then."""
    monkeypatch.setattr(scaling, "REQUEUED_S", 3.0)
    with connect(site(tmp_path, pool("scavenge", max_jobs=1))) as client:
        watched = Watched(client, tmp_path)
        watched.close_gate()
        with going_on(session, watched) as running:
            (victim,) = started(watched, 1)
            before = slurm.shown(victim["job"])
            first = slurm.submit("sleep 600", "--exclusive", f"--nodes={len(NODES)}", "--partition=cpu")
            wait_until(lambda: slurm.shown(victim["job"])["JobState"] == "PENDING")
            held = slurm.shown(victim["job"])
            assert held["SubmitTime"] > before["SubmitTime"]
            wait_until(lambda: slurm.shown(victim["job"])["JobState"] == "CANCELLED", 30)
            state = wait_until(lambda: (found := client.cluster.pools()[0]).n_submitted == 2 and found.n_jobs and found)
            assert (state.n_jobs, state.failure) == (1, "")
            assert [job.state for job in slurm.jobs().values() if job.partition == "scavenge"] == ["PENDING"]
            slurm.call("scancel", first)
            watched.open_gate()
            insist_on_success(running.result(90), session, undisturbed)
        n_executions, n_chunks = watched.executions()
        assert {line["job"] for line in watched.lines("framepass", "end")} == {str(int(first) + 1)}
    assert n_executions == n_chunks + 1


ONE_WORKS = ('export IBL_DASK_GPU_CHECK=$([ "$SLURMD_NODENAME" = n3 ] && echo cuda || echo none)',)
"""The GPUs of n3 are tried, and are none; those of the other node are taken unseen."""


def gpu_steps(tmp_path, n, seconds=0.2):
    steps = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=seconds) for i in range(n)]
    return [replace(step, resources=Resources(gpu=1, memory_gb=0.5)) for step in steps]


def test_a_node_whose_gpu_does_not_work_is_left_out_and_the_run_finishes_on_another(slurm, tmp_path, hasty):
    profile = site(tmp_path, pool("gpu", **{**GPU, "setup": ONE_WORKS}, max_jobs=1))
    with connect(profile) as client:
        watched = Watched(client, tmp_path)
        steps = gpu_steps(tmp_path, 6)
        watched.submit(steps, tmp_path, {}, 0)
        assert all(record.is_ok for record in watched.completed())
        (state,) = client.cluster.pools()
    (left,) = state.excluded.items()
    assert left[0] == "n3"
    says(left[1], "NVIDIA's driver library is not there")
    assert state.n_submitted == 2
    lines = [line for step in steps for line in watched.lines(step.kind)]
    assert {line["node"] for line in lines} == {"n4"}
    (job,) = {line["job"] for line in lines}
    assert slurm.shown(job)["ExcNodeList"] == "n3"


def test_a_job_that_waits_already_does_not_start_on_a_node_whose_gpu_does_not_work(slurm, tmp_path, hasty):
    """Nor on one that its profile leaves out."""
    full = slurm.submit("sleep 600", "--partition=gpu", "--nodelist=n4", "--gres=gpu:2", "--job-name=full")
    wait_until(lambda: slurm.jobs()[full].state == "RUNNING")
    both = {"gpus": 2, "cores": 2, "workers_per_job": 2, "memory_gb": 2.0}
    profile = site(tmp_path, pool("gpu", **{**GPU, **both, "setup": ONE_WORKS}, directives=("--exclude=n1",)))
    with connect(profile) as client:
        watched = Watched(client, tmp_path)
        steps = gpu_steps(tmp_path, 12)
        watched.submit(steps, tmp_path, {}, 0)

        def ours():
            return {job.state: job.id for job in slurm.jobs().values() if job.name.startswith("ibl")}

        waiting = wait_until(lambda: len(found := ours()) == 2 and "RUNNING" in found and found.get("PENDING"))
        slurm.call("scontrol", "hold", waiting)  # or it would start before anybody knows
        assert slurm.shown(waiting)["ExcNodeList"] == "n1"
        wait_until(lambda: slurm.shown(waiting)["ExcNodeList"] == "n1,n3")
        slurm.call("scontrol", "release", waiting)
        slurm.call("scancel", full)
        assert all(record.is_ok for record in watched.completed())
    lines = [line for step in steps for line in watched.lines(step.kind)]
    assert {line["node"] for line in lines} == {"n4"}


def test_a_pool_none_of_whose_gpus_works_is_given_up_with_what_is_wrong_on_each_node(slurm, tmp_path, hasty):
    """Not with what Slurm says when no node is left; and no job waits for ever."""
    tried = ("export IBL_DASK_GPU_CHECK=cuda",)
    with connect(site(tmp_path, pool("gpu", **{**GPU, "setup": tried}, max_jobs=5))) as client:
        executor = OnCluster(client)
        executor.submit(gpu_steps(tmp_path, 12), tmp_path, {}, 0)
        records = list(executor.completed())
        (state,) = client.cluster.pools()
    assert {record.status for record in records} == {"failed"}
    says(records[0].failure.message, "the jobs of pool gpu do not start", "NVIDIA's driver library is not there")
    says(records[0].failure.message, "n3", "n4")
    assert state.excluded.keys() == {"n3", "n4"}
    wait_until(lambda: not slurm.jobs())


@pytest.mark.slow_slurm
def test_workers_leave_in_time_and_others_come_where_jobs_are_shorter_than_the_work(slurm, tmp_path):
    """Two minutes of work for jobs of one minute: nothing is lost, since workers know when to leave."""
    steps = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=2.0) for i in range(60)]
    with connect(site(tmp_path, pool(walltime_s=60))) as client:
        watched = Watched(client, tmp_path)
        watched.submit(steps, tmp_path, {}, 0)
        assert all(record.is_ok for record in watched.completed())
        (state,) = client.cluster.pools()
    lines = [line for step in steps for line in watched.lines(step.kind)]
    print(f"{len(lines)} executions of {len(steps)} steps by {state.n_submitted} jobs")
    assert state.n_submitted >= 4
    assert len(lines) <= 1.05 * len(steps)


@pytest.mark.slow_slurm
def test_jobs_that_their_time_limit_kills_are_replaced(slurm, tmp_path):
    """The site ends jobs sooner than the profile says: each costs the step that it had, and no more."""
    steps = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=2.0) for i in range(90)]
    with connect(site(tmp_path, pool(walltime_s=None, directives=("--time=00:01:00",)))) as client:
        watched = Watched(client, tmp_path)
        watched.submit(steps, tmp_path, {}, 0)
        assert all(record.is_ok for record in watched.completed())
        (state,) = client.cluster.pools()
    lines = [line for step in steps for line in watched.lines(step.kind)]
    print(f"{len(lines)} executions of {len(steps)} steps by {state.n_submitted} jobs")
    assert state.n_submitted >= 3
    assert len(lines) <= len(steps) + state.n_submitted
    assert {slurm.shown(job)["JobState"] for job in {line["job"] for line in lines}} >= {"TIMEOUT"}


def drive(session, profile, **more):
    """Start the program on a session, as a user would."""
    return subprocess.Popen(
        [*PROGRAM, "run", str(session), "--profile", str(profile)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(**more),
        start_new_session=True,
    )


@pytest.mark.parametrize("moment", ["PENDING", "RUNNING"])
def test_a_driver_that_is_told_to_stop_leaves_no_job(slurm, session, undisturbed, tmp_path, moment):
    """Also one whose jobs still wait for a place."""
    if moment == "PENDING":
        slurm.submit("sleep 600", "--exclusive", f"--nodes={len(NODES)}", "--job-name=full")
    profile = write_profile(tmp_path / "site.yaml", tmp_path, cpu={})
    process = drive(session, profile)
    ours = wait_until(lambda: [j for j in slurm.jobs().values() if j.name.startswith("ibl-") and j.state == moment], 60)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 143, text
    assert "Traceback" not in text, text
    says(text, "run the same command again")
    wait_until(lambda: not {job.id for job in ours} & slurm.jobs().keys(), 10)
    assert not [job for job in slurm.jobs().values() if job.name.startswith("ibl-")]
    slurm.clear()
    if moment == "RUNNING":
        process = drive(session, profile)
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
        assert_same(results(session), undisturbed)
    wait_until(lambda: not slurm.jobs())


def test_jobs_of_a_driver_that_is_killed_leave_by_themselves(slurm, session, undisturbed, tmp_path):
    profile = write_profile(tmp_path / "site.yaml", tmp_path, cpu={"min_jobs": 2})
    process = drive(session, profile)
    wait_until(lambda: (session / "ibl_dask" / "lock.json").exists() and len(slurm.jobs()) == 2)
    wait_until(lambda: any((tmp_path / "work").rglob("*-index.npz")))
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not slurm.jobs(), 150)
    process = drive(session, profile)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert_same(results(session), undisturbed)


def test_two_drivers_share_a_cluster_and_neither_touches_the_jobs_of_the_other(
    slurm, small, session, undisturbed, tmp_path
):
    other = tmp_path / "other" / "Subjects" / "SW_002" / "2023-05-01" / "001"
    shutil.copytree(small, other)
    with connect(site(tmp_path / "first", pool(max_jobs=1))) as one, connect(site(tmp_path / "second", pool())) as two:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        first, second = Watched(one, tmp_path / "a"), Watched(two, tmp_path / "b")
        second.close_gate()
        with going_on(session, first) as running, going_on(other, second) as waiting:
            held = started(second, 2)
            insist_on_success(running.result(120), session, undisturbed)
            wait_until(lambda: {job.id for job in slurm.jobs().values()} == {line["job"] for line in held}, 60)
            second.open_gate()
            assert waiting.result(120).exit_code == 0
            assert_same(results(other), undisturbed)
        for watched in (first, second):
            n_executions, n_chunks = watched.executions()
            assert n_executions == n_chunks
        assert not {line["job"] for line in first.lines("framepass")} & {line["job"] for line in held}
