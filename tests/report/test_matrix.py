from io import StringIO

import pytest
from made_runs import seven_kinds
from rich.console import Console

from ibl_dask.errors import MissingEnvironment
from ibl_dask.model.forecast import CameraForecast, TaskForecast
from ibl_dask.report.lines import Line, height
from ibl_dask.report.matrix import DONE, FAILS, MOST_ROWS, RUNS, MatrixRow, matrix
from ibl_dask.report.notebook import MOST_ROWS as MOST_OF_A_NOTEBOOK
from ibl_dask.report.notebook import run_html
from ibl_dask.report.plan_matrix import PlannedSession, plan_groups, plan_matrix
from ibl_dask.report.qc_matrix import CheckedSession, failing_checks, qc_matrix
from ibl_dask.store.failures import failure_from

TASKS = ("VideoRegisterRaw", "VideoCompress", "VideoSyncQC_nidq", "RegisterRaw__iblrig_tasks_passiveChoiceWorld_01")
ENVIRONMENT = failure_from(MissingEnvironment("no environment 'dlc' is known", got="neither", do="name it"))


def show(table, lines=(), width=80):
    console = Console(file=StringIO(), width=width)
    console.print(table)
    for line in lines:
        for part in line.folded(width):
            console.print(part, markup=False, soft_wrap=True)
    return console.file.getvalue()


def name(n):
    return f"SW_{n:03}/2023-05-01/001"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("n_columns", [1, 3, 4, 40])
def test_a_matrix_fits_its_terminal_and_names_every_column(width, n_columns):
    columns = [f"{TASKS[n % len(TASKS)]}_{n}" for n in range(n_columns)]
    marks = {column: (RUNS, DONE, FAILS)[n % 3] for n, column in enumerate(columns)}
    table, legend = matrix(
        [MatrixRow(name(n), marks, after=("[1]",)) for n in range(5)], columns, width, after=("why",)
    )
    text = show(table, legend, width)
    assert all(len(line) <= width or len(line.split()) == 1 for line in text.splitlines())
    assert all(name(n) in text for n in range(5))
    told = "".join(text.split())
    assert all(column in told for column in columns)
    assert all(f"{mark.glyph}" in text for mark in marks.values())
    assert all(f"{mark.word}" in text for mark in marks.values())


def planned(n, *, fails=False, is_done=False):
    why = "no input" if fails else "nothing to do" if is_done else "missing output"
    cameras = (CameraForecast("left", why, f"no video in {n}" if fails else ""),)
    waits = TaskForecast("DLC", "environment missing", ENVIRONMENT.message, failure=ENVIRONMENT)
    return PlannedSession(
        name(n), f"/s/{n}", (TaskForecast("VideoCompress", why, cameras=cameras, core_s=3600.0), waits)
    )


def plan_text(sessions, width=80):
    return show(*plan_matrix(sessions, plan_groups(sessions), width), width=width)


def test_a_plan_of_twenty_sessions_is_a_matrix_with_the_reasons_below():
    text = plan_text([planned(n, fails=n == 7, is_done=n == 8) for n in range(20)])
    lines = text.splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("SW_") for line in lines) == 20
    assert "✕ fails" in lines[8]
    assert "[1]" in lines[8]
    assert "✓ done" in lines[9]
    assert "[1] SW_007/2023-05-01/001: no video in 7" in text
    assert "20 sessions wait: no environment 'dlc' is known" in text


def test_of_a_plan_of_thousands_those_that_fail_come_first_and_the_rest_is_counted():
    text = plan_text([planned(n, fails=n % 1000 == 999, is_done=n % 2 == 0) for n in range(3000)])
    lines = text.splitlines()
    assert len(lines) < 70
    assert [name(n) in line for n, line in zip((999, 1999, 2999), lines[1:4], strict=True)] == [True] * 3
    assert sum(line.startswith("SW_") for line in lines) == MOST_ROWS
    assert "and 2,960 more sessions: 1,460 run, 1,500 have nothing to do" in text


def test_a_session_that_cannot_be_planned_has_its_row_and_reason():
    failure = failure_from(ValueError("odd"))
    sessions = [planned(0), PlannedSession(name(1), "/s/1", failure=failure)]
    assert sessions[1].fails
    text = plan_text(sessions)
    assert f"[1] {name(1)}: ValueError: odd (bug)" in text


def checked(n, outcome="PASS", **checks):
    record = {"outcome": outcome, "checks": {check: {"outcome": word} for check, word in checks.items()}}
    cameras = {"left": {"outcome": "PASS", "checks": {}}, "right": record}
    return CheckedSession(name(n), f"/s/{n}", {"session": name(n), "outcome": outcome, "cameras": cameras})


def test_checks_of_many_sessions_are_a_matrix_with_failing_checks_by_name():
    sessions = [
        checked(n, "FAIL", focus="FAIL", framerate="WARNING") if n % 10 == 0 else checked(n) for n in range(100)
    ]
    sessions.append(CheckedSession(name(500), "/s/500", failure=failure_from(ValueError("odd"))))
    table, lines = qc_matrix(sessions, 80)
    text = show(table, lines)
    rows = text.splitlines()
    assert len(rows) < 60
    assert max(map(len, rows)) <= 80
    assert name(500) in rows[1], "what cannot be shown comes first"
    assert "✕ FAIL" in rows[2]
    assert "focus" in rows[2]
    assert "✕ FAIL focus: 10 sessions (right 10)" in text
    assert "ValueError: odd" in text
    told = failing_checks(sessions)
    assert [(each.check, each.outcome, len(each.places)) for each in told] == [
        ("focus", "FAIL", 10),
        ("framerate", "WARNING", 10),
    ]


def rows_of(n):
    failures = seven_kinds(n)
    rows = [{"session": name(k), "state": "done", "tasks": {"VideoCompress": "Complete"}} for k in range(n)]
    for k, failure in failures.items():
        rows[k] |= {"state": "failed", "tasks": {"VideoCompress": "Errored"}, "failures": [failure]}
    return rows


def test_a_notebook_shows_a_large_run_by_causes_and_those_that_need_someone():
    page = run_html(rows_of(1000))
    assert page.count("<tr>") < 2 * MOST_OF_A_NOTEBOOK
    assert "the disk is full" in page
    assert "60 more sessions that failed, and 900 sessions without a failure" in page
    assert len(run_html(rows_of(5000))) < 1.2 * len(page)
    assert run_html(rows_of(30)).count("<tr>") == 31


@pytest.mark.parametrize("width", [20, 33, 80])
def test_a_line_is_folded_without_losing_a_character(width):
    words = "what to do: look at /mnt/s0/Data/cortexlab/Subjects/SW_001/2023-05-01/001/raw_video_data/x.mp4 and mend it"
    line = Line(words)
    parts = line.folded(width)
    assert all(len(part) <= width or len(part.split()) == 1 for part in parts)
    assert "/mnt/s0/Data/cortexlab/Subjects/SW_001/2023-05-01/001/raw_video_data/x.mp4" in " ".join(parts)
    assert "".join("".join(parts).split()) == "".join(words.split())
    assert height([line, line], width) == 2 * sum(-(-len(part) // width) for part in parts)
    assert height([Line(words, is_cut=True)], width) == 1
