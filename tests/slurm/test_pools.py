"""CPU and GPU pools under one scheduler: steps go where they belong, and jobs come and go with the work."""

from collections import Counter
from dataclasses import replace

import pytest
from disc_sessions import site as disc_site
from disc_sessions import toy, write_discs
from published import assert_same, results
from simple_steps import simple_step
from slurm_machine import GPU_NODES
from slurm_runs import GPU, Watch, Watched, going_on, pool, site, wait_for_end_of_jobs
from waiting import wait_until

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.model.status import Status
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.run import run

pytestmark = pytest.mark.slurm


def n_workers(client, pool):
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(worker["name"].startswith(f"{pool}-") for worker in workers)


def test_three_cameras_decode_on_cpu_workers_while_gpu_workers_look_at_their_frames(
    slurm, session, undisturbed, tmp_path
):
    """With certificates, as on any cluster, and pools that have no job before and after."""
    profile = site(tmp_path, pool("cpu"), pool("gpu", **GPU), security="auto")
    with connect(profile) as client, Watch(client, slurm) as watch:
        assert client.scheduler.address.startswith("tls://")
        assert slurm.jobs() == {}
        watched = Watched(client, tmp_path, search=True)
        watched.close_gate()  # on a busy machine one worker may be through before the other has come
        with going_on(session, watched) as future:
            wait_until(lambda: watch.most == {"cpu": 2, "gpu": 2}, 180)
        result = future.result()
        assert result.exit_code == 0, result.sessions[0].failures
        wait_for_end_of_jobs(client, slurm)
    assert_same(results(session), undisturbed)
    assert watch.most == {"cpu": 2, "gpu": 2}, "no more than the pools allow"

    decoded, looked_at = watched.lines("framepass"), watched.lines("numbers")
    assert {(line["partition"], line["gpus"]) for line in decoded} == {("cpu", "")}
    assert {line["partition"] for line in looked_at} == {"gpu"}
    assert {line["node"] for line in looked_at} <= set(GPU_NODES)
    assert {line["gpus"] for line in looked_at} <= {"0", "1"}
    assert len({(line["node"], line["gpus"]) for line in looked_at}) == 2
    for kind in ("framepass", "numbers"):
        n_executions, n_chunks = watched.executions(kind)
        assert n_executions == n_chunks >= 20
    assert {(line["step"].partition("-")[2], line["chunk"]) for line in decoded} == {
        (name.partition("-")[2], chunk) for name, chunk in watched.found
    }
    for record in watched.found.values():
        assert record.status == "done", record.failure
        assert record.value["in_order"], record


def test_two_gpus_share_one_video_and_steps_for_gpus_run_nowhere_else(slurm, tmp_path):
    """The GPUs are those of a fake Slurm node; the engine takes as long as on one, and leaves the cores alone."""
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_discs(folder, ("left",))
    request = {"tasks": ["DLC"], "chunk_pixels": 320 * 256 * 20}
    (alone,) = run([folder], output_root=tmp_path / "alone", **request, **disc_site(engines=(toy(),))).sessions
    assert alone.tasks["DLC"] is Status.COMPLETE, alone.failures
    options = disc_site(engines=(toy(ms_per_frame=50),), device="cuda")
    with connect(site(tmp_path, pool("cpu"), pool("gpu", min_jobs=2, **GPU))) as client:
        # Both are there from the start: on a busy machine one may be through before the other has come.
        wait_until(lambda: n_workers(client, "gpu") == 2, 180)
        watched = Watched(client, tmp_path)
        (outcome,) = run([folder], executor=watched, **request, **options).sessions
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    for kind, partitions in {"pose": {"gpu"}, "motion": {"cpu"}, "keypoints": {"cpu"}}.items():
        assert {line["partition"] for line in watched.lines(kind)} == partitions, kind
    chunks = Counter((line["node"], line["gpus"]) for line in watched.lines("pose"))
    assert len(chunks) == 2
    assert chunks.total() == 6
    (expected,) = (tmp_path / "alone").rglob("_ibl_leftCamera.dlc.pqt")
    assert (folder / "alf" / expected.name).read_bytes() == expected.read_bytes()


def test_gpu_work_alone_starts_gpu_jobs_alone(slurm, tmp_path):
    profile = site(tmp_path, pool("cpu"), pool("gpu", **GPU))
    with connect(profile) as client, Watch(client, slurm) as watch:
        executor = OnCluster(client)
        on_gpu = Resources(gpu=1, memory_gb=0.5)
        steps = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=2.0) for i in range(20)]
        steps = [replace(step, resources=on_gpu) for step in steps]
        executor.submit(steps, tmp_path, {}, 0)
        assert all(record.is_ok for record in executor.completed())
        wait_for_end_of_jobs(client, slurm)
    assert watch.most["cpu"] == 0
    assert watch.most["gpu"] == 2


def test_a_job_with_several_workers_gives_each_of_them_one_step(slurm, tmp_path):
    profile = site(tmp_path, pool("cpu", max_jobs=1, cores=2, workers_per_job=2, memory_gb=2.0))
    with connect(profile) as client:
        client.cluster.scale(cpu=1)
        wait_until(lambda: len(client.scheduler_info()["workers"]) == 2)
        workers = client.scheduler_info()["workers"].values()
        assert sorted(worker["name"] for worker in workers) == ["cpu-0-0", "cpu-0-1"]
        assert [(w["nthreads"], w["resources"]) for w in workers] == [(1, {"CPU": 1, "MEMORY_GB": 1})] * 2
        assert len(slurm.jobs()) == 1
