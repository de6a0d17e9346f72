"""Log of a run: what libraries log and worker processes print, beside the journal instead of in the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from ibl_dask.model import events
from ibl_dask.report.lines import Line, count, some
from ibl_dask.store.output_log import announce, open_log
from ibl_dask.store.run_folder import RunFolder


class RunLog(logging.Handler):
    """File with the log of a run, and listener that gives it the name of the run.

    While it is open it stands in for every handler that would print to the terminal; these are put back at the end. A
    file that cannot be written stops nothing: what should be in it is dropped.

    Parameters
    ----------
    folder : Path
        Work folder of the run; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.setFormatter(_utc_formatter())
        self._folder = folder
        self.path = folder / f"log-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.txt"
        """The file; named by time and process until the name of the run is known."""
        self._file: int | None = None
        self._replaced: list[tuple[logging.Logger, int, logging.Handler]] = []
        self._errors: Counter[str] = Counter()
        self._captured_warnings = False

    def __enter__(self) -> RunLog:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = open_log(self.path)
            announce(self.path)
        if warnings.showwarning is not logging._showwarning:  # type: ignore[attr-defined]  # what captureWarnings sets
            logging.captureWarnings(True)
            self._captured_warnings = True
        self.take_over()
        return self

    def __exit__(self, *error: object) -> None:
        while self._replaced:
            logger, place, handler = self._replaced.pop()
            logger.removeHandler(self)
            logger.handlers.insert(place, handler)
        logging.getLogger().removeHandler(self)
        if self._captured_warnings:
            logging.captureWarnings(False)
        announce(None)
        if self._file is not None:
            os.close(self._file)
            self._file = None
            with contextlib.suppress(OSError):
                if not self.path.stat().st_size:
                    self.path.unlink()

    def take_over(self) -> None:
        """Stand in for all handlers that print to the terminal; again after a library has set up its own."""
        root = logging.getLogger()
        loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
        for logger in loggers:
            for handler in [each for each in logger.handlers if _prints(each)]:
                self._replaced.append((logger, logger.handlers.index(handler), handler))
                logger.removeHandler(handler)
                if self not in logger.handlers:
                    logger.addHandler(self)
        if self not in root.handlers:
            root.addHandler(self)

    def __call__(self, event: events.Event) -> None:
        """Name the file by the run."""
        if isinstance(event, events.RunStarted) and self._file is not None:
            path = RunFolder.of(self._folder, event.run).path / f"log-{event.run}.txt"
            with contextlib.suppress(OSError):
                self.path.rename(path)
                self.path = path
                announce(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        library = record.name.split(".")[0]
        if record.levelno >= logging.ERROR and library != "ibl_dask":
            self._errors[library] += 1
        if self._file is None:
            return
        try:
            left = memoryview(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
            while left:
                left = left[os.write(self._file, left) :]
        except Exception:  # noqa: BLE001  # a full disk under a log stops no run, nor does an odd argument
            return

    def line(self) -> Line | None:
        """Return the line about errors of libraries at the end of a run; None if there were none."""
        n = sum(self._errors.values())
        if not n or self._file is None:
            return None
        return Line(f"{count(n, 'error')} of libraries ({some(sorted(self._errors))}) in the log: {self.path}")


def _prints(handler: logging.Handler) -> bool:
    """Return whether a handler writes to the output of this process, unlike those of tests and notebooks."""
    if type(handler) is not logging.StreamHandler:
        return False
    stream = handler.stream
    if stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__) or getattr(stream, "closed", False):
        return True
    try:
        return stream.fileno() in (1, 2)
    except (OSError, ValueError, AttributeError):
        return False


def _utc_formatter() -> logging.Formatter:
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter
