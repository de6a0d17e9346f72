"""Errors at the command line: each is printed, and an error of one session does not stop the others."""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ibl_dask.cli.console import show_error
from ibl_dask.errors import IblDaskError
from ibl_dask.model.failure import Failure
from ibl_dask.store.disk import explain_os_error


def known_error(error: Exception) -> IblDaskError:
    """Return an error as an `IblDaskError`; an unexpected one names its place and the file of its traceback."""
    if isinstance(error, IblDaskError):
        return error
    known = explain_os_error(error) if isinstance(error, OSError) else None
    if known is not None:
        return known
    if isinstance(error, OSError) and error.filename is not None:
        return IblDaskError(
            "the system refused this file or folder",
            where=str(error.filename),
            expected="to read or write it",
            got=error.strerror or str(error),
            do="check the path, and that the disk is mounted",
        )
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return IblDaskError(
        "an unexpected error occurred",
        where=where,
        expected="no error, or one that says what to do",
        got=f"{type(error).__name__}: {error}",
        do=f"report it with {_written(error)}",
    )


def printable(value: object) -> str:
    """Return a text in valid UTF-8: bytes of a file's name that are no text are written as escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def printable_failure(failure: Failure) -> Failure:
    """Return a failure whose texts are valid UTF-8."""
    return Failure.from_json({name: printable(text) for name, text in asdict(failure).items() if name != "notes"})


class Sessions:
    """Loop over sessions: an error of one is printed, and the others go on."""

    def __init__(self) -> None:
        self.code = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Print an error of one session, and set the exit code to 1."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            show_error(known_error(error))
            self.code = 1


def _written(error: Exception) -> str:
    """Write a traceback to a file and return its place; its last line where there is no room."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ibl-dask-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError:
        return text.strip().splitlines()[-1]
    return f"the file {file.name}"
