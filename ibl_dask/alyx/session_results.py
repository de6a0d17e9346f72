"""Results of a session that ran without Alyx, from its provenance: made for the spool afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ibl_dask.alyx.figures import with_figures
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.errors import MissingFile
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.places import complaint
from ibl_dask.model.qc_record import is_excluded
from ibl_dask.model.session import OWN_FOLDER, Session
from ibl_dask.model.status import Status
from ibl_dask.store.json_files import read_object
from ibl_dask.store.task_log_reader import find_attempts, read_attempt
from ibl_dask.store.workspace import LOGS, Workspace, default_work_dir
from ibl_dask.tasks.provenance import read_provenance
from ibl_dask.tasks.qc_file import read_qc

SENT_STATUSES = (Status.COMPLETE, Status.EMPTY, Status.INCOMPLETE, Status.ERRORED)
"""Statuses of tasks that ran; others are left to whoever runs them."""
_REGISTRATION = f"{OWN_FOLDER}/registration.json"
"""List of the raw files of a session, which the tasks of registration write."""
_CHECKING = "VideoSyncQc"
"""Start of the names of the classes whose tasks check the cameras."""
_BLOCK_BYTES = 1 << 20


def add_session(spool: Spool, workspace: Workspace) -> tuple[int, int]:
    """Write the results of a session into a spool, unless they are there or were sent.

    Parameters
    ----------
    spool : Spool
        The spool.
    workspace : Workspace
        Folders of the session.

    Returns
    -------
    int, int
        Results that are new, and all of them.

    Raises
    ------
    MissingFile
        If the session has no provenance.
    """
    results = results_of(workspace)
    # In this order: one that is sent in between is in both.
    known = {letter.result.key for letter in spool.pending()} | spool.sent().keys()
    fresh = [result for result in results if result.key not in known]
    for result in fresh:
        spool.add(result)
    return len(fresh), len(results)


def results_of(workspace: Workspace) -> list[TaskResult]:
    """Return the results of the tasks that ran in a session, in the order of its provenance.

    Files are those that the steps of a task left, and raw files those that its registration lists; each is hashed.

    Raises
    ------
    MissingFile
        If the session has no provenance.
    """
    provenance = read_provenance(workspace)
    session = workspace.session
    if not provenance:
        raise MissingFile(
            "this session has no record of a run",
            where=str(workspace.provenance_file),
            expected="the provenance that a run writes",
            got="none",
            do="run the session first, or name the folder of its results with --output-root",
        )
    ran = provenance["ran"]
    files: Mapping[str, JsonObject] = provenance.get("files") or {}
    requests: Mapping[str, JsonObject] = provenance.get("requests") or {}
    hashed: dict[str, Output] = {}
    results = []
    for task, status in (ran.get("tasks") or {}).items():
        if status not in SENT_STATUSES:
            continue
        steps = (requests.get(task) or {}).get("steps") or ()
        names = [name for name, row in files.items() if row.get("step") in steps]
        names += _registered(workspace) if _REGISTRATION in names else []
        checks = checks_of(workspace) if any(step.startswith("qc-") for step in steps) else ({}, "")
        ended = [row for row in provenance.get("runs") or () if task in (row.get("tasks") or {})]
        result = TaskResult(
            session=session.reference,
            task=task,
            status=status,
            folder=str(session.outputs),
            log=_log(workspace, task, ran),
            version=str((ended[-1] if ended else provenance).get("made", {}).get("ibl_dask") or ""),
            seconds=_seconds(ran, steps),
            outputs=tuple(_outputs(session.outputs, names, hashed)),
            qc=checks[0],
            outcome=checks[1],
            made_s=_ended_s(ended[-1] if ended else ran),
        )
        results.append(with_figures(result))
    return results


def with_checks(result: TaskResult, executable: str) -> TaskResult:
    """Return a result with the checks of its session, if it is that of a task that makes them.

    Parameters
    ----------
    result : TaskResult
        Result of a task that ran in `result.folder`.
    executable : str
        Dotted path of the class of the task.
    """
    if result.status not in SENT_STATUSES or not executable.rpartition(".")[2].startswith(_CHECKING):
        return result
    session = Session(Path(result.folder))
    qc, outcome = checks_of(Workspace(session, default_work_dir(session)))
    return replace(result, qc=qc, outcome=outcome)


def checks_of(workspace: Workspace) -> tuple[dict[str, object], str]:
    """Return the keys of `extended_qc` of a session's checks, and their outcome; empty where it was not checked.

    The outcome is the worst of the cameras by the checks of the reference, as in `ibllib.qc.camera.CameraQC.run`: those
    beyond it do not reach the database, so that sessions stay comparable. Keypoints that a verdict excludes do not
    count; the key `_dlcLeft_verdict` and its like hold the latest decision on them.
    """
    record = read_qc(workspace)
    if record is None:
        return {}, ""
    keys, pose = dict(record["extended_qc"]), record.get("pose") or {}
    excluded = {namespace for namespace, each in pose.items() if is_excluded(each)}
    judged = [key for key in keys if not key.startswith("_") and key not in excluded]
    cameras = (Outcome.__members__.get(str(keys[key])) for key in judged)
    keys |= {
        f"_{namespace}_verdict": each["verdict"]["decision"] for namespace, each in pose.items() if "verdict" in each
    }
    return keys, Outcome.worst(outcome for outcome in cameras if outcome is not None).name


def _registered(workspace: Workspace) -> list[str]:
    rows = read_object(workspace.session.outputs / _REGISTRATION).get("files") or ()
    return [str(row["path"]) for row in rows if isinstance(row, dict) and "path" in row]


def _outputs(root: Path, names: Iterable[str], hashed: dict[str, Output]) -> Iterable[Output]:
    """Yield the files among some names that exist, and are in formats of the field."""
    for name in dict.fromkeys(names):
        path = root / name
        if name.split("/")[0] == OWN_FOLDER or complaint(name) is not None or not path.is_file():
            continue
        if name not in hashed:
            hashed[name] = Output(name, path.stat().st_size, md5_of(path))
        yield hashed[name]


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, by which Alyx distinguishes versions of a dataset."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _log(workspace: Workspace, task: str, ran: JsonObject) -> str:
    """Return the log of the latest attempt at a task, and the failures that it met."""
    attempts = find_attempts(workspace.session.own / LOGS / task.replace(".", "-"))
    latest = max((attempt.number for attempt in attempts), default=0)
    lines = [record for each in attempts if each.number == latest for record in read_attempt(each)]
    failures = (failure for failure in ran.get("failures") or () if task in (failure.get("tasks") or ()))
    return "".join([*lines, *(f"{failure.get('message')}\n" for failure in failures)])


def _seconds(ran: JsonObject, steps: Iterable[str]) -> float | None:
    known = ran.get("steps") or {}
    found = [float(known[step]["seconds"]) for step in steps if "seconds" in (known.get(step) or {})]
    return round(sum(found), 3) if found else None


def _ended_s(run: JsonObject) -> float:
    return float(run.get("started_s") or 0.0) + float(run.get("seconds") or 0.0)
