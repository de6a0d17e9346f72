"""Which run a command is about: the latest, one by its name, or the latest with some sessions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import InputError, MissingFile
from ibl_dask.model.session import Session
from ibl_dask.report.lines import Line, count
from ibl_dask.store.holder import JobState
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_summary import RunSummary, find_runs, read_summary
from ibl_dask.store.work_folder import SCRATCH_VARIABLE, nearest_work_folder

_MOST_LOOKED_AT = 50
"""Runs that are looked at for sessions, the newest first."""


@dataclass(frozen=True, slots=True)
class ChosenRun:
    """A run, and what else was there."""

    summary: RunSummary
    """The run."""
    others: tuple[RunFolder, ...]
    """Other runs of the work folder, newest first."""
    sessions: frozenset[str] | None = None
    """Sessions asked for, as their real paths; None for all of the run."""
    n_absent: int = 0
    """Sessions asked for that this run does not have."""

    def has(self, session: str) -> bool:
        """Return whether a session of the run was asked for."""
        return self.sessions is None or os.path.realpath(session) in self.sessions

    def lines(self) -> list[Line]:
        """Return the lines that tell this run from others."""
        header = self.summary.header
        text = f"run {header.run} on {header.host}, process {header.pid or '?'}: {self.summary.state.text}"
        lines = [Line(text, "bold")]
        if self.others:
            newer = [run for run in self.others if run.name > header.run]
            told = f", {len(newer):,} of them newer" if newer else ""
            others = count(len(self.others), "other run")
            lines.append(
                Line(f"{others} here{told}, the latest {self.others[0].name}: --run {self.others[0].name}", "dim")
            )
        if self.n_absent:
            verb = "is" if self.n_absent == 1 else "are"
            lines.append(Line(f"{count(self.n_absent, 'session')} of those named {verb} not in this run"))
        return lines


def choose_run(work_dir: Path | None, name: str | None, sessions: Sequence[str] = ()) -> ChosenRun:
    """Return a run of a work folder.

    Parameters
    ----------
    work_dir : Path or None
        Work folder; that of the sessions, or the nearest one, where not given.
    name : str or None
        Name of the run, or its beginning; the latest where not given.
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`. The latest run that has one of these is taken.

    Raises
    ------
    MissingFile
        If there is none, or none of that name, or none with these sessions.
    """
    paths = find_sessions(sessions) if sessions else []
    folder = work_dir or _work_folder(paths)
    runs = find_runs(folder)
    named = [run for run in runs if run.name.startswith(name or "")]
    wanted = frozenset(os.path.realpath(path) for path in paths) if paths else None
    for run in named[:_MOST_LOOKED_AT]:
        summary = read_summary(run, _ask_job)
        found = None if wanted is None else sum(os.path.realpath(path) in wanted for path in summary.header.sessions)
        if found is None or found:
            others = tuple(each for each in runs if each != run)
            return ChosenRun(summary, others, wanted, 0 if found is None or wanted is None else len(wanted) - found)
    known = ", ".join(run.name for run in runs[:5]) + (f" and {len(runs) - 5} older ones" if len(runs) > 5 else "")
    if named:
        problem = "no run here has these sessions"
    else:
        problem = "no run has left a journal here" if name is None else "there is no run of this name"
    raise MissingFile(
        problem,
        where=str(folder),
        expected=f"a folder runs/{name or '<run>'}" + (f" with {paths[0]}" if named else ""),
        got=known or "none",
        do="name the work folder of the run with --work-dir, or call this from the folder that holds the subjects",
    )


def _work_folder(paths: Sequence[Path]) -> Path:
    """Return the work folder of the first session that has one, unless the environment names one."""
    if paths and not os.environ.get(SCRATCH_VARIABLE):
        from ibl_dask.store.workspace import default_work_dir  # loads NumPy, which the rest does without

        for path in paths:
            try:
                folder = default_work_dir(Session(path))
            except (InputError, OSError):
                continue
            if folder.is_dir():
                return folder
    return nearest_work_folder()


def _ask_job(number: str) -> JobState:
    from ibl_dask.deploy.batch_systems.registry import ask_job  # needed only for a driver that cannot be seen

    return ask_job(number)
