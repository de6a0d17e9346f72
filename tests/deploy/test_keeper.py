"""How many jobs each pool should have, and which are started and let go."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.deploy.cluster.scaling import (
    LONGEST_OUTAGE_S,
    LONGEST_PAUSE_S,
    MOST_FAILURES,
    REQUEUED_S,
    STEPS_PER_WORKER,
    SUBMITTED_AT_ONCE,
    Health,
    JobView,
    decide,
    wanted_jobs,
)
from ibl_dask.deploy.site.profile import Pool
from ibl_dask.model.step import Resources

CPU_STEP = frozenset(Resources(cpu=1, memory_gb=1).for_dask().items())
GPU_STEP = frozenset(Resources(cpu=1, gpu=1, memory_gb=4).for_dask().items())
LARGE_STEP = frozenset(Resources(cpu=1, memory_gb=30).for_dask().items())
CPU = Pool("cpu", "slurm", max_jobs=10, cores=2, workers_per_job=2, memory_gb=4)
GPU = Pool("gpu", "slurm", max_jobs=3, cores=4, gpus=1, memory_gb=16)
LARGE = Pool("large", "slurm", max_jobs=2, memory_gb=64)
POOLS = (CPU, GPU, LARGE)

demands = st.fixed_dictionaries({s: st.integers(0, 500) for s in (CPU_STEP, GPU_STEP, LARGE_STEP)})


@given(demands)
def test_no_pool_gets_more_jobs_than_its_profile_allows_nor_any_without_work(demand):
    wanted = wanted_jobs(POOLS, demand)
    assert all(0 <= wanted[pool.name] <= pool.max_jobs for pool in POOLS)
    assert (wanted["gpu"] > 0) == (demand[GPU_STEP] > 0)
    assert sum(wanted.values()) > 0 or not any(demand.values())


@given(st.integers(1, 500))
def test_work_for_gpus_starts_gpu_jobs_only(n):
    assert wanted_jobs(POOLS, {GPU_STEP: n}) == {
        "cpu": 0,
        "gpu": min(3, math.ceil(n / STEPS_PER_WORKER)),
        "large": 0,
    }


def test_a_step_goes_to_the_first_pool_that_can_run_it_and_the_rest_to_the_next():
    assert wanted_jobs(POOLS, {CPU_STEP: 1}) == {"cpu": 1, "gpu": 0, "large": 0}
    assert wanted_jobs(POOLS, {LARGE_STEP: 1}) == {"cpu": 0, "gpu": 0, "large": 1}
    full = CPU.max_jobs * CPU.workers_per_job * STEPS_PER_WORKER
    assert wanted_jobs(POOLS, {CPU_STEP: full + 1}) == {"cpu": 10, "gpu": 0, "large": 1}


@given(demands, demands)
def test_more_work_never_means_fewer_jobs(one, more):
    both = {step: one[step] + more[step] for step in one}
    few, many = wanted_jobs(POOLS, one), wanted_jobs(POOLS, both)
    assert all(few[name] <= many[name] for name in few)


def test_a_pool_keeps_its_least_number_of_jobs_without_work():
    assert wanted_jobs([replace(CPU, min_jobs=2)], {}) == {"cpu": 2}


def jobs():
    times = st.floats(0, 1000)
    return st.lists(
        st.builds(
            JobView,
            name=st.uuids().map(str),
            pool=st.sampled_from(["cpu", "gpu"]),
            submitted_s=times,
            is_connected=st.booleans(),
            idle_since_s=st.none() | times,
            is_leaving=st.booleans(),
            requeued_s=st.none() | times,
        ).map(lambda job: replace(job, **{"requeued_s" if job.is_connected else "idle_since_s": None})),
        max_size=8,
        unique_by=lambda job: job.name,
    )


@given(st.fixed_dictionaries({"cpu": st.integers(0, 6), "gpu": st.integers(0, 6)}), jobs(), st.floats(0, 100))
def test_a_job_that_works_is_never_let_go_and_the_number_of_jobs_comes_nearer(wanted, there, idle_s):
    now_s = 1000.0
    decision = decide(wanted, there, dict.fromkeys(wanted, Health()), now_s, idle_s)
    by_name = {job.name: job for job in there}
    assert len(set(decision.drop)) == len(decision.drop)
    for name in decision.drop:
        job = by_name[name]
        assert not job.is_connected or job.idle_since_s is not None
        assert job.is_leaving or not job.is_connected or now_s - job.idle_since_s >= idle_s
    for pool, n in wanted.items():
        here = [job for job in there if job.pool == pool and not job.is_leaving]
        live = [job for job in here if not waits_for_long(job, now_s)]
        dropped = [name for name in decision.drop if by_name[name] in live]
        assert decision.submit.count(pool) == max(0, n - len(live))
        assert len(dropped) <= max(0, len(live) - n)
        assert not (dropped and decision.submit.count(pool))


def waits_for_long(job, now_s):
    return job.requeued_s is not None and now_s - job.requeued_s >= REQUEUED_S


health = st.builds(Health, failures=st.integers(0, 5), retry_at_s=st.floats(0, 2000))


@given(
    st.fixed_dictionaries({"cpu": st.integers(0, 6), "gpu": st.integers(0, 6)}),
    jobs(),
    st.fixed_dictionaries({"cpu": health, "gpu": health}),
)
def test_jobs_that_wait_again_after_they_ran_are_replaced_and_never_added_to(wanted, there, fared):
    now_s = 1000.0
    decision = decide(wanted, there, fared, now_s, 30)
    for pool, n in wanted.items():
        here = [job for job in there if job.pool == pool and not job.is_leaving]
        late = {job.name for job in here if waits_for_long(job, now_s)}
        kept = {job.name for job in here} - set(decision.drop)
        # There are never more jobs than before, or than there should be.
        assert len(kept) + decision.submit.count(pool) <= max(n, len(here))
        if not fared[pool].failures:
            assert late <= set(decision.drop)
        elif len(here) <= n:  # it is better than a job that may be refused
            assert kept >= late
    # A job that should leave anyway does not wait for its next start.
    assert {job.name for job in there if job.is_leaving and job.requeued_s is not None} <= set(decision.drop)


def test_a_job_that_was_taken_back_may_start_again_soon_before_another_takes_its_place():
    job = JobView("a", "cpu", 0, requeued_s=50)
    good = {"cpu": Health()}
    soon = decide({"cpu": 1}, [job], good, 50 + REQUEUED_S - 0.1, 30)
    late = decide({"cpu": 1}, [job], good, 50 + REQUEUED_S, 30)
    assert (soon.submit, soon.drop) == ((), ())
    assert (late.submit, late.drop) == (("cpu",), ("a",))
    assert decide({"cpu": 0}, [job], good, 50, 30).drop == ("a",)
    ill = {"cpu": Health().after_failure(0, "refused")}
    assert decide({"cpu": 1}, [job], ill, 1000, 30).drop == ()


def test_of_many_jobs_that_were_taken_back_as_many_are_replaced_as_are_submitted_at_once():
    there = [JobView(f"{i}", "cpu", i, requeued_s=0) for i in range(2 * SUBMITTED_AT_ONCE)]
    decision = decide({"cpu": len(there)}, there, {"cpu": Health()}, 100, 30)
    assert len(decision.drop) == len(decision.submit) == SUBMITTED_AT_ONCE


def test_jobs_that_have_not_started_are_let_go_before_any_that_idles_and_the_youngest_first():
    there = [
        JobView("idle", "cpu", 0, is_connected=True, idle_since_s=0),
        JobView("old", "cpu", 1),
        JobView("young", "cpu", 2),
    ]
    drops = [decide({"cpu": n}, there, {"cpu": Health()}, 100, 30).drop for n in (3, 2, 1, 0)]
    assert drops == [(), ("young",), ("young", "old"), ("young", "old", "idle")]


def test_a_job_near_its_end_takes_no_further_steps_is_replaced_and_let_go_once_it_is_done():
    job = JobView("a", "cpu", 0, is_connected=True, drain_at_s=50)
    health = {"cpu": Health()}
    assert decide({"cpu": 1}, [job], health, 49, 30) == decide({"cpu": 1}, [replace(job, name="b")], health, 49, 30)
    at_end = decide({"cpu": 1}, [job], health, 50, 30)
    assert (at_end.drain, at_end.submit, at_end.drop) == (("a",), ("cpu",), ())
    leaving = replace(job, is_leaving=True)
    assert decide({"cpu": 0}, [leaving], health, 60, 30).drop == ()
    assert decide({"cpu": 0}, [replace(leaving, idle_since_s=60.0)], health, 60, 30).drop == ("a",)


def test_after_a_failure_one_job_is_tried_at_a_time_with_longer_and_longer_pauses():
    health = Health()
    pauses = []
    for _ in range(MOST_FAILURES):
        health = health.after_failure(100, "refused")
        pauses.append(health.retry_at_s - 100)
        assert decide({"cpu": 5}, [], {"cpu": health}, health.retry_at_s - 0.1, 30).submit == ()
        assert decide({"cpu": 5}, [], {"cpu": health}, health.retry_at_s, 30).submit == ("cpu",)
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    assert decide({"cpu": 5}, [], {"cpu": health.after_success()}, 100, 30).submit == ("cpu",) * 5


def test_a_pool_that_worked_or_whose_batch_system_is_away_is_given_up_after_hours_and_another_at_once():
    def after(health, **more):
        for n in range(MOST_FAILURES + 3):
            health = health.after_failure(100.0 + n, "refused", **more)
        return health

    assert after(Health()).is_given_up(200)
    for patient in (after(Health().after_success()), after(Health(), is_outage=True)):
        assert not patient.is_given_up(200)
        assert not patient.is_given_up(100 + LONGEST_OUTAGE_S - 1)
        assert patient.is_given_up(100 + LONGEST_OUTAGE_S + 1)
        assert decide({"gpu": 3}, [], {"gpu": patient}, patient.retry_at_s, 30).submit == ("gpu",)
        assert patient.retry_at_s - 106 <= LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("asked", "lacking"),
    [
        ({"CPU": 1, "MEMORY_GB": 1}, ""),
        ({"CPU": 2, "MEMORY_GB": 1}, "CPU: 2 (each of its workers offers 1)"),
        ({"CPU": 1, "MEMORY_GB": 3}, "MEMORY_GB: 3 (each of its workers offers 2)"),
        ({"GPU": 1, "MEMORY_GB": 1}, "GPU: 1 (its workers offer none)"),
    ],
)
def test_a_pool_says_what_it_lacks_for_a_step(asked, lacking):
    assert CPU.lacks(asked) == lacking
