from io import StringIO

import pytest
from rich.console import Console

from ibl_dask.model.failure import Failure
from ibl_dask.report.terminal import doctor_table, outcome_table, qc_table, status_table

NO_PULSES = Failure("NoPulses", "input", "no pulses.", "left camera", "some", "none", "check the cable")
BAD = {
    "session": "b/2020-01-01/001",
    "tasks": {"VideoRegisterRaw": "Complete", "VideoSyncQcNidq": "Errored"},
    "qc": {"left": "CRITICAL", "right": "PASS"},
    "chunks_done": 30,
    "chunks_kept": 12,
    "failures": [NO_PULSES, NO_PULSES],
    "report": "/r/report.html",
}
GOOD = {"session": "a/2020-01-01/001", "tasks": {"VideoRegisterRaw": "Complete"}, "qc": {}, "failures": []}


def show(table, width=200) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def record():
    def check(outcome, **words):
        return {"outcome": outcome, "numbers": [], "measured": "", "threshold": "", "message": "", **words}

    return {
        "session": "a/2020-01-01/001",
        "outcome": "CRITICAL",
        "cameras": {
            "left": {"outcome": "FAIL", "checks": {"brightness": check("PASS"), "focus": check("FAIL")}},
            "right": {
                "outcome": "CRITICAL",
                "checks": {},
                "failure": NO_PULSES.message,
                "error": NO_PULSES.to_json(),
            },
            "body": {"outcome": "WARNING", "checks": {"pin_state": check("WARNING", numbers=[3, None])}},
        },
    }


def test_failing_checks_come_first(record):
    lines = show(qc_table(record)).splitlines()
    places = [next(i for i, line in enumerate(lines) if word in line) for word in ("right", "focus", "pin_", "bright")]
    assert places == sorted(places)


def test_a_camera_that_could_not_be_checked_says_what_to_do(record):
    text = show(qc_table(record))
    assert "no pulses." in text
    assert "→ check the cable" in text


def test_numbers_stand_in_where_nothing_is_said(record):
    assert "3, none" in show(qc_table(record))


@pytest.mark.parametrize("record", [{}, {"session": "x", "outcome": "NOT_SET", "cameras": {}}])
def test_a_record_without_cameras_is_a_table(record):
    assert "no camera was checked" in show(qc_table(record))


def test_markup_in_values_is_not_obeyed(record):
    record["cameras"]["left"]["checks"]["focus"]["measured"] = "[bold]x[/] [/nothing]"
    assert "[bold]x[/] [/nothing]" in show(qc_table(record))
    assert "[/nothing]" in show(outcome_table([{**BAD, "session": "[/nothing]"}]))
    assert "[/nothing]" in show(status_table([{"session": "[/nothing]"}]))


def test_sessions_that_failed_come_first():
    text = show(outcome_table([GOOD, BAD]))
    assert text.index("b/2020-01-01/001") < text.index("a/2020-01-01/001")
    assert "2 sessions, 1 failed" in text
    assert "VideoSyncQcNidq Errored" in text
    assert "42" in text
    assert "12" in text


@pytest.mark.parametrize(
    ("qc", "told"),
    [
        ({"left": "PASS", "right": "PASS"}, "1 session, all well"),
        ({"left": "PASS", "right": "WARNING"}, "1 session, all done; checks of cameras: 1 WARNING"),
        ({"left": "FAIL", "right": "WARNING", "body": "FAIL"}, "all done; checks of cameras: 2 FAIL, 1 WARNING"),
        ({"left": "CRITICAL"}, "all done; checks of cameras: 1 CRITICAL"),
        ({"left": "NOT_SET"}, "1 session, all well"),
    ],
)
def test_all_is_well_only_where_no_check_says_otherwise(qc, told):
    assert told in show(outcome_table([{**GOOD, "qc": qc}]))


def test_failed_interrupted_and_not_started_are_counted_apart():
    rows = [{**GOOD, "state": "done"}, {**BAD, "state": "failed"}]
    rows += [{"session": f"c/2020-01-01/{n:03}", "state": "not started"} for n in range(17)]
    rows += [{"session": "d/2020-01-01/001", "state": "interrupted", "tasks": {}}]
    text = show(outcome_table(rows))
    assert "20 sessions, 1 failed, 1 interrupted, 17 not started, 1 done" in text
    assert text.count("not started") == 18
    assert text.count("interrupted") == 2


def test_rows_may_hold_little():
    assert "1 session, 1 failed" in show(outcome_table([{"session": "x"}]))
    assert "0 sessions, all well" in show(outcome_table([]))
    assert "1 waiting" in show(status_table([{"session": "x"}]))
    assert "no session" in show(status_table([]))


def test_status_tells_states_and_steps():
    row = {**BAD, "state": "running", "planned": 1200, "done": 7, "kept": 2}
    text = show(status_table([row, {**row, "state": "done"}]))
    assert "7 of 1,200" in text
    assert "1 running, 1 done" in text


def test_tables_fit_a_narrow_terminal(record):
    for table in (qc_table(record), outcome_table([BAD, GOOD]), status_table([BAD])):
        assert max(map(len, show(table, 80).splitlines())) <= 80


def test_what_a_doctor_found_is_counted_and_each_problem_says_what_to_do():
    good = {"place": "driver", "check": "clock", "importance": "ok", "found": "+0.001 s", "do": ""}
    bad = {"place": "pool gpu", "check": "GPU", "importance": "problem", "found": "it is [red]", "do": "leave it out"}
    text = show(doctor_table([good, bad, {**bad, "importance": "warning"}], "site"))
    assert "site: 1 problem, 1 warning" in text
    assert "✕ problem" in text
    assert "it is [red]" in text
    assert "→ leave it out" in text
    assert "site: all well" in show(doctor_table([good], "site"))


def with_checks(*outcomes, **changes):
    return {**GOOD, "qc": dict(zip(("left", "right", "body"), outcomes, strict=False)), **changes}


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([with_checks("PASS", "PASS")], "1 session, all well"),
        ([with_checks("PASS", "NOT_SET")], "1 session, all well"),
        ([with_checks("PASS", "WARNING")], "1 session, all done; checks of cameras: 1 WARNING"),
        ([with_checks("FAIL", "WARNING")], "1 session, all done; checks of cameras: 1 FAIL, 1 WARNING"),
        ([with_checks("CRITICAL", failures=["x"])], "1 session, 1 failed; checks of cameras: 1 CRITICAL"),
        ([with_checks("PASS"), with_checks("WARNING")], "2 sessions, all done; checks of cameras: 1 WARNING"),
        ([with_checks("PASS"), BAD], "2 sessions, 1 failed, 1 done; checks of cameras: 1 CRITICAL"),
        (
            [with_checks("WARNING"), with_checks("FAIL", "WARNING"), with_checks("FAIL"), GOOD],
            "4 sessions, all done; checks of cameras: 2 FAIL, 2 WARNING",
        ),
        ([{"session": "x", "state": "not started"}, GOOD], "2 sessions, 1 not started, 1 done"),
        ([{**GOOD, "tasks": {"VideoCompress": "Incomplete"}}], "1 session, 1 failed"),
        ([{**GOOD, "tasks": {"DLC": "Waiting"}, "not_required": ["DLC"]}], "1 session, all well"),
    ],
)
def test_all_is_well_only_where_every_session_ended_and_no_check_is_worse_than_pass(rows, title):
    first = show(outcome_table(rows)).splitlines()[0].strip()
    assert first == title


def test_what_a_session_was_done_without_is_counted_in_status_as_after_the_run():
    tasks = {"VideoCompress": "Complete", "DLC": "Waiting", "PostDLC": "Held"}
    done = show(status_table([{**GOOD, "state": "done", "tasks": tasks}]))
    assert "1 of 1 complete" in done
    assert "2 for other environments" in done
    assert "DLC Waiting" in show(status_table([{**GOOD, "state": "failed", "tasks": tasks}]))


def test_names_are_folded_in_a_narrow_terminal_and_never_cut():
    name = "RegisterRaw__iblrig_tasks_passiveChoiceWorld_01"
    row = {**BAD, "tasks": {name: "Errored"}, "state": "failed", "qc": {}}
    for table in (outcome_table([row]), status_table([row])):
        parts = "".join(line[18:].strip() for line in show(table, 80).splitlines())
        assert name in parts
