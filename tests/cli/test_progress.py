"""What is told while a run goes on."""

from types import SimpleNamespace

import pytest
from made_runs import FAULTS, video_is_missing

from ibl_dask.cli import progress, queue_watch
from ibl_dask.cli.queue_watch import PATIENCE_S, REPEATED_S, QueueWatch
from ibl_dask.model import events
from ibl_dask.model.step import StepRecord
from ibl_dask.report.run_pace import FIRST_ESTIMATE_S, RunPace

FULL = FAULTS["the disk is full"](1)


def session(n):
    return f"/lab/Subjects/SW_{n:03}/2023-05-01/001"


def started(n):
    return events.RunStarted("run", tuple(map(session, range(n))), "host", 1, 2, "1", 0.0)


def step(n, status="done"):
    return events.StepFinished(session(n), StepRecord(("frames-left", "s", "f", 0), status))


def ended(n, failure=None):
    told = []
    if failure is not None:
        told.append(events.TaskFinished(session(n), "VideoCompress", "Errored", (), (failure,), 0.0))
    return [*told, events.SessionFinished(session(n), failure is None, {}, "", None, 0.0)]


@pytest.fixture
def said(capsys):
    """Return a function that shows events in the view of plain lines, and returns what that printed."""

    def show(told, now_s=None, pools=None):
        view = progress._Lines(pools)
        for event in told:
            view(event)
        if now_s is not None:
            view.tick(view._printed_s + now_s)
        return capsys.readouterr().out

    return show


def test_of_many_sessions_only_those_that_fail_have_a_line(said):
    told = [started(100)]
    for n in range(100):
        told += [events.SessionPlanned(session(n), {"frames-left": 1}, 0.0), step(n)]
        told += ended(n, video_is_missing(n) if n == 7 else None)
    assert said(told).splitlines() == ["SW_007/2023-05-01/001: NOT done: the right camera has no video."]


def test_failures_of_one_cause_are_told_a_few_times_and_then_counted(said):
    text = said([started(100), *(event for n in range(90) for event in ended(n, video_is_missing(n)))], now_s=11)
    assert text.count("NOT done") == progress.MOST_ALIKE
    assert "90 of 100 sessions ended, 90 failed" in text


def test_of_few_sessions_each_has_its_lines(said):
    planned = events.SessionPlanned(session(0), {"frames-left": 3}, 0.0, {"frames-left": "decode"})
    text = said([started(2), planned, *ended(0), *ended(1, video_is_missing(1))])
    assert "SW_000/2023-05-01/001: 3 steps, of these 3 chunks of video to decode" in text
    assert "SW_000/2023-05-01/001: done" in text
    assert "SW_001/2023-05-01/001: NOT done: the right camera has no video." in text


def test_pauses_and_retries_have_one_line_each(said):
    told = [
        started(100),
        events.StepRetried(session(1), ("frames-left", "s", "f", 1), 1, FULL, 90.0, 0.0),
        events.RunPaused("disk /mnt/s0", FULL, 0.0),
        events.RunResumed("disk /mnt/s0", 0.0),
    ]
    retried, paused, resumed = said(told).splitlines()
    assert retried == "SW_001/2023-05-01/001: frames of left tried again in 2 min (attempt 1 failed): the disk is full."
    assert paused.startswith("paused disk /mnt/s0: the disk is full.")
    assert "make room" in paused
    assert resumed == "disk /mnt/s0 goes on"


def test_a_line_of_progress_comes_at_most_every_ten_seconds(said):
    assert said([started(100)], now_s=9) == ""
    assert said([started(100), *ended(0)], now_s=10).startswith("1 of 100 sessions ended")


def pool(n_workers, *queue, failure=""):
    queue = {str(number): text for number, text in enumerate(queue)}
    return SimpleNamespace(
        pool=SimpleNamespace(name="cpu"), n_jobs=2, n_workers=n_workers, queue=queue, failure=failure
    )


def test_jobs_that_wait_are_told_with_the_reason_of_the_batch_system():
    state = pool(0, "PENDING Priority", "PENDING Priority")
    watch = QueueWatch(lambda: [state], 0.0)
    assert watch.line(PATIENCE_S - 1) == ""
    assert watch.line(PATIENCE_S) == "no worker yet after 30 s: 2 jobs of cpu wait (PENDING Priority)"
    assert watch.line(PATIENCE_S + 10) == "", "told once"
    assert watch.line(PATIENCE_S + REPEATED_S) != ""
    state.queue = {"1": "PENDING Resources"}
    assert "1 job of cpu waits (PENDING Resources)" in watch.line(PATIENCE_S + REPEATED_S + 1)
    state.n_workers, state.queue = 1, {"1": "RUNNING", "2": "PENDING Resources"}
    assert watch.line(2000.0) == ""
    assert watch.short == "1 worker, 1 job of cpu waits (PENDING Resources)"
    state.n_workers = 0
    assert watch.line(2000.0 + PATIENCE_S - 1) == ""
    assert watch.line(2000.0 + PATIENCE_S) != ""


def test_a_pool_that_fails_is_told_with_its_failure():
    watch = QueueWatch(lambda: [pool(0, failure="sbatch: invalid partition")], 0.0)
    assert "cpu: sbatch: invalid partition" in watch.line(PATIENCE_S)


def test_pools_that_change_meanwhile_are_looked_at_again():
    def changing():
        raise RuntimeError("dictionary changed size during iteration")

    assert QueueWatch(changing, 0.0).line(PATIENCE_S) == ""


def test_the_view_looks_at_the_queue_while_no_event_comes(said, monkeypatch):
    monkeypatch.setattr(queue_watch, "PATIENCE_S", 5.0)
    assert "no worker yet" in said([started(2)], now_s=6, pools=lambda: [pool(0, "PENDING Priority")])


@pytest.mark.parametrize("n_kept", [0, 50])
def test_the_end_is_estimated_by_the_pace_of_the_last_half(n_kept):
    """Of 100 sessions each takes 10 s, but for those that an earlier run left finished."""
    pace = RunPace(0.0)
    pace.take(started(100))
    now_s = 0.0
    for n in range(80):
        now_s += 0.1 if n < n_kept else 10.0
        for event in ended(n):
            pace.take(event)
        left_s = pace.left_s(now_s)
        assert left_s is None or now_s >= FIRST_ESTIMATE_S
    assert left_s == pytest.approx(200, rel=0.15)


def test_steps_count_where_no_session_has_ended():
    pace = RunPace(0.0)
    pace.take(started(2))
    pace.take(events.SessionPlanned(session(0), {"frames-left": 100}, 0.0))
    assert pace.left_s(30.0) is None
    for second in range(1, 51):
        pace.take(step(0))
        pace.left_s(30.0 + second)
    assert pace.share == pytest.approx(0.25)
    assert 150 <= pace.left_s(80.0) <= 260
    assert "about" in pace.text(80.0)
