"""One driver at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ibl_dask.errors import SessionLocked
from ibl_dask.store.holder import STALE_S, UNWRITTEN_S
from ibl_dask.store.lock import holding
from ibl_dask.store.processes import this_process

HOLDER = """
import sys
from pathlib import Path
from ibl_dask.store.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ibl_dask" / "lock.json"


@pytest.fixture
def holder(path: Path):
    """Run another process that holds the lock until it is told to go on."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SLURM_JOB_ID": "4711"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_owner(path: Path, host: str, pid: int, age_s: float = 0.0, **more: object) -> None:
    """Write a lock as an older version did, which knew host and process number alone; or one that says more."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"host": host, "pid": pid, "job": "", "since": 0, **more}))
    os.utime(path, (time.time() - age_s,) * 2)


def of_this_machine(**more: object) -> dict[str, object]:
    """Return what a lock says of a process of this machine and namespace."""
    return {**this_process().to_json(), "started": 1, **more}


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_lock_is_there_while_held_and_gone_afterwards(path: Path) -> None:
    with holding(path):
        owner = json.loads(path.read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_second_holder_is_refused_and_told_who_holds_it(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(SessionLocked) as caught, holding(path):
        pytest.fail("two hold the session")
    assert caught.value.got.startswith(f"process {holder.pid} on {socket.gethostname()}, job 4711, since 20")
    assert caught.value.where == str(path)
    assert caught.value.do
    assert path.exists()


def test_lock_is_free_once_the_other_process_is_done(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.communicate("go on\n", timeout=20)
    with holding(path):
        pass


def test_lock_of_a_killed_process_is_taken_over(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert path.exists()
    with holding(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_same_process_cannot_hold_it_twice(path: Path) -> None:
    with holding(path):
        with pytest.raises(SessionLocked, match=f"process {os.getpid()}"), holding(path):
            pytest.fail("held twice")
        assert path.exists()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_lock_is_released_after_an_exception(path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), holding(path):
        raise error
    assert not path.exists()
    with holding(path):
        pass


def test_lock_of_another_host_holds_while_it_beats(path: Path) -> None:
    write_owner(path, "node017", dead_pid(), age_s=STALE_S - 60)
    with pytest.raises(SessionLocked, match="on node017"), holding(path):
        pytest.fail("took a live lock")


@pytest.mark.parametrize("age_s", [STALE_S + 60, -7200], ids=["old", "from the future, since a clock was set back"])
def test_lock_of_another_host_without_a_beat_is_taken_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.05)
    write_owner(path, "node017", os.getpid(), age_s=age_s)
    with holding(path):
        assert json.loads(path.read_text())["host"] == socket.gethostname()


@pytest.mark.parametrize("step_s", [3600, -3600], ids=["forward", "backward"])
def test_lock_of_another_host_that_beats_holds_although_the_clock_was_set(
    path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 5.0)
    write_owner(path, "node017", dead_pid(), age_s=step_s)
    done = threading.Event()

    def beat() -> None:
        stamp = time.time() - step_s
        while not done.wait(0.1):
            stamp += 0.1
            os.utime(path, (stamp, stamp))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(SessionLocked, match="on node017"), holding(path):
            pytest.fail("took a live lock")
    finally:
        done.set()
        beating.join()


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_held_lock_beats_and_is_released_although_the_clock_is_set(
    path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.01)
    plain = time.time
    with holding(path):
        monkeypatch.setattr(time, "time", lambda: plain() + step_s)
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1
        with pytest.raises(SessionLocked), holding(path):
            pytest.fail("held twice")
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_lock_that_a_dead_writer_left_torn_is_taken_over(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    os.utime(path, (time.time() - 2 * UNWRITTEN_S,) * 2)
    with holding(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_lock_that_is_just_being_written_holds(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SessionLocked, match=r"process \? on \?"), holding(path):
        pytest.fail("took a lock that was being written")


def test_held_lock_beats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.01)
    with holding(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - 60


def test_lock_that_somebody_took_over_meanwhile_is_left_to_them(path: Path) -> None:
    with holding(path):
        write_owner(path, "node017", 1)
    assert json.loads(path.read_text())["host"] == "node017"


def test_only_one_takes_over_a_dead_lock(path: Path) -> None:
    pid = dead_pid()
    held: list[int] = []
    crowds: list[int] = []
    n = 6

    def contend(start: threading.Barrier) -> None:
        start.wait()
        try:
            with holding(path):
                held.append(1)
                time.sleep(0.005)
                crowds.append(len(held))
                held.pop()
        except SessionLocked:
            pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            write_owner(path, **of_this_machine(pid=pid))
            start = threading.Barrier(n)
            threads = [threading.Thread(target=contend, args=(start,)) for _ in range(n)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(crowds) >= 60
    assert max(crowds) == 1
    assert list(path.parent.iterdir()) == []
