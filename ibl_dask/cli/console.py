"""The terminal: where lines go, and how an error reads.

Nobody who watches can stop a program: what cannot be printed is left out, whether its reader is gone (`| head`), the
terminal is, or the disk under a log is full. What an encoding does not hold is replaced.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO, cast

from rich.console import Console
from rich.table import Table

from ibl_dask.errors import HEADINGS, IblDaskError
from ibl_dask.model.failure import Failure

_FILE_WIDTH = 160


class _Output:
    """What is standard output or standard error at the time, without its errors."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def _stream(self) -> TextIO | None:  # None where it was closed before the program began
        found = getattr(sys, self._name)
        # While bars are shown, rich sends what others print through itself.
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
        """Go on: otherwise this ends the program."""


def _console(name: str) -> Console:
    output = _Output(name)
    is_terminal = output.isatty()
    return _Console(file=cast("TextIO", output), highlight=False, soft_wrap=not is_terminal)


out = _console("stdout")
err = _console("stderr")


def print_whole(text: str) -> None:
    """Print what a program reads: all of it or an error, unless its reader wants no more."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201


def prepare_output() -> None:
    """Let standard output and error replace what their encoding does not hold, and be open.

    Otherwise the next file that is opened would take the place of one that is closed, and what a library complains of
    would be written into it.
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
    """Print what is still to be printed; what nobody can take is dropped, or Python would end with a status for it."""
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


def print_table(table: Table) -> None:
    """Print a table; where no terminal is too narrow for it, in a file or a pipe, nothing of it is folded or cut."""
    if out.is_terminal or "COLUMNS" in os.environ:
        out.print(table)
    else:
        Console(file=out.file, width=_FILE_WIDTH, highlight=False).print(table)
