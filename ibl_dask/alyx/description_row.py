"""The task that registers a session's description: it works on Alyx alone, so the coordinator does it.

Source: `ExperimentDescriptionRegisterRaw` of ibllib 4.1.0, and `ibllib.qc.base.sign_off_dict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.results import result_of
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.errors import AlyxLoginFailed, AlyxUnreachable
from ibl_dask.model.description_reader import read_content, split_tasks
from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session, find_description
from ibl_dask.model.status import Status
from ibl_dask.store.failures import failure_from
from ibl_dask.store.identity import md5_of

EXECUTABLE = "ibllib.pipes.base_tasks.ExperimentDescriptionRegisterRaw"
"""Class of such rows."""
_CATEGORIES = {"neuropixel": ("raw", "spike_sorting", "alignment")}
"""Device -> its parts that are signed off; of others the device as a whole."""
_CHECKLIST = "sign_off_checklist"


def sign_off_keys(content: Mapping[str, object]) -> tuple[str, ...]:
    """Return the entries that people sign off for a session, by the content of its description.

    >>> sign_off_keys({"devices": {"cameras": {"left": {}}}, "tasks": [{"choiceWorld": {}}]})
    ('_cameras_left', '_choiceWorld_00')
    """
    devices = content.get("devices")
    kinds = devices.items() if isinstance(devices, Mapping) else ()
    found = [key for kind, entry in kinds for key in _of(str(kind), entry)]
    protocols = [name for name, _ in split_tasks(content.get("tasks") or [])]
    found += [f"{name}_{number:02}" for number, name in enumerate(protocols)]
    return tuple(dict.fromkeys(f"_{key}" for key in found))


def _of(kind: str, entry: object) -> Iterator[str]:
    """Yield the entries of one kind of device."""
    labels = [str(label) for label in entry] if isinstance(entry, Mapping) else []
    endings = [""] if labels == [kind] or not labels else [f"_{label}" for label in labels]
    for part in _CATEGORIES.get(kind, ("",)):
        yield from (f"{kind}{part and '_' + part}{ending}" for ending in endings)


def register_description(alyx: Alyx, row: TaskRow, session: Session) -> TaskResult:
    """Return the result of a claimed row: the description to be registered, its checklist being in the session.

    Entries that the checklist has keep their values.

    Parameters
    ----------
    alyx : Alyx
        The database.
    row : TaskRow
        The row.
    session : Session
        Its session.

    Raises
    ------
    AlyxUnreachable, AlyxLoginFailed
        If Alyx gives no answer, or does not accept the token.
    """
    try:
        require_inside(row.name, "the name of a task", is_name=True)
        path = find_description(session.path)
        if path is None:
            return result_of(row, session.path, Status.EMPTY, "the session has no description")
        keys = sign_off_keys(read_content(path))
        known = alyx.read("sessions", row.session).get("json") or {}
        before = known.get(_CHECKLIST) or {}
        wanted = {**dict.fromkeys(keys), **before}
        if wanted != before:
            alyx.change("sessions", row.session, {"json": {**known, _CHECKLIST: wanted}})
    except (AlyxUnreachable, AlyxLoginFailed):
        raise
    except Exception as error:  # noqa: BLE001  # it is the result
        return result_of(row, session.path, Status.ERRORED, failure_from(error).message)
    text = f"{path.name} is to be registered; to sign off: {', '.join(keys)}"
    made = {str(path): md5_of(path)}
    return result_of(
        row, session.path, Status.COMPLETE, text, version=version("ibl_dask"), seconds=0.0, outputs=[path], hashes=made
    )
