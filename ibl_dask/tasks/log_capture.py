"""What code says while a step runs goes to the log of that step: log messages, warnings, and what it prints.

Each context (`contextvars`), such as a thread that runs a step, has its own log, so steps that run at once in one
process do not mix; what is said outside of any step goes where it went before. Threads that a step starts itself are
outside, unless they run in a copy of its context. The hooks are in place only while a step runs.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TextIO, cast

from ibl_dask.model.task_log import TaskLog
from ibl_dask.tasks.step_log import StepLog

_OF_DASK = ("asyncio", "bokeh", "dask", "distributed", "tornado")
"""Packages whose messages concern the machinery, and no step."""
_current: ContextVar[StepLog | None] = ContextVar("log of the step", default=None)


def current_log() -> StepLog:
    """Return the log of the step that runs in this context; one without a file where none does."""
    return _current.get() or StepLog()


@contextlib.contextmanager
def logging_to(log: TaskLog | None, step: str, module: str) -> Iterator[StepLog]:
    """Send what is said in this context to the log of a step.

    Parameters
    ----------
    log : TaskLog or None
        Where it goes; None leaves everything as it is.
    step : str
        Name and chunk of the step, for the lines.
    module : str
        Module of its class: the messages of that package from INFO on are logged.
    """
    own = StepLog(log, step)
    if log is None:
        yield own
        return
    with _HOOKS.in_place("ibl_dask", module):
        token = _current.set(own)
        try:
            yield own
        except BaseException as error:  # Ctrl-C
            own.flush()
            own.write("ERROR", f"ended by {type(error).__name__}")
            raise
        finally:
            _current.reset(token)
            own.close()


@contextlib.contextmanager
def messages_of(module: str) -> Iterator[None]:
    """Log the messages of a module's package from INFO on, unless a level was set for it, while a step runs."""
    if _current.get() is None:
        yield
        return
    with _HOOKS.in_place(module):
        yield


class _Hooks:
    """Handler, streams, warnings and levels, in place as long as a block needs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._levels: Counter[str] = Counter()
        self._raised: set[str] = set()
        self._handler = _ToStep()
        self._streams: dict[str, tuple[TextIO, TextIO]] = {}
        self._show_before: Callable[..., None] = warnings.showwarning
        self._show: Callable[..., None] = self._show_before

    @contextlib.contextmanager
    def in_place(self, *modules: str) -> Iterator[None]:
        """Keep the hooks in place, and create messages of some modules' packages from INFO on."""
        packages = {module.partition(".")[0] for module in modules}
        with self._lock:
            if self._n == 0:
                self._install()
            self._n += 1
            for package in packages:
                self._raise(package)
        try:
            yield
        finally:
            with self._lock:
                for package in packages:
                    self._lower(package)
                self._n -= 1
                if self._n == 0:
                    self._remove()

    def _raise(self, package: str) -> None:
        logger = logging.getLogger(package)
        if self._levels[package] == 0 and logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
            self._raised.add(package)
        self._levels[package] += 1

    def _lower(self, package: str) -> None:
        self._levels[package] -= 1
        if self._levels[package] == 0 and package in self._raised:
            self._raised.remove(package)
            logger = logging.getLogger(package)
            if logger.level == logging.INFO:
                logger.setLevel(logging.NOTSET)

    def _install(self) -> None:
        logging.getLogger().addHandler(self._handler)
        for name, level in (("stdout", "STDOUT"), ("stderr", "STDERR")):
            before = getattr(sys, name)
            if before is not None:
                routed = cast("TextIO", _Stream(before, level))
                self._streams[name] = (before, routed)
                setattr(sys, name, routed)
        self._show_before = warnings.showwarning
        self._show = _show_to_step(self._show_before)
        warnings.showwarning = self._show

    def _remove(self) -> None:
        """Take the hooks out. What other code put in their place meanwhile stays."""
        logging.getLogger().removeHandler(self._handler)
        for name, (before, routed) in self._streams.items():
            if getattr(sys, name) is routed:
                setattr(sys, name, before)
        self._streams.clear()
        if warnings.showwarning is self._show:
            warnings.showwarning = self._show_before


class _ToStep(logging.Handler):
    """Writes messages to the log of the step in whose context they are made."""

    def emit(self, record: logging.LogRecord) -> None:
        log = _current.get()
        if log is None or record.name.partition(".")[0] in _OF_DASK:
            self._pass_on(record)
            return
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # arguments that do not fit their message
            text = str(record.msg)
        is_written = log.write(record.levelname, f"[{record.name}] {text}", record.created)
        if not is_written or (log.log is not None and log.log.is_echoed):
            self._pass_on(record)

    def _pass_on(self, record: logging.LogRecord) -> None:
        """Print a message as `logging` does where there is no handler; this one hides that there is none."""
        last = logging.lastResort
        if last is None or record.levelno < last.level or self._has_others(record.name):
            return
        with _outside():
            last.handle(record)

    def _has_others(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


class _Stream:
    """Standard output or error: text that a step prints goes to its log, all else to the stream as it was."""

    def __init__(self, before: TextIO, level: str) -> None:
        self._before = before
        self._level = level

    def write(self, text: str) -> int:
        log = _current.get()
        if log is None:
            return self._before.write(text)
        lost = log.feed(self._level, text)
        if log.log is not None and log.log.is_echoed:
            self._before.write(text)
        elif lost:
            self._before.write("".join(f"{line}\n" for line in lost))
        return len(text)

    def writelines(self, lines: Any) -> None:  # as of a stream
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        return _current.get() is None and self._before.isatty()

    def __getattr__(self, name: str) -> Any:  # whatever the stream has
        return getattr(self._before, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._before)


def _show_to_step(before: Callable[..., None]) -> Callable[..., None]:
    """Return a function in place of `warnings.showwarning`."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log = _current.get()
        is_written = (
            log is not None
            and file is None
            and log.write("WARNING", warnings.formatwarning(message, category, filename, lineno, line))
        )
        if not is_written or (log is not None and log.log is not None and log.log.is_echoed):
            with _outside():
                before(message, category, filename, lineno, file, line)

    return show


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """Say something as if no step ran."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


_HOOKS = _Hooks()
