"""Messages to and from a host, each within a time: the counterpart of `host_main`."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 20
MOST_HEADER_BYTES = 1 << 22
"""Largest header of an answer: more is no answer of a host."""


class ChannelClosed(Exception):
    """The process at the other end is gone."""


class NoAnswer(Exception):
    """The process at the other end took too long."""


class BadAnswer(Exception):
    """The other end wrote something that is no message."""


class Channel:
    """Two pipes, of messages to a process and from it.

    Parameters
    ----------
    writing, reading
        File descriptors; they become non-blocking.
    """

    def __init__(self, writing: int, reading: int) -> None:
        self._writing, self._reading = writing, reading
        self._buffer = bytearray()
        os.set_blocking(writing, False)
        os.set_blocking(reading, False)

    def send(self, header: Mapping[str, Any], content: bytes = b"", *, timeout_s: float) -> None:
        """Write a message.

        Raises
        ------
        ChannelClosed, NoAnswer
            If the other end is gone, or does not read it in time.
        """
        end = time.monotonic() + timeout_s
        payload = memoryview(content)
        text = json.dumps({**header, "n_bytes": payload.nbytes}).encode()
        for part in (memoryview(_LENGTH.pack(len(text)) + text), payload):
            while part:
                _wait(self._writing, select.POLLOUT, end)
                try:
                    part = part[os.write(self._writing, part) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise ChannelClosed from error

    def receive(self, *, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Return the header and the raw bytes of the next message.

        Raises
        ------
        ChannelClosed, NoAnswer, BadAnswer
            If the other end is gone, does not answer in time, or writes something else.
        """
        end = time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size, end))
        if length > MOST_HEADER_BYTES:
            raise BadAnswer(f"a header of {length:,} bytes")
        try:
            header = json.loads(self._take(length, end))
            n_bytes = int(header["n_bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer(f"no header: {error}") from error
        return header, self._take(n_bytes, end)

    def _take(self, n_bytes: int, end: float) -> bytes:
        while len(self._buffer) < n_bytes:
            _wait(self._reading, select.POLLIN, end)
            try:
                found = os.read(self._reading, _READ_BYTES)
            except BlockingIOError:
                continue
            if not found:
                raise ChannelClosed
            self._buffer += found
        taken = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return taken


def _wait(descriptor: int, event: int, end: float) -> None:
    """Wait until a pipe is ready, or its other end gone."""
    poll = select.poll()
    poll.register(descriptor, event)
    while True:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise NoAnswer
        if poll.poll(left_s * 1000):
            return
