"""A real browser for tests: headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import websocket
from browser_program import browser_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 60


class Page:
    """A page of the browser."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """Exceptions and errors of the page."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        content = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(content["exceptionDetails"].get("exception", {}).get("description")))
        elif message.get("method") == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.complaints.append(f"{content['entry']['text']} {content['entry'].get('url', '')}")

    def open(self, address: str) -> None:
        """Go to an address, and wait until its scripts ran."""
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, waited for if it is a promise."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + patience_s
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not true after {patience_s} s: {expression}"
            self.value("new Promise(requestAnimationFrame)")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, CSS pixels, and the preference for a dark page."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def browser_page(folder: Path) -> Iterator[Page]:
    """Start the browser with a profile of its own in a folder, and yield an empty page."""
    program = browser_program()
    assert program is not None
    profile = folder / "browser"
    switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    switches += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-dev-shm-usage", "about:blank"]
    process = subprocess.Popen([program, *switches], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        noted, end = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_S
        while not noted.is_file() or len(noted.read_text().split()) < 2:
            assert process.poll() is None, "the browser ended"
            assert time.monotonic() < end, "the browser did not start"
            time.sleep(0.05)
        port = noted.read_text().split()[0]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        socket = websocket.create_connection(address, timeout=PATIENCE_S, suppress_origin=True)
        try:
            yield Page(socket)
        finally:
            socket.close()
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
