"""One driver at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from program import NAMESPACE, WITHOUT_POWERS, needs_namespaces
from waiting import wait_until
from wrong_clock import wrong_clock

from ibl_dask.errors import SessionLocked
from ibl_dask.store.atomic import write_text
from ibl_dask.store.holder import STALE_S, UNWRITTEN_S, JobAnswers, JobState, Watch
from ibl_dask.store.lock import Attempt, holding, sharing
from ibl_dask.store.processes import Process, this_process

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
def other(path: Path):
    """Run another process that holds the lock until it is told to go on."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("argv[1])", "argv[1]), own_job='4711'"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
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


def test_second_holder_is_refused_and_told_who_holds_it(path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(SessionLocked) as caught, holding(path):
        pytest.fail("two hold the session")
    assert caught.value.got.startswith(f"process {other.pid} on {socket.gethostname()}, job 4711, since 20")
    assert caught.value.where == str(path)
    assert caught.value.do
    assert path.exists()


def test_lock_is_free_once_the_other_process_is_done(path: Path, other: subprocess.Popen[str]) -> None:
    other.communicate("go on\n", timeout=20)
    with holding(path):
        pass


def test_lock_of_a_killed_process_is_taken_over(path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
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
    clock = wrong_clock(lambda: step_s)
    with holding(path):
        monkeypatch.setattr(time, "time", clock)
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


def test_a_lock_that_was_released_when_it_was_looked_at_is_not_removed_once_it_is_held_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_owner(path, "node016", 1)
    watch = Watch(path, None)
    path.unlink()
    assert watch.look() == "free"
    write_owner(path, "node017", 1)

    def released_and_taken(lock: Path) -> None:
        lock.unlink()
        write_owner(lock, "node018", 1)

    monkeypatch.setattr("ibl_dask.store.holder.read_lock", released_and_taken)
    watch.remove()
    assert path.exists()


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


# -- whose it is ----------------------------------------------------------------------------------------------


def test_lock_says_which_process_of_all_machines_and_times_holds_it(path: Path) -> None:
    with holding(path):
        owner = json.loads(path.read_text())
    assert Process.from_json(owner) == this_process()
    assert Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "").startswith(owner["boot"])
    assert str(owner["namespace"]) in str(Path("/proc/self/ns/pid").readlink())


@pytest.mark.parametrize("mask", [0o077, 0o777, 0o022])
def test_lock_can_be_read_by_other_users_whatever_the_mask_is(path: Path, mask: int) -> None:
    path.parent.mkdir()
    before = os.umask(mask)
    try:
        with holding(path):
            assert path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_lock_of_another_user_is_judged_and_removed_by_one_who_cannot_write_it(path: Path) -> None:
    """Root loses the powers by which it passes over permissions; the folder is everybody's."""
    write_owner(path, **of_this_machine(pid=dead_pid()))
    path.parent.chmod(0o777)
    path.chmod(0o444)
    os.chown(path, 12345, 12345) if os.geteuid() == 0 else None
    done = subprocess.run(
        [*WITHOUT_POWERS, sys.executable, "-c", HOLDER, str(path)],
        input="\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "held\n", done.stderr
    assert not path.exists()


@pytest.mark.parametrize("age_s", [60, 3600])
def test_lock_that_may_not_be_read_is_held_as_long_as_it_beats(path: Path, age_s: float) -> None:
    """As older versions left it under a strict mask: nothing is known of its process."""
    write_owner(path, "node017", dead_pid(), age_s=age_s)
    path.chmod(0)
    code = (
        "import sys, ibl_dask.store.holder as h\nfrom pathlib import Path\nfrom ibl_dask.errors import SessionLocked\n"
        "from ibl_dask.store.lock import holding\nh.WATCHED_S = 0.3\n"
        "try:\n with holding(Path(sys.argv[1])): print('held')\nexcept SessionLocked: print('refused')"
    )
    command = [*WITHOUT_POWERS, sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ("refused\n" if age_s < STALE_S else "held\n"), done.stderr


@pytest.mark.parametrize(
    "changes",
    [{"started": 12345}, {"boot": "0123456789ab"}, {"namespace": 17}, {"started": 0}, {"host": "another"}],
    ids=["number given out again", "other boot", "other namespace", "start unknown", "host renamed"],
)
def test_a_number_alone_is_no_process(path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]) -> None:
    """A lock with our own number: whoever that was, it is not us, unless everything else agrees."""
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.2)
    write_owner(path, **{**this_process().to_json(), **changes})
    if changes == {"started": 12345}:  # provably gone
        with holding(path):
            return
    with pytest.raises(SessionLocked), holding(path):
        pytest.fail("took a lock whose process may live")
    os.utime(path, (0, 0))
    with holding(path):
        pass


@needs_namespaces
@pytest.mark.parametrize("inner", ["holds", "takes"])
def test_lock_is_safe_from_another_namespace_of_processes(path: Path, inner: str) -> None:
    """There numbers begin at 1, and those of here are not known."""
    outside, inside = [sys.executable, "-c", HOLDER, str(path)], [*NAMESPACE, sys.executable, "-c", HOLDER, str(path)]
    first, second = (inside, outside) if inner == "holds" else (outside, inside)
    with subprocess.Popen(first, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        done = subprocess.run(second, input="\n", capture_output=True, text=True, check=False)
        assert done.stdout == ""
        assert "SessionLocked" in done.stderr
        assert process.communicate("\n", timeout=20)[0] == ""
    assert not path.exists()


@pytest.mark.parametrize("is_alive", [True, False])
def test_lock_of_an_older_version_is_held_while_it_beats(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    """It does not say in which namespace its number counts."""
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.2)
    write_owner(path, socket.gethostname(), os.getpid() if is_alive else dead_pid())
    with pytest.raises(SessionLocked), holding(path):
        pytest.fail("took a live lock")
    os.utime(path, (0, 0))
    with holding(path):
        pass


def test_older_versions_find_in_a_lock_what_they_look_for(path: Path) -> None:
    with holding(path):
        owner = json.loads(path.read_text())
    assert owner.keys() >= {"host", "pid", "job", "since", "token"}
    assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())


def test_process_that_was_killed_and_not_asked_after_holds_nothing(path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    state, n_threads = "", 0
    while (state, n_threads) != ("Z", 1):  # its first thread ends before the one that renews the lock
        fields = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()
        state, n_threads = fields[0], int(fields[17])
        time.sleep(0.01)
    with holding(path):
        pass


# -- copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [shutil.copytree, lambda old, new: subprocess.run(["cp", "-a", old, new], check=True)])
def test_copy_of_a_held_session_is_nobodys_and_the_session_stays_held(
    path: Path, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, copy: object
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.3)
    there = path.parent.with_name("copy")
    copy(path.parent, there)  # type: ignore[operator]
    with holding(there / path.name):
        assert json.loads((there / path.name).read_text())["pid"] == os.getpid()
    with pytest.raises(SessionLocked), holding(path):
        pytest.fail("two hold the session")


def test_lock_whose_file_has_another_number_is_held_while_it_beats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that numbers files anew."""
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 5.0)
    with holding(path):
        write_text(path, json.dumps({**json.loads(path.read_text()), "inode": 1}))
        with pytest.raises(SessionLocked), holding(path):
            pytest.fail("held twice")


def test_renamed_session_stays_held(path: Path, other: subprocess.Popen[str]) -> None:
    there = path.parent.with_name("renamed")
    path.parent.rename(there)
    with pytest.raises(SessionLocked), holding(there / path.name):
        pytest.fail("two hold the session")


# -- a holder that lost it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["taken over", "removed", "overwritten by what makes no sense"])
def test_holder_notices_at_its_next_beat_that_the_lock_is_no_longer_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.02)
    with holding(path) as held:
        time.sleep(0.1)
        assert not held.is_lost
        held.require_own()
        if how == "taken over":
            path.unlink()
            write_owner(path, "node017", 1, age_s=100)
        elif how == "removed":
            path.unlink()
        else:
            path.write_text("[]")
        wait_until(lambda: held.is_lost)
        with pytest.raises(SessionLocked, match="no longer holds"):
            held.require_own()
    assert path.exists() == (how != "removed")


def test_a_process_that_was_suspended_learns_of_a_lost_lock_before_its_next_beat(path: Path) -> None:
    with holding(path) as held:
        held.require_own()
        path.unlink()
        write_owner(path, "node017", 1)
        assert not held.is_lost
        with pytest.raises(SessionLocked, match="no longer holds"):
            held.require_own()
    assert json.loads(path.read_text())["host"] == "node017"


def test_holder_does_not_keep_the_lock_of_another_alive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.02)
    with holding(path) as held:
        path.unlink()
        write_owner(path, "node017", 1, age_s=5000)
        wait_until(lambda: held.is_lost)
        time.sleep(0.1)
        assert time.time() - path.stat().st_mtime > 4000


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_a_disk_that_does_not_answer_for_a_moment_costs_no_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.02)
    plain, n_refused = Path.open, []

    def refuse(self: Path, *arguments: object, **more: object) -> object:
        if self == path and len(n_refused) < 5:
            n_refused.append(1)
            raise OSError(code, os.strerror(code), str(self))
        return plain(self, *arguments, **more)  # type: ignore[call-overload]

    with holding(path) as held:
        monkeypatch.setattr(Path, "open", refuse)
        wait_until(lambda: len(n_refused) == 5)
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 1)
        assert not held.is_lost


# -- jobs of a batch system -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "age_s", "is_taken"),
    [
        ("ended", 30, True),
        ("running", 30, False),
        ("unknown", 30, False),
        ("running", STALE_S + 60, True),
        ("suspended", STALE_S + 60, False),
    ],
)
def test_batch_system_is_asked_of_a_job_that_cannot_be_seen(
    path: Path, monkeypatch: pytest.MonkeyPatch, state: str, age_s: float, is_taken: bool
) -> None:
    # A lock that only the answer may free is taken once it is watched for long; so the answer comes first.
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.2 if is_taken else 5.0)
    asked = []

    def ask(job: str) -> object:
        asked.append(job)
        time.sleep(0.05)
        return state

    write_owner(path, "node017", 1, age_s=age_s, job="4711")
    if is_taken:
        with holding(path, ask):
            pass
    else:
        with pytest.raises(SessionLocked, match="job 4711"), holding(path, ask):
            pytest.fail("took a live lock")
    assert asked == ["4711"]


def test_batch_system_that_hangs_or_fails_stops_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", 0.1)
    write_owner(path, "node017", 1, job="4711")

    def fail(job: str) -> object:
        raise RuntimeError("no such command")

    with pytest.raises(SessionLocked), holding(path, fail):
        pytest.fail("took a live lock")
    hanging = Attempt(path, lambda job: time.sleep(60))
    clock = time.monotonic()
    for _ in range(3):
        with pytest.raises(SessionLocked):
            hanging.take()
    assert time.monotonic() - clock < 5
    assert hanging.is_open


def test_the_batch_system_is_asked_once_for_all_sessions_of_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(job: str) -> JobState:
        asked.append(job)
        time.sleep(0.01)
        return "running"

    answers = JobAnswers(ask)
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(answers, ["4711", "4712"] * 50)) == {"running"}
    assert sorted(asked) == ["4711", "4712"]
    monkeypatch.setattr("ibl_dask.store.holder.SAME_ANSWER_S", 0.0)
    answers("4711")
    assert len(asked) == 3


def test_an_attempt_waits_for_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_owner(path, "node017", 1, age_s=STALE_S + 60)
    attempt = Attempt(path)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
    with pytest.raises(SessionLocked):
        attempt.take()
    assert attempt.is_open


# -- shared ---------------------------------------------------------------------------------------------------


def test_a_group_shares_a_session_and_nobody_else_has_it(path: Path) -> None:
    with sharing(path, "aa"), sharing(path, "aa"):
        with pytest.raises(SessionLocked), holding(path):
            pytest.fail("a driver beside a graph")
        with pytest.raises(SessionLocked), sharing(path, "bb"):
            pytest.fail("two graphs")
    with holding(path), pytest.raises(SessionLocked), sharing(path, "aa"):
        pytest.fail("a graph beside a driver")
    assert list(path.parent.iterdir()) == []


def test_shares_of_a_killed_process_are_nobodys(path: Path) -> None:
    code = HOLDER.replace("holding(Path(sys.argv[1]))", "sharing(Path(sys.argv[1]), 'aa')").replace(
        "holding", "sharing"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(SessionLocked), holding(path):
            pytest.fail("a driver beside a graph")
        process.kill()
    with holding(path):
        assert [found.name for found in path.parent.iterdir()] == [path.name]
