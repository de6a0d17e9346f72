"""Calls of the fake Alyx, their rejections, and lists of rows in pages."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fake_alyx.world import World, is_uuid


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


def page(world: World, call: Call, rows: list[dict], render: Callable[[dict], dict]) -> tuple[int, object]:
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


def shuffled(world: World, rows: Iterable[dict], key: Callable[[dict], object] = lambda _: 0) -> list[dict]:
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


def filtered(world: World, rows: Iterable[dict], call: Call, lookups: dict[str, Callable[[dict], object]], names: str):
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


def require_uuid(key: str) -> None:
    """Answer a malformed key as Django does: no route fits it."""
    if not is_uuid(key):
        raise Rejection(404, None)


def may_write(call: Call) -> None:
    if call.user == "public_user" and call.method != "GET":
        raise Rejection(403, {"detail": "You do not have permission to perform this action.", "status_code": 403})


def is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(is_json, value.values()))
    if isinstance(value, list):
        return all(map(is_json, value))
    return not isinstance(value, float) or math.isfinite(value)


def without(fields: dict, *names: str) -> dict:
    return {name: value for name, value in fields.items() if name not in names}


def listed(value: object) -> list:
    if value is None:
        return []
    return value.split(",") if isinstance(value, str) else list(value)
