"""The summary of a run equals its journal, whatever happens to either."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.model import events
from ibl_dask.model.failure import Failure
from ibl_dask.model.step import StepKey, StepRecord
from ibl_dask.store import run_progress, run_record
from ibl_dask.store.journal import Journal, read_journal, segment_file
from ibl_dask.store.run_record import RunRecord
from ibl_dask.store.run_summary import RunFolder, find_runs, read_progress, read_summary

SESSIONS = tuple(f"/data/Subjects/SW_001/2023-05-01/{n:03d}" for n in range(1, 6))
STARTED = events.RunStarted("r", SESSIONS, "h", 1, 2, "1.0", 5.0, "", "42", {"tasks": "VideoCompress"})


def failure(text: str, category: str = "corrupt_input") -> Failure:
    return Failure("UnreadableVideo", category, text, "where", "expected", "got", "do", ("note",), "a traceback")


def step(
    session: str, name: str = "framepass-left", status: str = "done", error: Failure | None = None
) -> events.Event:
    return events.StepFinished(session, StepRecord(StepKey(name, "s", "f", 0), status, failure=error, seconds=0.5))


def task(session: str, name: str, status: str, *failures: Failure) -> events.Event:
    return events.TaskFinished(session, name, status, (), failures, 7.0)


def finished(session: str, is_success: bool = True, error: Failure | None = None) -> events.Event:
    return events.SessionFinished(session, is_success, {"left": "PASS"}, "/report.html", error, 9.0)


@st.composite
def any_event(draw: st.DrawFn) -> events.Event:
    session = draw(st.sampled_from(SESSIONS))
    error = failure(draw(st.text(max_size=3)), draw(st.sampled_from(["disk", "bug"])))
    return draw(
        st.sampled_from(
            [
                events.SessionPutOff(session, "held", 1.0),
                events.SessionPlanned(session, {"framepass-left": 3}, 2.0),
                step(session),
                step(session, "index", "kept"),
                step(session, "framepass-right", "failed", error),
                events.StepRetried(session, ("index", "s", "f", 0), 1, error, 5.0, 3.0),
                task(session, "VideoCompress", "Complete"),
                task(session, "VideoSync", "Errored", error),
                task(session, "DLC", "Waiting", error),
                finished(session),
                finished(session, is_success=False, error=error),
                events.SessionInterrupted(session, 9.0),
                events.RunPaused("", error, 4.0),
                events.RunResumed("", 5.0),
                events.RunFinished("r", 1, 1, 10.0, 11.0, draw(st.booleans()), 1, 1),
            ]
        )
    )


def content(run: RunFolder) -> dict[str, object]:
    """Everything that a reader learns of a run."""
    summary = read_summary(run)
    return {
        "header": summary.header,
        "rows": [row.to_json() for row in summary.rows],
        "totals": summary.totals.to_json(),
        "states": dict(summary.states),
        "pauses": summary.state.pauses,
        "end": summary.found.progress.end,
    }


def from_journal(run: RunFolder, work: Path) -> dict[str, object]:
    """What the same journal says without a summary."""
    bare = RunFolder.of(work, "bare")
    shutil.rmtree(bare.path, ignore_errors=True)
    bare.path.mkdir(parents=True)
    for path in run.path.glob("events-*"):
        shutil.copy(path, bare.path)
    assert read_progress(bare).is_folded
    return content(bare)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@settings(max_examples=60)
@given(st.lists(any_event(), max_size=40), st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_a_driver_killed_at_any_moment_leaves_what_its_journal_says(tmp_path_factory, told, written, killed_at) -> None:
    work = tmp_path_factory.mktemp("work")
    at_death = RunFolder.of(work, "dead")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_record, "SUMMARY_S", 3600.0)
        with RunRecord(work, "r") as record:
            for n, event in enumerate([STARTED, *told]):
                if n in written:
                    record._next_s = 0.0
                record.append(events.to_json(event))
                if n == min(killed_at, len(told)):
                    shutil.copytree(record.run.path, at_death.path, ignore=shutil.ignore_patterns(".*"))
    assert not read_progress(at_death).is_folded
    assert content(at_death) == from_journal(at_death, work)
    assert content(record.run) == from_journal(record.run, work)
    assert read_progress(record.run).n_lines == 0, "the summary of a run that ended is whole"


@pytest.mark.parametrize("file", ["header_file", "summary_file", "rows_file"])
@pytest.mark.parametrize("damage", ["missing", "torn", "empty", "zeros", "another version", "a list"])
def test_a_damaged_summary_is_replaced_by_the_journal(work, file, damage) -> None:
    with RunRecord(work, "r") as record:
        for event in (STARTED, step(SESSIONS[0]), finished(SESSIONS[0]), step(SESSIONS[1]), finished(SESSIONS[1])):
            record.append(events.to_json(event))
    before = content(record.run)
    path = getattr(record.run, file)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "torn": whole[: len(whole) // 3],
            "zeros": bytes(len(whole)),
            "another version": whole.replace(b'"v":1', b'"v":9').replace(b"RunStarted", b"RunBegun"),
            "a list": b"[]\n",
        }.get(damage, b"")
    )
    if damage == "missing":
        path.unlink()
    assert content(record.run) == before


def test_a_killed_driver_is_told_from_one_that_runs_is_stopped_or_has_ended(work) -> None:
    """By its process: a real one, at one moment after the other."""
    code = """
import sys
from pathlib import Path
from ibl_dask.model import events
from ibl_dask.store.processes import this_process
from ibl_dask.store.run_record import RunRecord
sessions = ("/a/b/c", "/a/b/d")
with RunRecord(Path(sys.argv[1]), sys.argv[2]) as record:
    record.append(events.to_json(events.RunStarted("r", sessions, "h", 1, 0, "1", 1.0, this_process().mark)))
    record.append(events.to_json(events.SessionPlanned("/a/b/c", {"index": 2}, 1.0)))
    while not record.run.beat_file.exists():
        pass
    print(flush=True)
    input()
    record.append(events.to_json(events.RunFinished("r", 0, 0, 5.0, 6.0)))
"""
    for end in ("killed", "ended"):
        run = RunFolder.of(work, end)
        command = [sys.executable, "-c", code, str(work), end]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            assert read_summary(run).state.word == "running"
            assert read_summary(run).beat.figures["sessions"] == 2
            os.kill(process.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            assert read_summary(run).state.word == "stopped"
            os.kill(process.pid, signal.SIGCONT)
            if end == "killed":
                process.kill()
                process.wait()
            else:
                process.communicate(b"\n")
        found = read_summary(run)
        assert found.state.word == {"killed": "dead", "ended": "finished"}[end]
        first = {"killed": "interrupted", "ended": "not started"}[end]
        assert [row.state for row in found.rows] == [first, "not started"]
        assert sum(found.states.values()) == 2


def test_rows_hold_what_a_table_needs_and_are_bounded(work) -> None:
    many = [failure(f"{n}: {'x' * 9000}") for n in range(50)]
    with RunRecord(work, "r") as record:
        for event in (
            STARTED,
            events.SessionPlanned(SESSIONS[2], {"framepass-left": 3}, 2.0),
            step(SESSIONS[2], "framepass-right", "failed", many[0]),
            step(SESSIONS[2], "qc", "skipped", many[0]),
            events.StepRetried(SESSIONS[2], ("index", "s", "f", 0), 1, many[1], 5.0, 3.0),
            task(SESSIONS[2], "VideoSync", "Errored", *many),
            task(SESSIONS[2], "Trials", "Errored", many[0]),
            task(SESSIONS[2], "Child", "Held", failure("of its parent", "bug")),
            finished(SESSIONS[2], is_success=False),
        ):
            record.append(events.to_json(event))
    row = [*read_summary(record.run).rows][2]
    assert (row.session, row.state, row.planned, row.ended, row.failed, row.skipped) == (
        SESSIONS[2],
        "failed",
        3,
        2,
        1,
        1,
    )
    assert (row.retries, row.started_s, row.ended_s, row.report) == (1, 2.0, 9.0, "/report.html")
    assert row.tasks == {"VideoSync": "Errored", "Trials": "Errored", "Child": "Held"}
    assert len(row.failures) == run_progress.MOST_FAILURES
    assert row.n_more_failures == 30
    assert (row.failures[0].camera, row.failures[0].task) == ("right", "VideoSync")
    assert row.failures[0].failure.do == "do"
    assert len(str(row.to_json())) < 60_000
    totals = read_summary(record.run).totals
    assert totals.categories == {"corrupt_input": 50}, "each failure counts once, whichever tasks have it"
    assert totals.steps["framepass"] == {"failed": 1}


def test_a_step_that_ends_after_its_session_counts_and_changes_no_state(work) -> None:
    with RunRecord(work, "r") as record:
        for event in (STARTED, step(SESSIONS[0]), finished(SESSIONS[0], is_success=False), step(SESSIONS[0])):
            record.append(events.to_json(event))
    (row, *_) = read_summary(record.run).rows
    assert (row.done, row.state) == (2, "failed")
    assert read_summary(record.run).states == {"failed": 1, "waiting": 4}


def test_a_summary_that_cannot_be_written_stops_no_run_and_nobody_is_misled(work, monkeypatch) -> None:
    def refuse(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_record, "SUMMARY_S", 0.0)
    monkeypatch.setattr(run_record, "SHARE", 0)
    with RunRecord(work, "r") as record:
        record.append(events.to_json(STARTED))
        with monkeypatch.context() as patch:
            patch.setattr("ibl_dask.store.run_summary.write_text", refuse)
            record.append(events.to_json(step(SESSIONS[0])))
            record.append(events.to_json(finished(SESSIONS[0])))
            assert record.failure is None
            assert content(record.run) == from_journal(record.run, work)
        assert read_progress(record.run).n_lines == 2
        record.append(events.to_json(step(SESSIONS[1])))
        assert read_progress(record.run).n_lines == 0, "it is written again once that is possible"


def test_ctrl_c_within_an_event_leaves_a_summary_that_equals_the_journal(work, monkeypatch) -> None:
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    with RunRecord(work, "r") as record:
        record.append(events.to_json(STARTED))
        with monkeypatch.context() as patch:
            patch.setattr(run_progress.RunTotals, "take_step", interrupt)
            with pytest.raises(KeyboardInterrupt):
                record.append(events.to_json(step(SESSIONS[0])))
        record.append(events.to_json(finished(SESSIONS[0])))
    assert content(record.run) == from_journal(record.run, work)


def test_a_journal_of_an_earlier_version_is_read(work) -> None:
    with Journal(work / "made") as journal:
        for event in (STARTED, step(SESSIONS[0]), finished(SESSIONS[0])):
            journal.append(events.to_json(event))
    segment_file(work / "made", 0).rename(work / "events-20230101T000000-abcdef.jsonl")
    (run,) = find_runs(work)
    assert (run.name, run.is_of_earlier_version) == ("20230101T000000-abcdef", True)
    assert [row.state for row in read_summary(run).rows] == ["done", *["waiting"] * 4]
    assert len([*read_journal(run.journal)]) == 3


def test_runs_are_listed_newest_first_by_their_names(work) -> None:
    names = ["20230101T000000-ffffff", "20230102T000000-000000", "20221231T235959-aaaaaa"]
    for name in names:
        RunRecord(work, name).close()
    (work / "events-20230101T120000-abcdef.jsonl").touch()
    (work / "runs" / "a file").touch()
    ages = [run.name for run in find_runs(work)]
    assert ages == [names[1], "20230101T120000-abcdef", names[0], names[2]]
    assert find_runs(work / "nowhere") == []
    for order in ("ab", "ba"):
        same = [f"20240101T000000-{letter}{order}" for letter in order]
        for second, name in enumerate(same):
            with RunRecord(work, name) as record:
                record.append(events.to_json(STARTED))
            os.utime(record.run.header_file, (second, second))
        assert [run.name for run in find_runs(work) if run.name.endswith(order)] == same[::-1]
