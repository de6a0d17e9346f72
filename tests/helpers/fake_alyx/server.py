"""HTTP of the fake Alyx."""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from fake_alyx.endpoints import Call, Rejection, answer
from fake_alyx.faults import Faults
from fake_alyx.schema import openapi
from fake_alyx.world import FILES, World

HTML_404 = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n  <h1>Not Found</h1>'
    "<p>The requested resource was not found on this server.</p>\n</body>\n</html>\n"
)

OPEN = ("/auth-token", "/register-file", "/check-protected", "/sync-file-status", "/new-download")
"""Paths that ask for no token."""


class FakeAlyx:
    """A server; a context manager that starts and stops it.

    `url` is its address, `world` its rows, `faults` its failures, `requests` a list of (method, path, query, body).
    """

    def __init__(self, world: World | None = None, faults: Faults | None = None, throttle_per_minute: int = 0) -> None:
        self.world = world or World()
        self.faults = faults or Faults()
        self.throttle_per_minute = throttle_per_minute
        self.notices: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict, object]] = []
        self.times: dict[str, list[float]] = {}
        self.file_requests: list[tuple[str, str, str]] = []
        """(path, Range, Authorization) of each request of a file."""
        self._port = 0
        self._kept: socket.socket | None = None
        """Holds the port while the server is stopped."""
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> FakeAlyx:
        """Start to listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        self._give_port_back()
        self.url = self.world.url = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop to listen: connections are refused, and those that exist break. The port is kept, to start again."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_open()
            self._server = None
            self._kept = socket.socket()
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.bind(("127.0.0.1", self._port))

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._give_port_back()

    def _give_port_back(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def __enter__(self) -> FakeAlyx:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def n_requests(self, method: str = "", path: str = "") -> int:
        """Return the number of requests of a method and of paths that begin so."""
        return sum(row[0].startswith(method) and row[1].startswith(path) for row in list(self.requests))

    def is_throttled(self, user: str) -> str:
        """Return the seconds to wait, as `Retry-After` has them; empty if the request may go on."""
        if not self.throttle_per_minute:
            return ""
        now = time.monotonic()
        times = self.times.setdefault(user, [])
        times[:] = [t for t in times if t > now - 60]
        if len(times) >= self.throttle_per_minute:
            return str(math.ceil(times[0] + 60 - now))
        times.append(now)
        return ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: socket.socket, client_address: object) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_open(self) -> None:
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about connections that clients close."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    fake: FakeAlyx

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        fake = self.fake
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        kind = fake.faults.draw(self.command, path)
        fake.requests.append((self.command, path, query, raw))
        if path.startswith(FILES):
            return self._send_file(path.removeprefix(FILES), kind)
        if kind in ("drop_before", "hang_before"):
            return self._drop(fake.faults.hang_s if kind == "hang_before" else 0)
        if kind == "500":
            return self._send(500, {"status_code": 500, "detail": "the database system is starting up"})
        if kind == "502":
            return self._send(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")
        if kind == "throttle":
            return self._throttled(fake.faults.retry_after)
        status, content, media = self._carry_out(path, query, raw)
        if kind in ("drop_after", "hang_after"):
            return self._drop(fake.faults.hang_s if kind == "hang_after" else 0)
        if status == 429:
            return self._throttled(str(content))
        return self._send(status, content, media)

    def _send_file(self, path: str, kind: str) -> None:
        """Send a file, or its end, as the server of the field's files does."""
        given = self.headers.get("Range", "")
        self.fake.file_requests.append((path, given, self.headers.get("Authorization", "")))
        if kind in ("drop_before", "hang_before"):
            return self._drop(self.fake.faults.hang_s if kind == "hang_before" else 0)
        content = self.fake.world.files.get(path)
        status = {"404": 404, "503": 503, "500": 500}.get(kind, 200 if content is not None else 404)
        if content is None or status != 200:
            return self._send(status, f"<html><h1>{status}</h1></html>", "text/html")
        content = bytes(reversed(content)) if kind == "wrong" else content
        start = int(given.removeprefix("bytes=").partition("-")[0] or 0)
        if start and start >= len(content):
            return self._send(416, "<html><h1>416</h1></html>", "text/html")
        self.send_response(206 if given else 200)
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if kind == "truncate" else rest)
        self.wfile.flush()
        return self._drop(0) if kind == "truncate" else None

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815  # names of the library

    def _carry_out(self, path: str, query: dict, raw: bytes) -> tuple[int, object, str]:
        fake = self.fake
        if path == "/api/schema":
            return 200, openapi(), "application/vnd.oai.openapi+json"
        try:
            user = self._user(path)
            if wait := fake.is_throttled(user or "anonymous"):
                return 429, wait, ""
            call = Call(self.command, path, query, *self._body(raw), user)
            with fake.world.lock:
                status, content = answer(fake.world, call)
                content = json.loads(json.dumps(content))
            return status, content, "text/html; charset=utf-8" if path.startswith("/uploaded/") else "application/json"
        except Rejection as rejection:
            if rejection.status == 404 and rejection.body is None:
                return 404, HTML_404, "text/html; charset=utf-8"
            return rejection.status, rejection.body, "application/json"
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # as Django answers whatever is not caught
            return 500, {"status_code": 500, "detail": str(error)}, "application/json"

    def _user(self, path: str) -> str | None:
        given = self.headers.get("Authorization", "")
        if not given:
            if path in OPEN:
                return None
            raise Rejection(403, {"detail": "Authentication credentials were not provided.", "status_code": 403})
        user = self.fake.world.tokens.get(given.removeprefix("Token "))
        if user is None:
            raise Rejection(403, {"detail": "Invalid token.", "status_code": 403})
        return user

    def _body(self, raw: bytes) -> tuple[object, dict[str, tuple[str, bytes]]]:
        media = self.headers.get("Content-Type", "")
        if not raw:
            return {}, {}
        if media.startswith("multipart/form-data"):
            fields: dict[str, object] = {}
            files: dict[str, tuple[str, bytes]] = {}
            boundary = b"--" + media.partition("boundary=")[2].strip('"').encode()
            for part in raw.split(boundary)[1:-1]:
                head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
                content = content.removesuffix(b"\r\n")
                given = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
                if "filename" in given:
                    files[given["name"]] = (given["filename"], content)
                else:
                    fields[given["name"]] = content.decode()
            return fields, files
        if media.startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(raw.decode(), keep_blank_values=True)), {}
        try:
            return json.loads(raw), {}
        except ValueError as error:
            raise Rejection(400, {"detail": f"JSON parse error - {error}", "status_code": 400}) from error

    def _drop(self, after_s: float) -> None:
        if after_s:
            time.sleep(after_s)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _throttled(self, wait: str) -> None:
        body = {"detail": f"Request was throttled. Expected available in {wait} seconds.", "status_code": 429}
        self._send(429, body, headers={"Retry-After": wait})

    def _send(self, status: int, content: object, media: str = "application/json", headers: dict | None = None) -> None:
        text = content if isinstance(content, str) and media.startswith("text/") else json.dumps(content)
        data = b"" if status == 204 else text.encode()
        self.send_response(status)
        for name, value in {**self.fake.notices, **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
