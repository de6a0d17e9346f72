"""Progress of a run: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ibl_dask.cli.console import out
from ibl_dask.model import events
from ibl_dask.model.result import WorkKind

_log = logging.getLogger(__name__)


class View(Protocol):
    """Listener that displays the events of a run."""

    def __enter__(self) -> View: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, event: events.Event) -> None:
        """Display one event."""


def make_view() -> View:
    """Return a live view on a terminal, else a view of plain lines."""
    return _Apart(_Bars() if out.is_terminal else _Lines())


GOODBYE_S = 2.0
"""Time limit for the last lines of a view, s."""


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

    def _show(self) -> None:
        try:
            with self._view:
                while (event := self._events.get()) is not None:
                    self._view(event)
        except Exception as error:  # noqa: BLE001  # the run goes on unseen
            _log.warning("the view of the run failed", exc_info=error)


def _session(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-3:])


class _Bars:
    """One bar for all steps of a session, and one for each camera whose video is decoded."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out
        )
        self._rows: dict[str, dict[str, TaskID]] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.SessionPlanned):
            self._plan(event)
        elif isinstance(event, events.SessionPutOff):
            self._progress.console.print(_put_off(event), markup=False)
        elif isinstance(event, events.StepFinished):
            rows = self._rows.get(event.session, {})
            for name in ("", event.record.key[0]):
                if name in rows:
                    self._progress.advance(rows[name])
        elif isinstance(event, events.SessionFinished):
            for row in self._rows.pop(event.session, {}).values():
                self._progress.remove_task(row)
            self._progress.console.print(_ended(event), markup=False)

    def _plan(self, event: events.SessionPlanned) -> None:
        rows = self._rows.setdefault(event.session, {})
        if "" not in rows:
            rows[""] = self._progress.add_task(f"{_session(event.session)}  steps", total=0)
        planned = self._progress.tasks[self._progress.task_ids.index(rows[""])].total or 0
        self._progress.update(rows[""], total=planned + sum(event.steps.values()))
        for name, n in event.steps.items():
            if name in event.chunks:
                camera = name.partition("-")[2]
                text = f"{_session(event.session)}  {camera}, chunks to {_CHUNKS[event.chunks[name]]}"
                rows[name] = self._progress.add_task(text, total=n)


_CHUNKS: Mapping[WorkKind, str] = {"encode": "compress", "decode": "decode"}
"""Work on a chunk of video -> verb."""


class _Lines:
    """View of plain lines: one at each start and end, and at most one every few seconds between."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._printed_s = time.monotonic()
        self._planned: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.SessionPlanned):
            self._planned[event.session] += sum(event.steps.values())
            out.print(f"{_session(event.session)}: {_planned(event)}", markup=False)
        elif isinstance(event, events.SessionPutOff):
            out.print(_put_off(event), markup=False)
        elif isinstance(event, events.StepFinished):
            self._done[event.session] += 1
            if event.record.status == "failed":
                out.print(f"{_session(event.session)}: {event.record.key[0]} failed", markup=False)
            if time.monotonic() - self._printed_s > self._every_s:
                self._printed_s = time.monotonic()
                done, planned = self._done[event.session], self._planned[event.session]
                out.print(f"{_session(event.session)}: {done} of {planned} steps", markup=False)
        elif isinstance(event, events.SessionFinished):
            out.print(_ended(event), markup=False)


def _planned(event: events.SessionPlanned) -> str:
    n_chunks = Counter[WorkKind]()
    for name, work in event.chunks.items():
        n_chunks[work] += event.steps[name]
    chunks = [f"{n_chunks[work]} chunks of video to {verb}" for work, verb in _CHUNKS.items() if n_chunks[work]]
    others = sorted({name.split("-")[0] for name in event.steps.keys() - event.chunks.keys()})
    n_steps = sum(event.steps.values())
    return f"{n_steps} steps ({', '.join(others)})" + (f", of these {', '.join(chunks)}" if chunks else "")


def _put_off(event: events.SessionPutOff) -> str:
    return f"{_session(event.session)}: put last and tried again: {event.reason}"


def _ended(event: events.SessionFinished) -> str:
    outcome = "done" if event.is_success else "NOT done"
    qc = ", ".join(f"{camera} {result}" for camera, result in event.qc.items())
    return f"{_session(event.session)}: {outcome}" + (f"; checks: {qc}" if qc else "")
