"""RO-Crate of a run, from its summary and the provenance of its sessions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any  # values of JSON

from ibl_dask.model.json_object import JsonObject
from ibl_dask.report.crate import METADATA_FILE, CrateFile, CrateRun, CrateSession, CrateTask, crate_metadata
from ibl_dask.store.atomic import write_text
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_progress import RowFailure, SessionProgress
from ibl_dask.store.run_summary import read_summary

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors of a provenance that is missing, or is none."""
_NOT_LIBRARIES = ("time", "ibl_dask")


def write_run_crate(run: RunFolder) -> Path:
    """Write the metadata of a run into its folder, which becomes an RO-Crate, and return the path.

    Parameters
    ----------
    run : RunFolder
        The run.

    Raises
    ------
    OSError
        If the journal cannot be read.
    NotWritable
        If the folder cannot be written to.
    """
    target = run.path.parent / run.name / METADATA_FILE
    write_text(target, json.dumps(crate_metadata(run_crate(run, target.parent)), indent=1))
    return target


def run_crate(run: RunFolder, folder: Path) -> CrateRun:
    """Return the content of the RO-Crate of a run.

    What a session was made from and what it left is known as long as its provenance is that of this run; of tasks that
    a later run repeated only the outcome is listed.

    Parameters
    ----------
    run : RunFolder
        The run.
    folder : Path
        Folder whose files belong to the crate.
    """
    summary = read_summary(run)
    sessions: list[CrateSession] = []
    libraries: dict[str, str] = {}
    ended_s = 0.0
    for row in summary.rows:
        known = _provenance(row)
        try:
            session, found = _session(row, known, run.name), _libraries(known, run.name)
        except _DAMAGE:
            session, found = _session(row, {}, run.name), {}
        sessions.append(session)
        libraries |= found
        ended_s = max(ended_s, row.ended_s, row.started_s)
    header = summary.header
    return CrateRun(
        run.name, header.version, header.started_s, ended_s, sessions, tuple(_files_of_run(folder)), libraries
    )


def _session(row: SessionProgress, known: JsonObject, run: str) -> CrateSession:
    requests = _of_run(known.get("requests"), run)
    files = _of_run(known.get("files"), run)
    roots = [Path(str(root)) for name, root in (known.get("places") or {}).items() if name in ("session", "outputs")]
    roots = roots or [Path(row.session)]
    tasks = []
    for name, status in row.tasks.items():
        request = requests.get(name) or {}
        steps = set(request.get("steps") or ())
        inputs = [_file(roots, each["path"], each) for each in request.get("inputs") or () if "path" in each]
        made = [
            (path, each) for path, each in files.items() if each.get("step") in steps and each.get("status") == "done"
        ]
        outputs = [_file(roots[::-1], path, each.get("identity") or {}) for path, each in made]
        executable = str(request.get("executable") or "")
        error = _first_error(failure for failure in row.failures if failure.task == name)
        tasks.append(CrateTask(name, status, executable, inputs, outputs, error))
    reference = "/".join(Path(row.session).parts[-3:])
    error = _first_error(row.failures)
    return CrateSession(row.session, reference, row.state, row.started_s, row.ended_s, tasks, error)


def _provenance(row: SessionProgress) -> JsonObject:
    """Return the provenance of a session; empty where it cannot be read."""
    if not row.report:
        return {}
    try:
        content = json.loads(Path(row.report).with_name("provenance.json").read_bytes())
    except _DAMAGE:
        return {}
    return content if isinstance(content, dict) else {}


def _of_run(content: Any, run: str) -> dict[str, Any]:
    """Return the entries that a run made."""
    entries = content.items() if isinstance(content, dict) else ()
    return {name: each for name, each in entries if isinstance(each, dict) and each.get("run") == run}


def _file(roots: Iterable[Path], path: str, identity: JsonObject) -> CrateFile:
    """Return a file below the first of some folders that has it, else below the first."""
    places = [root / path for root in roots]
    size = identity.get("size")
    found = next((place for place in places if place.exists()), places[0])
    return CrateFile(str(found), size if isinstance(size, int) else None, found.is_dir())


def _first_error(failures: Iterable[RowFailure]) -> str:
    return next((each.failure.message for each in failures), "")


def _libraries(known: JsonObject, run: str) -> dict[str, str]:
    made = next((each.get("made") for each in known.get("runs") or () if each.get("run") == run), None) or {}
    return {name: str(version) for name, version in made.items() if name not in _NOT_LIBRARIES}


def _files_of_run(folder: Path) -> Iterable[CrateFile]:
    """Yield the files of a run, without the sign of life of its driver and the metadata itself."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and not path.name.startswith(".") and path.name not in ("beat.json", METADATA_FILE):
            yield CrateFile(path.name, path.stat().st_size)
