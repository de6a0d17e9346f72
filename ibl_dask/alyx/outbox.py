"""Outbox of a runner: results go to the spool at once, and to Alyx by its one writer, in a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.spool import SPOOL_FOLDER, Spool
from ibl_dask.alyx.sync import SyncReport, Writer
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.errors import AlyxUnreachable, SessionLocked
from ibl_dask.model.json_object import JsonObject

_log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""Longest wait for another process that sends the results of this spool, s."""
INTERVAL_S = 30.0
"""Interval at which results are sent while tasks run, s: those of one session share requests."""

LONGEST_HOLD_S = 600.0
"""Longest wait of a result for others of its session, which share requests with it, s."""


class SpoolOutbox:
    """Results on their way to Alyx.

    Parameters
    ----------
    alyx : Alyx
        The database.
    work_dir : Path
        Work folder, which holds the spool.
    repository : str
        Data repository at which files are registered.
    """

    def __init__(self, alyx: Alyx, work_dir: Path, repository: str) -> None:
        self.alyx = alyx
        self.spool = Spool(work_dir / SPOOL_FOLDER)
        self._writer = Writer(self.spool, alyx, Registration(repository))
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._is_sent_elsewhere = False
        self.in_flight: Callable[[], Collection[str]] = frozenset
        """Returns the ids of the sessions with tasks that run now; their results wait for the others."""
        self._keys: dict[str, list[str]] = {}
        """Row -> keys of its results of this process."""
        self._pending = self._read_pending()

    def _read_pending(self) -> frozenset[str]:
        return frozenset(letter.result.task_id for letter in self.spool.pending())

    def put(self, result: TaskResult) -> None:
        """Write a result to the spool; it is on disk when this returns."""
        with self._lock:
            path = self.spool.add(result)
            self._pending |= {result.task_id}
            self._keys.setdefault(result.task_id, []).append(path.stem.rpartition("-")[2])

    def is_spooled(self, task: str) -> bool:
        """Return whether a result of a row waits to be sent."""
        return task in self._pending

    def spooled(self) -> frozenset[str]:
        """Return the identifiers of the rows whose results wait to be sent."""
        return self._pending

    def send_all(self, *, is_early: bool = False) -> SyncReport | None:
        """Send the results in the spool; None where another process does so, or Alyx gives no answer.

        Parameters
        ----------
        is_early : bool
            Leave those of sessions with tasks that run now, for `LONGEST_HOLD_S` at most.

        Raises
        ------
        AlyxLoginFailed
            If the token is not accepted.
        """
        report = None
        self._is_sent_elsewhere = False
        # Before the spool is read: of a session that ends later, only some of its results may have been seen.
        running = frozenset(self.in_flight()) if is_early else frozenset()
        try:
            with self._one_at_a_time:
                report = self._writer.run(is_ripe=lambda results: _is_ripe(results, running))
        except (SessionLocked, AlyxUnreachable) as error:
            self._is_sent_elsewhere = isinstance(error, SessionLocked)
            _log.info("results wait in the spool: %s", error)
        for problem in () if report is None else report.problems:
            _log.warning("%s", problem)
        with self._lock:  # also while the folder is read: no result comes in between
            self._pending = self._read_pending()
        return report

    def send(self, tasks: Iterable[str]) -> dict[str, list[JsonObject]]:
        """Send the results in the spool, and return the datasets of some rows that were registered.

        Parameters
        ----------
        tasks : iterable of str
            Identifiers of the rows.

        Returns
        -------
        dict
            Row -> its datasets: their records as Alyx answered them, and `path` below the session. Of those that
            another process sent, identifier and path alone.
        """
        tasks = frozenset(tasks)
        until_s = time.monotonic() + PATIENCE_S
        reports = [self.send_all()]
        while self._is_sent_elsewhere and tasks & self._pending and time.monotonic() < until_s:
            time.sleep(0.5)
            reports.append(self.send_all())
        records = {row["id"]: row for report in reports if report for rows in report.datasets.values() for row in rows}
        sent = self.spool.sent()
        found: dict[str, list[JsonObject]] = {}
        for task in tasks:
            for key in self._keys.get(task, ()):
                ids = sent.get(key, {}).get("datasets") or {}
                rows = ({**records.get(ids[path], {}), "id": ids[path], "path": path} for path in ids)
                found.setdefault(task, []).extend(rows)
        return found

    @contextlib.contextmanager
    def sending(self, interval_s: float | None = None) -> Iterator[None]:
        """Send results in a thread while this block runs, and once more at its end.

        Parameters
        ----------
        interval_s : float, optional
            Interval of passes over the spool, s; by default `INTERVAL_S`.
        """
        is_over = threading.Event()

        def work() -> None:
            while not is_over.wait(INTERVAL_S if interval_s is None else interval_s):
                try:
                    if self._pending:
                        self.send_all(is_early=True)
                except Exception:  # noqa: BLE001  # the results are on disk; the last pass shows the error
                    _log.exception("results could not be sent")

        thread = threading.Thread(target=work, daemon=True, name="alyx-writer")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.send_all()


def _is_ripe(results: Sequence[TaskResult], running: Collection[str]) -> bool:
    """Return whether the results of a session, oldest first, are to be sent while tasks of some sessions run."""
    return results[0].session_id not in running or time.time() - results[0].made_s > LONGEST_HOLD_S
