"""Tree of the errors that a user can meet.

::

    IblDaskError
    |-- InputError (ValueError)            the data on disk do not meet the needs of the step
    |   |-- NotASession                    the path does not end in subject/YYYY-MM-DD/NNN
    |   |-- DescriptionError               the experiment description is absent or unusable
    |   |-- OutsideSession                 a folder or label that does not stay inside its session
    |   |-- MissingFile (FileNotFoundError)  a file of the session is missing
    |   |   `-- MissingOutput              a task ended without an output that it promises
    |   |-- NotReadable (PermissionError)  a file or folder that may not be read
    |   |   `-- ReadFailed                 the disk, or the server that it is on, failed
    |   |-- UnreadableVideo                the container cannot be indexed, or frames have no times
    |   |-- DecodeFailed                   frames of the index do not come out of the decoder
    |   |-- TruncatedFile                  a binary file ends inside a record
    |   |-- UnequalLengths                 files about the same frames disagree on their number
    |   |-- MissingKeypoints               a table lacks keypoints that a result is made of
    |   |-- UnusableFile                   a file has content that makes no sense
    |   |-- NoPulses                       the sync holds no pulse of this camera
    |   |-- ClocksDisagree                 camera clock, nominal rate and pulses show different rates
    |   |-- PulseCountMismatch             too many frames have no pulse
    |   |-- DownloadFailed                 a file that Alyx lists cannot be had, or has another content
    |   `-- TransferIncomplete (AssertionError)  a copy lacks files, or they differ
    |-- OutputError (OSError)              a result cannot be written, or the target does not belong to this package
    |   |-- NotWritable                    a folder that may not be written to
    |   |   |-- DiskFull                   no room, or no quota, on the disk
    |   |   |   |-- NoRoomToFetch          nor after the longest pause, for the files of a session
    |   |   |-- ReadOnlyDisk               the disk takes no writes
    |   |   `-- WriteFailed                the disk, or the server that it is on, failed
    |   |-- AlreadyThere (FileExistsError)  something else has the name of a result
    |   |-- FormatTooNew                   written by a version with another layout
    |   `-- CorruptOutput                  an output of this package does not pass its own check
    |-- RunError (RuntimeError)            the run itself went wrong
    |   |-- SessionLocked                  another driver holds the session
    |   |-- MissingEnvironment             a task needs an environment that is missing
    |   |-- MissingDatabase                a task needs Alyx, and only files are available
    |   |   |-- WrongWeights               the file of a network is missing, or another than the profile pins
    |   |   `-- WrongKeypoints             an engine predicts other keypoints than the profile names
    |   |-- GpuFailed                      a GPU is missing, taken or broken
    |   |-- NodeFailed                     a node does not see the data
    |   |-- ConnectionBroke                a connection to a server or another process broke
    |   |   `-- AlyxUnreachable            Alyx gives no answer, or none that makes sense, for now
    |   |       `-- AlyxBusy               Alyx asked to wait for longer than this call may wait
    |   |-- AlyxRefused                    Alyx refuses a request, and would do so again
    |   |   `-- AlyxLoginFailed            the token is missing, wrong or not enough
    |   |-- WorkerLost                     workers died, or were taken away, with a step
    |   |-- StepKilled                     a step ended its own process
    |   |   `-- OutOfMemory                it was ended for lack of memory
    |   |-- JobTooShort                    a step takes longer than its job lasts
    |   |-- TaskTimedOut (TimeoutError)    a step or task took longer than allowed
    |   |-- TaskFailed                     a task of another package ended with an error
    |   |-- EngineFailed                   a pose engine ended with an error, or answered nonsense
    |   |   `-- EngineCrashed              the process of a pose engine died
    |   |-- ClipFailed                     FFmpeg does not write a clip, or wrote another than was asked for
    |   `-- ReportFailed                   the report of a session cannot be rendered, though its results exist
    `-- UsageError (ValueError)            an argument makes no sense
        `-- UnknownCamera (KeyError)       a session has no camera of this label

Each error has five parts: the problem, its place, the expected state, the actual state and the next step. They stay
apart in `ibl_dask.model.failure.Failure`, in JSON, and in tables and reports.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, Literal, TypeVar, get_args

Category = Literal[
    "missing_input",
    "corrupt_input",
    "environment",
    "gpu",
    "memory",
    "timeout",
    "walltime",
    "network",
    "disk",
    "killed",
    "locked",
    "usage",
    "bug",
]
"""Place of a cause, by which failures are counted, filtered and tried again.

missing_input and corrupt_input: the data; environment: packages, profile or workers; gpu; memory; timeout: took longer
than allowed; walltime: took longer than its job; network; disk: full, read-only, failing, or without permission;
killed: its process or worker died; locked: another run holds the session; usage: the call; bug: the code of a task or
of this package."""
CATEGORIES: tuple[Category, ...] = get_args(Category)

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


def split_message(message: str) -> dict[str, str]:
    """Return the parts of a paragraph of `format_message`: `what`, and those of `HEADINGS` that it has.

    >>> split_message("no pulses. Where: left camera. What to do: check the cable.")
    {'what': 'no pulses.', 'where': 'left camera', 'do': 'check the cable'}
    """
    parts: dict[str, str] = {}
    for name, heading in reversed(HEADINGS.items()):
        message, found, text = message.partition(f" {heading}: ")
        if found:
            parts[name] = text.removesuffix(".")
    return {"what": message, **dict(reversed(parts.items()))}


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

    category: ClassVar[Category] = "bug"
    """Place of the cause."""

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

    category: ClassVar[Category] = "corrupt_input"


class NotASession(InputError):
    """The path does not end in subject/YYYY-MM-DD/NNN."""

    category: ClassVar[Category] = "missing_input"


class DescriptionError(InputError):
    """The experiment description is absent or unusable."""


class OutsideSession(InputError):
    """A folder or label from an external source does not stay inside its session."""


class UnsafeName(InputError):
    """A name holds characters that a shell interprets, where programs of others may give it to one."""


class MissingFile(InputError, FileNotFoundError):
    """A file of the session is missing."""

    category: ClassVar[Category] = "missing_input"

    __str__ = IblDaskError.__str__


class MissingOutput(MissingFile):
    """A task ended without an output that it promises."""

    category: ClassVar[Category] = "bug"


class NotReadable(InputError, PermissionError):
    """A file or folder may not be read."""

    category: ClassVar[Category] = "disk"

    __str__ = IblDaskError.__str__


class ReadFailed(NotReadable):
    """The disk, or the server that it is on, failed while it was read."""


class UnreadableVideo(InputError):
    """The container cannot be indexed, or its frames have no presentation times."""


class DecodeFailed(InputError):
    """Frames of the index do not come out of the decoder."""


class TruncatedFile(InputError):
    """A binary file ends inside a record."""


class UnequalLengths(InputError):
    """Files about the same frames disagree on their number."""


class MissingKeypoints(InputError):
    """A table of keypoints lacks some that a result is made of."""

    category: ClassVar[Category] = "missing_input"


class UnusableFile(InputError):
    """The content of a file makes no sense."""


class NoPulses(InputError):
    """The sync holds no pulse of this camera."""

    category: ClassVar[Category] = "missing_input"


class ClocksDisagree(InputError):
    """The camera's clock, its nominal rate and its pulses show different rates."""


class PulseCountMismatch(InputError):
    """Too many frames have no pulse."""


class DownloadFailed(InputError):
    """A file that Alyx lists cannot be downloaded, or is another one there than Alyx lists."""

    category: ClassVar[Category] = "missing_input"


class TransferIncomplete(InputError, AssertionError):
    """A copy lacks files of its original, or they differ."""


class OutputError(IblDaskError, OSError):
    """A result cannot be written, or the target does not belong to this package."""

    category: ClassVar[Category] = "disk"
    __str__ = IblDaskError.__str__


class NotWritable(OutputError):
    """The folder is read-only, permission is missing, or the disk is full."""


class DiskFull(NotWritable):
    """The disk, or the quota on it, has no room."""


class NoRoomToFetch(DiskFull):
    """The disk had no room for the files of a session, however long it was waited for."""


class ReadOnlyDisk(NotWritable):
    """The disk takes no writes."""


class WriteFailed(NotWritable):
    """The disk, or the server that it is on, failed while it was written to."""


class AlreadyThere(OutputError, FileExistsError):
    """Something else has the name that a file or folder was to get."""

    category: ClassVar[Category] = "usage"
    __str__ = IblDaskError.__str__


class FormatTooNew(OutputError):
    """The file was written by a version with another layout."""

    category: ClassVar[Category] = "environment"


class CorruptOutput(OutputError):
    """An output of this package does not pass its own check."""


class DamagedRecord(CorruptOutput):
    """A record beside the outputs cannot be read; waiting does not mend it."""


class RunError(IblDaskError, RuntimeError):
    """The run itself went wrong."""

    category: ClassVar[Category] = "environment"


class SessionLocked(RunError):
    """Another driver holds the session."""

    category: ClassVar[Category] = "locked"


class MissingEnvironment(RunError):
    """A task needs an environment that is missing or incomplete."""

    category: ClassVar[Category] = "environment"


class WrongWeights(MissingEnvironment):
    """The file of a network is missing, or is another than the profile pins."""


class WrongKeypoints(MissingEnvironment):
    """An engine predicts other keypoints than the profile names."""


class MissingDatabase(RunError):
    """A task needs Alyx, and only files are available."""

    category: ClassVar[Category] = "environment"


class GpuFailed(RunError):
    """A GPU is missing, taken or broken."""

    category: ClassVar[Category] = "gpu"


class NodeFailed(RunError):
    """A node does not see the data."""

    category: ClassVar[Category] = "disk"


class ConnectionBroke(RunError):
    """A connection to a server or to another process broke."""

    category: ClassVar[Category] = "network"


class AlyxUnreachable(ConnectionBroke):
    """Alyx gives no answer, or none that makes sense, for now: the same request may succeed later."""


class AlyxBusy(AlyxUnreachable):
    """Alyx asked to wait for longer than this call may wait."""


class AlyxRefused(RunError):
    """Alyx refuses a request, and would do so again."""

    category: ClassVar[Category] = "environment"
    body: object = None
    """Body of the answer, as JSON; it does not go to other processes."""


class AlyxLoginFailed(AlyxRefused):
    """The token is missing, wrong, or does not allow the request."""


class WorkerLost(RunError):
    """Workers died, or were taken away, with a step."""

    category: ClassVar[Category] = "killed"


class StepKilled(RunError):
    """A step ended the process that it ran in."""

    category: ClassVar[Category] = "killed"


class OutOfMemory(StepKilled):
    """A step was ended for lack of memory."""

    category: ClassVar[Category] = "memory"


class JobTooShort(RunError):
    """A step takes longer than its job lasts."""

    category: ClassVar[Category] = "walltime"


class TaskTimedOut(RunError, TimeoutError):
    """A step or task took longer than allowed, and was ended."""

    category: ClassVar[Category] = "timeout"
    __str__ = IblDaskError.__str__


class TaskFailed(RunError):
    """A task of another package, or a lab's own, ended with an error that it does not handle."""

    category: ClassVar[Category] = "bug"


class EngineFailed(RunError):
    """A pose engine ended with an error that it does not explain, or answered nonsense."""

    category: ClassVar[Category] = "bug"


class EngineCrashed(EngineFailed):
    """The process of a pose engine died while it worked."""

    category: ClassVar[Category] = "killed"


class ClipFailed(RunError):
    """FFmpeg does not write a clip, or wrote another than was asked for."""

    category: ClassVar[Category] = "environment"


class ReportFailed(RunError):
    """The report of a session cannot be rendered, though its results exist."""

    category: ClassVar[Category] = "bug"


class UsageError(IblDaskError, ValueError):
    """An argument makes no sense."""

    category: ClassVar[Category] = "usage"


class UnknownCamera(UsageError, KeyError):
    """A session has no camera of this label."""
