"""Ctrl-C, SIGTERM and a second driver: an orderly end, nothing left behind, nothing lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from forked_program import Forked
from program import environment, run, says
from published import assert_same, results

from ibl_dask.pipeline.run import run as run_here
from ibl_dask.store.lock import holding

pytestmark = pytest.mark.faults

HOLDER = """
import sys
from pathlib import Path
from ibl_dask.store.lock import holding

with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def start(session, *options):
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return Forked("run", session, *options, env=environment(), start_new_session=True, **outputs)


def wait_until(holds, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def members(group):
    """Return the processes that are alive in a process group, as a terminal knows them."""
    alive = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return alive


def members_after_a_while(group, seconds=20):
    """Return them once there are none, or after some time; Python's own helper outlives its processes by a moment."""
    deadline = time.monotonic() + seconds
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return members(group)


def chunks(session):
    return [path for path in session.parents[2].rglob("*-chunks/*/*.npz") if not path.name.startswith(".")]


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("number", "to"),
    [(signal.SIGINT, "everybody"), (signal.SIGTERM, "everybody"), (signal.SIGTERM, "the driver")],
    ids=["SIGINT to everybody", "SIGTERM to everybody", "SIGTERM to the driver"],
)
def test_a_signal_ends_the_run_in_order(session, undisturbed, number, to):
    """A terminal signals everybody (as `scancel` may), `kill` and SLURM's time limit the driver."""
    process = start(session, "--workers", "2")
    wait_until(lambda: chunks(session), process)
    assert (session / "ibl_dask" / "lock.json").exists()
    (os.killpg if to == "everybody" else os.kill)(process.pid, number)
    text, _ = process.communicate(timeout=60)
    assert "Traceback" not in text, text
    assert process.returncode == 128 + number, text
    says(text, "run the same command again")
    assert not (session / "ibl_dask" / "lock.json").exists()
    assert members_after_a_while(process.pid) == []
    n_kept = len(chunks(session))
    again = run_here([session])
    assert again.exit_code == 0
    assert again.sessions[0].count("framepass", "kept") == n_kept
    assert_same(results(session), undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_while_workers_start_leaves_none_of_them(session, number):
    process = start(session, "--workers", "2")
    wait_until(lambda: len(members(process.pid)) > 1, process)
    os.kill(process.pid, number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text, text
    assert members_after_a_while(process.pid) == []
    assert not (session / "ibl_dask" / "lock.json").exists()


def test_a_second_driver_is_refused_and_told_who_holds_the_session(session):
    lock = session / "ibl_dask" / "lock.json"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("argv[1])", "argv[1]), own_job='4711'"), lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout.readline() == "held\n"
        before = lock.read_bytes()
        code, text = run(session)
        assert code == 1
        says(
            text, "another run holds this session", f"process {first.pid} on {socket.gethostname()}, job 4711, since 20"
        )
        says(text, "what to do: wait for that run", lock)
        assert lock.read_bytes() == before
        assert not (session / "alf" / "_ibl_leftCamera.times.npy").exists()
        first.communicate("go on\n", timeout=20)
    assert first.returncode == 0
    assert not lock.exists()


def test_the_first_driver_is_not_disturbed_by_the_second(session, undisturbed):
    first = start(session, "--workers", "0")
    wait_until((session / "ibl_dask" / "lock.json").exists, first)
    first.send_signal(signal.SIGSTOP)  # or it might be through before the second has looked twice
    # Of another request: with the same one it would wait for the result of the first.
    second = run_here([session], longest_extrapolation_s=61.0)
    first.send_signal(signal.SIGCONT)
    text, _ = first.communicate(timeout=60)
    assert first.returncode == 0, text
    assert second.exit_code == 1
    says(second.sessions[0].failures[0].message, f"process {first.pid} on")
    assert_same(results(session), undisturbed)


@pytest.mark.parametrize("left", ["of a killed driver", "empty", "torn"])
def test_a_lock_that_nobody_holds_does_not_stop_a_run(session, left):
    lock = session / "ibl_dask" / "lock.json"
    if left == "of a killed driver":
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as first:
            assert first.stdout.readline() == "held\n"
            first.kill()
        assert json.loads(lock.read_text())["pid"] == first.pid
    else:
        with holding(lock):
            content = lock.read_bytes()
        lock.write_bytes(b"" if left == "empty" else content[:30])
        os.utime(lock, (time.time() - 60,) * 2)
    result = run_here([session], tasks=["VideoRegisterRaw"])
    assert result.exit_code == 0, result.sessions[0].failures
    assert not lock.exists()
