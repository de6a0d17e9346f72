"""Lines that a host prints: the last ones for errors, and those that no log has yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import IO

MOST_LINES = 2000
"""Printed lines that wait for the log; more are counted."""
TAIL_LINES = 25
"""Last printed lines in an error."""
LINE_CHARACTERS = 500
"""Longest line that is kept whole."""


class PrintedLines:
    """Lines that a process prints, as a thread of this process reads them."""

    def __init__(self) -> None:
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._waiting: deque[str] = deque(maxlen=MOST_LINES)
        self._n_lost = self._n_lines = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def tail(self) -> str:
        """Return the last lines."""
        with self._lock:
            return " | ".join(self._tail)

    @property
    def n_lines(self) -> int:
        """Return the number of lines so far."""
        return self._n_lines

    def follow(self, pipe: IO[bytes]) -> None:
        """Read a pipe from now on, to its end."""
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True, name="pose-host-stderr")
        self._thread.start()

    def take(self) -> list[str]:
        """Return the lines since the last call, for a log."""
        with self._lock:
            lines = [*([f"({self._n_lost:,} lines are left out)"] if self._n_lost else []), *self._waiting]
            self._waiting.clear()
            self._n_lost = 0
        return lines

    def wait_for_more(self, seen: int, timeout_s: float) -> None:
        """Wait for lines beyond a number of them."""
        end_s = time.monotonic() + timeout_s
        while self.n_lines <= seen and time.monotonic() < end_s:
            time.sleep(0.02)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the pipe, which a process of the process may keep open."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while content := pipe.readline(65_536):
                for line in content.decode(errors="replace").replace("\r", "\n").split("\n"):
                    if line.strip():
                        self._add(line.rstrip()[:LINE_CHARACTERS])

    def _add(self, line: str) -> None:
        with self._lock:
            self._n_lines += 1
            self._n_lost += len(self._waiting) == MOST_LINES
            self._tail.append(line)
            self._waiting.append(line)
