"""Endpoints of the fake Alyx: a request becomes a status and a body, or a `Rejection`."""

from __future__ import annotations

from collections.abc import Callable

from fake_alyx.calls import Call, Rejection, failed, not_found
from fake_alyx.datasets import datasets, files, insertions, new_download, sync_file_status
from fake_alyx.lab import auth_token, labs, measured, plain, repositories, subjects, users
from fake_alyx.notes import notes, uploaded
from fake_alyx.registration import check_protected, register
from fake_alyx.sessions import sessions
from fake_alyx.tasks import tasks
from fake_alyx.world import World

__all__ = ["Call", "Rejection", "answer", "failed", "not_found"]


def answer(world: World, call: Call) -> tuple[int, object]:
    """Return status and body."""
    parts = call.path.strip("/").split("/")
    endpoint, key = parts[0], "/".join(parts[1:])
    handler = _HANDLERS.get(endpoint)
    if handler is None or (len(parts) > 2 and endpoint != "uploaded"):
        raise Rejection(404, None)
    return handler(world, call, key)


_HANDLERS: dict[str, Callable[[World, Call, str], tuple[int, object]]] = {
    "auth-token": auth_token,
    "users": users,
    "labs": labs,
    "data-repository": repositories,
    "subjects": subjects,
    "dataset-types": plain("types"),
    "data-formats": plain("formats"),
    "weighings": measured("weighings", "weighings"),
    "water-administrations": measured("waters", "water-administrations"),
    "sessions": sessions,
    "tasks": tasks,
    "insertions": insertions,
    "notes": notes,
    "uploaded": uploaded,
    "datasets": datasets,
    "files": files,
    "check-protected": check_protected,
    "register-file": register,
    "sync-file-status": sync_file_status,
    "new-download": new_download,
}
