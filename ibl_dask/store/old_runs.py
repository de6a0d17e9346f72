"""Files that runs left in a work folder, and whether their drivers may still be at work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ibl_dask.model.json_object import JsonObject
from ibl_dask.store.holder import AskJob
from ibl_dask.store.journal import parse_event, read_journal
from ibl_dask.store.leftovers import Leftover, is_plain_folder, measure
from ibl_dask.store.processes import Process, state_of
from ibl_dask.store.run_folder import RUNS_FOLDER, RunFolder
from ibl_dask.store.run_summary import read_summary

DriverState = Literal["over", "at work", "unknown"]
"""unknown: the driver cannot be seen from here, and gives no sign of life."""

_RUN = r"\d{8}T\d{6}-[0-9a-f]{6}"
_OF_RUN = re.compile(rf"(?:events|dask|on_finish|on_failure|on_pause)-(?P<run>{_RUN})\.(?:jsonl|html|log)")
"""Names of the files of a run of an earlier version, beside those of others."""
_END_BYTES = 1 << 20
"""Part of a journal that is searched for the end of the run, bytes."""


@dataclass(frozen=True, slots=True)
class OldRun:
    """Files of one run in a work folder."""

    name: str
    """Name of the run."""
    paths: tuple[Path, ...]
    """Its folder, or the files that an earlier version wrote."""

    @property
    def journal(self) -> Path | None:
        """Return its journal, as `read_journal` takes it; None without one."""
        return next((path for path in self.paths if path.is_dir() or path.suffix == ".jsonl"), None)

    @property
    def sessions(self) -> tuple[Path, ...]:
        """Return the session folders that it was started with; none where that cannot be read."""
        started = _start_of(self.journal)
        return tuple(Path(str(path)) for path in started.get("sessions") or ())

    @property
    def newest_s(self) -> float:
        """Return the Unix time of the last change of its files."""
        return max(measure(path).newest_s for path in self.paths)

    def driver(self, ask_job: AskJob | None = None) -> DriverState:
        """Return whether its driver may still be at work.

        Parameters
        ----------
        ask_job : callable, optional
            Returns the state of a batch job, for drivers that cannot be seen from here.
        """
        journal = self.journal
        if journal is None:
            return "over"
        if journal.is_dir():
            try:
                state = read_summary(RunFolder(self.name, journal), ask_job).state
            except (OSError, ValueError):
                return "unknown"
            return "over" if state.is_over else "unknown" if state.word == "unknown" else "at work"
        if any(event.get("event") == "RunFinished" for event in _end_of(journal)):
            return "over"
        process = Process.from_mark(str(_start_of(journal).get("process", "")))
        verdict = "unknown" if process is None else state_of(process)
        return "over" if verdict == "gone" else "at work" if verdict == "alive" else "unknown"


def find_run_files(work_dir: Path) -> list[OldRun]:
    """Return the runs that left files in a work folder, by name, which is by age.

    A run has a folder of its own in `runs/`, or files in the work folder itself whose names hold that of the run.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(work_dir.iterdir()) if work_dir.is_dir() else ():
        match = _OF_RUN.fullmatch(path.name)
        if match is not None and path.is_file() and not path.is_symlink():
            found.setdefault(match["run"], []).append(path)
    runs = work_dir / RUNS_FOLDER
    for path in sorted(runs.iterdir()) if is_plain_folder(runs) else ():
        if re.fullmatch(_RUN, path.name) and is_plain_folder(path):
            found.setdefault(path.name, []).append(path)
    return [OldRun(name, tuple(paths)) for name, paths in sorted(found.items())]


def old_run_files(work_dir: Path, older_s: float, ask_job: AskJob | None = None) -> Iterator[Leftover]:
    """Yield the files of old runs, those included that stay: of the latest run, and of runs that may be under way.

    Parameters
    ----------
    work_dir
        The work folder.
    older_s
        Least age, s.
    ask_job
        See `OldRun.driver`.
    """
    runs = find_run_files(work_dir)
    for run in runs:
        found = [(path, size) for path in run.paths if (size := measure(path)).age_s >= older_s]
        if found:
            is_latest = run is runs[-1]
            keep = "it is the latest run, which `status` shows" if is_latest else _reason_to_stay(run, ask_job)
            yield from (
                Leftover("journal", path, size.n_bytes, size.age_s, f"of run {run.name}", keep) for path, size in found
            )


def _reason_to_stay(run: OldRun, ask_job: AskJob | None) -> str:
    state = run.driver(ask_job)
    if state == "at work":
        return "its run is under way"
    return "its run has no end, and its driver cannot be seen from here" if state == "unknown" else ""


def _start_of(journal: Path | None) -> JsonObject:
    """Return the event `RunStarted` of a journal; empty where that cannot be read."""
    try:
        events = () if journal is None else read_journal(journal)
        return next((event for event in events if event.get("event") == "RunStarted"), {})
    except (OSError, ValueError):
        return {}


def _end_of(journal: Path) -> Iterator[JsonObject]:
    """Yield the end of the run among the last events of a journal in one file."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - _END_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        if b"RunFinished" in line and (event := parse_event(line)) is not None:
            yield event
