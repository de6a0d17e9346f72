"""Servers that send more than they should, or send a client elsewhere: nothing secret follows, and no disk fills."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from loopback_server import LoopbackServer, send

from ibl_dask.alyx.client import Alyx, Limits, fetch_token
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.data_login import DataLogin
from ibl_dask.alyx.downloads import DownloadLimits, Downloads
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.remote_files import RemoteFile
from ibl_dask.errors import AlyxRefused, AlyxUnreachable, DownloadFailed

TOKEN = "0" * 39 + "1"
FEW = Backoff(0.001, 0.01, 2)
LIMITS = DownloadLimits(2.0, 20.0, backoff=FEW)


@pytest.fixture
def other():
    """Return a server of somebody else, which answers everything."""
    with LoopbackServer(lambda handler: send(handler, 200, b'{"token": "1234567890"}')) as server:
        yield server


def to(other: LoopbackServer, status: int):
    """Return the answer of a server that sends its clients to another host."""
    return lambda handler: send(handler, status, Location=f"http://localhost:{other.port}/x")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_alyx_that_redirects_does_not_get_the_token_sent_elsewhere(other: LoopbackServer, status: int) -> None:
    quick = Limits(per_minute=6e5, connect_s=2, read_s=5, patience_s=1, backoff=FEW)
    with LoopbackServer(to(other, status)) as server:
        alyx = Alyx(Access(server.url, "me", Token(TOKEN)), quick)
        for call in (
            lambda: alyx.read("labs", "x"),
            lambda: alyx.change("sessions", "x", {"qc": "PASS"}),
            lambda: fetch_token(server.url, "me", "secret words", quick),
        ):
            with pytest.raises((AlyxRefused, AlyxUnreachable)):
                call()
        assert server.logins[0] == f"Token {TOKEN}"
    assert other.logins == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_server_of_files_that_redirects_keeps_the_password(
    other: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with LoopbackServer(to(other, status)) as server:
        downloads = Downloads(DataLogin(server.url, "me", "secret words"), LIMITS)
        downloads.bring(RemoteFile("a", "x.npy", urls=(f"{server.url}/f",)), tmp_path / "part")
        assert (tmp_path / "part").read_bytes() == b'{"token": "1234567890"}'
        assert server.logins[0].startswith("Basic ")
    assert other.logins == [None]


def test_a_redirect_within_the_server_of_files_keeps_its_login(tmp_path: Path) -> None:
    def answer(handler) -> None:
        if handler.path == "/f":
            send(handler, 302, Location="/g")
        else:
            send(handler, 200, b"content")

    with LoopbackServer(answer) as server:
        downloads = Downloads(DataLogin(server.url, "me", "secret words"), LIMITS)
        downloads.bring(RemoteFile("a", "x.npy", urls=(f"{server.url}/f",)), tmp_path / "part")
        assert len(server.logins) == 2
        assert server.logins[0] == server.logins[1]


class Watch:
    """Notes the largest size of a part while it comes."""

    def __init__(self, part: Path) -> None:
        self.part, self.largest = part, 0

    def __call__(self) -> bool:
        self.largest = max(self.largest, self.part.stat().st_size if self.part.exists() else 0)
        return False


def endless(handler) -> None:
    """Send 50 MB without a length."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(50):
            handler.wfile.write(b"x" * 1_000_000)
    except OSError:
        handler.close_connection = True


def continuing(handler) -> None:
    """Send 50 MB, from the place that was asked for."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    ranged = {"Content_Range": f"bytes {start}-{len(LONG) - 1}/{len(LONG)}"} if start else {}
    send(handler, 206 if start else 200, LONG[start:], **ranged)


LONG = b"x" * 50_000_000


@pytest.mark.parametrize(
    "answer",
    [endless, lambda handler: send(handler, 200, LONG), continuing],
    ids=["without a length", "with its length", "continued"],
)
@pytest.mark.parametrize("size", [100_000, None], ids=["of known size", "of unknown size"])
def test_no_more_is_written_than_the_file_may_have(tmp_path: Path, answer, size: int | None) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"part")
    watch = Watch(part)
    with LoopbackServer(answer) as server:
        downloads = Downloads(DataLogin(), replace(LIMITS, most_bytes=1_000_000), watch, lambda _: None)
        with pytest.raises(DownloadFailed) as caught:
            downloads.bring(RemoteFile("a", "x.npy", size, urls=(f"{server.url}/f",)), part)
    assert 0 < watch.largest <= (size or 1_000_000)
    assert not part.exists()
    assert ("more than 100000 bytes" if size else "of no size in Alyx") in caught.value.got


def test_an_encoded_answer_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with LoopbackServer(lambda handler: send(handler, 200, bomb, Content_Encoding="gzip")) as server:
        downloads = Downloads(DataLogin(), LIMITS)
        for size in (10, None, len(bomb)):
            with pytest.raises(DownloadFailed, match="an encoded answer"):
                downloads.bring(RemoteFile("a", "x.npy", size, urls=(f"{server.url}/f",)), tmp_path / "part")
    assert not (tmp_path / "part").exists()
