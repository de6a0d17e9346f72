"""Files that runs left in a work folder, and whether their drivers may still be at work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ibl_dask.model.json_object import JsonObject
from ibl_dask.store.journal import read_journal
from ibl_dask.store.leftovers import Leftover, is_plain_folder, measure
from ibl_dask.store.processes import Process, state_of

DriverState = Literal["ended", "gone", "alive", "unknown"]
"""ended: the journal has the end of the run; unknown: the driver cannot be seen from here."""

RUNS_FOLDER = "runs"
_RUN = r"\d{8}T\d{6}-[0-9a-f]{6}"
_OF_RUN = re.compile(rf"(?:events|dask|on_finish|on_failure|on_pause)-(?P<run>{_RUN})\.(?:jsonl|html|log)")
"""Names of the files of a run beside those of other runs."""
_END_BYTES = 1 << 20
"""Part of a journal that is searched for the end of the run, bytes."""


@dataclass(frozen=True, slots=True)
class OldRun:
    """Files of one run in a work folder."""

    name: str
    """Name of the run."""
    paths: tuple[Path, ...]
    """Its files, or its folder."""

    @property
    def journals(self) -> tuple[Path, ...]:
        """Return the files of its journal, in the order in which they were written."""
        within = (sorted(path.glob("*.jsonl")) if path.is_dir() else [path] for path in self.paths)
        return tuple(path for paths in within for path in paths if path.suffix == ".jsonl")

    @property
    def driver(self) -> DriverState:
        """Return whether its driver may still be at work."""
        return driver_state(self.journals)

    @property
    def newest_s(self) -> float:
        """Return the Unix time of the last change of its files."""
        return max(measure(path).newest_s for path in self.paths)


def find_runs(work_dir: Path) -> list[OldRun]:
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


def driver_state(journals: tuple[Path, ...]) -> DriverState:
    """Return whether the driver that writes a journal may still be at work.

    Parameters
    ----------
    journals : tuple of Path
        Files of the journal, in order.
    """
    if not journals:
        return "gone"
    if any(event.get("event") == "RunFinished" for event in _end_of(journals[-1])):
        return "ended"
    started = next((event for event in _events(journals[0]) if event.get("event") == "RunStarted"), None)
    if started is None:
        return "unknown"
    process = Process.from_mark(str(started.get("process", "")))
    return "unknown" if process is None else state_of(process)


def old_run_files(work_dir: Path, older_s: float) -> Iterator[Leftover]:
    """Yield the files of old runs, those included that stay: of the latest run, and of runs that may be under way.

    Parameters
    ----------
    work_dir
        The work folder.
    older_s
        Least age, s.
    """
    runs = find_runs(work_dir)
    latest = max(runs, key=lambda run: run.newest_s, default=None)
    for run in runs:
        keep = "it is the latest run, which `status` shows" if run is latest else _reason_to_stay(run)
        for path in run.paths:
            found = measure(path)
            if found.age_s >= older_s:
                yield Leftover("journal", path, found.n_bytes, found.age_s, f"of run {run.name}", keep)


def _reason_to_stay(run: OldRun) -> str:
    state = run.driver
    if state == "alive":
        return "its run is under way"
    return "its run has no end, and its driver cannot be seen from here" if state == "unknown" else ""


def _events(journal: Path) -> Iterator[JsonObject]:
    try:
        yield from read_journal(journal)
    except OSError:
        return


def _end_of(journal: Path) -> Iterator[JsonObject]:
    """Yield the last events of a journal: a first line that was cut is dropped, as it is no JSON."""
    try:
        size = journal.stat().st_size
        yield from read_journal(journal, max(0, size - _END_BYTES), mark=b"RunFinished")
    except OSError:
        return
