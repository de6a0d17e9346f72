"""The Slurm of these tests does what clusters do, before anything of ours runs on it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import slurm_machine as machine
from slurm_machine import CPUS_PER_NODE, GPUS_PER_NODE, NODES
from waiting import wait_until

pytestmark = pytest.mark.slurm

HOLDER = """
from slurm_machine import running
with running() as slurm:
    job = slurm.submit("sleep 600")
    print(slurm.folder, job, flush=True)
    input()
"""


def runs(slurm, job):
    return wait_until(lambda: (found := slurm.jobs().get(job)) and found.state == "RUNNING" and found)


def ends(slurm, job, seconds=30):
    wait_until(lambda: job not in slurm.jobs(), seconds)
    return slurm.shown(job)


def processes(text):
    """Return the processes whose command line holds a text."""
    everything = psutil.process_iter(["cmdline", "status"])
    alive = (process for process in everything if process.info["status"] != psutil.STATUS_ZOMBIE)
    return [process for process in alive if text in " ".join(process.info["cmdline"] or ())]


def test_there_are_four_nodes_two_of_which_have_two_gpus(slurm):
    lines = slurm.call("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%N %c %m %G").splitlines()
    assert [line.split() for line in lines] == [
        ["n1", "4", "4096", "(null)"],
        ["n2", "4", "4096", "(null)"],
        ["n3", "4", "4096", "gpu:2"],
        ["n4", "4", "4096", "gpu:2"],
    ]


def test_each_job_gets_a_gpu_of_its_own_and_one_too_many_waits(slurm):
    script = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; sleep 600"
    jobs = [slurm.submit(script, "--partition=gpu", "--gres=gpu:1") for _ in range(5)]
    for job in jobs[:4]:
        runs(slurm, job)
        wait_until(lambda job=job: slurm.said(job))
    places = {tuple(slurm.said(job).split()) for job in jobs[:4]}
    assert places == {("n3", "0"), ("n3", "1"), ("n4", "0"), ("n4", "1")}
    wait_until(lambda: slurm.jobs()[jobs[4]].reason == "Resources")
    assert slurm.jobs()[jobs[4]].state == "PENDING"
    slurm.call("scancel", jobs[0])
    assert runs(slurm, jobs[4]).node == slurm.said(jobs[0]).split()[0]


def test_a_job_with_two_gpus_sees_both_and_a_job_without_sees_none(slurm):
    both = slurm.submit("echo gpus=$CUDA_VISIBLE_DEVICES", "--partition=gpu", f"--gres=gpu:{GPUS_PER_NODE}")
    none = slurm.submit("echo gpus=$CUDA_VISIBLE_DEVICES", "--partition=gpu")
    ends(slurm, both)
    ends(slurm, none)
    assert slurm.said(both) == "gpus=0,1\n"
    assert slurm.said(none) == "gpus=\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--partition=gpu", "--gres=gpu:3"], "Requested node configuration is not available"),
        (["--partition=abroad"], "invalid partition specified: abroad"),
        (["--mem=9G"], "Memory specification can not be satisfied"),
        ([f"--cpus-per-task={CPUS_PER_NODE + 1}"], "Requested node configuration is not available"),
    ],
    ids=["too many GPUs", "an unknown partition", "too much memory", "too many cores"],
)
def test_what_no_node_can_give_is_refused_at_once(slurm, options, says):
    assert says in slurm.submit("true", *options, check=False)
    assert slurm.jobs() == {}


def test_a_job_inherits_the_environment_of_the_one_who_submits_it(slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    job = slurm.submit("echo $PYTHONPATH")
    ends(slurm, job)
    assert slurm.said(job) == "/some/where\n"


def test_a_cancelled_job_is_gone_with_its_processes(slurm):
    job = slurm.submit("exec sleep 611")
    runs(slurm, job)
    (process,) = wait_until(lambda: processes("sleep 611"))
    slurm.call("scancel", job)
    assert ends(slurm, job)["JobState"] == "CANCELLED"
    assert not process.is_running()


def test_a_job_that_fails_keeps_its_exit_code_and_its_output(slurm):
    job = slurm.submit("echo no module named conda; exit 7")
    shown = ends(slurm, job)
    assert (shown["JobState"], shown["ExitCode"]) == ("FAILED", "7:0")
    assert slurm.said(job) == "no module named conda\n"


def test_a_job_with_more_right_takes_the_place_of_one_that_is_requeued(slurm):
    everything = ["--exclusive", f"--nodes={len(NODES)}"]
    low = slurm.submit("echo started; sleep 600", "--partition=scavenge", *everything)
    runs(slurm, low)
    wait_until(lambda: slurm.said(low))
    high = slurm.submit("true", "--partition=cpu")
    ends(slurm, high)
    shown = wait_until(lambda: (found := slurm.shown(low)) and found["Restarts"] == "1" and found)
    assert shown["JobState"] in ("PENDING", "COMPLETING")
    wait_until(lambda: slurm.jobs()[low].state == "PENDING")
    assert slurm.jobs()[low].reason == "BeginTime"
    slurm.start_soon(low)
    runs(slurm, low)


@pytest.mark.slow_slurm
def test_a_job_that_takes_more_memory_than_it_asked_for_is_killed(slurm):
    eat = f"exec {sys.executable} -c 'import time; x = bytearray(600 << 20); time.sleep(600)'"
    job = slurm.submit(eat, "--mem=100M")
    assert ends(slurm, job, 60)["JobState"] in ("FAILED", "OUT_OF_MEMORY")


@pytest.mark.slow_slurm
def test_a_job_is_killed_at_its_time_limit(slurm):
    job = slurm.submit("exec sleep 600", "--time=00:01:00")
    assert ends(slurm, job, 150)["JobState"] == "TIMEOUT"


@pytest.mark.slow_slurm
def test_a_job_whose_node_dies_is_requeued_and_the_node_comes_back(slurm):
    job = slurm.submit("exec sleep 613", "--nodelist=n1")
    runs(slurm, job)
    wait_until(lambda: processes("sleep 613"))
    assert slurm.kill_node("n1")
    wait_until(lambda: not processes("sleep 613"), 5)
    wait_until(lambda: slurm.node_states()["n1"].startswith("down"), 90)
    assert slurm.shown(job)["Restarts"] == "1"
    slurm.start_node("n1")
    wait_until(lambda: slurm.node_states()["n1"] in ("idle", "mixed"), 60)


def test_two_of_them_know_nothing_of_each_other(slurm):
    with machine.running() as other:
        assert other.folder != slurm.folder
        job = other.submit("sleep 600")
        runs(other, job)
        assert slurm.jobs() == {}
    assert not other.folder.exists()
    assert processes(str(other.folder)) == []
    assert slurm.node_states() == dict.fromkeys(NODES, "idle")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_nothing_of_it_outlives_the_one_who_started_it(possible, number):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "helpers")}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as holder:
        folder = Path(holder.stdout.readline().split()[0])
        assert len(processes(str(folder))) > len(NODES)
        holder.send_signal(number)
        holder.wait(60)
    wait_until(lambda: not folder.exists(), 30)
    wait_until(lambda: not processes(str(folder)), 10)


def test_what_is_left_of_one_without_guard_is_swept_up(possible):
    with machine.running() as slurm:
        (guard,) = machine._daemon(slurm.folder, "guard")
        os.kill(guard, signal.SIGKILL)
        wait_until(lambda: not machine._daemon(slurm.folder, "guard"))
        assert processes(str(slurm.folder))
        os.utime(slurm.folder, (0, 0))
        machine.sweep()
        assert processes(str(slurm.folder)) == []
        assert not slurm.folder.exists()
