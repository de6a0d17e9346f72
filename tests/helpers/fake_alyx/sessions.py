"""Sessions of the fake Alyx."""

from __future__ import annotations

import json

from fake_alyx.calls import (
    Call,
    failed,
    filtered,
    invalid,
    is_json,
    may_write,
    not_found,
    page,
    require_uuid,
    shuffled,
    without,
)
from fake_alyx.world import LIST_OF_SESSION, QC, World, now

SESSION_FIELDS = (
    "auto_datetime, data_dataset_session_related, end_time, extended_qc, field_of_view, id, json, lab, lab_id, "
    "location, location_id, n_correct_trials, n_trials, name, narrative, number, parent_session, parent_session_id, "
    "probe_insertion, procedures, projects, qc, session, start_time, subject, subject_id, task_protocol, tasks, type, "
    "users, wateradmin_session_related"
)


def sessions(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        require_uuid(key)
        if key not in world.sessions:
            raise not_found("Session")
        row = world.sessions[key]
        if call.method == "DELETE":
            may_write(call)
            del world.sessions[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            row.update(_checked_session(world, call.fields, row))
            row["auto_datetime"] = now()
        return 200, _session(world, row)
    if call.method == "POST":
        may_write(call)
        fields = _checked_session(world, call.fields, {})
        new = world.add_session(call.fields["subject"], str(fields["start_time"])[:10], **without(fields, "subject"))
        return 201, _session(world, world.sessions[new])
    lookups = {"pk": lambda r: r["id"], "id": lambda r: r["id"], "lab__name": lambda r: r["lab"]}
    rows = filtered(world, world.sessions.values(), call, lookups, SESSION_FIELDS)
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
    rows = shuffled(world, rows, lambda row: tuple(-ord(letter) for letter in row["start_time"]))
    return page(world, call, rows, lambda row: {name: _session(world, row)[name] for name in LIST_OF_SESSION})


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
        if not is_json(found.get(name)):
            raise invalid(**{name: "Value must be valid JSON."})
    if "number" in found:
        found["number"] = int(found["number"])
    return json.loads(json.dumps(found))
