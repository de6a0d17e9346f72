"""Output to the terminal: lines, errors and tables.

A failure of the output does not stop the program: text that cannot be printed is dropped, because its reader is gone
(`| head`), the terminal is closed or the disk of a log is full. Characters outside the encoding are replaced.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import TextIO, cast

from rich.console import Console
from rich.table import Table

from ibl_dask.errors import HEADINGS, IblDaskError
from ibl_dask.model.failure import Failure
from ibl_dask.report.lines import Line

_FILE_WIDTH = 160


class _Output:
    """The current standard output or standard error, with its errors suppressed."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def _stream(self) -> TextIO | None:  # None where it was closed before the program began
        found = getattr(sys, self._name)
        # While bars are shown, rich redirects the output of other code through itself.
        stream: TextIO | None = getattr(found, "rich_proxied_file", found)
        return stream

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # closed meanwhile
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            try:
                self._stream.write(text)  # type: ignore[union-attr]
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))  # type: ignore[union-attr]
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()  # type: ignore[union-attr]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Do nothing: the method of rich ends the program."""


def _console(name: str) -> Console:
    output = _Output(name)
    is_terminal = output.isatty()
    return _Console(file=cast("TextIO", output), highlight=False, soft_wrap=not is_terminal)


out = _console("stdout")
err = _console("stderr")


def print_whole(text: str) -> None:
    """Print text for another program completely, or raise; a reader that closes the pipe is no error."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201


def prepare_output() -> None:
    """Open closed standard streams, and let output and error replace characters outside their encoding.

    Otherwise the next file to be opened would get the descriptor of a closed stream, and messages of libraries would be
    written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def finish_output() -> None:
    """Flush the output; drop the rest where that fails, since Python would end with a status of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def show_error(error: IblDaskError) -> None:
    """Print an error, its five parts on lines of their own."""
    err.print(f"error: {error.what}", style="bold red", markup=False)
    for name, heading in HEADINGS.items():
        if text := getattr(error, name):
            err.print(f"  {heading.lower()}: {text}", markup=False)


def show_failure(subject: str, failure: Failure) -> None:
    """Print a failure of a run, its parts on lines of their own.

    Parameters
    ----------
    subject : str
        Session or file concerned, in front of the problem.
    failure : Failure
        The failure.
    """
    out.print(f"{subject}: {failure.what}", style="bold", markup=False)
    for heading, text in failure.parts:
        out.print(f"  {heading.lower()}: {text}", markup=False)


def print_lines(lines: Iterable[Line], console: Console | None = None) -> None:
    """Print lines, folded at the width of a terminal; whole in a file or a pipe, where they are searched.

    Parameters
    ----------
    lines : iterable of Line
        What to print.
    console : rich.console.Console, optional
        Where to; standard output by default.
    """
    target = out if console is None else console
    for line in lines:
        for part in line.folded(target.width) if target.is_terminal else [line.text]:
            target.print(part, style=line.style, markup=False, soft_wrap=True)


def table_width() -> int:
    """Return the width of tables: that of the terminal, or one that is enough for a file or a pipe, characters."""
    return out.width if out.is_terminal or "COLUMNS" in os.environ else _FILE_WIDTH


def print_table(table: Table) -> None:
    """Print a table; in a file or a pipe, without a terminal's width, nothing of it is folded or cut."""
    if out.is_terminal or "COLUMNS" in os.environ:
        out.print(table)
    else:
        Console(file=out.file, width=_FILE_WIDTH, highlight=False).print(table)
