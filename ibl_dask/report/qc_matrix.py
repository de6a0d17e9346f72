"""The checks of many sessions: a matrix of sessions and cameras, and the checks that fail, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from ibl_dask.model.failure import Failure
from ibl_dask.report.check_rows import (
    CheckRow,
    camera_failure,
    outcome_with_keypoints,
    read_check_rows,
    read_pose_rows,
    severity,
    split_namespace,
)
from ibl_dask.report.failure_groups import FailureGroup, group_failures
from ibl_dask.report.failure_lines import failure_lines
from ibl_dask.report.lines import Line, count, some
from ibl_dask.report.matrix import MatrixRow, choose_rows, count_words, matrix, outcome_mark
from ibl_dask.report.palette import look_of
from ibl_dask.report.terminal import QcContent

_BAD = ("CRITICAL", "FAIL")
_TOLD = (*_BAD, "WARNING")
_MOST_CHECKS = 20
_REASON_LINES = 46


@dataclass(frozen=True, slots=True)
class CheckedSession:
    """Checks of one session, or the reason for which they cannot be shown."""

    session: str
    """subject/date/number."""
    path: str
    """Session folder."""
    content: QcContent = field(default_factory=QcContent)
    """Its part of `qc.json`; empty where there is none."""
    failure: Failure | None = None
    """Error for which there is none."""

    @property
    def outcome(self) -> str:
        """Return the worst outcome of its cameras."""
        return str(self.content.get("outcome") or "NOT_SET")

    @property
    def fails(self) -> bool:
        """Return whether a camera fails, or nothing is known."""
        return self.failure is not None or self.outcome in _BAD

    def rows(self) -> list[CheckRow]:
        """Return the checks of all cameras, and of their keypoints."""
        cameras = (self.content.get("cameras") or {}).items()
        keypoints = read_pose_rows(self.content.get("pose") or {}).values()
        return [row for label, each in cameras for row in read_check_rows(label, each)] + [
            row for rows in keypoints for row in rows
        ]

    def marks(self) -> dict[str, str]:
        """Return the outcome of each camera with its keypoints."""
        cameras, pose = self.content.get("cameras") or {}, self.content.get("pose") or {}
        labels = dict.fromkeys((*cameras, *(split_namespace(name)[1] for name in pose)))
        return {
            label: outcome_with_keypoints(
                cameras.get(label, {}), (record for name, record in pose.items() if split_namespace(name)[1] == label)
            )
            for label in labels
        }


@dataclass(frozen=True, slots=True)
class FailingCheck:
    """A check with one outcome worse than PASS, in all sessions."""

    check: str
    """Name of the check."""
    outcome: str
    """Name of the outcome."""
    places: tuple[tuple[str, str], ...]
    """Session and camera, each."""

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""
        places = [{"session": session, "camera": camera} for session, camera in self.places]
        return {"check": self.check, "outcome": self.outcome, "places": places}


def failing_checks(sessions: Iterable[CheckedSession]) -> list[FailingCheck]:
    """Return the checks with outcomes worse than PASS, the worst first, then those of most cameras."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for session in sessions:
        for row in session.rows():
            if row.check and row.outcome in _TOLD:
                found.setdefault((row.check, row.outcome), []).append((session.session, row.camera))
    checks = [FailingCheck(check, outcome, tuple(places)) for (check, outcome), places in found.items()]
    return sorted(checks, key=lambda each: (severity(each.outcome), -len(each.places), each.check))


def qc_groups(sessions: Iterable[CheckedSession]) -> list[FailureGroup]:
    """Return the errors for which sessions or cameras were not checked, by cause."""
    return group_failures(
        {"session": each.session, "path": each.path, "failures": _failures(each)} for each in sessions
    )


def qc_matrix(sessions: Sequence[CheckedSession], width: int) -> tuple[Table, list[Line]]:
    """Return a table of sessions and cameras, and the lines below it.

    Parameters
    ----------
    sessions : sequence of CheckedSession
        Sessions.
    width : int
        Width of the terminal, characters.
    """
    shown, hidden = choose_rows(sessions, lambda each: -1 if each.failure is not None else severity(each.outcome))
    labels = dict.fromkeys(label for each in sessions for label in each.marks())
    rows = []
    for each in shown:
        bad = dict.fromkeys(row.check for row in each.rows() if row.check and row.outcome in _BAD)
        told = "not checked" if each.failure is not None else some(list(bad), 2)
        marks = {label: outcome_mark(outcome) for label, outcome in each.marks().items()}
        rows.append(MatrixRow(each.session, marks, after=(told,)))
    table, lines = matrix(rows, list(labels), width, after=("failing checks",))
    if hidden:
        outcomes = count_words(each.outcome for each in hidden)
        lines.append(Line(f"and {count(len(hidden), 'more session')}: {outcomes} (--json and --details print all)"))
    checks = failing_checks(sessions)
    lines += [_check_line(check) for check in checks[:_MOST_CHECKS]]
    if len(checks) > _MOST_CHECKS:
        lines.append(Line(f"and {count(len(checks) - _MOST_CHECKS, 'more check')} (--json)"))
    return table, [
        *lines,
        *failure_lines(qc_groups(sessions), width, _REASON_LINES, len(sessions), "--json prints all"),
    ]


def _check_line(check: FailingCheck) -> Line:
    look = look_of(check.outcome)
    sessions = list(dict.fromkeys(session for session, _ in check.places))
    cameras = Counter(camera for _, camera in check.places)
    where = ", ".join(f"{camera} {n:,}" if len(sessions) > 1 else camera for camera, n in cameras.items())
    text = (
        f"{look.glyph} {check.outcome} {check.check}: {count(len(sessions), 'session')} ({where}): {some(sessions, 2)}"
    )
    return Line(text, look.style if check.outcome in _BAD else "")


def _failures(session: CheckedSession) -> list[Failure]:
    if session.failure is not None:
        return [session.failure]
    found = (camera_failure(record) for record in (session.content.get("cameras") or {}).values())
    return [failure for failure in found if failure is not None]
