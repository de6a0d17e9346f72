"""Server of the viewer: exact answers to its own page, and none to anybody else."""

from __future__ import annotations

import http.client
import json
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from viewed_sessions import workspace_of

from ibl_dask.model.session import Session
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.view.server import Listed, ViewServer
from ibl_dask.view.session_view import SessionView

if TYPE_CHECKING:
    from pathlib import Path


def ask(
    server: ViewServer, path: str, method: str = "GET", body: str | None = None, secret: str | None = None, **headers
):
    """Return status, headers and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{server.secret if secret is None else secret}/{path}", body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def pictures_in(content: bytes) -> list[np.ndarray]:
    found, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        found.append(cv2.imdecode(np.frombuffer(content, np.uint8, length, at + 4), cv2.IMREAD_GRAYSCALE))
        at += 4 + length
    return found


@pytest.mark.parametrize("label", ["left", "right", "body"])
def test_frames_are_those_of_their_numbers_and_times_those_of_the_file(server, seen_session: Path, label: str) -> None:
    _, _, content = ask(server, f"0/frames/{label}/37-60")
    assert [read_frame_number(picture) for picture in pictures_in(content)] == list(range(37, 61))
    published = np.load(seen_session / "alf" / f"_ibl_{label}Camera.times.npy")
    np.testing.assert_array_equal(np.frombuffer(ask(server, f"0/times/{label}")[2], "<f8"), published)


def test_series_have_quality_residuals_likelihood_and_energy_of_the_session(server) -> None:
    status, _, content = ask(server, "0/series?from=0&to=60&columns=300")
    names = {track["name"] for track in json.loads(content)["tracks"]}
    assert status == 200
    assert names >= {"wheel", "left time quality", "left pulse residual", "left likelihood", "left brightness"}
    assert any(name.startswith("right motion energy") for name in names)


def test_a_failing_check_leads_to_its_frame(server, seen_session: Path) -> None:
    places = json.loads(ask(server, "0/places")[2])["places"]
    gap = next(place for place in places if (place["camera"], place["title"]) == ("left", "frame_intervals"))
    times = np.load(seen_session / "alf" / "_ibl_leftCamera.times.npy")
    assert gap["outcome"] == "FAIL"
    assert gap["frame"] == np.argmax(np.diff(times))
    assert gap["time"] == times[gap["frame"]]


def test_the_page_is_whole_and_asks_no_other_server(server) -> None:
    status, headers, content = ask(server, "0/")
    text = content.decode()
    assert status == 200
    assert "http:" not in text.replace(server.address, "")
    assert "https:" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(server, "")[1]["Location"] == "0/"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("0/frames/left/0-999999", 400),
        ("0/frames/left/9-3", 400),
        ("0/frames/left/../../etc/passwd", 404),
        ("0/frames/top/0-3", 400),
        ("0/times/..%2f..", 400),
        ("0/series?from=5&to=1&columns=10", 400),
        ("0/series?from=nan&to=1&columns=10", 400),
        ("0/series?from=0&to=1&columns=1000000000", 400),
        ("0/series", 400),
        ("7/", 404),
        ("nothing", 404),
    ],
)
def test_what_does_not_exist_is_refused_with_a_reason_and_the_server_goes_on(server, path: str, status: int) -> None:
    got, _, content = ask(server, path)
    assert got == status
    assert json.loads(content)["what"]
    assert ask(server, "0/times/left")[0] == 200


def test_others_get_nothing_without_the_secret_or_by_another_name(server) -> None:
    assert ask(server, "0/frames/left/0-1", secret="guess")[0] == 403
    assert ask(server, "0/", secret="")[0] == 403
    assert ask(server, "0/frames/left/0-1", Host=f"evil.example:{server.port}")[0] == 403


def verdict(**changes: str) -> str:
    return json.dumps({"camera": "left", "decision": "exclude", "reason": "lens  fogged", "by": "ada", **changes})


def test_a_verdict_is_written_as_by_the_command(server, seen_session: Path) -> None:
    headers = {"Content_Type": "application/json", "X_Secret": server.secret}
    status, _, content = ask(server, "0/verdict", "POST", verdict(), **headers)
    assert status == 200
    (last,) = read_verdicts(Session(seen_session))[-1:]
    assert (last.camera, last.decision, last.reason, last.by, last.tracker) == (
        "left",
        "exclude",
        "lens fogged",
        "ada",
        "dlc",
    )
    assert str(last) == json.loads(content)["verdict"]
    assert json.loads(ask(server, "0/places")[2])["verdicts"] == {"left": str(last)}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (verdict(), {"Content_Type": "application/json"}),
        (verdict(), {"Content_Type": "text/plain", "X_Secret": "{}"}),
        (verdict(), {"Content_Type": "application/json", "X_Secret": "guess"}),
        (verdict(reason=" "), {"Content_Type": "application/json", "X_Secret": "{}"}),
        (verdict(decision="burn"), {"Content_Type": "application/json", "X_Secret": "{}"}),
        (verdict(camera="top"), {"Content_Type": "application/json", "X_Secret": "{}"}),
        (verdict(camera="right"), {"Content_Type": "application/json", "X_Secret": "{}"}),
        ("[]", {"Content_Type": "application/json", "X_Secret": "{}"}),
        ("{", {"Content_Type": "application/json", "X_Secret": "{}"}),
        (verdict(reason="x" * 20_000), {"Content_Type": "application/json", "X_Secret": "{}"}),
    ],
)
def test_other_sites_and_bad_verdicts_write_nothing(server, seen_session: Path, body: str, headers: dict) -> None:
    before = read_verdicts(Session(seen_session))
    given = {name: value.replace("{}", server.secret) for name, value in headers.items()}
    status, _, content = ask(server, "0/verdict", "POST", body, **given)
    assert status in (400, 403)
    assert json.loads(content)["what"]
    assert read_verdicts(Session(seen_session)) == before


def test_an_unforeseen_error_is_an_answer_and_a_traceback_for_whoever_started_the_server(
    server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(number: int) -> None:
        raise ZeroDivisionError(f"session {number}")

    monkeypatch.setattr(server, "view", fail)
    status, _, content = ask(server, "0/places")
    assert status == 500
    assert "ZeroDivisionError: session 0" in json.loads(content)["message"]
    assert "ZeroDivisionError: session 0" in caplog.text
    assert server.secret not in caplog.text
    monkeypatch.undo()
    assert ask(server, "0/places")[0] == 200


def test_a_request_that_comes_while_the_viewer_closes_opens_nothing(seen_session: Path) -> None:
    server = ViewServer([Listed(workspace_of(seen_session))], SessionView)
    server.view(0)
    server.server_close()
    with pytest.raises(ConnectionError):
        server.view(0)
