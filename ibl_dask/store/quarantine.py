"""Tasks in quarantine: they failed, and are not tried again before something that they depend on has changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from ibl_dask.model.failure import Failure
from ibl_dask.model.session import Session
from ibl_dask.store.atomic import make_folder, write_text
from ibl_dask.store.task_record import identities, parameters_fingerprint

FILE_NAME = "quarantine.json"
QUARANTINE_VERSION = 1
_RESULTS = ("alf", "ibl_dask", "spike_sorters", "snapshot")
"""Folders of a session that hold results: what a task reads there is among its inputs."""


@dataclass(frozen=True, slots=True)
class QuarantinedTask:
    """A task in quarantine."""

    fingerprint: str
    """Fingerprint of all that the task depends on; see `quarantine_fingerprint`."""
    failure: Failure
    """The error of its last attempt."""
    run: str
    """Run in which it failed."""
    time_s: float
    """Unix time of the failure."""


def quarantine_fingerprint(session: Session, inputs: Iterable[Path], *parts: object) -> str:
    """Return a fingerprint of the raw files of a session, of further inputs, and of some plain values.

    Size and times of files count, so that any change of any raw file ends a quarantine: one attempt too many costs less
    than one too few.

    Parameters
    ----------
    session : Session
        The session.
    inputs : iterable of Path
        Further files that the task reads.
    parts
        Class, arguments and versions of the task.
    """
    raw: dict[str, tuple[int, int, int]] = {}
    for folder, names, files in os.walk(session.path):
        if folder == str(session.path):
            names[:] = [name for name in names if name not in _RESULTS and not name.startswith(".")]
        for name in files:
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  # thousands of files
                if S_ISREG(stat.st_mode):
                    raw[os.path.relpath(os.path.join(folder, name), session.path)] = (  # noqa: PTH118
                        stat.st_size,
                        stat.st_mtime_ns,
                        stat.st_ctime_ns,
                    )
    return parameters_fingerprint(sorted(raw.items()), identities(inputs), parts)


def read_quarantine(own: Path) -> dict[str, QuarantinedTask]:
    """Return the tasks of a session in quarantine; none where the file is missing or damaged.

    Parameters
    ----------
    own : Path
        Folder of the session's files in formats of this package.
    """
    try:
        content = json.loads((own / FILE_NAME).read_text(encoding="utf-8"))
        if content["version"] != QUARANTINE_VERSION:
            return {}
        return {
            str(name): QuarantinedTask(
                str(entry["fingerprint"]),
                Failure.from_json(entry["failure"]),
                str(entry["run"]),
                float(entry["time_s"]),
            )
            for name, entry in content["tasks"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_quarantine(own: Path, tasks: Mapping[str, QuarantinedTask]) -> None:
    """Write the tasks of a session in quarantine; without any, remove the file. For the holder of the session."""
    path = own / FILE_NAME
    if not tasks:
        path.unlink(missing_ok=True)
        return
    content = {
        "version": QUARANTINE_VERSION,
        "tasks": {
            name: {
                "fingerprint": task.fingerprint,
                "failure": task.failure.to_json(),
                "run": task.run,
                "time_s": task.time_s,
            }
            for name, task in tasks.items()
        },
    }
    make_folder(own)
    write_text(path, json.dumps(content, indent=1))
