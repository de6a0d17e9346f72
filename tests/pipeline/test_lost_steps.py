"""What a step costs that kills its process, or meets a node that does not see the data."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import distributed
import numpy as np
import pytest
from distributed.protocol.pickle import dumps
from ending_steps import end_process
from program import WITHOUT_POWERS, says
from simple_steps import Calling, die_with_worker, note_worker, simple_step, vanish_once
from waiting import wait_until

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.refusals import refusals
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.step import Resources
from ibl_dask.pipeline import executors
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.isolation import run_in_own_process

HERE = Path("/proc/self/cwd")
"""A path that each process sees otherwise: what is below depends on where the process was started."""


def deadly_step(folder, way):
    arguments = {"log": str(folder / "deadly.txt"), "way": way}
    return Calling(
        called="deadly", camera=way, session="s", parts=str(folder), function=end_process, arguments=arguments
    )


def run_all(executor, steps, folder, places=()):
    executor.submit(steps, folder, {}, 0, places)
    return {record.key: record for record in executor.completed()}


def test_a_step_that_kills_its_process_costs_one_worker_and_no_other_step(tmp_path):
    """Once with its worker, then in a process of its own, of which is told how it ended."""
    deadly = [deadly_step(tmp_path, way) for way in ("os._exit", "SIGKILL", "memory")]
    harmless = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=0.05) for i in range(8)]
    blamed = [simple_step(tmp_path, f"slow{i}", function=die_with_worker) for i in range(2)]
    with connect(this_machine(2, memory_gb=1.0, dashboard_port=0)) as client:
        records = run_all(OnCluster(client), [*blamed, *deadly, *harmless], tmp_path)
    assert {records[step.key].status for step in harmless} == {"done"}
    # Whose worker somebody else killed, as these let seem, is done in a process of its own.
    assert [records[step.key].failure for step in blamed] == [None, None]
    n_processes = []
    for step in blamed:
        pids = (tmp_path / f"{step.kind}.pids").read_text().split()
        assert len(set(pids)) == len(pids)
        n_processes.append(len(pids))
    assert max(n_processes) > 1  # the other one may only have waited at a worker that died
    tries = (tmp_path / "deadly.txt").read_text().split("\n")
    told = {step.camera: records[step.key].failure.message for step in deadly}
    for way, message in told.items():
        # One that only waited at a worker that died begins in a process of its own; one that ends as for lack of
        # memory is tried once more when nothing else runs; and one whose result lay at a worker that another step
        # ended then, before it was fetched, runs again.
        assert 1 <= tries.count(way) <= (4 if way == "SIGKILL" else 3)
        says(message, "this step kills the process that it runs in", f"deadly-{way} of s", "a process of its own")
    says(told["os._exit"], "exit code 3,")
    says(told["SIGKILL"], "signal SIGKILL (9)", "where memory is short")
    says(told["memory"], "beside its worker, where both may have 1.00 GB", "give each worker more memory")


@pytest.mark.parametrize(
    ("way", "expected", "advice"),
    [
        ("os._exit", "exit code 3", "os._exit"),
        ("a crash of a library", "signal SIGSEGV (11)", "a library crashed"),
        ("abort", "signal SIGABRT (6)", "a library crashed"),
    ],
)
def test_of_a_process_that_died_are_told_exit_code_or_signal_and_peak_memory(tmp_path, way, expected, advice):
    taken = np.ones(60_000_000)  # what this process has is not what the other one had
    step = deadly_step(tmp_path, way)
    death = run_in_own_process(dumps(step), step.key, tmp_path, [])
    assert taken.nbytes / 1e9 > 0.45
    says(str(death), expected)
    says(death.advice, advice)
    assert 0.02 < death.peak_gb < 0.3


@pytest.fixture
def scheduler():
    """Return a client to a scheduler without workers."""
    cluster = distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50)
    with cluster, distributed.Client(cluster) as client:
        yield client


def start_worker(client, name, folder, *prefix, resources="CPU=1,MEMORY_GB=1", **environment):
    """Start a worker as a job script does, in some folder."""
    command = [*prefix, sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address, "--name", name]
    command += ["--nthreads", "1", "--no-dashboard", "--death-timeout", "60", "--no-nanny"]
    command += ["--resources", resources]
    # Steps are imported from here, wherever a worker is started.
    variables = {
        **os.environ,
        "WORKER_NAME": name,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        **environment,
    }
    with (folder / f"{name}.log").open("w") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env=variables)


@pytest.fixture
def workers(scheduler):
    """Return a function that starts a worker, all of which are ended."""
    processes = []

    def start(*arguments, **more):
        processes.append(start_worker(scheduler, *arguments, **more))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=30)


def folders(tmp_path, monkeypatch):
    """Make a folder that holds the data and one that does not; this process is in the first."""
    seeing, blind = tmp_path / "seeing", tmp_path / "blind"
    for folder in (seeing, blind):
        folder.mkdir()
    (seeing / "data").mkdir()
    monkeypatch.chdir(seeing)
    return seeing, blind


def test_a_worker_that_does_not_see_the_data_is_turned_away_and_no_step_fails(
    scheduler, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(executors, "NO_WORKER_S", 300.0)
    seeing, blind = folders(tmp_path, monkeypatch)
    left = workers("blind-0", blind, SLURMD_NODENAME="n7")
    scheduler.wait_for_workers(1, timeout=90)
    executor = OnCluster(scheduler)
    steps = [simple_step(seeing / "data", f"step{i}", chunk=i, seconds=0.1) for i in range(6)]
    executor.submit(steps, seeing, {}, 0, (HERE / "data",))
    workers("seeing-0", seeing)
    records = list(executor.completed())
    assert [record.status for record in records] == ["done"] * 6
    assert left.wait(timeout=60) == 0
    (said,) = refusals(scheduler)
    assert (said["worker"], said["node"], said["of"]) == ("blind-0", "n7", "node")
    says(said["problem"], "/proc/self/cwd/data", "No such file")
    says((blind / "blind-0.log").read_text(), "a node does not see the data", "mount there what holds sessions")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone sees what permission bits bar others from")
def test_where_no_worker_sees_the_data_steps_fail_with_the_place(scheduler, workers, tmp_path, monkeypatch):
    """Instead of waiting for ever; another place that may not be entered is not seen either."""
    monkeypatch.setattr(executors, "NO_WORKER_S", 0.5)
    seeing, _ = folders(tmp_path, monkeypatch)
    (seeing / "data" / "001").mkdir()
    (seeing / "data").chmod(0)
    workers("barred-0", seeing, *WITHOUT_POWERS)
    scheduler.wait_for_workers(1, timeout=90)
    steps = [simple_step(seeing, f"step{i}", chunk=i) for i in range(2)]
    records = run_all(OnCluster(scheduler), steps, seeing, (seeing / "data" / "001",))
    (seeing / "data").chmod(0o755)
    assert {record.status for record in records.values()} == {"failed"}
    for record in records.values():
        says(record.failure.message, "a node does not see the data", f"{seeing}/data/001", "Permission denied")


def test_data_that_vanish_from_a_node_while_it_works_are_its_fault(scheduler, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "NO_WORKER_S", 300.0)
    seeing, blind = folders(tmp_path, monkeypatch)
    (blind / "data").mkdir()
    workers("blind-0", blind)
    scheduler.wait_for_workers(1, timeout=90)
    executor = OnCluster(scheduler)
    (tmp_path / "gone").write_text(str(blind / "data"))
    step = simple_step(tmp_path, "vanishing", function=vanish_once)
    executor.submit([step], tmp_path, {}, 0, (HERE / "data",))
    workers("seeing-0", seeing)
    (record,) = executor.completed()
    assert record.status == "done"
    assert [said["worker"] for said in refusals(scheduler)] == ["blind-0"]


def gpu_step(folder, name, chunk, seconds=0.0, is_estimate=True):
    step = simple_step(folder, name, function=note_worker, chunk=chunk, seconds=seconds)
    return replace(step, resources=Resources(cpu=2, gpu=1, memory_gb=0.5, is_estimate=is_estimate))


@pytest.mark.parametrize("is_estimate", [True, False])
def test_steps_of_a_gpu_worker_that_died_wait_for_the_next_one_and_go_to_no_other(
    scheduler, workers, tmp_path, is_estimate
):
    workers("cpu-0", tmp_path)
    first = workers("gpu-0", tmp_path, resources="CPU=1,GPU=1,MEMORY_GB=1")
    scheduler.wait_for_workers(2, timeout=90)
    executor = OnCluster(scheduler)
    steps = [gpu_step(tmp_path, f"gpu{i}", chunk=i, seconds=0.2, is_estimate=is_estimate) for i in range(6)]
    executor.submit(steps, tmp_path, {}, 0)
    records = executor.completed()
    assert next(records).failure is None
    first.kill()
    wait_until(lambda: len(scheduler.scheduler_info(n_workers=-1)["workers"]) == 1)
    executor.submit([simple_step(tmp_path, f"cpu{i}", chunk=10 + i, seconds=3.0) for i in range(2)], tmp_path, {}, 0)
    assert {next(records).key.name for _ in range(2)} == {"cpu0", "cpu1"}
    workers("gpu-1", tmp_path, resources="CPU=1,GPU=1,MEMORY_GB=1")
    assert [record.status for record in records] == ["done"] * 5
    names = {(tmp_path / f"gpu{i}").read_text() for i in range(6)}
    assert names == {"gpu-0", "gpu-1"}


def test_steps_whose_last_worker_does_not_come_back_fail_with_what_is_lacking(
    scheduler, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(executors, "RETURN_S", 0.5)
    workers("cpu-0", tmp_path)
    first = workers("gpu-0", tmp_path, resources="CPU=1,GPU=1,MEMORY_GB=1")
    scheduler.wait_for_workers(2, timeout=90)
    executor = OnCluster(scheduler)
    executor.submit([gpu_step(tmp_path, f"gpu{i}", chunk=i, seconds=0.2) for i in range(3)], tmp_path, {}, 0)
    records = executor.completed()
    assert next(records).failure is None
    first.kill()
    left = list(records)
    assert len(left) == 2
    for record in left:
        says(record.failure.message, "no worker can run this step", "GPU: 1", "CPU: 1")


def test_what_the_driver_does_not_see_either_is_no_fault_of_a_worker(client, tmp_path):
    before = set(client.scheduler_info(n_workers=-1)["workers"])
    steps = [simple_step(tmp_path, f"step{i}") for i in range(3)]
    records = run_all(OnCluster(client), steps, tmp_path, (tmp_path / "gone" / "001",))
    assert {record.status for record in records.values()} == {"done"}
    assert set(client.scheduler_info(n_workers=-1)["workers"]) == before


HOLDING = """
import sys
from pathlib import Path
from distributed.protocol.pickle import dumps
from ibl_dask.pipeline.isolation import run_in_own_process
from ending_steps import hold
from simple_steps import simple_step

folder = Path(sys.argv[1])
step = simple_step(folder, "held", function=hold)
run_in_own_process(dumps(step), step.key, folder, [])
"""


def test_a_step_in_a_process_of_its_own_ends_with_its_worker(tmp_path):
    """However that ends."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", HOLDING, tmp_path], env=variables)
    pid = int(wait_until(lambda: (tmp_path / "held").exists() and (tmp_path / "held").read_text()))
    assert Path(f"/proc/{pid}").exists()
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
