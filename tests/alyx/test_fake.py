"""The fake Alyx refuses what Alyx refuses, also where no exchange was recorded."""

from __future__ import annotations

import io

import pytest
import requests
from fake_alyx import FakeAlyx

TOKENS = {"test_user": "0" * 39 + "1", "public_user": "0" * 39 + "3"}


def ask(fake: FakeAlyx, method: str, path: str, user: str | None = "test_user", **given) -> requests.Response:
    headers = {"Authorization": f"Token {TOKENS[user]}"} if user else {}
    return requests.request(method, fake.url + path, headers=headers, timeout=10, **given)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("users", ["nobody"], "Object with username=nobody does not exist."),
        ("projects", ["ibl_neuropixel_brainwide_01"], "Object with name=ibl_neuropixel_brainwide_01 does not exist."),
        ("lab", "nolab", "Object with name=nolab does not exist."),
        ("location", "no rig", "Object with name=no rig does not exist."),
        ("procedures", ["nope"], "Object with name=nope does not exist."),
    ],
)
def test_a_session_of_unknown_parts_is_refused(fake, method, field, value, reason) -> None:
    path = "/sessions" if method == "POST" else f"/sessions/{fake.world.add_session('TST_001')}"
    n_before = len(fake.world.sessions)
    body = {"subject": "TST_001", "start_time": "2026-11-20T12:00:00", "number": 3, field: value}
    answer = ask(fake, method, path, json=body)
    assert (answer.status_code, answer.json()) == (400, {field: [reason], "status_code": 400})
    assert len(fake.world.sessions) == n_before


def test_a_user_who_may_only_read_deletes_and_changes_nothing(fake) -> None:
    session = fake.world.add_session("TST_001")
    task = fake.world.add_task(session, "VideoCompress")
    dataset = fake.world.add_file(session, "alf/_ibl_leftCamera.times.npy", b"x")
    [record, _] = fake.world.datasets[dataset]["file_records"]
    for path in (f"/tasks/{task}", f"/datasets/{dataset}", f"/sessions/{session}"):
        assert ask(fake, "DELETE", path, "public_user").status_code == 403
    assert ask(fake, "PATCH", f"/files/{record['id']}", "public_user", json={"exists": False}).status_code == 403
    assert (list(fake.world.sessions), list(fake.world.tasks)) == ([session], [task])
    assert record["exists"]


@pytest.mark.parametrize("endpoint", ["sessions", "tasks", "datasets", "notes", "files", "insertions"])
def test_a_key_that_is_no_uuid_leads_to_a_page_of_html(fake, endpoint) -> None:
    answer = ask(fake, "GET", f"/{endpoint}/not-a-uuid")
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (404, "text/html")
    absent = ask(fake, "GET", f"/{endpoint}/f9502295-bd4c-4643-99a6-99278d7d75ac")
    assert (absent.status_code, absent.headers["Content-Type"]) == (404, "application/json")


def test_views_that_name_no_permissions_answer_anybody(fake) -> None:
    assert ask(fake, "GET", "/sync-file-status", None).status_code == 200
    assert ask(fake, "POST", "/new-download", None, json={"user": "test_user"}).status_code == 201
    assert ask(fake, "GET", "/sessions", None).status_code == 403


@pytest.mark.parametrize("query", ["number=x", "date_range=x"])
def test_a_filter_that_makes_no_sense_is_an_error_of_the_server(fake, query) -> None:
    fake.world.add_session("TST_001")
    answer = ask(fake, "GET", f"/sessions?{query}")
    assert (answer.status_code, answer.json()["status_code"]) == (500, 500)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "torn.png", "torn.jpg", "a.txt"])
def test_notes_take_whole_images_of_the_kinds_of_the_web(fake, name) -> None:
    from PIL import Image

    session = fake.world.add_session("TST_001")
    content = io.BytesIO()
    stem, _, kind = name.partition(".")
    if kind != "txt":
        Image.new("RGB", (9, 7), (200, 10, 10)).save(content, {"jpg": "JPEG"}.get(kind, kind.upper()))
    data = content.getvalue() or b"no image"
    body = {"user": "test_user", "content_type": "session", "object_id": session, "text": "x"}
    given = data[: len(data) // 2] if stem == "torn" else data
    answer = ask(fake, "POST", "/notes", data=body, files={"image": (name, given)})
    assert answer.status_code == (201 if stem == "a" and kind != "txt" else 400)
