"""Notes of the fake Alyx."""

from __future__ import annotations

import json
import uuid

from fake_alyx.calls import Call, failed, filtered, invalid, may_write, not_found, page, require_uuid
from fake_alyx.world import World, now

_IMAGES = ((b"\x89PNG", b"IEND\xaeB`\x82"), (b"\xff\xd8\xff", b"\xff\xd9"), (b"GIF8", b";"))
"""Beginnings and ends of whole images that Alyx takes."""


def notes(world: World, call: Call, key: str) -> tuple[int, object]:
    if key:
        require_uuid(key)
        if key not in world.notes:
            raise not_found("Note")
        if call.method == "DELETE":
            may_write(call)
            del world.notes[key]
            return 204, None
        return 200, world.notes[key]
    if call.method == "POST":
        may_write(call)
        return 201, _new_note(world, call)

    def tag(row: dict) -> object:
        return (row["json"] or {}).get("name")

    lookups = {"object_id": lambda r: r["object_id"], "text": lambda r: r["text"], "json__name": tag}
    rows = filtered(
        world, world.notes.values(), call, lookups, "content_type, date_time, id, image, json, object_id, text"
    )
    return page(world, call, rows, dict)


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


def uploaded(world: World, call: Call, key: str) -> tuple[int, object]:
    return 200, f"/data/alyx-var/uploaded/{key}"
