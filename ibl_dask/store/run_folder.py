"""Folders of runs: `runs/<run>/` in the work folder, and the journals of earlier versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUNS_FOLDER = "runs"
_NAMED_BY_TIME = re.compile(r"\d{8}T\d{6}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Place of the files of one run."""

    name: str
    """Name of the run."""
    path: Path
    """Folder of the run; the journal itself where an earlier version wrote nothing else."""

    @classmethod
    def of(cls, work_dir: Path, name: str) -> RunFolder:
        """Return the place of a run in a work folder."""
        return cls(name, work_dir / RUNS_FOLDER / name)

    @property
    def journal(self) -> Path:
        """Return the journal, as `ibl_dask.store.journal.read_journal` takes it."""
        return self.path

    @property
    def is_of_earlier_version(self) -> bool:
        """Return True where a journal is all that there is."""
        return self.path.is_file()

    @property
    def header_file(self) -> Path:
        """Return the path of the header: the event `RunStarted`."""
        return self.path / "header.json"

    @property
    def summary_file(self) -> Path:
        """Return the path of the summary, which is replaced while the run goes on."""
        return self.path / "summary.json"

    @property
    def rows_file(self) -> Path:
        """Return the path of the rows of sessions that ended."""
        return self.path / "sessions.jsonl"

    @property
    def beat_file(self) -> Path:
        """Return the path of the sign of life."""
        return self.path / "beat.json"


def find_runs(work_dir: Path) -> list[RunFolder]:
    """Return the runs of a work folder, newest first: by the time in their names, then by that of their folders."""
    runs = work_dir / RUNS_FOLDER
    found = [RunFolder(path.name, path) for path in (runs.iterdir() if runs.is_dir() else ()) if path.is_dir()]
    found += (RunFolder(path.stem.removeprefix("events-"), path) for path in work_dir.glob("events-*.jsonl"))
    return sorted(found, key=_age, reverse=True)


def _age(run: RunFolder) -> tuple[str, int]:
    started = run.path if run.is_of_earlier_version else run.header_file
    try:
        made_ns = started.stat().st_mtime_ns
    except OSError:
        made_ns = 0
    match = _NAMED_BY_TIME.match(run.name)
    return ("" if match is None else match[0], made_ns)
