"""A server's loop: create jobs, run the queue, send the results, and begin anew."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.health import report_health
from ibl_dask.alyx.job_creator import Creation, create_jobs
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.put_off import PutOff
from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.run_pass import run_pass
from ibl_dask.alyx.task_queue import rows_of, select
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable, SessionLocked
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status
from ibl_dask.pipeline.run_outcome import Run
from ibl_dask.tasks.registry import SITE_OPTIONS

_log = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""Pause between two rounds while nothing waits, s."""
CREATE_S = 600.0
"""Interval at which new sessions are looked for, s; also while tasks run."""
HEALTH_S = 3600.0
"""Interval at which the health of the server is noted, s."""


@dataclass(frozen=True, slots=True)
class Round:
    """Outcome of one round."""

    created: tuple[Creation, ...] = ()
    """Sessions with flags."""
    run: Run | None = None
    """Run of the queue; None if nothing waited."""
    n_ended: int = 0
    """Rows that ended."""
    problem: str = ""
    """Error because of which a part was left out."""


@dataclass
class Server:
    """A server of one data repository; `serve` runs it until it is stopped."""

    alyx: Alyx
    """The database."""
    place: Place
    """Its repository and labs; files are registered under the repository, so it must be known."""
    subjects: Path
    """Folder of the subjects."""
    work_dir: Path
    """Folder of lock, spool, scratch and journals."""
    packages: frozenset[str]
    """Packages whose classes may run."""
    mode: str = "all"
    """Size of the jobs: all, small or large."""
    env: tuple[str | None, ...] | None = None
    """Labels of environments; None for all."""
    lease_s: float | None = None
    """Time beyond their time-out after which started rows of other programs are returned, s; None for never."""
    interval_s: float = INTERVAL_S
    """See `INTERVAL_S`."""
    client: Callable[[], Any] = lambda: None  # distributed has no types
    """Returns the client of the workers, and starts these when it is first called; None runs steps in this process."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `run_pass`: limits, environments, ..."""
    creation: dict[str, Any] = field(default_factory=dict)
    """Arguments of `create_jobs`; without a `repository`, that of the place."""
    creates: bool = True
    """Make jobs of sessions that have arrived, and note the health of the server."""
    on_round: Callable[[Round], None] = lambda _: None
    """Called after each round."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to end it."""

    def __post_init__(self) -> None:
        self.subjects = self.subjects.expanduser().absolute()
        self._outbox = SpoolOutbox(self.alyx, self.work_dir, self.place.require_repository())
        self._put_off = PutOff()
        self._creates_at_s = self._reports_at_s = 0.0
        self._created: list[Creation] = []

    @property
    def left_waiting(self) -> dict[str, str]:
        """Return the rows that cannot run here, with the reasons."""
        return dict(self._put_off.reasons)

    def serve(self, *, once: bool = False) -> None:
        """Run rounds until `stop` is set.

        Parameters
        ----------
        once : bool
            Run one round, and further ones as long as rows end.

        Raises
        ------
        SessionLocked
            If another program runs the tasks of the repository.
        AlyxLoginFailed
            If the token is not accepted.
        """
        coordinator = Coordinator(
            self.alyx, self.place, self.work_dir, spooled=self._outbox.spooled, lease_s=self.lease_s
        )
        self._outbox.in_flight = lambda: coordinator.sessions_in_flight
        with coordinator, self._outbox.sending():
            while not self.stop.is_set():
                made = self._round(coordinator)
                self.on_round(made)
                if made.run is not None and made.run.interrupted:
                    break
                if made.n_ended == 0:
                    if once:
                        break
                    self.stop.wait(self.interval_s)

    def _round(self, coordinator: Coordinator) -> Round:
        created: tuple[Creation, ...] = ()
        feed: QueueFeed | None = None
        problem = ""
        run: Run | None = None
        try:
            self._create()
            self._report()
            self._outbox.send_all()  # ended rows release children
            coordinator.sweep()
            feed = QueueFeed(
                coordinator,
                self._outbox,
                self.subjects,
                self._wanted,
                self.packages,
                put_off=self._put_off,
                site={name: self.options[name] for name in SITE_OPTIONS if name in self.options},
                is_stopped=self.stop.is_set,
            )
            try:
                if feed.begin():
                    run = run_pass(feed, work_dir=self.work_dir, client=self.client(), **self.options)
            finally:
                feed.return_claims()  # also where the workers do not start
            if feed.errors:
                problem = f"{len(feed.errors)} tasks wait again, since their ends were not noted: {feed.errors[-1]}"
        except AlyxLoginFailed:
            raise
        except (AlyxUnreachable, AlyxRefused) as error:
            problem = str(error)
            _log.warning("this round ended early; results are in the spool: %s", error)
        created, self._created = tuple(self._created), []
        return Round(created, run, 0 if feed is None else len(feed.ended), problem)

    def _wanted(self) -> list[JsonObject]:
        """Return the waiting rows; sessions that arrived meanwhile are created before."""
        self._create()
        return select(rows_of(self.alyx, self.place, Status.WAITING), self.mode, self.env)

    def _create(self) -> None:
        """Look for new sessions, if it is time."""
        if not self.creates or time.monotonic() < self._creates_at_s:
            return
        self._creates_at_s = time.monotonic() + CREATE_S
        options = {"repository": self.place.repository, "work_dir": self.work_dir, **self.creation}
        try:
            for made in create_jobs(self.subjects, self.alyx, **options):
                self._created.append(made)
        except SessionLocked as error:
            _log.info("sessions are created by another program now: %s", error)

    def _report(self) -> None:
        """Note the health of the server, if it is time."""
        if not self.creates or time.monotonic() < self._reports_at_s:
            return
        self._reports_at_s = time.monotonic() + HEALTH_S
        try:
            report_health(self.alyx, self.place.require_repository(), self.subjects)
        except (AlyxRefused, AlyxUnreachable, OSError) as error:
            if isinstance(error, AlyxRefused | AlyxUnreachable) and not self.alyx.is_of_one(error):
                raise
            _log.warning("the health of this server was not noted: %s", error)


def waiting_rows(
    alyx: Alyx, place: Place, mode: str = "all", env: Iterable[str | None] | None = None
) -> list[JsonObject]:
    """Return the waiting rows of a server, most urgent first; see `select`."""
    return select(rows_of(alyx, place, Status.WAITING), mode, None if env is None else tuple(env))
