"""Containment of code of other packages that tries to end the process: it becomes an error of that code alone."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ibl_dask.errors import TaskFailed

_REQUESTS = (signal.SIGINT, signal.SIGTERM)
"""Signals by which people and batch systems end a process."""


@contextlib.contextmanager
def contained(whose: str) -> Iterator[None]:
    """Convert an attempt of this block to end the process into an error, unless a signal requested the end.

    `sys.exit`, also that of `argparse`, a `KeyboardInterrupt` raised by code, and other exceptions that are no
    `Exception` would otherwise pass all handlers that isolate one task from the others. Ctrl-C and SIGTERM keep their
    effect.

    Parameters
    ----------
    whose : str
        The task or step that the code belongs to, for the message.

    Raises
    ------
    TaskFailed
        In place of the exception that would end the process.
    """
    with _requests_noted() as requests:
        try:
            yield
        except (Exception, GeneratorExit):
            raise
        except BaseException as error:
            if requests:
                raise
            raise TaskFailed(
                "code of a task tried to end the process that it runs in",
                where=whose,
                expected="a return, or an exception",
                got=_format_exit(error),
                do="raise an exception instead; read arguments of a command line only under "
                '`if __name__ == "__main__":`',
            ) from error


def _format_exit(error: BaseException) -> str:
    """Return the exception as text, with its usual source."""
    if isinstance(error, SystemExit):
        by = ", perhaps of argparse, which read the arguments of this program" if error.code == 2 else ""
        return f"SystemExit: {error.code} (sys.exit{by})"
    return f"{type(error).__name__}: {error}".rstrip(": ")


@contextlib.contextmanager
def _requests_noted() -> Iterator[list[int]]:
    """Yield a list of the signals that arrive in this block; their handlers still run. For the main thread only."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handler = before[number]
        if callable(handler):
            handler(number, frame)

    before: dict[int, Any] = {number: signal.getsignal(number) for number in _REQUESTS}
    for number, handler in before.items():
        if callable(handler):  # others end the process at once, or do nothing
            signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
