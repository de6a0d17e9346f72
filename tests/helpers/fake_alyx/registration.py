"""Registration of files with the fake Alyx."""

from __future__ import annotations

import re
import time
import uuid

from fake_alyx.calls import Call, Rejection, failed, listed
from fake_alyx.world import QC, World, now


def _target(world: World, call: Call, fields: dict) -> dict:
    """Return the session of a registration."""
    path = fields.get("path")
    if not path:
        raise failed("The path argument is required.")
    match = re.match(r"(?:.*/)?([^/]+)/(\d{4}-\d{2}-\d{2})/(\d+)", path)
    if match is None:
        raise Rejection(400, {"status_code": 400, "error": f"The path {path} should be `nickname/YYYY-MM-DD/n/..."})
    nickname, date, number = match[1], match[2], int(match[3])
    if nickname not in world.subjects:
        why = f'A subject with nickname "{nickname}" does not exist.'
        raise Rejection(400, {"status_code": 400, "error": why})
    for row in world.sessions.values():
        if (row["subject"], row["start_time"][:10], row["number"]) == (nickname, date, number):
            return row
    why = f"A session for {nickname}/{number} on {date} does not exist"
    raise Rejection(400, {"status_code": 400, "error": why})


def _add_user(world: World, call: Call, fields: dict, session: dict) -> str:
    user = fields.get("created_by") or call.user
    if not user:
        raise failed(
            'null value in column "labmember_id" of relation "actions_session_users" violates not-null constraint\n'
            f"DETAIL:  Failing row contains ({world.next_row}, {session['id']}, null).\n"
        )
    if user not in world.passwords:
        raise failed("LabMember matching query does not exist.")
    if user not in session["users"]:
        session["users"].append(user)
    return user


def _parts(filename: str) -> tuple[str, str, str]:
    """Return collection, revision and name."""
    folders = filename.split("/")
    revision = next((f.strip("#") for f in folders[:-1] if re.fullmatch(r"#.+#", f)), "")
    return "/".join(f for f in folders[:-1] if not re.fullmatch(r"#.+#", f)), revision, folders[-1]


def _protected(world: World, session: dict, filenames: list[str]) -> list[dict]:
    found = []
    for filename in filenames:
        collection, _, name = _parts(filename)
        rows = [
            row for row in world.datasets.values()
            if (row["session"], row["collection"], row["name"]) == (session["id"], collection, name)
        ]  # fmt: skip
        rows.sort(key=lambda row: row["revision"], reverse=True)
        found.append({filename: [{row["revision"]: world.is_protected(row)} for row in rows]})
    protected = [
        each for each in found if any(state for rows in each.values() for row in rows for state in row.values())
    ]
    return found if protected and world.names_all_files else protected


def check_protected(world: World, call: Call, key: str) -> tuple[int, object]:
    fields = {**call.query, **call.fields}
    session = _target(world, call, fields)
    _add_user(world, call, {"created_by": fields.get("created_by")}, session)
    found = _protected(world, session, listed(fields.get("filenames")))
    if found:
        return 200, {"status_code": 403, "error": "One or more datasets is protected", "details": found}
    return 200, {"status_code": 200, "details": "None of the datasets are protected"}


def register(world: World, call: Call, key: str) -> tuple[int, object]:
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    fields = call.fields
    filenames = listed(fields.get("filenames"))
    session = _target(world, call, fields)
    user = _add_user(world, call, fields, session)
    if fields.get("name") is not None and fields["name"] not in world.repositories:
        raise Rejection(400, {"status_code": 400, "detail": "The specified repository does not exist."})
    labs = listed(fields.get("labs")) or [session["lab"]]
    if any(lab not in world.labs for lab in labs):
        raise Rejection(400, {"status_code": 400, "detail": "One or more of the specified labs do not exist."})
    if fields.get("check_protected") and (found := _protected(world, session, filenames)):
        body = {"status_code": 403, "error": "One or more datasets is protected", "details": found}
        raise Rejection(403, body)
    empty = [None] * len(filenames)
    columns = [listed(fields[name]) if name in fields else empty for name in ("hashes", "filesizes", "versions")]
    answers = []
    for filename, md5, size, version in zip(filenames, *columns, strict=False):
        # One after the other, without a transaction: those before a bad one stay registered.
        answers.append(_register_one(world, session, user, labs, fields, filename, md5, size, version))
    return 201, answers


def _register_one(world, session, user, labs, fields, filename, md5, size, version) -> dict:
    whole = f"{fields['path']}/{filename}"
    collection, revision, name = _parts(filename)
    qc = fields.get("qc") or "NOT_SET"
    if qc not in QC:
        why = f'Invalid QC value "{qc}" for dataset "{whole}"'
        raise Rejection(400, {"status_code": 400, "detail": why})
    types = [row["name"] for row in world.types if _matches(name, row["filename_pattern"])]
    if not types:
        raise failed(f'No dataset type found for filename "{name}"')
    kind = "." + name.rpartition(".")[2]
    formats = [row["name"] for row in world.formats if row["file_extension"] == kind]
    if not formats:
        raise failed("DataFormat matching query does not exist.")
    if md5 is not None and len(md5) > 64:
        why = f"{{'hash': ['Ensure this value has at most 64 characters (it has {len(md5)}).']}}"
        raise Rejection(400, {"status_code": 400, "detail": f'Invalid dataset "{whole}": {why}'})
    identity = (session["id"], collection, name, revision)
    fields_of = ("session", "collection", "name", "revision")
    rows = [row for row in world.datasets.values() if tuple(row[field] for field in fields_of) == identity]
    if len(rows) > 1:
        raise failed(f"get() returned more than one Dataset -- it returned {len(rows)}!")
    if world.register_pause_s:
        world.lock.release()
        time.sleep(world.register_pause_s)
        world.lock.acquire()
    if rows:
        row = rows[0]
        if world.is_protected(row):
            why = f"Dataset {row['id']} is protected, cannot patch"
            raise Rejection(403, {"status_code": 403, "detail": why})
    else:
        new = str(uuid.uuid4())
        row = {
            "id": new, "name": name, "created_by": user, "created_datetime": now(), "dataset_type": types[0],
            "data_format": formats[0], "session": session["id"], "collection": collection, "revision": revision,
            "tags": [], "file_records": [],
        }  # fmt: skip
        for repository in ("flatiron_cortexlab", "cortexlab_local"):
            row["file_records"].append(
                {"id": str(uuid.uuid4()), "data_repository": repository, "relative_path": whole, "exists": False}
            )
        world.datasets[new] = row
    is_default = fields.get("default", True)
    row.update(
        file_size=size, hash=md5, version=version, default=is_default, qc=qc, auto_datetime=now(),
        n_times=row.get("n_times", 0) + 1,
    )  # fmt: skip
    exists = fields.get("exists", True)
    for record in row["file_records"]:
        is_local = world.repositories[record["data_repository"]]["globus_is_personal"]
        record["exists"] = bool(exists) if is_local or fields.get("server_only") else False
    return {
        "id": row["id"], "name": name, "file_size": size, "subject": session["subject"],
        "created_by": row["created_by"],
        "created_datetime": row["created_datetime"], "dataset_type": row["dataset_type"],
        "data_format": row["data_format"], "session": session["id"], "session_number": session["number"],
        "session_users": ",".join(session["users"]), "session_start_time": session["start_time"],
        "collection": collection, "revision": revision, "default": is_default, "qc": QC[qc],
        "file_records": [dict(record) for record in row["file_records"]],
    }  # fmt: skip


def _matches(name: str, pattern: str) -> bool:
    regex = "".join(".*" if letter == "*" else re.escape(letter) for letter in pattern)
    return re.fullmatch(regex, name, re.IGNORECASE) is not None
