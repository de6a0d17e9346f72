"""`ibl-dask status`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from ibl_dask.cli.console import out, print_table, show_failure
from ibl_dask.errors import MissingFile
from ibl_dask.model.failure import Failure
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.report.terminal import status_table
from ibl_dask.store.journal import find_journals, read_journal
from ibl_dask.store.processes import Process, state_of
from ibl_dask.store.workspace import SCRATCH_VARIABLE, WORK_FOLDER


def show_status(work_dir: Path | None, failed_only: bool) -> int:
    """Print the state of the latest run; return 0 if it ended and every session succeeded.

    Parameters
    ----------
    work_dir : Path or None
        Folder of the journals; the nearest one where not given.
    failed_only : bool
        Whether to leave out sessions that did not fail.
    """
    folder = work_dir or nearest_work_folder()
    journals = find_journals(folder)
    if not journals:
        raise MissingFile(
            "no run has left a journal here",
            where=str(folder),
            expected="a file events-<run>.jsonl",
            got="none",
            do="name the folder of the run with --work-dir, or call this from the folder that holds the subjects",
        )
    rows, header = summarise(read_journal(journals[0]))
    good = bool(rows) and header["ended"] and all(row["state"] == "done" for row in rows)
    out.print(f"run {header['run']} on {header['host']}, process {header['pid']}: {header['text']}", markup=False)
    n_lines = sum(map(bool, journals[0].read_bytes().split(b"\n")))
    if n_lines > header["events"]:
        out.print(
            f"{n_lines - header['events']} of {n_lines} lines of {journals[0]} could not be read: "
            "damaged, or written by another version",
            markup=False,
        )
    shown = [row for row in rows if not failed_only or row["state"] == "failed"]
    print_table(status_table(shown))
    for row in shown:
        for failure in dict.fromkeys([*row["failures"], *row["delays"]]):
            show_failure(row["session"], failure)
    return 0 if good else 1


_UNDER_WAY = {"alive": "under way", "gone": "killed", "unknown": "under way, or killed"}
"""State of the driver's process -> state of a run that has not ended."""


_Event = Mapping[str, Any]
"""Line of a journal, parsed from JSON; a line without the expected values is skipped."""


@dataclass
class _Row:
    """Progress of one session; see `SessionRow` for the fields."""

    session: str
    state: str = "waiting"
    planned: int = 0
    done: int = 0
    kept: int = 0
    tasks: dict[str, str] = field(default_factory=dict)
    qc: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    delays: list[Failure] = field(default_factory=list)

    def plain(self) -> SessionRow:
        """Return the row as tables take it."""
        return {
            "session": self.session,
            "state": self.state,
            "planned": self.planned,
            "done": self.done,
            "kept": self.kept,
            "tasks": self.tasks,
            "qc": self.qc,
            "failures": self.failures,
            "delays": self.delays,
        }


class _Header(TypedDict):
    """State of the run as a whole."""

    run: str
    host: str
    pid: int | str
    ended: bool
    text: str
    """under way, killed, ended after n s, ..."""
    events: int
    """Events that were read."""


def summarise(journal: Iterable[_Event]) -> tuple[list[SessionRow], _Header]:
    """Return a row per session, and the state of the run as a whole."""
    text = _UNDER_WAY["unknown"]
    header: _Header = {"run": "?", "host": "?", "pid": "?", "ended": False, "text": text, "events": 0}
    rows: dict[str, _Row] = {}
    for event in journal:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):  # not an event of this package
            _take(event, header, rows)
            header["events"] += 1
    return [row.plain() for row in rows.values()], header


def _take(event: _Event, header: _Header, rows: dict[str, _Row]) -> None:
    name = event["event"]
    if name == "RunStarted":
        header["run"], header["host"], header["pid"] = event["run"], event["host"], event["pid"]
        process = Process.from_mark(event.get("process", ""))
        header["text"] = _UNDER_WAY["unknown" if process is None else state_of(process)]
        rows.update({path: _Row(_name(path)) for path in event["sessions"]})
    elif name == "RunFinished":
        stopped = "interrupted" if event["interrupted"] else "ended"
        header["ended"], header["text"] = True, f"{stopped} after {event['seconds']:.0f} s"
        for row in rows.values():
            if row.state not in ("done", "failed", "interrupted"):
                # Older versions did not name the interrupted sessions.
                row.state = "interrupted" if row.done and "n_interrupted" not in event else "not started"
    else:
        row = rows.get(event["session"]) or _Row(_name(event["session"]))
        _take_of_session(name, event, row)
        rows[event["session"]] = row


def _take_of_session(name: str, event: _Event, row: _Row) -> None:
    """Add an event of a session to its row."""
    if name == "SessionPutOff":
        row.state = "put off"
        row.delays.append(Failure("SessionPutOff", "run", f"put last: {event['reason']}"))
    elif name == "SessionInterrupted":
        row.state = "interrupted"
    elif name == "SessionPlanned":
        row.planned += sum(event["steps"].values())
        row.state = "running"
    elif name == "StepFinished":
        row.kept += event["record"]["status"] == "kept"
        row.done += 1
    elif name == "TaskFinished":
        row.tasks[event["task"]] = event["status"]
        if event["status"] != "Held":  # its reason is that of the task that it waits for
            failures = row.delays if event["status"] == "Waiting" else row.failures
            failures += map(Failure.from_json, event["failures"])
    elif name == "SessionFinished":
        row.state = "done" if event["is_success"] else "failed"
        row.qc = event["qc"]
        if event["failure"]:
            row.failures.append(Failure.from_json(event["failure"]))


def _name(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-3:])


def nearest_work_folder() -> Path:
    """Return the scratch folder of the environment, else the nearest work folder at or above this one."""
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if scratch:
        return Path(scratch).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / WORK_FOLDER, folder / "Subjects" / WORK_FOLDER):
            if candidate.is_dir():
                return candidate
    return here / WORK_FOLDER
