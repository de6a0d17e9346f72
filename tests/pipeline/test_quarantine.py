"""Tasks that failed are tried again once something that they depend on has changed; drivers that share a list."""

import itertools
import os
import threading
import time

import pytest
from failing_steps import Charged, Counted  # noqa: F401  # named by their dotted paths

from ibl_dask.errors import UsageError
from ibl_dask.model import events
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.limits import Limits, MaxFailures
from ibl_dask.pipeline.run import run


@pytest.fixture
def make_session(tmp_path):
    def make(number=1, subject="SW_001"):
        folder = tmp_path / "lab" / "Subjects" / subject / "2023-05-01" / f"{number:03}"
        (folder / "raw_video_data").mkdir(parents=True)
        (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
        (folder / "raw_video_data" / "clip.avi").write_bytes(b"frames")
        return folder

    return make


def counted(kind="bug"):
    return [TaskSpec("Counted", "failing_steps.Counted", {"kind": kind})]


def tries(session, kind="bug"):
    file = session / "ibl_dask" / f"tries-{kind}"
    return len(file.read_text()) if file.exists() else 0


@pytest.mark.parametrize("kind", ["bug", "MissingFile", "DecodeFailed"])
def test_a_task_that_failed_is_not_tried_again_and_its_failure_is_given_again(make_session, kind):
    session = make_session()
    first = run([session], specs=counted(kind))
    again = run([session], specs=counted(kind))
    assert tries(session, kind) == 1
    assert first.exit_code == again.exit_code == 1
    (old,), (new,) = first.sessions[0].failures, again.sessions[0].failures
    assert (new.kind, new.category, new.what) == (old.kind, old.category, old.what)
    assert "In quarantine since" in new.message
    assert "--retry quarantined" in new.message


@pytest.mark.parametrize("kind", ["MissingEnvironment", "ConnectionBroke", "NotWritable"])
def test_what_does_not_lie_in_the_task_is_tried_in_every_run(make_session, kind, monkeypatch):
    monkeypatch.setattr("ibl_dask.pipeline.attempts.PAUSES_S", (0.0,))
    session = make_session()
    run([session], specs=counted(kind))
    before = tries(session, kind)
    run([session], specs=counted(kind))
    assert tries(session, kind) == 2 * before > 0


def touch(session):
    os.utime(session / "raw_video_data" / "clip.avi", ns=(1, 1))


def replace_keeping_times(session):
    """As `cp -p` does: size and time of writing are those of the old file."""
    clip = session / "raw_video_data" / "clip.avi"
    stat = clip.stat()
    clip.write_bytes(b"others")
    os.utime(clip, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def add(session):
    (session / "raw_video_data" / "more.bin").write_bytes(b"x")


def remove(session):
    (session / "raw_video_data" / "clip.avi").unlink()


@pytest.mark.parametrize("change", [touch, replace_keeping_times, add, remove])
def test_any_change_of_a_raw_file_ends_the_quarantine(make_session, change):
    session = make_session()
    run([session], specs=counted())
    change(session)
    run([session], specs=counted())
    assert tries(session) == 2


def test_a_result_of_this_package_does_not_end_it(make_session):
    session = make_session()
    run([session], specs=counted())
    (session / "alf").mkdir(exist_ok=True)
    (session / "alf" / "_ibl_leftCamera.times.npy").write_bytes(b"x")
    run([session], specs=counted())
    assert tries(session) == 1


@pytest.mark.parametrize("how", [{"limits": Limits(retry=frozenset({"quarantined"}))}, {"overwrite": True}])
def test_the_user_ends_it(make_session, how):
    session = make_session()
    run([session], specs=counted())
    run([session], specs=counted(), **how)
    assert tries(session) == 2


def test_other_arguments_end_it(make_session):
    session = make_session()
    run([session], specs=counted("bug"))
    run([session], specs=counted("DecodeFailed"))
    assert (tries(session, "bug"), tries(session, "DecodeFailed")) == (1, 1)


def test_a_task_that_succeeds_leaves_it_and_a_damaged_file_of_it_stops_nothing(make_session):
    session = make_session()
    run([session], specs=counted())
    (session / "raw_video_data" / "healthy.txt").write_text("")
    assert run([session], specs=counted()).exit_code == 0
    assert not (session / "ibl_dask" / "quarantine.json").exists()
    (session / "ibl_dask" / "quarantine.json").write_text('{"version": 1, "tasks": ')
    assert run([session], specs=counted()).exit_code == 0


# -- a run that stops, and two that share a list ---------------------------------------------------------------


def test_too_many_failures_stop_the_run_before_the_next_session(make_session):
    sessions = [make_session(n) for n in range(1, 17)]
    heard = []
    result = run(sessions, specs=counted(), limits=Limits(max_failures=MaxFailures(number=2)), listeners=[heard.append])
    states = [outcome.state for outcome in result.sessions]
    n_failed = states.count("failed")
    assert states == ["failed"] * n_failed + ["not started"] * (16 - n_failed)
    assert 3 <= n_failed <= 8  # those that were under way end
    assert result.exit_code == 1
    assert "too many sessions failed" in result.stopped.message
    assert [type(event) for event in heard].count(events.RunPaused) == 1


@pytest.mark.parametrize("text", ["", "x", "-3", "101%", "5 %%", "1e3"])
def test_a_limit_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="--max-failures"):
        MaxFailures.parse(text)


def test_a_share_counts_once_twenty_sessions_ended():
    limit = MaxFailures.parse("10%")
    assert str(limit) == "10%"
    assert not limit.is_exceeded(19, 19)
    assert limit.is_exceeded(3, 20)
    assert not limit.is_exceeded(2, 20)


def test_an_environment_that_fails_in_three_sessions_is_not_tried_in_the_others(make_session):
    sessions = [make_session(n) for n in range(1, 17)]
    result = run(sessions, specs=counted("MissingEnvironment"))
    assert 3 <= sum(tries(session, "MissingEnvironment") for session in sessions) <= 8
    assert {failure.category for outcome in result.sessions for failure in outcome.failures} == {"environment"}
    assert "not tried again for an hour" in result.sessions[-1].failures[0].message


def test_two_drivers_share_a_list_and_no_session_is_done_twice(make_session):
    """Both begin while neither has ended a session."""
    sessions = [make_session(n) for n in range(1, 7)]
    for session in sessions:
        (session / "raw_video_data" / "healthy.txt").write_text("")
    barrier = threading.Barrier(2)
    results = []

    def listen(event):
        if isinstance(event, events.RunStarted):
            barrier.wait(60)
        time.sleep(0.01)

    def drive():
        results.append(run(sessions, specs=counted("slow"), listeners=[listen]))

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tries(session, "slow") for session in sessions] == [1] * 6
    assert [result.exit_code for result in results] == [0, 0]
    assert all(outcome.state == "done" for result in results for outcome in result.sessions)
    done_by = [[outcome.done_by for outcome in result.sessions] for result in results]
    assert all(bool(one) != bool(other) for one, other in zip(*done_by, strict=True))


def test_a_run_that_begins_later_does_its_own_work(make_session):
    session = make_session()
    (session / "raw_video_data" / "healthy.txt").write_text("")
    run([session], specs=counted())
    assert run([session], specs=counted()).sessions[0].done_by == ""
    assert tries(session) == 2


def test_no_more_tasks_read_one_disk_at_once_than_its_limit_allows(make_session, client):
    sessions = [make_session(n) for n in range(1, 4)]
    specs = [TaskSpec("Charged", "failing_steps.Charged", {"label": "a"}, io_charge=60)]
    result = run(sessions, specs=specs, client=client, limits=Limits(io_limit=100))
    assert result.exit_code == 0
    spans = sorted(
        tuple(map(float, (session / "raw_video_data" / "span-a").read_text().split())) for session in sessions
    )
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
