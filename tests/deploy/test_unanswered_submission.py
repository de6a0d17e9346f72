"""A submission to which the batch system gives no answer may be carried out all the same."""

import asyncio

from ibl_dask.deploy.batch_systems import commands
from ibl_dask.deploy.cluster import jobs
from ibl_dask.deploy.cluster.jobs import PoolJobs
from ibl_dask.deploy.site.profile import Pool, Profile

POOL = Pool("cpu", "slurm", max_jobs=4, cores=2, workers_per_job=2, memory_gb=4)


class Hanging:
    """A job whose submission hangs, as `sbatch` does where its controller is overloaded."""

    async def start(self):
        await asyncio.sleep(3600)


def test_workers_of_a_job_whose_submission_was_not_answered_are_closed_since_nobody_else_would_end_them(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(commands, "ANSWER_S", 0.05)
    monkeypatch.setattr(jobs, "make_job", lambda *arguments, **more: Hanging())
    pools = PoolJobs(Profile(pools=(POOL,)), tmp_path)
    closed = []

    async def retire(names):
        closed.append(list(names))

    async def late_job():
        await pools.submit(POOL, "tcp://127.0.0.1:8786", None)
        assert not pools.jobs
        await pools.drop_unknown({"cpu-1-0", "somebody-else"}, retire)
        assert not closed, "a worker of another job"
        await pools.drop_unknown({"cpu-0-0", "cpu-1-0"}, retire)
        await pools.drop_unknown({"cpu-0-1"}, retire)

    asyncio.run(late_job())
    assert closed == [["cpu-0-0"], ["cpu-0-1"]]
    assert pools.health["cpu"].failures == 1
    assert pools.health["cpu"].reason == "refused: no answer for 0.05 s"
