"""Tasks of the fake Alyx."""

from __future__ import annotations

import json
import time

from fake_alyx.calls import Call, failed, filtered, invalid, is_json, may_write, not_found, page, require_uuid, shuffled
from fake_alyx.world import STATUSES, World, is_uuid, now

CHOICES = "Waiting, Held, Started, Errored, Abandoned, Empty, Incomplete, Complete"


def tasks(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        require_uuid(key)
        if key not in world.tasks:
            raise not_found("Task")
        row = world.tasks[key]
        if call.method == "DELETE":
            may_write(call)
            del world.tasks[key]
            return 204, None
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            row.update(_checked_task(world, call.fields))
            row["datetime"] = now()
        return 200, _task(row)
    if call.method == "POST":
        may_write(call)
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
    return page(world, call, rows, _task)


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
    rows = filtered(
        world, world.tasks.values(), call, lookups, "arguments, executable, graph, id, name, session, status"
    )
    if "status" in call.query:
        named = [name for name in STATUSES if name.lower() == call.query["status"].lower()]
        if not named:
            raise failed(f"Invalidstatus, choices are: {CHOICES}")
        rows = [row for row in rows if row["status"] == named[0]]
    if call.query.get("session"):  # an empty filter is none, as Django has it
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

    return shuffled(world, rows, order)


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
    if not is_json(found.get("arguments")) or not is_json(found.get("time_elapsed_secs")):
        raise invalid(arguments="Value must be valid JSON.")
    if found.get("session") and found["session"] not in world.sessions:
        raise invalid(session=f"Object with id={found['session']} does not exist.")
    for parent in found.get("parents") or ():
        if parent not in world.tasks:
            raise invalid(parents=f"Object with id={parent} does not exist.")
    if found.get("data_repository") and found["data_repository"] not in world.repositories:
        raise invalid(data_repository=f"Object with name={found['data_repository']} does not exist.")
    return json.loads(json.dumps(found))
