"""Provenance of a session's results: inputs, versions, steps and runs.

A run that does a part of the work adds its part, and keeps the record of the rest.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from ibl_dask.errors import FormatTooNew, IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.signature import ExpectedDataset
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.dataset_lookup import find_files
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import camera_file_paths, video_paths

PROVENANCE_VERSION = 2
"""Version of the layout. Version 1 held the latest run alone."""
_MADE_WITH = ("ibl_dask", "av", "numpy", "opencv-python-headless", "dask", "distributed", "zarr", "xarray")
_MADE = ("Complete", "Incomplete", "Empty")
"""Statuses of a task whose results are those of its present inputs."""
_DETAILS = ("options", "requests", "files")
"""Parts of the driver's record that are merged by task and by file, and not kept with the run."""
_OF_A_RUN = ("run", "host", "n_workers", "started_s", "seconds", "tasks")
"""Fields that are kept of every run; steps and failures are kept of the latest run that has them."""


def made_with() -> dict[str, str]:
    """Return the versions of this package and of the libraries that it computes with, and the time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, **_versions()}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in _MADE_WITH}


def read_provenance(workspace: Workspace) -> JsonObject:
    """Return the provenance of a finished session; empty if there is none.

    Raises
    ------
    FormatTooNew
        If a newer version wrote it.
    """
    try:
        content = json.loads(workspace.provenance_file.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("ran"), dict):
        return {}
    if content.get("version") not in (1, PROVENANCE_VERSION):
        raise FormatTooNew(
            "this provenance has another layout",
            where=str(workspace.provenance_file),
            expected=f"version {PROVENANCE_VERSION} or older",
            got=f"version {content.get('version')}",
            do="use the version of ibl_dask that wrote it, or a newer one, so that nothing of it is lost",
        )
    return content if content["version"] == PROVENANCE_VERSION else _from_version_1(content)


def _from_version_1(content: JsonObject) -> JsonObject:
    ran = content["ran"]
    steps = {name: {**row, "run": ran.get("run")} for name, row in (ran.get("steps") or {}).items()}
    bad = [name for name, status in (ran.get("tasks") or {}).items() if status not in ("Complete", "Empty")]
    failures = [{**failure, "tasks": bad} for failure in ran.get("failures") or ()]
    return {
        **content,
        "version": PROVENANCE_VERSION,
        "ran": {**ran, "steps": steps, "failures": failures},
        "runs": [_summary(ran, content.get("made") or {})],
    }


def write_provenance(workspace: Workspace, ran: JsonObject, made: JsonObject) -> JsonObject:
    """Add a run to the provenance of a session, write it, and return it.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    ran : mapping
        The driver's record of this run.
    made : mapping
        Versions and time, see `made_with`.
    """
    known = read_provenance(workspace)
    details = {name: ran.get(name) or {} for name in _DETAILS}
    ran = {name: value for name, value in ran.items() if name not in _DETAILS}
    content = {
        "version": PROVENANCE_VERSION,
        "session": workspace.session.reference,
        "places": {
            "session": str(workspace.session.path),
            "outputs": str(workspace.session.outputs),
            "work_dir": str(workspace.work_dir),
        },
        "made": dict(made),
        "inputs": _inputs(workspace, known.get("inputs") or {}),
        "steps": {**(known.get("steps") or {}), **_markers(workspace)},
        "requests": {**(known.get("requests") or {}), **_requests(workspace, ran, details)},
        "files": _files(workspace, known.get("files") or {}, ran, details["files"]),
        "ran": merge_runs(known.get("ran") or {}, ran),
        "runs": [*(known.get("runs") or ()), _summary(ran, made)],
    }
    write_text(workspace.provenance_file, json.dumps(content, indent=1))
    return content


def merge_runs(known: JsonObject, ran: JsonObject) -> JsonObject:
    """Return the record of a run, with the parts of earlier runs that it did not touch.

    A step that was found finished is listed with the run that did it; so are tasks that this run did not include. A
    failure is kept until each task that met it has run again.
    """
    run = ran.get("run")
    tasks = {**(known.get("tasks") or {}), **(ran.get("tasks") or {})}
    fresh = {name: {**row, "run": run} for name, row in (ran.get("steps") or {}).items()}
    before = known.get("steps") or {}
    finished = {name: before[name] for name, row in fresh.items() if name in before and _is_richer(before[name], row)}
    return {
        **ran,
        "videos": {**(known.get("videos") or {}), **(ran.get("videos") or {})},
        "tasks": tasks,
        "steps": {**before, **fresh, **finished},
        "failures": _failures(known.get("failures") or (), ran),
    }


def _is_richer(before: JsonObject, row: JsonObject) -> bool:
    """Return whether steps were found finished, and an earlier record holds their durations."""
    found_finished = set(row.get("status") or ()) == {"kept"}
    return found_finished and "done" in (before.get("status") or ())


def _failures(known: Sequence[JsonObject], ran: JsonObject) -> list[dict[str, Any]]:
    fresh = [dict(failure) for failure in ran.get("failures") or ()]
    repeated = {failure.get("message") for failure in fresh}
    left = []
    for failure in known:
        tasks = [name for name in failure.get("tasks") or () if name not in (ran.get("tasks") or {})]
        if tasks and failure.get("message") not in repeated:
            left.append({**failure, "tasks": tasks})
    return [*fresh, *left]


def _summary(ran: JsonObject, made: JsonObject) -> JsonObject:
    return {**{name: ran[name] for name in _OF_A_RUN if name in ran}, "made": dict(made)}


def _inputs(workspace: Workspace, known: JsonObject) -> dict[str, Any]:
    """Return the input files of each camera's results; one that is gone is kept, and marked as such."""
    inputs: dict[str, Any] = dict(known)
    for camera in workspace.session.description.cameras:
        before = [entry for entry in known.get(camera.label) or () if "name" in entry]
        try:
            found = _input_files(workspace, camera)
        except (IblDaskError, OSError) as error:  # files that cannot be listed now do not cost the rest
            inputs[camera.label] = [*before, {"problem": str(error)}]
            continue
        names = {entry["name"] for entry in found}
        gone = [{**entry, "is_there": False} for entry in before if entry["name"] not in names]
        inputs[camera.label] = [*found, *gone]
    return inputs


def _input_files(workspace: Workspace, camera: Camera) -> list[dict[str, Any]]:
    found = [video_paths(workspace, camera), *camera_file_paths(workspace, camera).values()]
    return [identity for paths in found for path in paths if (identity := alf.identity(path)) is not None]


def _requests(workspace: Workspace, ran: JsonObject, details: JsonObject) -> dict[str, Any]:
    """Return the tasks that this run did or found done: class, arguments, options, steps, and files that they read."""
    found = {}
    for name, request in details["requests"].items():
        if (ran.get("tasks") or {}).get(name) in _MADE:
            plain = {key: value for key, value in request.items() if key != "reads"}
            inputs = _read_files(workspace, request.get("reads") or ())
            found[name] = {**plain, "options": details["options"], "run": ran.get("run"), "inputs": inputs}
    return found


def _read_files(workspace: Workspace, patterns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the files of some patterns, relative to the session, with the identity of each."""
    found: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        folder, _, name = pattern.rpartition("/")
        with contextlib.suppress(IblDaskError, OSError):
            for path in find_files(workspace.session.roots, ExpectedDataset.input(name, folder)).files:
                root = next(root for root in workspace.session.roots if path.is_relative_to(root))
                if path.is_file():
                    found[path.relative_to(root).as_posix()] = alf.identity(path) or {}
    return [{"path": name, **known} for name, known in sorted(found.items())]


def _files(workspace: Workspace, known: JsonObject, ran: JsonObject, fresh: JsonObject) -> dict[str, Any]:
    """Return the maker of each file: the step that made it, or the first that found it made."""
    found = dict(known)
    for name, row in fresh.items():
        if row.get("status") == "kept" and name in known:
            continue
        path = workspace.session.outputs / name
        content = None
        with contextlib.suppress(OSError):
            content = alf.identity(path) if path.is_file() else None
        found[name] = {**row, "run": ran.get("run"), "identity": content}
    return found


def _markers(workspace: Workspace) -> dict[str, Any]:
    steps = {}
    for path in sorted(workspace.marker("x").parent.glob("*.json")):
        with contextlib.suppress(ValueError, FileNotFoundError):  # a damaged one counts for nothing
            steps[path.stem] = json.loads(path.read_text())
    return steps
