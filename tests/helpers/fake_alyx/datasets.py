"""Datasets, files and insertions of the fake Alyx, and what anybody may ask of files."""

from __future__ import annotations

import uuid

from fake_alyx.calls import Call, Rejection, failed, invalid, may_write, not_found, page, require_uuid, without
from fake_alyx.world import World, now


def datasets(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        require_uuid(key)
        if key not in world.datasets:
            raise not_found("Dataset")
        row = world.datasets[key]
        if call.method == "DELETE":
            may_write(call)
            if world.is_protected(row):
                why = f'Failed to delete dataset {row["name"]} due to protected tag(s) "{row["tags"][0]}"'
                raise Rejection(403, {"status_code": 403, "detail": why})
            del world.datasets[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            row.update({name: value for name, value in call.fields.items() if name in ("qc", "tags")})
            row["auto_datetime"] = now()
            return 200, without(_dataset(world, row), "protected", "public")
        return 200, _dataset(world, row)
    if call.method == "POST":
        name = call.fields.get("dataset_type")
        if name not in {row["name"] for row in world.types}:
            raise invalid(dataset_type=f"Object with name={name} does not exist.")
        raise Rejection(405, {"detail": 'Method "POST" not allowed.', "status_code": 405})
    rows = list(world.datasets.values())
    for name in ("session", "name", "collection", "revision", "hash"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    if "tag" in call.query:
        rows = [row for row in rows if call.query["tag"] in row["tags"]]
    return page(world, call, rows, lambda row: _dataset(world, row))


def _dataset(world: World, row: dict) -> dict:
    records = [
        {
            "id": record["id"], "data_repository": record["data_repository"],
            "data_repository_path": world.repositories[record["data_repository"]]["globus_path"],
            "relative_path": record["relative_path"], "data_url": _data_url(world, row, record),
            "exists": record["exists"],
        }
        for record in row["file_records"]
    ]  # fmt: skip
    names = "name created_by created_datetime dataset_type data_format collection"
    return {
        "url": f"{world.url}/datasets/{row['id']}", **{name: row[name] for name in names.split()},
        "session": f"{world.url}/sessions/{row['session']}", "file_size": row["file_size"], "hash": row["hash"],
        "version": row["version"], "experiment_number": world.sessions[row["session"]]["number"],
        "file_records": records, "auto_datetime": row["auto_datetime"], "revision": row["revision"],
        "default_dataset": row["default"], "protected": int(world.is_protected(row)), "public": 0,
        "tags": row["tags"], "qc": row["qc"], "json": None,
    }  # fmt: skip


def _data_url(world: World, row: dict, record: dict) -> str | None:
    root = world.repositories[record["data_repository"]]["data_url"]
    if root is None:
        return None
    stem, _, kind = record["relative_path"].rpartition(".")
    return f"{root}{stem}.{row['id']}.{kind}"


def files(world: World, call: Call, key: str) -> tuple[int, object]:
    rows = [(row, record) for row in world.datasets.values() for record in row["file_records"]]
    if key:
        require_uuid(key)
        found = [(row, record) for row, record in rows if record["id"] == key]
        if not found:
            raise not_found("FileRecord")
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            found[0][1].update({k: v for k, v in call.fields.items() if k in ("exists", "relative_path")})
        return 200, _file(world, *found[0])
    if "dataset" in call.query:
        rows = [(row, record) for row, record in rows if row["id"] == call.query["dataset"]]
    return page(world, call, rows, lambda pair: _file(world, *pair))


def _file(world: World, row: dict, record: dict) -> dict:
    return {
        "url": f"{world.url}/files/{record['id']}", "dataset": f"{world.url}/datasets/{row['id']}",
        "data_repository": record["data_repository"], "name": "", "json": None,
        "relative_path": record["relative_path"], "exists": record["exists"],
    }  # fmt: skip


def insertions(world: World, call: Call, key: str) -> tuple[int, object]:
    known = {
        name: value for name, value in call.fields.items() if name in ("session", "model", "serial", "name", "json")
    }
    if key:
        require_uuid(key)
        if key not in world.insertions:
            raise not_found("ProbeInsertion")
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            world.insertions[key].update(known)
        return 200, world.insertions[key]
    if call.method == "POST":
        may_write(call)
        new = str(uuid.uuid4())
        world.insertions[new] = {"id": new, "datasets": [], **known}
        return 201, world.insertions[new]
    rows = list(world.insertions.values())
    for name in ("session", "name"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    return page(world, call, rows, dict)


def sync_file_status(world: World, call: Call, key: str) -> tuple[int, object]:
    """Answer anybody, as Alyx does: its view names no permissions."""
    return 200, {}


def new_download(world: World, call: Call, key: str) -> tuple[int, object]:
    """Answer anybody, as Alyx does: its view names no permissions."""
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    if call.fields.get("user") not in world.passwords:
        raise failed("LabMember matching query does not exist.")
    return 201, {"download": [], "count": []}
