"""The fake Alyx answers each recorded request as Alyx did: status, kind of content, keys and types."""

from __future__ import annotations

import json
import re

import pytest
import requests
from fake_alyx import PNG, FakeAlyx, World
from fake_alyx.schema import openapi

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.sync import Writer
from ibl_dask.alyx.task_result import Output, TaskResult

pytestmark = pytest.mark.contract
MORE = re.compile(r"<\d+ more>")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TOKENS = {"test_user": "0" * 39 + "1", "public_user": "0" * 39 + "3"}
AS_PUBLIC = range(165, 171)
"""Recorded as the user who may only read."""
ANONYMOUS = {153, 154, 155}


def recorded(folder):
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9]-*.json")):
        exchange = json.loads(path.read_text())
        found.append((int(path.name[:3]), exchange["request"], exchange["response"]))
    return found


def world_of(exchanges):
    """Return a world with the sessions and tasks that any recorded answer shows."""
    world = World()
    world.passwords["test_user"] = "<password>"
    world.passwords["public_user"] = "<password>"
    sessions, tasks = {}, {}
    for _, _, response in exchanges:
        body = response["json"]
        rows = body.get("results", [body]) if isinstance(body, dict) else []
        for row in rows:
            if isinstance(row, dict) and {"executable", "parents"} <= row.keys():
                tasks.setdefault(row["id"], row)
            elif isinstance(row, dict) and {"task_protocol", "start_time"} <= row.keys():
                sessions.setdefault(row["id"], row)
    for key, row in sessions.items():
        world.add_session(row["subject"], row["start_time"][:10], row["number"], id=key)
    for key, row in tasks.items():
        world.add_task(row["session"], row["name"], id=key)
        world.tasks[key].update({**row, "status": "Waiting"})
    return world


def differences(real, ours, where=""):
    """Yield the places where two answers differ in keys or types; None fits everything."""
    if real is None or ours is None:
        return
    if where.endswith((".arguments", ".json", ".extended_qc")):
        return
    if isinstance(real, dict) and isinstance(ours, dict):
        for name in real.keys() ^ ours.keys():
            yield f"{where}.{name} is only in the {'recording' if name in real else 'fake'}"
        for name in real.keys() & ours.keys():
            yield from differences(real[name], ours[name], f"{where}.{name}")
    elif isinstance(real, list) and isinstance(ours, list):
        real = [row for row in real if not (isinstance(row, str) and MORE.fullmatch(row))]
        if real and ours:
            yield from differences(real[0], ours[0], f"{where}[0]")
    elif type(real) is not type(ours) and not {type(real), type(ours)} <= {int, float}:
        yield f"{where} is {type(real).__name__} in the recording and {type(ours).__name__} in the fake"


def send(fake, number, request, known):
    """Send a recorded request to the fake, with the ids that it gave to rows made meanwhile."""

    def mended(text):
        return UUID.sub(lambda match: known.get(match[0], match[0]), text)

    headers = {}
    if "Authorization" in request["headers"] and number not in ANONYMOUS:
        headers["Authorization"] = f"Token {TOKENS['public_user' if number in AS_PUBLIC else 'test_user']}"
    if number == 110:
        headers["Authorization"] = "Token " + "f" * 40
    query = {name: mended(value) for name, value in request["query"].items()}
    body = request["json"]
    given = {}
    if isinstance(body, dict) and "_encoding" in body:
        fields = {name: mended(value) for name, value in body.items() if name != "_encoding"}
        if body["_encoding"].startswith("multipart"):
            image = fields.pop("image", "")
            content = PNG if " 3295 bytes" in image else b"not an image"
            given = {"data": fields, "files": {"image": ("snap.png", content)}}
        else:
            if number == 107:
                fields["password"] = "wrong"
            given = {"data": fields}
    elif body is not None:
        text = body if isinstance(body, str) else json.dumps(body)
        given = {"data": mended(text).encode()}
        headers["Content-Type"] = "application/json"
    url = fake.url + mended(request["path"])
    return requests.request(request["method"], url, params=query, headers=headers, timeout=10, **given)


def learn(real, ours, known):
    """Note the id of each row that the fake made in the place of a recorded one."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for name in ("id", "url"):
            if isinstance(real.get(name), str) and isinstance(ours.get(name), str):
                pairs = zip(UUID.findall(real[name]), UUID.findall(ours[name]), strict=False)
                known.update(pairs)


def test_each_recorded_request_gets_an_answer_of_the_recorded_shape(alyx_contract):
    exchanges = recorded(alyx_contract)
    assert len(exchanges) > 180
    wrong, known = [], {}
    with FakeAlyx(world_of(exchanges)) as fake:
        tasks = dict(fake.world.tasks)
        for number, request, response in exchanges:
            if request["path"] == "/api/schema":
                continue
            prepare(fake, number, tasks)
            if number == 16:
                known.clear()
            answer = send(fake, number, request, known)
            where = f"{number:03} {request['method']} {request['path']}"
            if answer.status_code != response["status"]:
                wrong.append(f"{where}: {answer.status_code}, recorded {response['status']}: {answer.text[:200]}")
                continue
            media = response["headers"].get("Content-Type", "").split(";")[0]
            if answer.headers.get("Content-Type", "").split(";")[0] != media:
                wrong.append(f"{where}: {answer.headers.get('Content-Type')}, recorded {media}")
            if media == "application/json":
                real, ours = response["json"], answer.json()
                if isinstance(real, dict) and "results" not in real:
                    learn(real, ours, known)
                elif isinstance(real, list) and real and request["method"] == "POST" and ours:
                    learn(real[0], ours[0], known)
                wrong += [f"{where}: {text}" for text in differences(real, ours)]
                if response["status"] >= 400 and isinstance(real, dict) and number != 129:
                    wrong += [
                        f"{where}: {name}: {ours[name]!r}, recorded {real[name]!r}"
                        for name in real
                        if plain(real[name]) != plain(ours.get(name))
                    ]
            if "Retry-After" in response["headers"] and not answer.headers["Retry-After"].isdecimal():
                wrong.append(f"{where}: no whole number of seconds to wait")
    assert not wrong, "\n".join(wrong)


def plain(value):
    """Return a reason without the numbers and ids of rows."""
    return re.sub(r"\d+", "#", UUID.sub("ID", json.dumps(value)))


def prepare(fake, number, tasks):
    """Bring the fake to the state in which an exchange was recorded, where recordings before it were left out."""
    world = fake.world
    if number == 15:
        world.tasks.clear()
    elif number == 16:
        world.tasks.clear()
        world.tasks.update(tasks)
    elif number in (76, 180):
        world.tasks = {key: row for key, row in world.tasks.items() if row["name"] not in ("LightningPose", "tmp")}
    elif number == 142:
        session = next(row for row in world.sessions.values() if row["subject"] == "TST_001")
        register(fake, session, "alf/_ibl_rightCamera.times.npy")
    elif number == 184:
        world.tasks = {key: row for key, row in world.tasks.items() if row["status"]}
    elif number == 185:
        session = next(row for row in world.sessions.values() if row["subject"] == "TST_002")
        register(fake, session, "alf/r1/_ibl_rightCamera.times.npy")
        row = next(row for row in world.datasets.values() if row["collection"] == "alf/r1")
        world.datasets["second"] = {**row, "id": "e4734c45-1290-4648-afe9-3fd83e8e96c0"}
    elif number == 187:
        fake.throttle_per_minute = 1
        fake.is_throttled("test_user")


def register(fake, session, name):
    body = {
        "created_by": "test_user",
        "path": f"{session['subject']}/{session['start_time'][:10]}/{session['number']:03}",
        "filenames": [name],
        "name": "cortexlab_local",
        "hashes": ["0" * 32],
        "filesizes": [1],
        "versions": ["1"],
    }
    assert requests.post(f"{fake.url}/register-file", json=body, timeout=10).status_code == 201


def test_each_endpoint_of_the_fakes_schema_is_one_of_alyx_with_its_methods_and_filters(alyx_contract):
    real = json.loads((alyx_contract / "openapi-schema.json").read_text())["paths"]
    for path, methods in openapi()["paths"].items():
        assert methods.keys() <= real[path].keys(), path
        if path != "/check-protected" and "get" in methods:
            ours = {row["name"] for row in methods["get"]["parameters"]}
            # uploaded, users: filters that the recorded description leaves out
            theirs = {row["name"] for row in real[path]["get"].get("parameters", ())}
            assert ours <= theirs | {"limit", "offset"}, path


def test_what_this_package_sends_of_a_result_is_what_the_reference_sent(alyx_contract, tmp_path):
    """The recorded task registered a file of 1,070 bytes, then became Complete."""
    register, patch = (recorded(alyx_contract)[number - 1][1] for number in (41, 42))
    assert (register["path"], patch["json"]["status"]) == ("/register-file", "Complete")
    body = register["json"]
    with FakeAlyx() as fake:
        session = fake.world.add_session("TST_001")
        task = fake.world.add_task(session, "VideoRegisterRaw")
        spool = Spool(tmp_path)
        [path], [size], [md5] = body["filenames"], body["filesizes"], body["hashes"]
        given = patch["json"]
        result = TaskResult(
            body["path"],
            "VideoRegisterRaw",
            given["status"],
            task_id=task,
            session_id=session,
            log=given["log"],
            version=given["version"],
            seconds=given["time_elapsed_secs"],
            outputs=(Output(path, size, md5),),
        )
        spool.add(result)
        access = Access(fake.url, "test_user", Token(TOKENS["test_user"]))
        assert Writer(spool, Alyx(access), Registration(body["name"], body["labs"])).run().n_sent == 1
        sent = {row[1].split("/")[1]: json.loads(row[3]) for row in fake.requests if row[0] != "GET"}
    assert sent == {"register-file": body, "tasks": given}
