"""Every error a user can meet, in one tree.

::

    IblDaskError
    |-- InputError (ValueError)            the data on disk are not what the step needs
    |   |-- NotASession                    the path does not end in subject/YYYY-MM-DD/NNN
    |   |-- DescriptionError               the experiment description is absent or unusable
    |   |-- OutsideSession                 a folder or label that does not stay inside its session
    |   |-- MissingFile (FileNotFoundError)  a file that the session should hold is not there
    |   |-- NotReadable (PermissionError)  a file or folder that may not be read
    |   |-- UnreadableVideo                the container cannot be indexed, or frames have no times
    |   |-- DecodeFailed                   frames that the index promises do not come out of the decoder
    |   |-- TruncatedFile                  a binary file ends inside a record
    |   |-- UnequalLengths                 files that describe the same frames disagree on how many
    |   |-- UnusableFile                   a file is there but its content makes no sense
    |   |-- NoPulses                       the sync holds no pulse of this camera
    |   |-- ClocksDisagree                 camera clock, nominal rate and pulses show different rates
    |   `-- PulseCountMismatch             too many frames have no pulse
    |-- OutputError (OSError)              a result cannot be written, or what is there is not ours to touch
    |   |-- NotWritable                    read-only folder, no permission, full disk
    |   |-- FormatTooNew                   written by a version with another layout
    |   `-- CorruptOutput                  an output of ours does not pass its own check
    |-- RunError (RuntimeError)            the run itself went wrong
    |   |-- SessionLocked                  another driver holds the session
    |   |-- MissingEnvironment             a task needs an environment that is not there
    |   |-- MissingDatabase                a task needs Alyx, and files alone are there
    |   |-- TaskTimedOut (TimeoutError)    a task took longer than it may
    |   |-- TaskFailed                     a task of another package ended with an error
    |   `-- ReportFailed                   the page on a session cannot be made, though its results are there
    `-- UsageError (ValueError)            an argument makes no sense

A message always says what went wrong, where, what was expected, what was found and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class IblDaskError(Exception):
    """Carry the five things a reader of a message needs.

    Parameters
    ----------
    what : str
        What went wrong, in one sentence.
    where : str
        The file, camera or session it concerns.
    expected, got : str
        What should have been there, and what was.
    do : str
        The next step for the person reading.
    """

    category: ClassVar[str] = "error"
    """Who can mend it: `input` (the data), `output` (the disk), `run` (the cluster), `env` (an environment), `timeout`,
    `bug` (a task), `usage` (the call)."""

    def __init__(self, what: str, where: str = "", expected: str = "", got: str = "", do: str = "") -> None:
        # One argument: built-in classes such as OSError give meaning to the number of theirs.
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.do = do

    def __reduce__(self) -> tuple[type[IblDaskError], tuple[str, ...]]:
        return type(self), (self.what, self.where, self.expected, self.got, self.do)

    def __str__(self) -> str:
        """Say everything on one paragraph, leaving out what was not given."""
        parts = [self.what.rstrip(".") + "."]
        if self.where:
            parts.append(f"Where: {self.where}.")
        if self.expected:
            parts.append(f"Expected: {self.expected}.")
        if self.got:
            parts.append(f"Got: {self.got}.")
        if self.do:
            parts.append(f"What to do: {self.do}.")
        return " ".join(parts)


class InputError(IblDaskError, ValueError):
    """The data on disk are not what the step needs."""

    category = "input"


class NotASession(InputError):
    """The path does not end in subject/YYYY-MM-DD/NNN."""


class DescriptionError(InputError):
    """The experiment description is absent or unusable."""


class OutsideSession(InputError):
    """A folder or label that somebody wrote does not stay inside the session it belongs to."""


class MissingFile(InputError, FileNotFoundError):
    """A file that the session should hold is not there."""

    __str__ = IblDaskError.__str__


class NotReadable(InputError, PermissionError):
    """A file or folder that may not be read."""

    __str__ = IblDaskError.__str__


class UnreadableVideo(InputError):
    """The container cannot be indexed, or its frames have no presentation times."""


class DecodeFailed(InputError):
    """Frames that the index promises do not come out of the decoder."""


class TruncatedFile(InputError):
    """A binary file ends inside a record."""


class UnequalLengths(InputError):
    """Files that describe the same frames disagree on how many there are."""


class UnusableFile(InputError):
    """A file is there, but its content makes no sense."""


class NoPulses(InputError):
    """The sync holds no pulse of this camera."""


class ClocksDisagree(InputError):
    """The camera's clock, its nominal rate and its pulses show different rates."""


class PulseCountMismatch(InputError):
    """Too many frames have no pulse."""


class OutputError(IblDaskError, OSError):
    """A result cannot be written, or what is there is not ours to touch."""

    category = "output"
    __str__ = IblDaskError.__str__


class NotWritable(OutputError):
    """The folder is read-only, permission is missing, or the disk is full."""


class FormatTooNew(OutputError):
    """The file was written by a version with another layout."""


class CorruptOutput(OutputError):
    """An output of ours does not pass its own check."""


class RunError(IblDaskError, RuntimeError):
    """The run itself went wrong."""

    category = "run"


class SessionLocked(RunError):
    """Another driver holds the session."""


class MissingEnvironment(RunError):
    """A task needs an environment that is not there, or that lacks what the task needs."""

    category = "env"


class MissingDatabase(RunError):
    """A task needs Alyx, and there are files alone."""

    category = "env"


class TaskTimedOut(RunError, TimeoutError):
    """A task took longer than it may, and was ended."""

    category = "timeout"
    __str__ = IblDaskError.__str__


class TaskFailed(RunError):
    """A task of another package, or a lab's own, ended with an error that it did not foresee."""

    category = "bug"


class ReportFailed(RunError):
    """The page on a session cannot be made, though its results are there."""

    category = "bug"


class UsageError(IblDaskError, ValueError):
    """An argument makes no sense."""

    category = "usage"
