"""Sessions that cannot start yet are put last and tried again; whoever holds a session is not disturbed."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from simple_steps import Calling
from small_disks import fill, mounted
from waiting import wait_until

import ibl_dask as ibd
from ibl_dask.errors import SessionLocked
from ibl_dask.model.events import RunPaused, SessionFinished, SessionPutOff, StepFinished
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.driver import WINDOW_PER_SLOT
from ibl_dask.pipeline.limits import Limits
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import Journal, read_journal
from ibl_dask.store.lock import LOCK_NAME, holding
from ibl_dask.store.run_summary import RunFolder, read_summary

HOLDER = """
import sys
from pathlib import Path
from ibl_dask.store.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
WATCHED_S = 0.5
SPECS = [TaskSpec("x", "turn_tasks.Noting", {"label": "x"})]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("ibl_dask.store.holder.WATCHED_S", WATCHED_S)
    monkeypatch.setattr("ibl_dask.store.disk.RETRY_PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr("ibl_dask.pipeline.admission.RETRY_PAUSES_S", (0.01, 0.02))


@pytest.fixture
def sessions(tmp_path):
    made = []
    for number in range(3):
        made.append(tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / f"00{number + 1}")
        made[-1].mkdir(parents=True)
        (made[-1] / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return made


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "lab") as disk:
        yield disk


def test_sessions_wait_for_a_full_disk_until_it_is_emptied(small_disk, sessions, tmp_path, monkeypatch):
    monkeypatch.setattr("ibl_dask.pipeline.retries.PROBED_EVERY_S", 0.1)
    fill(small_disk)
    seen = []

    def listen(event):
        seen.append(event)
        if isinstance(event, RunPaused):
            (small_disk / "filler").unlink()

    result = run(sessions, specs=SPECS, work_dir=tmp_path / "work", listeners=[listen])
    assert result.exit_code == 0, [one.failures for one in result.sessions]
    paused = [event for event in seen if isinstance(event, RunPaused)]
    assert [event.place for event in paused] == [str(small_disk)]
    assert "the disk is full" in paused[0].failure.message


def test_sessions_wait_for_a_full_disk_no_longer_than_the_longest_pause(small_disk, sessions, tmp_path, monkeypatch):
    monkeypatch.setattr("ibl_dask.pipeline.retries.PROBED_EVERY_S", 0.1)
    fill(small_disk)
    result = run(sessions, specs=SPECS, work_dir=tmp_path / "work", limits=Limits(longest_pause_s=0.5))
    assert [failure.kind for one in result.sessions for failure in one.failures] == ["DiskFull"] * 3


def lock_of(session):
    return session / "ibl_dask" / "lock.json"


@contextmanager
def held_elsewhere(session):
    """Hold a session in another process."""
    command = [sys.executable, "-c", HOLDER, lock_of(session)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def ended(seen):
    """Return the numbers of the sessions that ended, in that order."""
    return [event.session[-3:] for event in seen if isinstance(event, SessionFinished)]


def states(result):
    return [outcome.state for outcome in result.sessions]


def test_a_session_that_somebody_holds_is_put_last_and_run_once_it_is_free(sessions):
    seen = []
    with held_elsewhere(sessions[0]) as holder:

        def listen(event):
            seen.append(event)
            if isinstance(event, SessionFinished) and event.session.endswith("002"):
                holder.communicate("go on\n", timeout=20)

        result = run(sessions, specs=SPECS, listeners=[listen])
    assert states(result) == ["done"] * 3
    assert ended(seen) == ["002", "003", "001"]
    (put_off,) = [event for event in seen if isinstance(event, SessionPutOff)]
    assert f"process {holder.pid} on" in put_off.reason


def test_a_session_that_stays_held_fails_after_the_others_and_its_holder_is_named(sessions):
    seen = []
    with held_elsewhere(sessions[0]) as holder:
        result = run(sessions, specs=SPECS, listeners=[seen.append])
        assert lock_of(sessions[0]).exists()
    assert ended(seen) == ["002", "003", "001"]
    assert states(result) == ["failed", "done", "done"]
    (failure,) = result.sessions[0].failures
    assert failure.kind == "SessionLocked"
    assert f"process {holder.pid} on" in failure.message
    assert not (sessions[0] / "notes").exists()


def write_lock(session, age_s, **more):
    lock_of(session).parent.mkdir()
    lock_of(session).write_text(json.dumps({"host": "node017", "pid": 1, "job": "", "since": 0, **more}))
    os.utime(lock_of(session), (time.time() - age_s,) * 2)


@pytest.mark.parametrize("how", ["old", "copied", "of a job that ended"])
def test_a_lock_that_must_be_watched_does_not_stop_the_driver(sessions, monkeypatch, how):
    monkeypatch.setattr("ibl_dask.pipeline.driver.ask_job", lambda job: "ended")
    more = {"old": {}, "copied": {"inode": 1}, "of a job that ended": {"job": "4711"}}[how]
    write_lock(sessions[0], 3600 if how == "old" else 10, **more)
    seen, clock = [], time.monotonic()
    result = run(sessions, specs=SPECS, listeners=[lambda event: seen.append((time.monotonic() - clock, event))])
    assert states(result) == ["done"] * 3
    when = {event.session[-3:]: at_s for at_s, event in seen if isinstance(event, SessionFinished)}
    assert list(when) == ["002", "003", "001"]
    assert when["001"] >= WATCHED_S


@pytest.mark.parametrize("place", [0, 1])
def test_a_copy_of_a_running_session_does_not_hold_up_others(sessions, tmp_path, place):
    """Keys name a session by its reference, so the copy waits; those behind it do not."""
    copy = tmp_path / "copy" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    shutil.copytree(sessions[0], copy)
    order = [sessions[0], *sessions[1:]]
    order.insert(place + 1, copy)
    seen = []
    result = run(order, specs=SPECS, listeners=[seen.append], executor=Slow())
    assert states(result) == ["done"] * 4
    finished = [event.session for event in seen if isinstance(event, SessionFinished)]
    assert finished[-1] == str(copy)
    assert (copy / "notes" / "x.end").exists()


def test_a_copy_made_while_its_session_is_held_is_run_at_once_after_a_look(sessions, tmp_path):
    copy = tmp_path / "copy" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    with held_elsewhere(sessions[0]):
        shutil.copytree(sessions[0], copy)
        result = run([copy, sessions[1]], specs=SPECS)
    assert states(result) == ["done", "done"]


class Slow:
    """Runs steps one after another; has room for many sessions at once."""

    def __new__(cls):
        from ibl_dask.pipeline.in_process import InProcess

        executor = InProcess()
        executor.slots = 100
        return executor


@pytest.mark.parametrize("how", ["taken over", "removed"])
def test_a_driver_whose_lock_is_no_longer_its_own_lets_go_of_that_session_alone(sessions, monkeypatch, how):
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.02)
    specs = [
        TaskSpec("a", "turn_tasks.Noting", {"label": "a"}),
        TaskSpec("b", "turn_tasks.Noting", {"label": "b"}, ("a",)),
    ]

    def listen(event):
        if isinstance(event, StepFinished) and event.session.endswith("001") and event.record.key[0] == "note-a":
            lock, before = lock_of(sessions[0]), n_beats()
            lock.unlink()
            if how == "taken over":
                lock.write_text(json.dumps({"host": "node017", "pid": 1, "since": 0, "token": "f" * 16}))
            wait_until(lambda: n_beats() < before)

    def n_beats():
        return sum(thread.name == "session-lock" for thread in threading.enumerate())

    result = run(sessions, specs=specs, listeners=[listen])
    assert states(result) == ["failed", "done", "done"]
    (failure,) = result.sessions[0].failures
    assert "no longer holds the session" in failure.message
    assert not (sessions[0] / "notes" / "b.begin").exists()
    assert lock_of(sessions[0]).exists() == (how == "taken over")


def test_a_step_does_not_start_once_another_run_holds_the_session(sessions):
    """Wherever it waits: its driver may be gone, or asleep."""
    from turn_tasks import note_step

    from ibl_dask.tasks.run_step import run_step

    (sessions[0] / "notes").mkdir()
    arguments = {"folder": str(sessions[0] / "notes"), "name": "x", "seconds": 0, "fails": False}
    step = note_step("s", "x", arguments, lease="0123456789abcdef")
    with holding(lock_of(sessions[0])):
        record = run_step(step, [], sessions[0])
    assert record.failure.kind == "SessionLocked"
    assert not (sessions[0] / "notes" / "x.begin").exists()
    assert run_step(step, [], sessions[0]).is_ok  # no lock is no proof: another host sees a new one late


# -- tasks and graphs that no driver runs ---------------------------------------------------------------------


def test_a_task_that_runs_alone_is_to_be_tried_again_where_somebody_holds_the_session(sessions):
    from turn_tasks import Noting

    task = Noting(sessions[0])
    with held_elsewhere(sessions[0]) as holder:
        assert task.run() == -2
        assert task.state is ibd.Status.WAITING
        assert f"process {holder.pid} on" in task.failures[0].message
        assert not (sessions[0] / "notes").exists()
    assert task.run() == 0
    assert not lock_of(sessions[0]).exists()


class Looking(ibd.Task):
    """Notes whether the session is held while it runs, and calls another task of the session."""

    def _run(self, **kwargs):
        from turn_tasks import Noting

        (self.session.path / "held").write_text(str(lock_of(self.session.path).exists()))
        assert Noting(self.session).run() == 0


@pytest.mark.parametrize("route", ["alone", "driver"])
def test_a_task_holds_its_session_while_it_runs_and_may_call_others(sessions, route):
    if route == "alone":
        assert Looking(sessions[0]).run() == 0
    else:
        assert states(run([sessions[0]], specs=[TaskSpec("x", f"{__name__}.Looking", {})])) == ["done"]
    assert (sessions[0] / "held").read_text() == "True"
    assert (sessions[0] / "notes" / "x.end").exists()
    assert not lock_of(sessions[0]).exists()


@pytest.mark.parametrize("call", ["extract_camera", "run_qc"])
def test_timing_and_checking_a_camera_are_refused_where_somebody_holds_the_session(sessions, call):
    task = ibd.VideoSyncQcNidq(sessions[0], cameras=(), sync_collection="raw_ephys_data", sync="nidq")
    with held_elsewhere(sessions[0]), pytest.raises(SessionLocked):
        getattr(task, call)()


def test_a_graph_holds_its_session_while_it_runs(sessions):
    specs = [TaskSpec(n, "turn_tasks.Noting", {"label": n, "until": f"{other}.begin"}) for n, other in ("ab", "ba")]
    graph = ibd.make_pipeline(sessions[0], specs=specs).delayed()
    assert not lock_of(sessions[0]).exists()
    with held_elsewhere(sessions[0]):
        with pytest.raises(SessionLocked):
            ibd.make_pipeline(sessions[0], specs=specs).delayed()
        (records,) = dask.compute(graph["a"], scheduler="threads")
        assert [r.failure.kind for r in records] == ["SessionLocked"]
    assert not (sessions[0] / "notes" / "a.begin").exists()
    found = dask.compute(*graph.values(), scheduler="threads", num_workers=2)
    assert all(r.is_ok for records in found for r in records)
    begin, end = (
        {n: float((sessions[0] / "notes" / f"{n}.{word}").read_text()) for n in "ab"} for word in ("begin", "end")
    )
    assert max(begin.values()) <= min(end.values()), "steps of one graph hold it together"
    assert [path.name for path in (sessions[0] / "ibl_dask").iterdir()] == ["logs"]


def test_a_driver_is_refused_while_a_step_of_a_graph_runs(sessions):
    code = (
        "import sys, dask; sys.path.insert(0, sys.argv[2])\nimport ibl_dask as ibd\n"
        "from ibl_dask.model.task import TaskSpec\n"
        "specs = [TaskSpec('x', 'turn_tasks.Noting', {'label': 'x', 'seconds': 60})]\n"
        "dask.compute(ibd.make_pipeline(sys.argv[1], specs=specs).delayed(), scheduler='sync')"
    )
    tests = Path(__file__).resolve().parents[1] / "helpers"
    with subprocess.Popen([sys.executable, "-c", code, sessions[0], tests]) as process:
        while not (sessions[0] / "notes" / "x.begin").exists():
            assert process.poll() is None
            time.sleep(0.05)
        result = run(sessions[:2], specs=SPECS)
        assert states(result) == ["failed", "done"]
        assert f"process {process.pid} on" in result.sessions[0].failures[0].message
        process.kill()
    assert states(run(sessions[:1], specs=SPECS)) == ["done"]


# -- what passes by itself ------------------------------------------------------------------------------------

PASSING = [errno.ESTALE, errno.ETIMEDOUT, errno.EIO, errno.ECONNRESET, errno.EHOSTUNREACH]
LASTING = [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS]


def failing(times, code, calls, cause=False):
    """Return a step function that fails so often."""

    def function(upstream):
        calls.append(1)
        if len(calls) <= times:
            error = OSError(code, os.strerror(code))
            if cause:
                raise ValueError("the index cannot be read") from error
            raise error
        return {}

    return function


@pytest.mark.parametrize("cause", [False, True])
@pytest.mark.parametrize("code", PASSING)
def test_a_step_that_meets_what_passes_by_itself_is_tried_again(sessions, code, cause):
    from ibl_dask.tasks.run_step import run_step

    calls = []
    step = Calling(called="x", session="s", function=failing(2, code, calls, cause))
    assert run_step(step, [], sessions[0]).status == "done"
    assert len(calls) == 3


@pytest.mark.parametrize("code", PASSING[:2])
def test_a_step_that_stays_broken_says_how_often_it_was_tried_and_what_to_do(sessions, code):
    from ibl_dask.tasks.run_step import run_step

    calls = []
    record = run_step(Calling(called="x", session="s", function=failing(99, code, calls)), [], sessions[0])
    assert len(calls) == 3
    assert "tried 3 times" in record.failure.message
    assert "What to do: run again once it works" in record.failure.message


@pytest.mark.parametrize("code", LASTING)
def test_what_does_not_pass_by_itself_is_told_at_once(sessions, code):
    from ibl_dask.tasks.run_step import run_step

    calls = []
    assert (
        run_step(Calling(called="x", session="s", function=failing(99, code, calls)), [], sessions[0]).status
        == "failed"
    )
    assert len(calls) == 1


@pytest.mark.parametrize(("error", "n_calls"), [(ConnectionResetError(), 3), (TimeoutError(), 3), (KeyError("x"), 1)])
def test_connections_without_a_number_pass_too(sessions, error, n_calls):
    from ibl_dask.tasks.run_step import run_step

    calls = []

    def function(upstream):
        calls.append(1)
        raise error

    run_step(Calling(called="x", session="s", function=function), [], sessions[0])
    assert len(calls) == n_calls


@pytest.mark.parametrize(("n_times", "state"), [(1, "done"), (99, "failed")])
def test_a_session_whose_disk_is_away_for_a_moment_is_put_last_and_tried_again(sessions, monkeypatch, n_times, state):
    from ibl_dask.pipeline import run as driver

    plain, calls, seen = driver.make_pipeline, [], []

    def refuse(session, **options):
        if str(session).endswith("001"):
            calls.append(1)
            if len(calls) <= n_times:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(session))
        return plain(session, **options)

    monkeypatch.setattr(driver, "make_pipeline", refuse)
    result = run(sessions, specs=SPECS, listeners=[seen.append])
    assert states(result) == [state, "done", "done"]
    (put_off,) = [event for event in seen if isinstance(event, SessionPutOff)]
    assert put_off.session.endswith("001")
    assert len(calls) == (2 if state == "done" else 3)


@pytest.mark.parametrize("code", PASSING[:3])
def test_a_journal_whose_disk_is_away_for_a_moment_lacks_nothing(sessions, tmp_path, monkeypatch, code):
    plain, n_refused = os.fsync, []

    def refuse(handle):
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == ".jsonl" and len(n_refused) < 3:
            n_refused.append(1)
            raise OSError(code, os.strerror(code))
        plain(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    seen = []
    result = run(sessions[:1], specs=SPECS, listeners=[seen.append], work_dir=tmp_path / "work")
    assert result.exit_code == 0, result.journal_failure
    assert len(n_refused) == 3
    assert [event["event"] for event in read_journal(result.journal)] == [type(event).__name__ for event in seen]


def test_a_journal_whose_disk_stays_away_stops_no_run_and_is_told(sessions, tmp_path, monkeypatch):
    plain = os.fsync

    def refuse(handle):
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == ".jsonl":
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        plain(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    result = run(sessions[:1], specs=SPECS, work_dir=tmp_path / "work")
    assert states(result) == ["done"]
    assert result.exit_code == 1
    assert "timed out" in str(result.journal_failure)


# -- three ways not to be done --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["in the first session", "between two"])
def test_interrupted_not_started_and_failed_are_three_things(sessions, when):
    bad = sessions[0].with_name("009")
    bad.mkdir()

    def listen(event):
        if when == "in the first session" and isinstance(event, StepFinished):
            raise KeyboardInterrupt
        if when == "between two" and isinstance(event, SessionFinished) and event.session.endswith("001"):
            raise KeyboardInterrupt

    result = run([bad, *sessions], specs=SPECS, listeners=[listen])
    assert result.exit_code == 130
    first = "interrupted" if when == "in the first session" else "done"
    assert states(result) == ["failed", first, "not started", "not started"]
    (end,) = [event for event in read_journal(result.journal) if event["event"] == "RunFinished"]
    counts = {key: end[key] for key in ("n_success", "n_failed", "n_interrupted", "n_not_started")}
    expected = {"n_success": 0, "n_failed": 1, "n_interrupted": 1, "n_not_started": 2}
    assert counts == (expected if first == "interrupted" else expected | {"n_success": 1, "n_interrupted": 0})
    summary = read_summary(RunFolder(result.name, result.journal))
    assert [row.state for row in summary.rows] == states(result)
    assert summary.state.word == "interrupted"


def test_steps_that_wait_for_workers_go_with_a_session_that_was_lost(sessions, client, monkeypatch):
    monkeypatch.setattr("ibl_dask.store.holder.HEARTBEAT_S", 0.02)
    specs = [TaskSpec(f"t{n}", "turn_tasks.Noting", {"label": f"t{n}", "seconds": 0.2}) for n in range(12)]

    def listen(event):
        if isinstance(event, StepFinished) and event.session.endswith("001"):
            lock_of(sessions[0]).unlink(missing_ok=True)
            time.sleep(0.2)

    result = run(sessions[:2], specs=specs, client=client, listeners=[listen])
    assert states(result) == ["failed", "done"]
    assert len(list((sessions[0] / "notes").glob("*.begin"))) < 10
    assert len(list((sessions[1] / "notes").glob("*.end"))) == 12


@pytest.mark.parametrize("end", ["killed", "under way"])
def test_status_says_whether_a_run_that_has_not_ended_was_killed(tmp_path, end):
    from ibl_dask.model.events import RunStarted, to_json
    from ibl_dask.store.processes import this_process

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        mark = this_process().mark if end == "under way" else replace(this_process(), pid=process.pid, started=1).mark
        process.kill()
    told = to_json(RunStarted("r", ("/a/b/c",), "h", 1, 0, "1", 0.0, mark))
    for name, event, text in (("r", told, end), ("older", {**told, "process": ""}, "under way, or killed")):
        run_folder = RunFolder.of(tmp_path, name)
        with Journal(run_folder.journal) as journal:
            journal.append(event)
        assert read_summary(run_folder).state.text == text


def test_ctrl_c_while_a_session_is_begun_leaves_no_lock(sessions, monkeypatch):
    """In a notebook the process goes on: its lock would hold the session for as long."""
    monkeypatch.setattr("ibl_dask.pipeline.running_session.sweep_temporaries", interrupt)
    assert run(sessions, specs=SPECS).exit_code == 130
    assert not lock_of(sessions[0]).exists()
    monkeypatch.undo()
    assert states(run(sessions, specs=SPECS)) == ["done"] * 3


def interrupt(folder):
    raise KeyboardInterrupt


def test_no_more_sessions_are_begun_than_wait_for_the_bandwidth_of_a_disk(sessions, tmp_path):
    """Each holds a lock: thousands of them would wait for one disk."""
    for number in range(5):
        sessions.append(tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-02" / f"{number + 1:03d}")
        (sessions[-1] / "raw_video_data").mkdir(parents=True)
        (sessions[-1] / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    for session in sessions[:3]:
        (session / "raw_video_data").mkdir()
    specs = [TaskSpec("charged", "failing_steps.Charged", {"label": "a"}, io_charge=60)]
    held = []

    def listen(event):
        held.append(sum((session / "ibl_dask" / LOCK_NAME).exists() for session in sessions))

    result = run(sessions, specs=specs, work_dir=tmp_path / "work", limits=Limits(io_limit=60), listeners=[listen])
    assert result.exit_code == 0, [one.failures for one in result.sessions]
    assert 1 < max(held) <= WINDOW_PER_SLOT + 1
