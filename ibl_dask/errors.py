"""Tree of the errors that a user can meet.

::

    IblDaskError
    |-- InputError (ValueError)            the data on disk do not meet the needs of the step
    |   |-- NotASession                    the path does not end in subject/YYYY-MM-DD/NNN
    |   |-- DescriptionError               the experiment description is absent or unusable
    |   |-- OutsideSession                 a folder or label that does not stay inside its session
    |   |-- MissingFile (FileNotFoundError)  a file of the session is missing
    |   |-- NotReadable (PermissionError)  a file or folder that may not be read
    |   |-- UnreadableVideo                the container cannot be indexed, or frames have no times
    |   |-- DecodeFailed                   frames of the index do not come out of the decoder
    |   |-- TruncatedFile                  a binary file ends inside a record
    |   |-- UnequalLengths                 files about the same frames disagree on their number
    |   |-- UnusableFile                   a file has content that makes no sense
    |   |-- NoPulses                       the sync holds no pulse of this camera
    |   |-- ClocksDisagree                 camera clock, nominal rate and pulses show different rates
    |   `-- PulseCountMismatch             too many frames have no pulse
    |-- OutputError (OSError)              a result cannot be written, or the target does not belong to this package
    |   |-- NotWritable                    read-only folder, no permission, full disk
    |   |-- FormatTooNew                   written by a version with another layout
    |   `-- CorruptOutput                  an output of this package does not pass its own check
    |-- RunError (RuntimeError)            the run itself went wrong
    |   |-- SessionLocked                  another driver holds the session
    |   |-- MissingEnvironment             a task needs an environment that is missing
    |   |-- MissingDatabase                a task needs Alyx, and only files are available
    |   |-- TaskTimedOut (TimeoutError)    a task took longer than allowed
    |   |-- TaskFailed                     a task of another package ended with an error
    |   `-- ReportFailed                   the report of a session cannot be rendered, though its results exist
    `-- UsageError (ValueError)            an argument makes no sense

Each error has five parts: the problem, its place, the expected state, the actual state and the next step. They stay
apart in `ibl_dask.model.failure.Failure`, in JSON, and in tables and reports.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, TypeVar

HEADINGS = {"where": "Where", "expected": "Expected", "got": "Got", "do": "What to do"}
"""Name of a part after the first -> its heading in a message, a table and a report, in their order."""


def format_message(what: str, where: str = "", expected: str = "", got: str = "", do: str = "") -> str:
    """Join the parts of an error into one paragraph; empty parts are left out.

    Parameters
    ----------
    what : str
        The problem, in one sentence.
    where, expected, got, do : str
        See `IblDaskError`.

    >>> format_message("no pulses", "left camera", do="check the cable")
    'no pulses. Where: left camera. What to do: check the cable.'
    """
    parts = zip(HEADINGS.values(), (where, expected, got, do), strict=True)
    return " ".join([what.rstrip(".") + ".", *(f"{heading}: {text}." for heading, text in parts if text)])


_Error = TypeVar("_Error", bound="IblDaskError")


class IblDaskError(Exception):
    """Error in five parts, from which messages, tables and reports are made.

    Parameters
    ----------
    what : str
        The problem, in one sentence.
    where : str
        File, camera or session concerned.
    expected, got : str
        Expected and actual state.
    do : str
        Next step for the reader.
    """

    category: ClassVar[str] = "error"
    """Place of the cause: `input` (the data), `output` (the disk), `run` (the cluster), `env` (an environment),
    `timeout`, `bug` (a task), `usage` (the call)."""

    def __init__(self, what: str, where: str = "", expected: str = "", got: str = "", do: str = "") -> None:
        # One argument: built-in classes such as OSError attach a meaning to the number of their arguments.
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.do = do

    def __reduce__(self) -> tuple[type[IblDaskError], tuple[str, ...]]:
        return type(self), (self.what, self.where, self.expected, self.got, self.do)

    def __str__(self) -> str:
        """Return all parts as one paragraph."""
        return format_message(self.what, self.where, self.expected, self.got, self.do)


def joined(errors: Sequence[_Error]) -> _Error:
    """Return a copy of the first of some errors, with the messages of the others as its notes."""
    first = copy.copy(errors[0])
    for error in errors[1:]:
        first.add_note(str(error))
    return first


class InputError(IblDaskError, ValueError):
    """The data on disk do not meet the needs of the step."""

    category = "input"


class NotASession(InputError):
    """The path does not end in subject/YYYY-MM-DD/NNN."""


class DescriptionError(InputError):
    """The experiment description is absent or unusable."""


class OutsideSession(InputError):
    """A folder or label from an external source does not stay inside its session."""


class MissingFile(InputError, FileNotFoundError):
    """A file of the session is missing."""

    __str__ = IblDaskError.__str__


class NotReadable(InputError, PermissionError):
    """A file or folder may not be read."""

    __str__ = IblDaskError.__str__


class UnreadableVideo(InputError):
    """The container cannot be indexed, or its frames have no presentation times."""


class DecodeFailed(InputError):
    """Frames of the index do not come out of the decoder."""


class TruncatedFile(InputError):
    """A binary file ends inside a record."""


class UnequalLengths(InputError):
    """Files about the same frames disagree on their number."""


class UnusableFile(InputError):
    """The content of a file makes no sense."""


class NoPulses(InputError):
    """The sync holds no pulse of this camera."""


class ClocksDisagree(InputError):
    """The camera's clock, its nominal rate and its pulses show different rates."""


class PulseCountMismatch(InputError):
    """Too many frames have no pulse."""


class OutputError(IblDaskError, OSError):
    """A result cannot be written, or the target does not belong to this package."""

    category = "output"
    __str__ = IblDaskError.__str__


class NotWritable(OutputError):
    """The folder is read-only, permission is missing, or the disk is full."""


class FormatTooNew(OutputError):
    """The file was written by a version with another layout."""


class CorruptOutput(OutputError):
    """An output of this package does not pass its own check."""


class RunError(IblDaskError, RuntimeError):
    """The run itself went wrong."""

    category = "run"


class SessionLocked(RunError):
    """Another driver holds the session."""


class MissingEnvironment(RunError):
    """A task needs an environment that is missing or incomplete."""

    category = "env"


class MissingDatabase(RunError):
    """A task needs Alyx, and only files are available."""

    category = "env"


class TaskTimedOut(RunError, TimeoutError):
    """A task took longer than allowed, and was ended."""

    category = "timeout"
    __str__ = IblDaskError.__str__


class TaskFailed(RunError):
    """A task of another package, or a lab's own, ended with an error that it does not handle."""

    category = "bug"


class ReportFailed(RunError):
    """The report of a session cannot be rendered, though its results exist."""

    category = "bug"


class UsageError(IblDaskError, ValueError):
    """An argument makes no sense."""

    category = "usage"
