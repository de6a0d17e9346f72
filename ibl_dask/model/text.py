"""Text files as computers of all kinds write them: a byte-order mark first, lines that end in CR LF."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def decode(content: bytes) -> str:
    r"""Return the text of a file, with `\n` at the ends of lines and no byte-order mark.

    The encoding is that of the byte-order mark, else UTF-8, whatever the language of the computer.

    Raises
    ------
    UnicodeDecodeError
        If the bytes are no text in that encoding.
    """
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding).replace("\r\n", "\n")
    return content.decode("utf-8").replace("\r\n", "\n")


def plain(content: bytes) -> bytes:
    """Return the bytes of a file in UTF-8 without a byte-order mark, with lines that end in LF.

    Bytes that are no text in any of these forms are returned unchanged.
    """
    if any(content.startswith(mark) for mark in _MARKS if mark != codecs.BOM_UTF8):
        try:
            content = decode(content).encode()
        except UnicodeDecodeError:
            return content
    content = content.removeprefix(codecs.BOM_UTF8)
    return content.replace(b"\r\n", b"\n") if b"\r" in content else content


def read_text(path: Path) -> str:
    """Return the text of a file; see `decode`."""
    return decode(path.read_bytes())
