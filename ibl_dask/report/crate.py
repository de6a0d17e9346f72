"""RO-Crate of a run: metadata of what ran on which session, from which files, to which files.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): an action per session and per task of it, with its software, inputs, outputs,
times and outcome. Files of sessions are named by absolute addresses; they are not copied.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from ibl_dask.model.status import Status

METADATA_FILE = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = [f"{CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
_PACKAGE = "#ibl_dask"
_NOT_RUN = (Status.WAITING, Status.HELD)
_FAILED = (Status.ERRORED, Status.ABANDONED)

Entity = dict[str, object]
"""An object of JSON-LD with `@id` and `@type`."""


@dataclass(frozen=True, slots=True)
class CrateFile:
    """File of a session, or of the run."""

    place: str
    """Absolute path; for a file of the run its name in the folder of the run."""
    n_bytes: int | None = None
    """Size, bytes; None where it is not known."""
    is_folder: bool = False
    """True for a folder, such as a Zarr store."""

    @property
    def id(self) -> str:
        """Return its identifier in the crate."""
        path = Path(self.place)
        return (path.as_uri() if path.is_absolute() else quote(self.place)) + ("/" if self.is_folder else "")


@dataclass(frozen=True, slots=True)
class CrateTask:
    """Task that ran on a session."""

    name: str
    """Its name."""
    status: str
    """Its status; see `Status`."""
    executable: str = ""
    """Dotted path of its class; empty where it is not known."""
    inputs: Sequence[CrateFile] = ()
    """Files that it read."""
    outputs: Sequence[CrateFile] = ()
    """Files that it left in this run."""
    error: str = ""
    """First failure; empty where there is none."""


@dataclass(frozen=True, slots=True)
class CrateSession:
    """Session of a run."""

    path: str
    """Session folder."""
    reference: str
    """subject/date/number."""
    state: str
    """State of the session in the run."""
    started_s: float = 0.0
    """Unix time of its first event; 0 where it did not start."""
    ended_s: float = 0.0
    """Unix time of its end; 0 where it has not ended."""
    tasks: Sequence[CrateTask] = ()
    """Its tasks."""
    error: str = ""
    """First failure of the session; empty where there is none."""


@dataclass(frozen=True, slots=True)
class CrateRun:
    """A run, as values."""

    name: str
    """Its name."""
    version: str
    """Version of ibl_dask."""
    started_s: float
    """Unix time of its start; 0 where it is not known."""
    ended_s: float
    """Unix time of its last event."""
    sessions: Sequence[CrateSession]
    """Its sessions."""
    files: Sequence[CrateFile] = ()
    """Files in its folder."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Library -> version that results were computed with."""


def crate_metadata(run: CrateRun) -> Entity:
    """Return the content of `ro-crate-metadata.json` in the folder of a run.

    Parameters
    ----------
    run : CrateRun
        The run.
    """
    entities: dict[str, Entity] = {}
    sessions, actions = [], []
    for number, session in enumerate(run.sessions):
        sessions.append(_add_session(entities, session))
        actions += _add_actions(entities, session, f"#session-{number}")
    files = [_add_file(entities, file) for file in run.files]
    tasks = {task.name: task for session in run.sessions for task in session.tasks if _has_run(task)}
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"ibl_dask run {run.name}",
        "description": f"Video preprocessing of {len(run.sessions):,} sessions by ibl_dask {run.version}".rstrip(),
        "datePublished": _moment(run.ended_s or run.started_s),
        "license": _ref("#license"),
        "conformsTo": _ref(PROFILE),
        "hasPart": _refs([*files, *sessions]),
        "mentions": _refs(actions),
    }
    descriptor: Entity = {
        "@id": METADATA_FILE,
        "@type": "CreativeWork",
        "conformsTo": _ref(CRATE),
        "about": _ref("./"),
    }
    software = [_package(run), *_libraries(run.libraries), *(_task_software(task) for task in tasks.values())]
    profile: Entity = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    licence: Entity = {
        "@id": "#license",
        "@type": "CreativeWork",
        "name": "License of the recordings",
        "description": "Not known to ibl_dask: it is up to the laboratory that made the recordings.",
    }
    return {"@context": _CONTEXT, "@graph": [descriptor, root, profile, licence, *software, *entities.values()]}


def _has_run(task: CrateTask) -> bool:
    return task.status not in _NOT_RUN


def _add_session(entities: dict[str, Entity], session: CrateSession) -> str:
    """Add a session folder with its files, and return its identifier."""
    name = _session_id(session)
    files = [file for task in session.tasks if _has_run(task) for file in (*task.inputs, *task.outputs)]
    parts = dict.fromkeys(_add_file(entities, file) for file in files)
    entities[name] = {"@id": name, "@type": "Dataset", "name": session.reference, "hasPart": _refs(parts)}
    return name


def _session_id(session: CrateSession) -> str:
    return Path(session.path).as_uri() + "/"


def _add_file(entities: dict[str, Entity], file: CrateFile) -> str:
    entity: Entity = {"@id": file.id, "@type": "Dataset" if file.is_folder else "File", "name": Path(file.place).name}
    if not file.is_folder:
        entity["encodingFormat"] = mimetypes.guess_type(file.place)[0] or "application/octet-stream"
    if file.n_bytes is not None:
        entity["contentSize"] = str(file.n_bytes)
    entities[file.id] = entity
    return file.id


def _add_actions(entities: dict[str, Entity], session: CrateSession, name: str) -> list[str]:
    """Add the action of a session and those of its tasks, and return their identifiers; none where it did not begin."""
    if not session.started_s:
        return []
    ran = [task for task in session.tasks if _has_run(task)]
    outputs = dict.fromkeys(file.id for task in ran for file in task.outputs)
    whole: Entity = {
        "@id": name,
        "@type": "CreateAction",
        "name": f"ibl-dask run {session.reference}",
        "description": f"state: {session.state}",
        "instrument": _ref(_PACKAGE),
        "object": _refs([_session_id(session)]),
        "result": _refs(outputs),
        "startTime": _moment(session.started_s),
        "actionStatus": _session_status(session),
    }
    if session.ended_s:
        whole["endTime"] = _moment(session.ended_s)
    if session.error and session.state == "failed":
        whole["error"] = session.error
    entities[name] = whole
    return [name, *(_add_task_action(entities, session, task, name) for task in ran)]


def _add_task_action(entities: dict[str, Entity], session: CrateSession, task: CrateTask, parent: str) -> str:
    name = f"{parent}-{quote(task.name, safe='')}"
    action: Entity = {
        "@id": name,
        "@type": "CreateAction",
        "name": f"{task.name} on {session.reference}",
        "description": f"status: {task.status}",
        "instrument": _ref(_task_id(task)),
        "object": _refs(dict.fromkeys(file.id for file in task.inputs)),
        "result": _refs(dict.fromkeys(file.id for file in task.outputs)),
        "actionStatus": _task_status(task),
    }
    if task.status in _FAILED and task.error:
        action["error"] = task.error
    entities[name] = action
    return name


def _task_status(task: CrateTask) -> str:
    if task.status in _FAILED:
        return _status("Failed")
    return _status("Active" if task.status == Status.STARTED else "Completed")


def _session_status(session: CrateSession) -> str:
    if not session.ended_s and session.state in ("running", "waiting", "put off"):
        return _status("Active")
    return _status("Completed" if session.state == "done" else "Failed")


def _status(word: str) -> str:
    return f"http://schema.org/{word}ActionStatus"


def _package(run: CrateRun) -> Entity:
    return {
        "@id": _PACKAGE,
        "@type": "SoftwareApplication",
        "name": "ibl_dask",
        "softwareVersion": run.version,
        "softwareRequirements": _refs(f"#library-{quote(name, safe='')}" for name in run.libraries),
    }


def _libraries(versions: Mapping[str, str]) -> Iterable[Entity]:
    for name, version in versions.items():
        yield {
            "@id": f"#library-{quote(name, safe='')}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
            "url": f"https://pypi.org/project/{quote(name)}/",
        }


def _task_id(task: CrateTask) -> str:
    return f"#task-{quote(task.name, safe='')}"


def _task_software(task: CrateTask) -> Entity:
    known: Entity = {"identifier": task.executable} if task.executable else {}
    software = {"@id": _task_id(task), "@type": "SoftwareApplication", "name": task.name}
    return {**software, **known, "softwareRequirements": _ref(_PACKAGE)}


def _ref(name: str) -> dict[str, str]:
    return {"@id": name}


def _refs(names: Iterable[str]) -> list[dict[str, str]] | dict[str, str]:
    """Return links; a single one is no list, as RO-Crate recommends."""
    links = [_ref(name) for name in names]
    return links[0] if len(links) == 1 else links


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
