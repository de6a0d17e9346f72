"""Users, subjects and places of the fake Alyx, and the kinds of its files."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from fake_alyx.calls import Call, Rejection, filtered, invalid, may_write, not_found, page
from fake_alyx.world import World


def auth_token(world: World, call: Call, key: str) -> tuple[int, object]:
    if call.method != "POST":
        raise Rejection(405, {"detail": f'Method "{call.method}" not allowed.', "status_code": 405})
    for name in ("username", "password"):
        if name not in call.fields:
            raise invalid(**{name: "This field is required."})
    user = call.fields["username"]
    if world.passwords.get(user) != call.fields["password"]:
        raise invalid(non_field_errors="Unable to log in with provided credentials.")
    return 200, {"token": next(token for token, name in world.tokens.items() if name == user)}


def users(world: World, call: Call, key: str) -> tuple[int, object]:
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
    return page(world, call, names, render)


def labs(world: World, call: Call, key: str) -> tuple[int, object]:
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
    rows = filtered(
        world, rows, call, {"repositories__globus_endpoint_id": endpoints, "name": lambda r: r["name"]}, "name"
    )
    return page(world, call, rows, lambda row: render(row["name"]))


def repositories(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        row = world.repositories.get(key)
        if row is None:
            raise not_found("DataRepository")
        if call.method in ("PATCH", "PUT"):
            may_write(call)
            row.update({name: value for name, value in call.fields.items() if name in row})
        return 200, row
    rows = list(world.repositories.values())
    for name in ("globus_endpoint_id", "name"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    return page(world, call, rows, dict)


def subjects(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        if key not in world.subjects:
            raise not_found("Subject")
        return 200, {
            "url": f"{world.url}/subjects/{key}", **world.subjects[key],
            "weighings": [row for row in world.weighings.values() if row["subject"] == key],
            "water_administrations": [row for row in world.waters.values() if row["subject"] == key],
        }  # fmt: skip
    rows = [row for row in world.subjects.values() if call.query.get("nickname", row["nickname"]) == row["nickname"]]
    return page(world, call, rows, lambda row: {"url": f"{world.url}/subjects/{row['nickname']}", **row})


def plain(table: str) -> Callable[[World, Call, str], tuple[int, object]]:
    def handler(world: World, call: Call, key: str) -> tuple[int, object]:
        rows = getattr(world, table)
        if key:
            row = next((row for row in rows if row["name"] == key), None)
            if row is None:
                raise not_found(table.title())
            return 200, row
        return page(world, call, rows, dict)

    return handler


def measured(table: str, path: str) -> Callable[[World, Call, str], tuple[int, object]]:
    def handler(world: World, call: Call, key: str) -> tuple[int, object]:
        rows = getattr(world, table)
        if call.method == "POST":
            may_write(call)
            if call.fields.get("subject") not in world.subjects:
                raise invalid(subject=f"Object with nickname={call.fields.get('subject')} does not exist.")
            new = str(uuid.uuid4())
            rows[new] = {**call.fields, "url": f"{world.url}/{path}/{new}"}
            return 201, rows[new]
        return page(world, call, list(rows.values()), dict)

    return handler
