"""`ibl-dask status`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ibl_dask.cli.console import out, print_table, show_failure
from ibl_dask.errors import MissingFile
from ibl_dask.report.terminal import status_table
from ibl_dask.store.journal import find_journals, read_journal
from ibl_dask.store.processes import Process, state_of
from ibl_dask.store.workspace import SCRATCH_VARIABLE, WORK_FOLDER


def show_status(work_dir: Path | None, failed_only: bool) -> int:
    """Print the state of the latest run; return 0 where it ended and every session succeeded."""
    folder = work_dir or _nearest()
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
        for message in dict.fromkeys(row["failures"]):
            show_failure(row["session"], message)
        for message in dict.fromkeys(row["waiting"]):
            show_failure(row["session"], message)
    return 0 if good else 1


_UNDER_WAY = {"alive": "under way", "gone": "killed", "unknown": "under way, or killed"}
"""Whether its process is there -> what is said of a run that has not ended."""


def summarise(journal: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row per session, and what is known of the run as a whole."""
    header: dict[str, Any] = {
        "run": "?",
        "host": "?",
        "pid": "?",
        "ended": False,
        "text": _UNDER_WAY["unknown"],
        "events": 0,
    }
    rows: dict[str, dict[str, Any]] = {}
    for event in journal:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):  # no event of ours
            _take(event, header, rows)
            header["events"] += 1
    return list(rows.values()), header


def _take(event: Mapping[str, Any], header: dict[str, Any], rows: dict[str, dict[str, Any]]) -> None:
    name = event["event"]
    if name == "RunStarted":
        header |= {key: event[key] for key in ("run", "host", "pid")}
        process = Process.from_mark(event.get("process", ""))
        header["text"] = _UNDER_WAY["unknown" if process is None else state_of(process)]
        rows.update({path: _row(path) for path in event["sessions"]})
    elif name == "RunFinished":
        stopped = "interrupted" if event["interrupted"] else "ended"
        header |= {"ended": True, "text": f"{stopped} after {event['seconds']:.0f} s"}
        for row in rows.values():
            if row["state"] not in ("done", "failed", "interrupted"):
                # Older versions did not say which sessions were interrupted.
                row["state"] = "interrupted" if row["done"] and "n_interrupted" not in event else "not started"
    else:
        row = rows.get(event["session"]) or _row(event["session"])
        if name == "SessionPutOff":
            row["state"] = "put off"
            row["waiting"].append(f"put last: {event['reason']}")
        elif name == "SessionInterrupted":
            row["state"] = "interrupted"
        elif name == "SessionPlanned":
            row["planned"] += sum(event["steps"].values())
            row["state"] = "running"
        elif name == "StepFinished":
            row["kept"] += event["record"]["status"] == "kept"
            row["done"] += 1
        elif name == "TaskFinished":
            row["tasks"][event["task"]] = event["status"]
            if event["status"] != "Held":  # why it was held back is told of the task that it waits for
                told = "waiting" if event["status"] == "Waiting" else "failures"
                row[told] += [failure["message"] for failure in event["failures"]]
        elif name == "SessionFinished":
            row["state"] = "done" if event["is_success"] else "failed"
            row["qc"] = event["qc"]
            if event["failure"]:
                row["failures"].append(event["failure"]["message"])
        rows[event["session"]] = row


def _row(path: str) -> dict[str, Any]:
    name = "/".join(path.rstrip("/").split("/")[-3:])
    return {
        "session": name,
        "state": "waiting",
        "planned": 0,
        "done": 0,
        "kept": 0,
        "tasks": {},
        "qc": {},
        "failures": [],
        "waiting": [],
    }


def _nearest() -> Path:
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
