"""Summary of a run: what its journal says, read in seconds however long the journal is.

The driver writes down its progress every few seconds: totals and sessions in flight in `summary.json`, each session
that ended as a line of `sessions.jsonl`, and the place in the journal up to which these hold. A reader adds the events
after that place. A summary that is missing or damaged is folded from the whole journal.

The summary names the length of `sessions.jsonl` and is replaced after that file is on disk. A driver that is killed in
between leaves some more lines there, which nobody reads.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any  # values of JSON

from ibl_dask.store.appended_file import AppendedFile
from ibl_dask.store.atomic import write_text
from ibl_dask.store.heartbeat import Beat, RunState, Signs, judge_run, look_for_signs, read_beat
from ibl_dask.store.holder import AskJob
from ibl_dask.store.journal import START, Place, parse_event, read_lines
from ibl_dask.store.run_folder import RunFolder, find_runs
from ibl_dask.store.run_progress import RunProgress, RunTotals, SessionProgress, SessionState

__all__ = [
    "FoundProgress",
    "RunFolder",
    "RunHeader",
    "RunSummary",
    "SummaryWriter",
    "find_runs",
    "read_progress",
    "read_summary",
    "read_totals",
]

SUMMARY_VERSION = 1
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors of a file that is missing, or is no summary."""


@dataclass(frozen=True, slots=True)
class RunHeader:
    """Facts about a run that do not change."""

    run: str
    """Name of the run."""
    host: str = "?"
    """Host of the driver."""
    pid: int = 0
    """Process number of the driver; 0 where it is not known."""
    process: str = ""
    """Identity of that process, see `Process.mark`; empty where it is not known."""
    job: str = ""
    """Batch job that the driver runs in; empty outside of one."""
    version: str = ""
    """Version of ibl_dask."""
    started_s: float = 0.0
    """Unix time of the start; 0 where it is not known."""
    n_workers: int = 0
    """Worker processes at the start; 0 where the driver runs the steps itself."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Tasks and options that were asked for."""
    sessions: tuple[str, ...] = ()
    """Session folders, in order."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> RunHeader:
        """Return the header of the event `RunStarted`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is another event.
        """
        if event["event"] != "RunStarted":
            raise ValueError("the journal does not start with the start of the run")
        return cls(
            str(event["run"]),
            str(event["host"]),
            int(event["pid"]),
            str(event.get("process", "")),
            str(event.get("job", "")),
            str(event.get("version", "")),
            float(event.get("time_s") or 0),
            int(event.get("n_workers") or 0),
            dict(event.get("request") or {}),
            tuple(str(path) for path in event["sessions"]),
        )


class _RowsFile:
    """Rows of sessions that ended, as lines of a file; the driver keeps their places."""

    def __init__(self, path: Path) -> None:
        self.file = AppendedFile(path)
        self._starts: dict[int, int] = {}

    def get(self, number: int) -> SessionProgress | None:
        """Return a row that was put here; None where there is none."""
        start = self._starts.get(number)
        return None if start is None else SessionProgress.from_json(json.loads(self.file.line_at(start)))

    def put(self, row: SessionProgress) -> None:
        """Append a row."""
        start = self.file.n_bytes
        self.file.append(_line(row))
        self._starts[row.number] = start


class _RowsRead:
    """Rows of sessions that ended, as a reader finds them; rows that later events change are kept beside.

    Parameters
    ----------
    path : Path
        The file.
    n_bytes : int
        Length up to which it holds; 0 for none of it.
    """

    def __init__(self, path: Path, n_bytes: int) -> None:
        self._places: dict[int, tuple[int, int]] = {}
        self._changed: dict[int, bytes] = {}
        if not n_bytes:
            return
        place = 0
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        with open(self._handle, "rb", closefd=False) as file:
            while place < n_bytes:
                line = file.readline()
                self._places[int(json.loads(line)["number"])] = (place, len(line))
                place += len(line)

    def get(self, number: int) -> SessionProgress | None:
        """Return the last row of a session; None where there is none."""
        line = self._changed.get(number)
        if line is None and number in self._places:
            start, length = self._places[number]
            line = os.pread(self._handle, length, start)
        return None if line is None else SessionProgress.from_json(json.loads(line))

    def put(self, row: SessionProgress) -> None:
        """Keep a row."""
        self._changed[row.number] = _line(row)


def _line(row: SessionProgress) -> bytes:
    return json.dumps(row.to_json(), separators=(",", ":")).encode() + b"\n"


# -- writing --------------------------------------------------------------------------------------------------


class SummaryWriter:
    """Folds the events of a run, and writes its summary.

    Parameters
    ----------
    run : RunFolder
        The run.

    Raises
    ------
    NotWritable
        If its folder cannot be written to.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._rows = _RowsFile(run.rows_file)
        self._header: Mapping[str, object] | None = None
        self.progress = RunProgress(self._rows)
        """Progress so far."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        if event["event"] == "RunStarted":
            self._header = event
        self.progress.take(event)

    def write(self, place: Place) -> None:
        """Write the progress down.

        Parameters
        ----------
        place : Place
            Place in the journal after the last event; all before is on disk.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        if self._header is not None:
            write_text(self._run.header_file, json.dumps(self._header, default=str))
            self._header = None
        self._rows.file.sync()
        if self._rows.file.failure is not None:
            raise self._rows.file.failure
        content = {"v": SUMMARY_VERSION, "place": place, "rows_bytes": self._rows.file.n_bytes}
        content["progress"] = self.progress.to_json()
        write_text(self._run.summary_file, json.dumps(content, separators=(",", ":")))

    def close(self) -> None:
        """Close the files."""
        self._rows.file.let_go()


# -- reading --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FoundProgress:
    """Progress of a run, as a reader found it."""

    header: RunHeader
    """Facts about the run."""
    progress: RunProgress
    """Totals, sessions, end."""
    n_unreadable: int = 0
    """Lines of the journal that could not be read, among `n_lines`."""
    n_lines: int = 0
    """Lines of the journal that were read."""
    is_folded: bool = False
    """The summary was missing or damaged, and the whole journal was read."""


def read_progress(run: RunFolder) -> FoundProgress:
    """Return the progress of a run, from its summary and the events after it. Nothing is written.

    Raises
    ------
    OSError
        If the journal cannot be read.
    """
    for _ in range(3):  # the driver may replace the summary meanwhile
        before = _stamp(run.summary_file)
        try:
            return _read_summary_file(run)
        except _DAMAGE:
            if before == _stamp(run.summary_file):
                break
    return _read_events(run, FoundProgress(RunHeader(run.name), RunProgress(_RowsRead(run.rows_file, 0))), START)


def read_totals(run: RunFolder) -> RunTotals | None:
    """Return the sums of a run as its summary last had them; None where that is missing or damaged.

    Neither rows nor journal are read, so this is quick for any run.
    """
    try:
        content = json.loads(run.summary_file.read_bytes())
        return RunTotals.from_json(content["progress"]["totals"]) if content["v"] == SUMMARY_VERSION else None
    except _DAMAGE:
        return None


def _read_summary_file(run: RunFolder) -> FoundProgress:
    if run.is_of_earlier_version:
        raise FileNotFoundError(run.summary_file)
    content = json.loads(run.summary_file.read_bytes())
    if content["v"] != SUMMARY_VERSION:
        raise ValueError("a summary of another version")
    header = RunHeader.from_event(json.loads(run.header_file.read_bytes()))
    progress = RunProgress(_RowsRead(run.rows_file, int(content["rows_bytes"])), header.sessions)
    progress.load_json(content["progress"])
    segment, byte = content["place"]
    return _read_events(run, FoundProgress(header, progress), Place(int(segment), int(byte)))


def _read_events(run: RunFolder, found: FoundProgress, start: Place) -> FoundProgress:
    """Add the events of the journal from a place on."""
    found.is_folded = start == START
    for _, line in read_lines(run.journal, start):
        if not line.strip():
            continue
        found.n_lines += 1
        event = parse_event(line)
        if event is None or not found.progress.take(event):
            found.n_unreadable += 1
        elif event["event"] == "RunStarted":
            found.header = RunHeader.from_event(event)
    return found


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@dataclass(slots=True)
class RunSummary:
    """Summary of a run."""

    run: RunFolder
    """Its place."""
    header: RunHeader
    """Facts that do not change."""
    state: RunState
    """State of the run, by its end or by the signs of its driver."""
    totals: RunTotals
    """Sums over all sessions."""
    beat: Beat | None
    """Last sign of life of the driver, with live figures; None where it gave none."""
    found: FoundProgress
    """Progress, and how it was read."""

    @property
    def states(self) -> Mapping[str, int]:
        """Return the number of sessions in each state."""
        counts: dict[str, int] = {}
        for state, n in self.found.progress.states.items():
            name = _AFTER_DEATH.get(state, state) if self.state.word == "dead" else state
            counts[name] = counts.get(name, 0) + n
        return counts

    @property
    def rows(self) -> Iterator[SessionProgress]:
        """Yield a row per session, in the order of the run; each is read when it is asked for."""
        progress = self.found.progress
        for path, number in progress.numbers.items():
            row = progress.open.get(number) or progress.ended.get(number) or SessionProgress(number, path)
            if not row.is_over and progress.end is not None:
                row = replace(row, state="not started")
            elif self.state.word == "dead":
                row = replace(row, state=_AFTER_DEATH.get(row.state, row.state))
            yield row


_AFTER_DEATH: Mapping[SessionState, SessionState] = {
    "running": "interrupted",
    "waiting": "not started",
    "put off": "not started",
}
"""State of a session -> the same once its driver is gone."""


def read_summary(run: RunFolder, ask_job: AskJob | None = None) -> RunSummary:
    """Return the summary of a run.

    Parameters
    ----------
    run : RunFolder
        The run; see `find_runs`.
    ask_job : callable, optional
        Returns the state of a batch job, for a driver on another host that gives no sign of life.

    Raises
    ------
    OSError
        If the journal cannot be read.
    """
    found = read_progress(run)
    header, progress = found.header, found.progress
    if progress.end is None:
        signs = look_for_signs(run, header.process, header.job, ask_job)
        if signs.process == "gone":  # it may have ended meanwhile
            found = read_progress(run)
            progress = found.progress
        state = judge_run(progress.end, tuple(progress.pauses.values()), signs)
    else:
        state = judge_run(progress.end, (), Signs("unknown"))
    beat = None if run.is_of_earlier_version else read_beat(run.beat_file)
    return RunSummary(run, header, state, progress.totals, beat, found)
