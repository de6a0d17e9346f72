"""Plain text on a run: short whatever happened, with every failure that there is room for."""

from __future__ import annotations

from ibl_dask.model.failure import Failure
from ibl_dask.report.run_text import MOST_LINES, MOST_ROWS, WIDTH, run_text
from ibl_dask.report.session_rows import SessionRow

CAUSES = ("no pulses.", "a file is missing.", "the disk is full.")


def failed(number: int) -> SessionRow:
    failure = Failure("Some", "bug", CAUSES[number % 3], f"/data/{number}", do="look at the cable")
    return {"session": f"SW_{number:03}/2023-05-01/001", "tasks": {"Work": "Errored"}, "failures": [failure]}


def good(number: int) -> SessionRow:
    return {"session": f"SW_{number:03}/2023-05-01/001", "tasks": {"Work": "Complete"}, "qc": {"left": "PASS"}}


def test_few_sessions_have_a_row_each_and_failures_their_five_parts() -> None:
    text = run_text([good(0), failed(1)])
    assert text.startswith("2 sessions, 1 failed, 1 done")
    for words in ("SW_000/2023-05-01/001", "1 of 1 complete", "left ✓ PASS", "Work Errored", "a file is missing."):
        assert words in text
    assert "what to do: look at the cable" in text


def test_of_a_cohort_those_that_need_someone_are_named_and_the_text_stays_short() -> None:
    text = run_text([*map(good, range(1000)), *map(failed, range(1000, 2000))])
    assert text.startswith("2,000 sessions, 1,000 failed, 1,000 done")
    assert "SW_1000/2023-05-01/001" in text
    assert "SW_000/2023-05-01/001" not in text
    for cause in CAUSES:
        assert cause in text
    lines = text.splitlines()
    assert len(lines) <= 2 + MOST_ROWS + 1 + MOST_LINES
    assert max(map(len, lines)) <= WIDTH


def test_nothing_that_sessions_bring_along_is_taken_for_markup() -> None:
    row = failed(0)
    row["failures"] = [Failure("Some", "bug", "[red]no[/red] [/] pulses.")]
    assert "[red]no[/red] [/] pulses." in run_text([row])


def test_a_run_without_sessions_is_a_line() -> None:
    assert run_text([]).startswith("0 sessions")
