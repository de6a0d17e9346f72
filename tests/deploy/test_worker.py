import os
import subprocess
import sys

import distributed
import pytest
from waiting import wait_until

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE, Gpu, format_broken
from ibl_dask.deploy.cluster.refusals import refusals
from ibl_dask.deploy.cluster.worker_setup import thread_settings
from ibl_dask.deploy.site.profile import Pool, this_machine
from ibl_dask.model.cores import worker_cores


@pytest.mark.parametrize(
    ("environment", "cores", "expected"),
    [({}, 4, "4"), ({"OMP_NUM_THREADS": "3"}, 1, "3"), ({"OMP_NUM_THREADS": ""}, 2, "2")],
)
def test_libraries_use_the_cores_of_a_worker(environment, cores, expected):
    assert set(thread_settings(environment, cores).values()) == {expected}


def test_a_number_of_threads_that_somebody_chose_stays():
    settings = thread_settings({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}, 4)
    assert (settings["MKL_NUM_THREADS"], settings["OPENBLAS_NUM_THREADS"]) == ("2", "4")


def test_opencv_and_blas_use_one_thread_in_a_worker_of_one_core(client):
    def threads_of_opencv():
        code = "import cv2; print(cv2.getNumThreads())"
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert set(client.run(threads_of_opencv).values()) == {1}
    assert set(client.run(os.getenv, "OPENBLAS_NUM_THREADS").values()) == {"1"}


def test_files_of_driver_and_local_workers_have_the_permissions_of_the_profile(tmp_path):
    before = os.umask(0o022)
    try:
        with connect(this_machine(1, dashboard_port=0, umask=0o027)) as client:
            client.submit((tmp_path / "worker").touch).result()
            (tmp_path / "driver").touch()
        (tmp_path / "after").touch()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"worker": 0o640, "driver": 0o640, "after": 0o644}


def test_a_broken_gpu_is_told_with_what_to_do():
    text = format_broken(Gpu("3", True, problem="cuInit: unknown error (error 999)"), "gpu-0")
    assert "worker gpu-0" in text
    assert "cuInit: unknown error (error 999)" in text
    assert "--exclude=NODE" in text


@pytest.fixture
def scheduler():
    """Return a client to a scheduler without workers."""
    cluster = distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=40)
    with cluster, distributed.Client(cluster) as client:
        yield client


def start_job(client, name, n_workers, log, **environment):
    """Start the workers of a GPU job as a job script does."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address, "--name", name]
    command += ["--nthreads", "1", "--nworkers", str(n_workers), "--nanny", "--no-dashboard", "--death-timeout", "60"]
    offered = Pool(cores=3 * n_workers, gpus=n_workers, workers_per_job=n_workers, memory_gb=n_workers).worker_resources
    resources = ",".join(f"{kind}={amount:g}" for kind, amount in offered.items())
    command += ["--resources", resources, "--preload", "ibl_dask.deploy.cluster.worker_setup"]
    variables = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env={**variables, **environment})


def stop(process):
    process.terminate()
    process.wait(timeout=30)


def test_the_workers_of_a_job_have_a_gpu_each_and_their_share_of_its_cores(scheduler, tmp_path):
    job = start_job(scheduler, "gpu-7", 2, tmp_path / "log", **{CHECK_VARIABLE: "none", "CUDA_VISIBLE_DEVICES": "4,6"})
    try:
        scheduler.wait_for_workers(2, timeout=60)
        seen = scheduler.run(
            lambda dask_worker: (dask_worker.name, os.environ["CUDA_VISIBLE_DEVICES"], worker_cores())
        ).values()
    finally:
        stop(job)
    assert sorted(seen) == [("gpu-7-0", "4", 3), ("gpu-7-1", "6", 3)]


def test_a_worker_whose_gpu_is_broken_says_so_and_leaves(scheduler, tmp_path):
    log = tmp_path / "log"
    job = start_job(scheduler, "gpu-0", 1, log, **{CHECK_VARIABLE: "cuda", "CUDA_VISIBLE_DEVICES": "0"})
    with scheduler.get_executor(pure=False, resources={"GPU": 1}) as executor:
        step = executor.submit(sum, [1, 2])
        try:
            (said,) = wait_until(lambda: refusals(scheduler))
            assert job.wait(timeout=60) == 0
        finally:
            stop(job)
        assert not step.done()  # no failure of the step, which waits for a worker that can run it
        step.cancel()
    assert said["worker"] == "gpu-0"
    assert "no GPU that works" in said["reason"]
    assert said["problem"].startswith("NVIDIA's driver library is not there")
    assert said["problem"] in said["reason"]
    assert said["reason"] in log.read_text()


def test_a_worker_without_gpu_leaves_the_others_of_its_job_alone(scheduler, tmp_path):
    environment = {CHECK_VARIABLE: "none", "CUDA_VISIBLE_DEVICES": "0"}
    job = start_job(scheduler, "gpu-1", 2, tmp_path / "log", **environment)
    try:
        (said,) = wait_until(lambda: refusals(scheduler))
        assert "taken by another worker" in said["reason"]
        wait_until(lambda: len(scheduler.scheduler_info(n_workers=-1)["workers"]) == 1)
        steps = scheduler.map(abs, range(-8, 0), resources={"GPU": 1})
        assert scheduler.gather(steps) == [8, 7, 6, 5, 4, 3, 2, 1]
    finally:
        stop(job)
