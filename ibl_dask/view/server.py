"""Server of the viewer on this machine: pages, pictures and series of sessions, and verdicts on keypoints."""

from __future__ import annotations

import getpass
import hmac
import json
import logging
import re
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from ibl_dask.errors import IblDaskError, NotWritable, UsageError
from ibl_dask.tasks.pose.judging import decision_of, judge
from ibl_dask.view import page
from ibl_dask.view.session_view import SessionView

if TYPE_CHECKING:
    from ibl_dask.store.workspace import Workspace

_log = logging.getLogger(__name__)

HERE = "127.0.0.1"
"""The only address that is listened on: frames of a session are not for other machines."""
_OPEN_SESSIONS = 3
"""Sessions whose content is kept in memory."""
_LONGEST_VERDICT = 10_000
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A session that is served."""

    workspace: Workspace
    """The session."""
    outcome: str = ""
    """Outcome in the list of sessions; empty where it is not known."""


class ViewServer(ThreadingHTTPServer):
    """Server of some sessions.

    Its addresses begin with a secret word, which is printed for the user: other users of this machine, and pages of
    other sites in the user's browser, do not have it. Requests by another name of this machine are refused, so that no
    site can point a name of its own here.

    Parameters
    ----------
    sessions : sequence of Listed
        The sessions; with more than one, the first page is a list.
    opened : callable
        Workspace -> SessionView.
    port : int
        Port; any free one for 0.

    Raises
    ------
    UsageError
        If the port is taken.
    """

    daemon_threads = True

    def __init__(self, sessions: Sequence[Listed], opened: Callable[[Workspace], SessionView], port: int = 0) -> None:
        self.sessions = tuple(sessions)
        self.secret = secrets.token_urlsafe(16)
        self._opened = opened
        self._views: OrderedDict[int, SessionView] = OrderedDict()
        self._is_closed = False
        self._lock = threading.Lock()
        try:
            super().__init__((HERE, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(
                "this port cannot be used",
                where="--port",
                expected="a free port from 1024 to 65535",
                got=f"{port}: {error}",
                do="leave --port out, and any free one is taken",
            ) from error

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """Return the address of the first page."""
        return f"http://{HERE}:{self.port}/{self.secret}/"

    @property
    def tunnel(self) -> str:
        """Return the `ssh` command that forwards the server of a remote machine."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # in a container the user may be a number without a name
            user = "you"
        return f"ssh -N -L {self.port}:{HERE}:{self.port} {user}@{socket.gethostname()}"

    def view(self, number: int) -> SessionView:
        """Return the content of a session, and close that of one that nobody asked for lately.

        Raises
        ------
        ConnectionAbortedError
            If the server is closed.
        """
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError("the viewer is closed")
            found = self._views.pop(number, None) or self._opened(self.sessions[number].workspace)
            self._views[number] = found
            closed = self._views.popitem(last=False)[1] if len(self._views) > _OPEN_SESSIONS else None
        if closed is not None:
            closed.close()
        return found

    def server_close(self) -> None:
        """Close the socket and all videos."""
        super().server_close()
        with self._lock:  # requests that were accepted before are still answered
            self._is_closed = True
            views = list(self._views.values())
        for view in views:
            view.close()


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version, sys_version = "ibl_dask", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: object) -> None:  # the name of the base class
        """Print nothing: the terminal has the address."""

    def _answer(self, act: Callable[[list[str]], None]) -> None:
        """Answer a request; an error becomes an answer, never the end of the server."""
        self._has_begun = False
        parts = urlsplit(self.path).path.split("/")[1:]
        hosts = {f"{name}:{self.server.port}" for name in (HERE, "localhost")}
        is_known = bool(parts) and hmac.compare_digest(parts[0].encode(), self.server.secret.encode())
        try:
            if self.headers.get("Host") not in hosts or not is_known:
                self._refuse(
                    HTTPStatus.FORBIDDEN, UsageError("this is not the whole address", do="use the one printed")
                )
            else:
                act(parts[1:])
        except ConnectionError:
            self.close_connection = True
        except IblDaskError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error)
        except Exception as error:  # noqa: BLE001  # shown on the page
            _log.exception("the viewer cannot answer %s", "/".join(parts[1:]))
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, IblDaskError(f"{type(error).__name__}: {error}"))

    def _get(self, parts: list[str]) -> None:
        server = self.server
        if parts == [""]:
            if len(server.sessions) == 1:
                self._send(b"", "text/plain", HTTPStatus.FOUND, {"Location": "0/"})
            else:
                rows = [(each.workspace.session.reference, each.outcome) for each in server.sessions]
                self._send(page.render_list(rows).encode(), "text/html; charset=utf-8")
            return
        number = _number(parts, len(server.sessions))
        if number is None:
            self._refuse(HTTPStatus.NOT_FOUND, UsageError("there is no such page", got="/".join(parts)))
            return
        view, rest = server.view(number), parts[1:]
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        match rest:
            case [""]:
                head = {**page.head_of(view), "mode": "server", "by": _user(), "has_list": len(server.sessions) > 1}
                self._send(page.render_page(head).encode(), "text/html; charset=utf-8")
            case ["times", label]:
                self._send(view.camera(label).times_s.astype("<f8").tobytes(), "application/octet-stream")
            case ["frames", label, numbers]:
                self._send_frames(view, label, *_range(numbers))
            case ["keypoints", label, numbers]:
                self._send(page.keypoints_of(view, label, *_range(numbers)), "application/octet-stream")
            case ["series"]:
                self._send_json(
                    page.series_of(view, _float(query, "from"), _float(query, "to"), int(_float(query, "columns")))
                )
            case ["places"]:
                self._send_json(page.places_of(view))
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, UsageError("there is no such page", got="/".join(parts)))

    def _post(self, parts: list[str]) -> None:
        number = _number(parts, len(self.server.sessions))
        is_json = self.headers.get("Content-Type", "").partition(";")[0] == "application/json"
        is_secret = hmac.compare_digest(self.headers.get("X-Secret", "").encode(), self.server.secret.encode())
        if number is None or parts[1:] != ["verdict"] or not is_json or not is_secret:
            self._refuse(HTTPStatus.FORBIDDEN, UsageError("only the page of the viewer may give verdicts"))
            return
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LONGEST_VERDICT:
            raise UsageError("this verdict is too long, or empty", expected=f"1 to {_LONGEST_VERDICT} bytes")
        try:
            wish = json.loads(self.rfile.read(length))
            texts = {name: wish[name] for name in ("camera", "decision", "reason", "by")}
            if not all(isinstance(text, str) for text in texts.values()):
                raise TypeError("a text is needed")
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                "this is no verdict", expected="camera, decision, reason and by", got=str(error)
            ) from error
        view = self.server.view(number)
        view.camera(texts["camera"])
        verdict = judge(
            view.workspace, texts["camera"], decision_of(texts["decision"]), texts["reason"], texts["by"], view.tracker
        )
        self._send_json({"verdict": str(verdict)})

    def _send_frames(self, view: SessionView, label: str, first: int, last: int) -> None:
        """Send pictures as they are made, each after its length; the connection ends after the last."""
        pictures = view.pictures(label).jpegs(first, last)
        one = next(pictures)  # an error of the video comes before the first byte
        self._begin("application/octet-stream", HTTPStatus.OK, {})
        self.wfile.write(page.packed(one))
        for picture in pictures:
            self.wfile.write(page.packed(picture))

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value, allow_nan=False).encode(), "application/json")

    def _send(
        self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
    ) -> None:
        self._begin(kind, status, {"Content-Length": str(len(content)), **(headers or {})})
        self.wfile.write(content)

    def _begin(self, kind: str, status: HTTPStatus, headers: dict[str, str]) -> None:
        self._has_begun = True
        self.send_response(status)
        common = {"Content-Type": kind, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        policy = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        for name, value in {**common, **policy, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, error: IblDaskError) -> None:
        """Send an error in its parts; after the first byte of an answer, the connection just ends."""
        self.close_connection = True
        if self._has_begun:
            return
        if isinstance(error, NotWritable):
            status = HTTPStatus.CONFLICT
        parts = {name: getattr(error, name) for name in ("what", "where", "expected", "got", "do")}
        try:
            self._send(json.dumps({**parts, "message": str(error)}).encode(), "application/json", status)
        except ConnectionError:
            return


def _number(parts: list[str], n_sessions: int) -> int | None:
    is_one = bool(parts) and len(parts) > 1 and parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 9
    return int(parts[0]) if is_one and int(parts[0]) < n_sessions else None


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UsageError("this is no range of frames", expected="FIRST-LAST", got=text)
    return int(match[1]), int(match[2])


def _float(query: dict[str, str], name: str) -> float:
    try:
        return float(query[name])
    except (KeyError, ValueError) as error:
        raise UsageError("a number is missing", where=name, expected="a number", got=query.get(name, "")) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
