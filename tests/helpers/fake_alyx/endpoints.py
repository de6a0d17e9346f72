"""Endpoints of the fake Alyx: a request becomes a status and a body, or a `Rejection`."""

from __future__ import annotations

import ast
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fake_alyx.world import LIST_OF_SESSION, QC, STATUSES, World, is_uuid, now

CHOICES = "Waiting, Held, Started, Errored, Abandoned, Empty, Incomplete, Complete"
SESSION_FIELDS = (
    "auto_datetime, data_dataset_session_related, end_time, extended_qc, field_of_view, id, json, lab, lab_id, "
    "location, location_id, n_correct_trials, n_trials, name, narrative, number, parent_session, parent_session_id, "
    "probe_insertion, procedures, projects, qc, session, start_time, subject, subject_id, task_protocol, tasks, type, "
    "users, wateradmin_session_related"
)


class Rejection(Exception):
    """An answer that is an error; without a body it is a page of HTML."""

    def __init__(self, status: int, body: dict | None) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


def invalid(**fields: str) -> Rejection:
    """Return the rejection of some fields."""
    return Rejection(400, {**{name: [text] for name, text in fields.items()}, "status_code": 400})


def failed(text: str) -> Rejection:
    """Return an error of the server, which Alyx also has for mistakes of its callers."""
    return Rejection(500, {"status_code": 500, "detail": text})


def not_found(kind: str) -> Rejection:
    """Return the rejection of a key that no row has."""
    return Rejection(404, {"detail": f"No {kind} matches the given query.", "status_code": 404})


@dataclass
class Call:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: object
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    user: str | None = None

    @property
    def fields(self) -> dict:
        """Return the fields of the body."""
        return self.body if isinstance(self.body, dict) else {}


def answer(world: World, call: Call) -> tuple[int, object]:
    """Return status and body."""
    parts = call.path.strip("/").split("/")
    endpoint, key = parts[0], "/".join(parts[1:])
    handler = _HANDLERS.get(endpoint)
    if handler is None or (len(parts) > 2 and endpoint != "uploaded"):
        raise Rejection(404, None)
    return handler(world, call, key)


# -- lists --------------------------------------------------------------------------------------------------------


def _page(world: World, call: Call, rows: list[dict], render: Callable[[dict], dict]) -> tuple[int, object]:
    try:
        limit, offset = int(call.query.get("limit") or 250), int(call.query.get("offset") or 0)
    except ValueError:
        limit, offset = 250, 0
    limit, offset = min(limit if limit > 0 else 250, 1000), max(0, offset)
    others = {k: v for k, v in call.query.items() if k not in ("limit", "offset")}

    def url(start: int) -> str:
        given = {**others, "limit": limit, **({"offset": start} if start > 0 else {})}
        return f"{world.url}{call.path}?{urlencode(sorted(given.items()))}"

    after = url(offset + limit) if offset + limit < len(rows) else None
    before = url(offset - limit) if offset > 0 else None
    content = [render(row) for row in rows[offset : offset + limit]]
    return 200, {"count": len(rows), "next": after, "previous": before, "results": content}


def _shuffled(world: World, rows: Iterable[dict], key: Callable[[dict], object] = lambda _: 0) -> list[dict]:
    """Return rows in their order; those that tie come in any."""
    rows = list(rows)
    world.random.shuffle(rows)
    return sorted(rows, key=key)


def _django(text: str) -> list[tuple[str, object]]:
    """Return (field, value) pairs of a filter; values in brackets are evaluated, as Alyx does."""
    pieces, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            pieces.append(text[start:at])
            start = at + 1
    pieces.append(text[start:])
    values = [ast.literal_eval(piece) if piece.startswith("[") else piece for piece in pieces]
    return [(str(name), value) for name, value in zip(values[::2], values[1::2], strict=False)]


def _filtered(world: World, rows: Iterable[dict], call: Call, lookups: dict[str, Callable[[dict], object]], names: str):
    rows = list(rows)
    for name, value in _django(call.query["django"]) if call.query.get("django") else ():
        is_in = name.endswith("__in")
        is_part = name.endswith("__icontains")
        plain = name.removesuffix("__in").removesuffix("__icontains").removeprefix("~")
        if plain not in lookups:
            choice = plain.split("__")[0]
            raise failed(f"Cannot resolve keyword '{choice}' into field. Choices are: {names}")
        get, negative = lookups[plain], name.startswith("~")

        def fits(row: dict, get=get, value=value, is_in=is_in, is_part=is_part, negative=negative) -> bool:
            found = get(row)
            if is_in:
                hit = found in (value if isinstance(value, list) else list(str(value)))
            elif is_part:
                hit = str(value).lower() in str(found).lower()
            elif isinstance(found, list):
                hit = value in found
            else:
                hit = str(found) == str(value)
            return hit != negative

        rows = [row for row in rows if fits(row)]
    return rows


# -- users ------------------------------------------------------------------------------------------------------------


def _auth_token(world: World, call: Call, key: str) -> tuple[int, object]:
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    for name in ("username", "password"):
        if name not in call.fields:
            raise invalid(**{name: "This field is required."})
    user = call.fields["username"]
    if world.passwords.get(user) != call.fields["password"]:
        raise invalid(non_field_errors="Unable to log in with provided credentials.")
    return 200, {"token": next(token for token, name in world.tokens.items() if name == user)}


def _users(world: World, call: Call, key: str) -> tuple[int, object]:
    def render(name: str) -> dict:
        mine = [n for n, row in world.subjects.items() if row["responsible_user"] == name]
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)), "username": name, "email": f"{name}@localhost",
            "subjects_responsible": mine, "lab": sorted(world.labs), "allowed_users": [], "is_stock_manager": True,
        }  # fmt: skip

    if key:
        if key not in world.passwords:
            raise not_found("LabMember")
        return 200, render(key)
    names = [name for name in world.passwords if call.query.get("username", name) == name]
    return _page(world, call, names, render)


def _require_uuid(key: str) -> None:
    """Answer a malformed key as Django does: no route fits it."""
    if not is_uuid(key):
        raise Rejection(404, None)


def _may_write(call: Call) -> None:
    if call.user == "public_user" and call.method != "GET":
        raise Rejection(403, {"detail": "You do not have permission to perform this action.", "status_code": 403})


# -- what a lab has ---------------------------------------------------------------------------------------------------


def _labs(world: World, call: Call, key: str) -> tuple[int, object]:
    def render(name: str) -> dict:
        return {
            "name": name, "institution": "University College London", "address": "Cruciform Building",
            "timezone": "Europe/London", "reference_weight_pct": 0.0, "zscore_weight_pct": 0.8, **world.labs[name],
        }  # fmt: skip

    if key:
        if key not in world.labs:
            raise not_found("Lab")
        return 200, render(key)

    def endpoints(row: dict) -> list[str]:
        return [world.repositories[name]["globus_endpoint_id"] for name in world.labs[row["name"]]["repositories"]]

    rows = [{"name": name} for name in world.labs if call.query.get("name", name) == name]
    rows = _filtered(
        world, rows, call, {"repositories__globus_endpoint_id": endpoints, "name": lambda r: r["name"]}, "name"
    )
    return _page(world, call, rows, lambda row: render(row["name"]))


def _repositories(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        row = world.repositories.get(key)
        if row is None:
            raise not_found("DataRepository")
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            row.update({name: value for name, value in call.fields.items() if name in row})
        return 200, row
    rows = list(world.repositories.values())
    for name in ("globus_endpoint_id", "name"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    return _page(world, call, rows, dict)


def _subjects(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        if key not in world.subjects:
            raise not_found("Subject")
        return 200, {
            "url": f"{world.url}/subjects/{key}", **world.subjects[key],
            "weighings": [row for row in world.weighings.values() if row["subject"] == key],
            "water_administrations": [row for row in world.waters.values() if row["subject"] == key],
        }  # fmt: skip
    rows = [row for row in world.subjects.values() if call.query.get("nickname", row["nickname"]) == row["nickname"]]
    return _page(world, call, rows, lambda row: {"url": f"{world.url}/subjects/{row['nickname']}", **row})


def _plain(table: str) -> Callable[[World, Call, str], tuple[int, object]]:
    def handler(world: World, call: Call, key: str) -> tuple[int, object]:
        rows = getattr(world, table)
        if key:
            row = next((row for row in rows if row["name"] == key), None)
            if row is None:
                raise not_found(table.title())
            return 200, row
        return _page(world, call, rows, dict)

    return handler


def _measured(table: str, path: str) -> Callable[[World, Call, str], tuple[int, object]]:
    def handler(world: World, call: Call, key: str) -> tuple[int, object]:
        rows = getattr(world, table)
        if call.method == "POST":
            _may_write(call)
            if call.fields.get("subject") not in world.subjects:
                raise invalid(subject=f"Object with nickname={call.fields.get('subject')} does not exist.")
            new = str(uuid.uuid4())
            rows[new] = {**call.fields, "url": f"{world.url}/{path}/{new}"}
            return 201, rows[new]
        return _page(world, call, list(rows.values()), dict)

    return handler


# -- sessions -----------------------------------------------------------------------------------------------------


def _sessions(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        _require_uuid(key)
        if key not in world.sessions:
            raise not_found("Session")
        row = world.sessions[key]
        if call.method == "DELETE":
            _may_write(call)
            del world.sessions[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            row.update(_checked_session(world, call.fields, row))
            row["auto_datetime"] = now()
        return 200, _session(world, row)
    if call.method == "POST":
        _may_write(call)
        fields = _checked_session(world, call.fields, {})
        new = world.add_session(call.fields["subject"], str(fields["start_time"])[:10], **_without(fields, "subject"))
        return 201, _session(world, world.sessions[new])
    lookups = {"pk": lambda r: r["id"], "id": lambda r: r["id"], "lab__name": lambda r: r["lab"]}
    rows = _filtered(world, world.sessions.values(), call, lookups, SESSION_FIELDS)
    for name in ("subject", "lab"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    if "number" in call.query:
        if not call.query["number"].isdecimal():
            raise failed(f"Field 'number' expected a number but got '{call.query['number']}'.")
        rows = [row for row in rows if row["number"] == int(call.query["number"])]
    if "date_range" in call.query:
        if call.query["date_range"].count(",") != 1:
            raise failed("not enough values to unpack (expected 2, got 1)")
        first, last = call.query["date_range"].split(",")
        rows = [row for row in rows if first <= row["start_time"][:10] <= last]
    rows = _shuffled(world, rows, lambda row: tuple(-ord(letter) for letter in row["start_time"]))
    return _page(world, call, rows, lambda row: {name: _session(world, row)[name] for name in LIST_OF_SESSION})


def _session(world: World, row: dict) -> dict:
    key = row["id"]
    datasets = [r for r in world.datasets.values() if r["session"] == key]
    return {
        **row,
        "url": f"{world.url}/sessions/{key}",
        "wateradmin_session_related": [
            {"id": k, "name": "", "water_type": r.get("water_type"), "water_administered": r.get("water_administered")}
            for k, r in world.waters.items()
            if r.get("session") == key
        ],
        "data_dataset_session_related": [
            {"id": r["id"], "name": r["name"], "collection": r["collection"], "revision": r["revision"]}
            for r in datasets
        ],
        "probe_insertion": [],
        "field_of_view": [],
        "notes": [note for note in world.notes.values() if note["object_id"] == key],
    }


def _checked_session(world: World, fields: dict, present: dict) -> dict:
    known = (
        "subject users location procedures lab projects type task_protocol number start_time end_time narrative "
        "parent_session n_correct_trials n_trials extended_qc qc json"
    )
    found = {name: value for name, value in fields.items() if name in known.split()}
    if not present and "start_time" not in found:
        raise invalid(start_time="This field is required.")
    if "subject" in found and found["subject"] not in world.subjects:
        raise invalid(subject=f"Object with nickname={found['subject']} does not exist.")
    there = {
        "users": ("username", world.passwords), "procedures": ("name", world.procedures),
        "projects": ("name", world.projects), "lab": ("name", world.labs), "location": ("name", world.locations),
    }  # fmt: skip
    for field_name, (key, rows) in there.items():
        given = found.get(field_name)
        for name in given if isinstance(given, list) else [given]:
            if name is not None and name not in rows:
                raise invalid(**{field_name: f"Object with {key}={name} does not exist."})
    if "qc" in found and found["qc"] not in QC:
        raise invalid(qc="Invalid qc, choices are: CRITICAL, FAIL, WARNING, NOT_SET, PASS")
    for name in ("extended_qc", "json"):
        if not _is_json(found.get(name)):
            raise invalid(**{name: "Value must be valid JSON."})
    if "number" in found:
        found["number"] = int(found["number"])
    return json.loads(json.dumps(found))


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return not isinstance(value, float) or math.isfinite(value)


def _without(fields: dict, *names: str) -> dict:
    return {name: value for name, value in fields.items() if name not in names}


# -- tasks ------------------------------------------------------------------------------------------------------------


def _tasks(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        _require_uuid(key)
        if key not in world.tasks:
            raise not_found("Task")
        row = world.tasks[key]
        if call.method == "DELETE":
            _may_write(call)
            del world.tasks[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            row.update(_checked_task(world, call.fields))
            row["datetime"] = now()
        return 200, _task(row)
    if call.method == "POST":
        _may_write(call)
        fields = _checked_task(world, call.fields)
        if _has_task(world, fields):
            raise invalid(non_field_errors="The fields name, session, arguments must make a unique set.")
        if world.post_pause_s:
            world.lock.release()
            time.sleep(world.post_pause_s)
            world.lock.acquire()
            if _has_task(world, fields):
                raise failed(
                    'duplicate key value violates unique constraint "jobs_task_name_session_id_arguments_uniq"\n'
                    f"DETAIL:  Key (name, session_id)=({fields['name']}, {fields['session']}) already exists.\n"
                )
        defaults = dict.fromkeys(("level", "priority", "io_charge", "gpu", "cpu", "ram", "time_out_secs"))
        # Without a status the row is made all the same, and no list that holds it works from then on.
        status = fields.get("status")
        new = world.add_task(
            fields.get("session"),
            fields["name"],
            **defaults,
            graph=None,
            executable=None,
            data_repository=None,
            status=status,
        )
        world.tasks[new].update({"arguments": None, **fields})
        return 201, _task(world.tasks[new])
    rows = _task_rows(world, call)
    for row in rows:
        _task(row)
    return _page(world, call, rows, _task)


def _has_task(world: World, fields: dict) -> bool:
    """Return whether there is a task of a name, session and arguments; null arguments equal nothing."""
    if fields.get("arguments") is None:
        return False
    names = ("name", "session", "arguments")
    return any(all(row[name] == fields.get(name) for name in names) for row in world.tasks.values())


def _task_rows(world: World, call: Call) -> list[dict]:
    def session(row: dict) -> dict:
        return world.sessions.get(row["session"] or "", {})

    lookups = {
        "session__lab__name": lambda r: session(r).get("lab"),
        "data_repository__name": lambda r: r["data_repository"],
        "executable": lambda r: r["executable"],
        "pk": lambda r: r["id"],
        "session__subject__nickname": lambda r: session(r).get("subject"),
    }
    rows = _filtered(
        world, world.tasks.values(), call, lookups, "arguments, executable, graph, id, name, session, status"
    )
    if "status" in call.query:
        named = [name for name in STATUSES if name.lower() == call.query["status"].lower()]
        if not named:
            raise failed(f"Invalidstatus, choices are: {CHOICES}")
        rows = [row for row in rows if row["status"] == named[0]]
    if "session" in call.query:
        if not is_uuid(call.query["session"]):
            raise invalid(session=f"“{call.query['session']}” is not a valid UUID.")
        rows = [row for row in rows if row["session"] == call.query["session"]]
    if "lab" in call.query:
        rows = [row for row in rows if session(row).get("lab") == call.query["lab"]]
    for name in ("graph", "name", "executable"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]

    def order(row: dict) -> tuple:
        start = session(row).get("start_time", "")
        return row["level"] or 0, -(row["priority"] or 0), tuple(-ord(letter) for letter in start)

    return _shuffled(world, rows, order)


def _task(row: dict) -> dict:
    if row["status"] not in STATUSES:
        raise failed("list index out of range")
    return row


def _checked_task(world: World, fields: dict) -> dict:
    known = "parents session data_repository status name priority io_charge level gpu cpu ram time_out_secs "
    known += "time_elapsed_secs executable graph log version arguments"
    found = {name: value for name, value in fields.items() if name in known.split()}
    if "status" in found and found["status"] not in STATUSES:
        raise invalid(status=f"Invalid status, choices are: {CHOICES}")
    for name, longest in (("name", 64), ("graph", 64), ("version", 64), ("executable", 128)):
        if len(found.get(name) or "") > longest:
            raise invalid(**{name: f"Ensure this field has no more than {longest} characters."})
    if (found.get("time_out_secs") or 0) > 32767:
        raise invalid(time_out_secs="Ensure this value is less than or equal to 32767.")
    if "\0" in (found.get("log") or ""):
        raise invalid(log="Null characters are not allowed.")
    if not _is_json(found.get("arguments")) or not _is_json(found.get("time_elapsed_secs")):
        raise invalid(arguments="Value must be valid JSON.")
    if found.get("session") and found["session"] not in world.sessions:
        raise invalid(session=f"Object with id={found['session']} does not exist.")
    for parent in found.get("parents") or ():
        if parent not in world.tasks:
            raise invalid(parents=f"Object with id={parent} does not exist.")
    if found.get("data_repository") and found["data_repository"] not in world.repositories:
        raise invalid(data_repository=f"Object with name={found['data_repository']} does not exist.")
    return json.loads(json.dumps(found))


_IMAGES = ((b"\x89PNG", b"IEND\xaeB`\x82"), (b"\xff\xd8\xff", b"\xff\xd9"), (b"GIF8", b";"))
"""Beginnings and ends of whole images that Alyx takes."""


# -- notes ------------------------------------------------------------------------------------------------------------


def _notes(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        _require_uuid(key)
        if key not in world.notes:
            raise not_found("Note")
        if call.method == "DELETE":
            _may_write(call)
            del world.notes[key]
            return 204, None
        return 200, world.notes[key]
    if call.method == "POST":
        _may_write(call)
        return 201, _new_note(world, call)

    def tag(row: dict) -> object:
        return (row["json"] or {}).get("name")

    lookups = {"object_id": lambda r: r["object_id"], "text": lambda r: r["text"], "json__name": tag}
    rows = _filtered(
        world, world.notes.values(), call, lookups, "content_type, date_time, id, image, json, object_id, text"
    )
    return _page(world, call, rows, dict)


def _new_note(world: World, call: Call) -> dict:
    fields = call.fields
    if fields.get("content_type") != "session":
        raise failed("ContentType matching query does not exist.")
    if fields.get("object_id") not in world.sessions:
        raise failed("Session matching query does not exist.")
    given = fields.get("json")
    content = json.loads(given) if isinstance(given, str) else given
    new = str(uuid.uuid4())
    image = None
    if "image" in call.files:
        name, data = call.files["image"]
        if not any(data.startswith(start) and data.rstrip(b"\n").endswith(end) for start, end in _IMAGES):
            raise invalid(
                image="Upload a valid image. The file you uploaded was either not an image or a corrupted image."
            )
        stem, _, kind = name.rpartition(".")
        place = f"{now()[:10].replace('-', '/')}/{stem}.{fields['object_id']}.{kind}"
        while place in world.images:
            place = f"{place.rpartition('.')[0]}.{fields['object_id']}.{kind}"
        world.images[place] = data
        image = f"{world.url}/uploaded/{place}"
    world.notes[new] = {
        "id": new, "user": fields.get("user"), "date_time": now(), "content_type": "actions.session",
        "object_id": fields["object_id"], "text": fields.get("text"), "image": image, "json": content,
    }  # fmt: skip
    return world.notes[new]


def _uploaded(world: World, call: Call, key: str) -> tuple[int, object]:
    return 200, f"/data/alyx-var/uploaded/{key}"


def _insertions(world: World, call: Call, key: str) -> tuple[int, object]:
    known = {
        name: value for name, value in call.fields.items() if name in ("session", "model", "serial", "name", "json")
    }
    if key:
        _require_uuid(key)
        if key not in world.insertions:
            raise not_found("ProbeInsertion")
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            world.insertions[key].update(known)
        return 200, world.insertions[key]
    if call.method == "POST":
        _may_write(call)
        new = str(uuid.uuid4())
        world.insertions[new] = {"id": new, "datasets": [], **known}
        return 201, world.insertions[new]
    rows = list(world.insertions.values())
    for name in ("session", "name"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    return _page(world, call, rows, dict)


# -- datasets -----------------------------------------------------------------------------------------------------


def _datasets(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        _require_uuid(key)
        if key not in world.datasets:
            raise not_found("Dataset")
        row = world.datasets[key]
        if call.method == "DELETE":
            _may_write(call)
            if world.is_protected(row):
                why = f'Failed to delete dataset {row["name"]} due to protected tag(s) "{row["tags"][0]}"'
                raise Rejection(403, {"status_code": 403, "detail": why})
            del world.datasets[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            row.update({name: value for name, value in call.fields.items() if name in ("qc", "tags")})
            row["auto_datetime"] = now()
            return 200, _without(_dataset(world, row), "protected", "public")
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
    return _page(world, call, rows, lambda row: _dataset(world, row))


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


def _files(world: World, call: Call, key: str) -> tuple[int, object]:
    rows = [(row, record) for row in world.datasets.values() for record in row["file_records"]]
    if key:
        _require_uuid(key)
        found = [(row, record) for row, record in rows if record["id"] == key]
        if not found:
            raise not_found("FileRecord")
        if call.method in ("PATCH", "PUT"):
            _may_write(call)
            found[0][1].update({k: v for k, v in call.fields.items() if k in ("exists", "relative_path")})
        return 200, _file(world, *found[0])
    if "dataset" in call.query:
        rows = [(row, record) for row, record in rows if row["id"] == call.query["dataset"]]
    return _page(world, call, rows, lambda pair: _file(world, *pair))


def _file(world: World, row: dict, record: dict) -> dict:
    return {
        "url": f"{world.url}/files/{record['id']}", "dataset": f"{world.url}/datasets/{row['id']}",
        "data_repository": record["data_repository"], "name": "", "json": None,
        "relative_path": record["relative_path"], "exists": record["exists"],
    }  # fmt: skip


# -- registration -----------------------------------------------------------------------------------------------------


def _listed(value: object) -> list:
    if value is None:
        return []
    return value.split(",") if isinstance(value, str) else list(value)


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


def _check_protected(world: World, call: Call, key: str) -> tuple[int, object]:
    fields = {**call.query, **call.fields}
    session = _target(world, call, fields)
    _add_user(world, call, {"created_by": fields.get("created_by")}, session)
    found = _protected(world, session, _listed(fields.get("filenames")))
    if found:
        return 200, {"status_code": 403, "error": "One or more datasets is protected", "details": found}
    return 200, {"status_code": 200, "details": "None of the datasets are protected"}


def _register(world: World, call: Call, key: str) -> tuple[int, object]:
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    fields = call.fields
    filenames = _listed(fields.get("filenames"))
    session = _target(world, call, fields)
    user = _add_user(world, call, fields, session)
    if fields.get("name") is not None and fields["name"] not in world.repositories:
        raise Rejection(400, {"status_code": 400, "detail": "The specified repository does not exist."})
    labs = _listed(fields.get("labs")) or [session["lab"]]
    if any(lab not in world.labs for lab in labs):
        raise Rejection(400, {"status_code": 400, "detail": "One or more of the specified labs do not exist."})
    if fields.get("check_protected") and (found := _protected(world, session, filenames)):
        body = {"status_code": 403, "error": "One or more datasets is protected", "details": found}
        raise Rejection(403, body)
    empty = [None] * len(filenames)
    columns = [_listed(fields[name]) if name in fields else empty for name in ("hashes", "filesizes", "versions")]
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


def _sync_file_status(world: World, call: Call, key: str) -> tuple[int, object]:
    """Answer anybody, as Alyx does: its view names no permissions."""
    return 200, {}


def _new_download(world: World, call: Call, key: str) -> tuple[int, object]:
    """Answer anybody, as Alyx does: its view names no permissions."""
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    if call.fields.get("user") not in world.passwords:
        raise failed("LabMember matching query does not exist.")
    return 201, {"download": [], "count": []}


def _matches(name: str, pattern: str) -> bool:
    regex = "".join(".*" if letter == "*" else re.escape(letter) for letter in pattern)
    return re.fullmatch(regex, name, re.IGNORECASE) is not None


_HANDLERS: dict[str, Callable[[World, Call, str], tuple[int, object]]] = {
    "auth-token": _auth_token,
    "users": _users,
    "labs": _labs,
    "data-repository": _repositories,
    "subjects": _subjects,
    "dataset-types": _plain("types"),
    "data-formats": _plain("formats"),
    "weighings": _measured("weighings", "weighings"),
    "water-administrations": _measured("waters", "water-administrations"),
    "sessions": _sessions,
    "tasks": _tasks,
    "insertions": _insertions,
    "notes": _notes,
    "uploaded": _uploaded,
    "datasets": _datasets,
    "files": _files,
    "check-protected": _check_protected,
    "register-file": _register,
    "sync-file-status": _sync_file_status,
    "new-download": _new_download,
}
