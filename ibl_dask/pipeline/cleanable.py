"""Files that nobody needs any more, of sessions and work folders: found without changing anything.

Results, raw data and files of others are never among them. What a run may still use or write is found with the reason
for which it stays.
"""

from __future__ import annotations

import calendar
import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ibl_dask.deploy.batch_systems.registry import ask_job
from ibl_dask.errors import IblDaskError
from ibl_dask.model.places import below
from ibl_dask.store.leftovers import (
    Leftover,
    Measured,
    abandoned_temporaries,
    has_live_writer,
    is_plain_folder,
    measure,
    old_logs,
    scratch_owner,
)
from ibl_dask.store.lock import LOCK_NAME, look_at_lock
from ibl_dask.store.old_runs import OldRun, find_run_files, old_run_files
from ibl_dask.store.run_folder import RUNS_FOLDER
from ibl_dask.store.workspace import SCRATCH_FOLDER, Workspace, scratch_name
from ibl_dask.tasks.file_places import workspace_of
from ibl_dask.tasks.provenance import read_provenance
from ibl_dask.tasks.video_mp4.trash import find_trashed

_JOB_LOG = re.compile(r"[A-Za-z]\w{0,19}-\d+-\d.*\.log")
_UNFINISHED = ("Errored", "Incomplete", "Abandoned", "Started")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be removed, beyond temporaries of killed writers and scratch that nobody needs."""

    older_s: float
    """Least age, s."""
    scratch: bool = False
    """Scratch of sessions that are not finished, which another run would use."""
    logs: bool = False
    """Logs of tasks and jobs."""
    trash: bool = False
    """Videos in the trash, raw ones included."""
    journals: bool = False
    """Journals and other files of runs."""


def find_in_session(workspace: Workspace, wanted: Wanted, *, scratch_alone: bool = False) -> list[Leftover]:
    """Return what may be removed of a session, and what stays of it for a reason; nothing is changed.

    Locks are not looked at, see `mark_held`.

    Parameters
    ----------
    workspace : Workspace
        The session.
    wanted : Wanted
        What is to be removed.
    scratch_alone : bool
        Look at its scratch alone.
    """
    name, own = workspace.session.reference, workspace.session.own
    found = [] if (scratch := _scratch(workspace, wanted)) is None else [scratch]
    if not workspace.scratch.parent.is_symlink() and (scratch is None or scratch.keep):
        found += abandoned_temporaries(workspace.scratch, name)
    if scratch_alone or not workspace.session.path.is_dir():
        return found
    for folder in _folders_of_results(workspace):
        found += abandoned_temporaries(folder, name)
    if wanted.logs and workspace.is_own(own / "logs"):
        found += old_logs(own / "logs", wanted.older_s, session=name)
    if wanted.trash:
        found += _trash(workspace, wanted.older_s)
    return found


def _scratch(workspace: Workspace, wanted: Wanted) -> Leftover | None:
    """Return the scratch of a session; None where there is none."""
    scratch = workspace.scratch
    if not is_plain_folder(scratch):
        return None
    found = measure(scratch)
    why, keep = _judge_scratch(workspace, found, wanted)
    return Leftover("scratch", scratch, found.n_bytes, found.age_s, why, keep, workspace.session.reference)


def _judge_scratch(workspace: Workspace, found: Measured, wanted: Wanted) -> tuple[str, str]:
    """Return the reasons for which a scratch folder may go, and must stay."""
    session, scratch = workspace.session, workspace.scratch
    if scratch.parent.is_symlink():
        return "", f"{scratch.parent} is a link"
    if session.own.exists() and not workspace.is_own(session.own):
        return "", "the folder of its session's results is a link"
    if has_live_writer(scratch):
        return "", "a process is writing to it, or may be"
    is_young = found.age_s < wanted.older_s
    if not session.path.is_dir():
        if not session.path.parents[2].is_dir():
            return "", f"its session cannot be seen from here: {session.path}"
        return "its session is gone", "its session is gone, but it is not old enough" if is_young else ""
    if _is_finished(workspace, found.newest_s):
        return "its session is finished", ""
    cost = f"; {found.n_chunks:,} chunks ({found.n_frames:,} frames) would be computed anew" if found.n_chunks else ""
    why = f"its session is not finished{cost}"
    if not wanted.scratch:
        return why, f"{why} (--scratch)"
    return why, f"{why}, and it is not old enough" if is_young else ""


def _is_finished(workspace: Workspace, newest_s: float) -> bool:
    """Return whether the latest run of a session succeeded, and no other left anything in the scratch since."""
    try:
        ran = read_provenance(workspace).get("ran") or {}
        recorded_s = workspace.provenance_file.stat().st_mtime
    except (IblDaskError, OSError):
        return False
    tasks = ran.get("tasks") or {}
    is_good = bool(tasks) and not ran.get("failures") and not any(status in _UNFINISHED for status in tasks.values())
    return is_good and newest_s <= recorded_s


def _folders_of_results(workspace: Workspace) -> list[Path]:
    """Return the folders that results of a session are written to and that are no links."""
    session = workspace.session
    names = {"alf"}
    with contextlib.suppress(IblDaskError, OSError):  # without a description the folders of the cameras are not known
        names |= {camera.collection for camera in session.description.cameras}
    folders = [session.own, *(below(session.outputs, name) for name in sorted(names))]
    return [folder for folder in folders if workspace.is_own(folder)]


def _trash(workspace: Workspace, older_s: float) -> Iterator[Leftover]:
    try:
        trashed = find_trashed(workspace)
    except (IblDaskError, OSError):  # without a description there is no camera, and no trash that is surely ours
        return
    for video in trashed:
        age_s = time.time() - video.since_s
        why = "raw video, moved here at the user's request" if video.is_raw else "video that another one replaced"
        if age_s >= older_s:
            name = workspace.session.reference
            yield Leftover("trash", video.path, video.n_bytes, age_s, why, video.fault, name)


def find_in_work_folder(work_dir: Path, wanted: Wanted) -> list[Leftover]:
    """Return what may be removed of a work folder beside the scratch of sessions; see `find_in_session`.

    Parameters
    ----------
    work_dir : Path
        The work folder.
    wanted : Wanted
        What is to be removed.
    """
    found = [*abandoned_temporaries(work_dir, below=False), *abandoned_temporaries(work_dir / RUNS_FOLDER)]
    found += abandoned_temporaries(work_dir / SCRATCH_FOLDER, below=False)
    if wanted.journals:
        found += old_run_files(work_dir, wanted.older_s, ask_job)
    if wanted.logs:
        busy_s = _busy_since_s(find_run_files(work_dir), wanted.older_s)
        for log in old_logs(work_dir / "jobs", wanted.older_s, "job log"):
            if _JOB_LOG.fullmatch(log.path.name):
                is_of_live = time.time() - log.age_s >= busy_s
                found.append(replace(log, keep="a run is under way that may have written it" if is_of_live else ""))
    return found


def _busy_since_s(runs: Iterable[OldRun], older_s: float) -> float:
    """Return the start of the first run that may be under way, Unix time; infinity without one."""
    starts = [
        float(calendar.timegm(time.strptime(run.name[:15], "%Y%m%dT%H%M%S")))
        for run in runs
        if (state := run.driver(ask_job)) == "at work" or (state == "unknown" and time.time() - run.newest_s < older_s)
    ]
    return min(starts, default=float("inf"))


def sessions_of_work_folder(work_dir: Path) -> tuple[list[Workspace], list[Leftover]]:
    """Return the sessions that have scratch in a work folder, and the scratch folders of which none is known.

    Parameters
    ----------
    work_dir : Path
        The work folder.
    """
    folder = work_dir / SCRATCH_FOLDER
    found: list[Workspace] = []
    unknown: list[Leftover] = []
    listed: dict[str, Path] | None = None
    for scratch in sorted(folder.iterdir()) if is_plain_folder(folder) else ():
        if not is_plain_folder(scratch):
            continue
        owner = scratch_owner(scratch)
        if owner is None:
            listed = _listed_sessions(work_dir) if listed is None else listed
            owner = (listed[scratch.name],) * 2 if scratch.name in listed else None
        workspace = None if owner is None else workspace_of(*owner, work_dir)
        if workspace is not None and workspace.scratch == scratch:
            found.append(workspace)
        elif re.fullmatch(r".+_\d{4}-\d{2}-\d{2}_\d{1,3}-[0-9a-f]{8}", scratch.name):
            size = measure(scratch)
            keep = "nothing says whose it is: give the session, and --output-root where it had one"
            unknown.append(Leftover("scratch", scratch, size.n_bytes, size.age_s, "", keep))
    return found, unknown


def _listed_sessions(work_dir: Path) -> dict[str, Path]:
    """Return the sessions of the runs in a work folder by the names of their scratch, for folders without a note."""
    found: dict[str, Path] = {}
    for run in find_run_files(work_dir):
        found |= {scratch_name(path, path): path for path in run.sessions}
    return found


def mark_held(workspace: Workspace, found: Sequence[Leftover]) -> list[Leftover]:
    """Return what was found of a session, all of it kept where a run holds the session; nothing is changed.

    Parameters
    ----------
    workspace : Workspace
        The session.
    found : sequence of Leftover
        What was found.
    """
    if not found:
        return []
    try:
        verdict, holder = look_at_lock(workspace.session.own / LOCK_NAME, ask_job)
    except OSError as error:
        return [replace(each, keep=f"its lock cannot be read: {error}") for each in found]
    if verdict == "held":
        return [replace(each, keep=f"its session is held by {holder}") for each in found]
    if verdict == "open":
        note = f"; if its lock, of {holder}, is abandoned"
        return [replace(each, why=each.why if each.keep else each.why + note) for each in found]
    return list(found)
