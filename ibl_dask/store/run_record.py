"""Record of a run while it goes on: its journal, its summary and the sign of life of its driver."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any  # Any: values of JSON

from ibl_dask.store.heartbeat import Heartbeat
from ibl_dask.store.journal import Journal, Place
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_summary import SummaryWriter

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from ibl_dask.errors import IblDaskError

_log = logging.getLogger(__name__)

SUMMARY_S = 2.0
"""Interval at which the summary is written, s; events in between are read from the journal."""
SHARE = 50
"""The summary is written less often where that takes more than one part in so many of the time."""


class RunRecord:
    """Takes the events of a run, from the thread of its driver.

    Parameters
    ----------
    work_dir : Path
        Work folder.
    name : str
        Name of the run.
    figures : callable, optional
        Returns live figures that the events do not hold, such as numbers of workers.

    Raises
    ------
    NotWritable
        If the folder of the run cannot be written to.
    """

    def __init__(self, work_dir: Path, name: str, figures: Callable[[], Mapping[str, Any]] = dict) -> None:
        self.run = RunFolder.of(work_dir, name)
        self._figures = figures
        self._journal = Journal(self.run.path)
        self._summary = SummaryWriter(self.run)
        self._lock = threading.Lock()
        self._next_s = 0.0
        self._is_whole = True
        self._is_told = False
        self._counted = (time.monotonic(), 0)
        self._heartbeat: Heartbeat | None = None

    @property
    def place(self) -> Place:
        """Return the end of the journal."""
        with self._lock:  # the heartbeat writes in a thread of its own
            return self._journal.place

    @property
    def failure(self) -> IblDaskError | None:
        """Return the error because of which the journal lacks events; None where it has all."""
        return self._journal.failure

    def append(self, event: Mapping[str, Any]) -> None:
        """Take one event. A disk that takes no more stops no run, see `failure`."""
        with self._lock:
            try:
                self._journal.append(event)
            finally:  # Ctrl-C may fall into the write
                self._fold(event)
            if time.monotonic() >= self._next_s:
                self._write_summary()
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self.run.beat_file, self._live_figures, self._after_beat)

    def _fold(self, event: Mapping[str, Any]) -> None:
        """Add an event to the summary. One that lacks events is not written again: readers turn to the journal."""
        try:
            self._summary.take(event)
        except OSError as error:  # a row that was written could not be read back
            self._is_whole = False
            _log.warning("the summary of the run ends here: %s", error)
        except BaseException:  # Ctrl-C
            self._is_whole = False
            raise

    def _write_summary(self) -> None:
        """Write the summary, unless the journal is not on disk."""
        started_s = time.monotonic()
        self._journal.sync()
        if self._journal.failure is None and self._is_whole:
            try:
                self._summary.write(self._journal.place)
            except OSError as error:  # the journal has all of it
                if not self._is_told:
                    _log.warning("the summary of the run is not up to date: %s", error)
                self._is_told = True
        ended_s = time.monotonic()
        self._next_s = ended_s + max(SUMMARY_S, SHARE * (ended_s - started_s))

    def _after_beat(self) -> None:
        """Put on disk what no further event did."""
        with self._lock:
            self._journal.sync()

    def _live_figures(self) -> dict[str, Any]:
        with self._lock:
            progress = self._summary.progress
            n_steps, states = progress.totals.n_steps, progress.states
            n_sessions, pauses = len(progress.numbers), sorted(progress.pauses)
        now_s = time.monotonic()
        before_s, n_before = self._counted
        self._counted = (now_s, n_steps)
        pace = (n_steps - n_before) / max(1e-3, now_s - before_s)
        figures: dict[str, Any] = {"sessions": n_sessions, "states": states, "steps": n_steps}
        figures |= {"steps_per_s": round(pace, 2), "paused": pauses}
        with contextlib.suppress(Exception):  # of a cluster that changes meanwhile
            figures |= self._figures()
        return figures

    def close(self) -> None:
        """Close the record; what is not on disk is tried again, for a while if the error may be transient."""
        if self._heartbeat is not None:
            self._heartbeat.close()
        with self._lock:
            self._journal.close()
            if self._journal.failure is None:
                self._write_summary()
            self._summary.close()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
