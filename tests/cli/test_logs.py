"""`ibl-dask logs`: a table of the tasks that have logs, and the log of one."""

import shlex
import threading
from pathlib import Path

import pytest
from program import call, says

from ibl_dask.cli.app import app
from ibl_dask.cli.logs import follow_task
from ibl_dask.errors import IblDaskError
from ibl_dask.model.session import Session
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.task_logs import LogWriter, format_record


def write(session, task, attempt, *texts, cls="lab.tasks.Count", at_s=2e9) -> TaskLog:
    log = TaskLog(session / "ibl_dask" / "logs" / task, task, attempt, "a-run", cls)
    writer = LogWriter(log)
    for n, text in enumerate(texts):
        assert writer.append(format_record(log, "INFO", "step" if "ended" not in text else "-", text, at_s + n))
    writer.close()
    return log


@pytest.fixture
def show(capsys):
    """Return the command within this process: what it prints, or the text of its error."""

    def call_here(*arguments):
        capsys.readouterr()
        try:
            code = app(["logs", *map(str, arguments)], standalone_mode=False)
        except IblDaskError as error:
            return 2, str(error)
        return code, capsys.readouterr().out

    return call_here


@pytest.fixture
def session(tmp_path) -> Path:
    folder = tmp_path / "my lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def logged(session) -> Path:
    write(session, "Count_00", 1, "first try", "ended: Errored; steps: 1 failed")
    write(session, "Count_00", 2, "[red]second[/red] try", "in\ntwo lines", "ended: Complete; steps: 1 done")
    write(session, "VideoSyncQC_nidq", 1, "at work", cls="ibl_dask.tasks.video_sync.clocks.VideoSyncQcNidq")
    return session


def test_without_a_task_each_has_a_row_on_a_narrow_terminal_as_well(logged):
    code, text = call("logs", logged, COLUMNS="80")
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(" ")}
    assert list(rows) == ["task", "Count_00", "VideoSyncQC_nidq"]
    says(rows["Count_00"], "1-2", "Complete", "1 kB", "2033-05-18T03:33:22.000Z")
    says(rows["VideoSyncQC_nidq"], " 1 ", "no end")
    assert max(map(len, rows.values())) <= 80


def test_only_tasks_that_failed_or_have_no_end_are_listed_on_request(logged, show):
    _, text = show(logged, "--failed")
    assert "VideoSyncQC_nidq" in text
    assert "Count_00" not in text


def test_the_latest_attempt_is_printed_as_it_is_in_the_file(logged, show):
    code, text = show(logged, "Count_00")
    assert code == 0
    (path,) = (logged / "ibl_dask" / "logs" / "Count_00").glob("002-*.log")
    assert text.splitlines()[1:] == path.read_text().splitlines()[1:]
    says(text, "[red]second[/red] try", "in\n    two lines\n")
    assert "first try" not in text


@pytest.mark.parametrize(
    ("arguments", "said", "not_said"),
    [
        (["count_00", "--attempt", "1"], "first try", "second"),
        (["Count_00", "--failed"], "first try", "second"),
        (["Count_00", "--lines", "2"], "    two lines", "second"),
        (["Count"], "second", "first try"),
        (["lab.tasks.Count"], "second", "first try"),
        (["videosyncqcnidq"], "at work", "try"),
    ],
)
def test_one_task_is_found_by_name_or_class_and_its_attempts_by_number(logged, show, arguments, said, not_said):
    code, text = show(logged, *arguments)
    assert code == 0, text
    assert said in text
    assert not_said not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["VideoSyncQC_nidk"], ("no task VideoSyncQC_nidk", "write VideoSyncQC_nidq, if that was meant")),
        (["Count_00", "--attempt", "7"], ("no such attempt at Count_00", "one of 1, 2")),
        (["--attempt", "1"], ("one task", "Count_00, VideoSyncQC_nidq")),
    ],
)
def test_a_wrong_name_or_number_is_told_with_what_there_is(logged, show, arguments, said):
    code, text = show(logged, *arguments)
    assert code == 2
    says(text, *said)


def test_two_tasks_of_one_class_must_be_told_apart(logged, show):
    write(logged, "Count_01", 1, "another")
    code, text = show(logged, "Count")
    assert code == 2
    says(text, "several tasks are of class Count", "Count_00, Count_01")


def test_results_elsewhere_and_sessions_without_logs(session, show, tmp_path):
    code, text = call("logs", session, "Count_00")
    assert code == 2
    says(text, "error: no task has left a log here", "--output-root")
    out = tmp_path / "out"
    results = Session(session, out).outputs
    command = write(results, "Count_00", 1, "elsewhere").command
    assert shlex.split(command) == ["ibl-dask", "logs", str(results), "Count_00"]
    for arguments in ([session, "Count_00", "--output-root", out], shlex.split(command)[2:]):
        code, text = show(*arguments)
        assert code == 0, text
        assert "elsewhere" in text


def test_following_goes_on_with_what_comes_and_with_later_attempts(session, monkeypatch):
    monkeypatch.setattr("ibl_dask.cli.logs.LOOK_S", 0.01)
    log = write(session, "Count_00", 1, "one")
    write(session, "Count_00", 2, "two")
    is_over = threading.Event()
    got: list[str] = []
    for record in follow_task(log.folder, is_over.is_set):
        got += [record.rstrip("\n").split(" ")[-1]] if record else []
        if record.endswith("two\n"):
            write(session, "Count_00", 2, "three", at_s=2e9 + 5)
        elif record.endswith("three\n"):
            write(session, "Count_00", 3, "four", at_s=2e9 + 9)
        elif record.endswith("four\n"):
            is_over.set()
    assert [word for word in got if word in ("one", "two", "three", "four")] == ["two", "three", "four"]
