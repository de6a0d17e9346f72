"""Progress of a run: a live view on a terminal, plain lines elsewhere. Neither grows with what goes well."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from queue import Empty, SimpleQueue
from typing import Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ibl_dask.cli.console import out
from ibl_dask.cli.queue_watch import PoolLook, QueueWatch
from ibl_dask.model import events
from ibl_dask.model.result import WorkKind
from ibl_dask.report.failure_groups import mask
from ibl_dask.report.lines import count
from ibl_dask.report.run_pace import RunPace, format_duration

_log = logging.getLogger(__name__)

FEW = 5
"""Number of sessions up to which each has its own lines and bars."""
TICK_S = 1.0
"""Interval of looks at time and queue, s."""
GOODBYE_S = 10.0
"""Time limit for the last lines of a view, s: a terminal that is halted takes none."""
MOST_ALIKE = 3
"""Number of lines about failures and retries with one cause; the others are counted at the end."""
_MOST_BARS = 4
_REASON_CHARACTERS = 120


class View(Protocol):
    """Listener that displays the events of a run."""

    def __enter__(self) -> View: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, event: events.Event) -> None:
        """Display one event."""

    def tick(self, now_s: float) -> None:
        """Look at the time, s of a monotonic clock."""


def make_view(pools: Callable[[], Iterable[PoolLook]] | None = None) -> View:
    """Return a live view on a terminal, else a view of plain lines.

    Parameters
    ----------
    pools : callable, optional
        Returns the state of each pool of jobs; None where workers are processes of this machine.
    """
    return _Apart(_Bars(pools) if out.is_terminal else _Lines(pools))


class _Apart:
    """View in a thread of its own, so that a blocked terminal (Ctrl-S, a pager) does not stop the run."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._events: SimpleQueue[events.Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._show, daemon=True, name="view")

    def __enter__(self) -> _Apart:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._events.put(None)
        self._thread.join(GOODBYE_S)

    def __call__(self, event: events.Event) -> None:
        self._events.put(event)

    def tick(self, now_s: float) -> None:
        """Do nothing: the thread has its own clock."""

    def _show(self) -> None:
        ticked_s = time.monotonic()
        try:
            with self._view:
                while True:
                    with contextlib.suppress(Empty):
                        event = self._events.get(timeout=TICK_S)
                        if event is None:
                            return
                        self._view(event)
                    now_s = time.monotonic()
                    if now_s - ticked_s >= TICK_S:
                        ticked_s = now_s
                        self._view.tick(now_s)
        except Exception as error:  # noqa: BLE001  # the run goes on unseen
            _log.warning("the view of the run failed", exc_info=error)


class _Remarks:
    """Lines that every view prints: failures, retries, pauses, delays, and what waits in the queue."""

    def __init__(self, pools: Callable[[], Iterable[PoolLook]] | None) -> None:
        self.pace = RunPace(time.monotonic())
        self._queue = QueueWatch(pools, time.monotonic())
        self._alike: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    @property
    def is_few(self) -> bool:
        return self.pace.n_sessions <= FEW

    def of_event(self, event: events.Event) -> Iterable[str]:
        self.pace.take(event)
        if isinstance(event, events.TaskFinished):
            if event.failures and event.status not in ("Waiting", "Held"):
                self._reasons.setdefault(event.session, event.failures[0].what)
        elif isinstance(event, events.StepRetried):
            step, _, camera = event.step[0].partition("-")
            place = f"{_session(event.session)}: {step}{camera and ' of ' + camera}"
            again = f"tried again in {format_duration(event.pause_s)}" if event.pause_s >= 1 else "tried again"
            yield from self._limited(f"{place} {again} (attempt {event.attempt} failed): ", event.failure.what)
        elif isinstance(event, events.RunPaused):
            what = " ".join(part for part in (event.failure.what, event.failure.do) if part)
            yield f"paused{event.place and ' ' + event.place}: {what}"
        elif isinstance(event, events.RunResumed):
            yield f"{event.place or 'the run'} goes on"
        elif isinstance(event, events.SessionPutOff):
            yield from self._limited(f"{_session(event.session)}: put last and tried again: ", event.reason)
        elif isinstance(event, events.SessionFinished):
            reason = self._reasons.pop(event.session, "")
            if event.failure is not None:
                reason = event.failure.what
            if self.is_few:
                yield _ended(event, reason)
            elif not event.is_success:
                yield from self._limited(f"{_session(event.session)}: NOT done: ", reason or "tasks are left")

    def of_queue(self, now_s: float) -> Iterable[str]:
        line = self._queue.line(now_s)
        if line:
            yield line

    def text(self, now_s: float) -> str:
        """Return the progress as one line."""
        return "; ".join(part for part in (self.pace.text(now_s), self._queue.short, self.pace.details) if part)

    def _limited(self, head: str, reason: str) -> Iterable[str]:
        """Yield a line unless enough with its reason were printed."""
        cause = mask(head.partition(": ")[2] + reason)
        self._alike[cause] += 1
        if self._alike[cause] <= MOST_ALIKE:
            more = " (others like it are only counted)" if self._alike[cause] == MOST_ALIKE else ""
            yield head + _short(reason) + more


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON_CHARACTERS else line[: _REASON_CHARACTERS - 1] + "…"


def _session(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-3:])


class _Progress(Progress):
    """Bars below a line of text."""

    status = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.status:
            yield Text(self.status, style="dim", no_wrap=True, overflow="ellipsis")
        yield from super().get_renderables()


class _Bars:
    """A bar for the run. Of few sessions each has one for its steps, and one for each camera whose video is decoded."""

    def __init__(self, pools: Callable[[], Iterable[PoolLook]] | None = None) -> None:
        self._remarks = _Remarks(pools)
        self._progress = _Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
        )
        self._rows: dict[str, dict[str, TaskID]] = {}
        self._run: TaskID | None = None

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.tick(time.monotonic())
        self._progress.stop()

    def __call__(self, event: events.Event) -> None:
        for line in self._remarks.of_event(event):
            self._progress.console.print(line, markup=False)
        if isinstance(event, events.RunStarted):
            if len(event.sessions) > 1:
                self._run = self._progress.add_task("sessions", total=len(event.sessions))
        elif isinstance(event, events.SessionPlanned):
            self._plan(event)
        elif isinstance(event, events.StepFinished):
            rows = self._rows.get(event.session, {})
            for name in ("", event.record.key[0]):
                if name in rows:
                    self._progress.advance(rows[name])
        elif isinstance(event, events.SessionFinished):
            for row in self._rows.pop(event.session, {}).values():
                self._progress.remove_task(row)
            if self._run is not None:
                self._progress.advance(self._run)

    def tick(self, now_s: float) -> None:
        for line in self._remarks.of_queue(now_s):
            self._progress.console.print(line, markup=False)
        if self._run is not None:
            self._progress.status = self._remarks.text(now_s)

    def _plan(self, event: events.SessionPlanned) -> None:
        if event.session not in self._rows and not self._remarks.is_few and len(self._rows) >= _MOST_BARS:
            return
        rows = self._rows.setdefault(event.session, {})
        if "" not in rows:
            rows[""] = self._progress.add_task(f"{_session(event.session)}  steps", total=0)
        planned = self._progress.tasks[self._progress.task_ids.index(rows[""])].total or 0
        self._progress.update(rows[""], total=planned + sum(event.steps.values()))
        if self._remarks.is_few:
            for name, n in event.steps.items():
                if name in event.chunks:
                    text = f"{_session(event.session)}  {name.partition('-')[2]}, {_CHUNKS[event.chunks[name]]}"
                    rows[name] = self._progress.add_task(text, total=n)


_CHUNKS: Mapping[WorkKind, str] = {"encode": "compress", "decode": "decode", "infer": "estimate"}
"""Work on a chunk of video -> verb."""


class _Lines:
    """View of plain lines: what failed, and how far the run is, at most once every few seconds."""

    def __init__(self, pools: Callable[[], Iterable[PoolLook]] | None = None, every_s: float = 10.0) -> None:
        self._remarks = _Remarks(pools)
        self._every_s = every_s
        self._printed_s = time.monotonic()
        self._told = ""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: events.Event) -> None:
        for line in self._remarks.of_event(event):
            out.print(line, markup=False)
        if isinstance(event, events.SessionPlanned) and self._remarks.is_few:
            out.print(f"{_session(event.session)}: {_planned(event)}", markup=False)

    def tick(self, now_s: float) -> None:
        for line in self._remarks.of_queue(now_s):
            out.print(line, markup=False)
        if now_s - self._printed_s >= self._every_s:
            self._printed_s = now_s
            text = self._remarks.text(now_s)
            if text != self._told:
                self._told = text
                out.print(text, markup=False)


def _planned(event: events.SessionPlanned) -> str:
    n_chunks = Counter[WorkKind]()
    for name, work in event.chunks.items():
        n_chunks[work] += event.steps[name]
    chunks = [
        f"{count(n_chunks[work], 'chunk')} of video to {verb}" for work, verb in _CHUNKS.items() if n_chunks[work]
    ]
    others = sorted({name.split("-")[0] for name in event.steps.keys() - event.chunks.keys()})
    n_steps = sum(event.steps.values())
    kinds = f" ({', '.join(others)})" if others else ""
    return count(n_steps, "step") + kinds + (f", of these {', '.join(chunks)}" if chunks else "")


def _ended(event: events.SessionFinished, reason: str) -> str:
    outcome = "done" if event.is_success else "NOT done"
    qc = ", ".join(f"{camera} {result}" for camera, result in event.qc.items())
    told = f": {_short(reason)}" if reason and not event.is_success else ""
    return f"{_session(event.session)}: {outcome}{told}" + (f"; checks: {qc}" if qc else "")
