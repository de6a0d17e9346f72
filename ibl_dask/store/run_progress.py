"""Progress of a run, folded from its events: totals, and a row of bounded size per session.

The driver and every reader fold the same events in the same way, so a summary equals what the journal says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, cast  # Any: values of JSON

from ibl_dask.model.failure import Failure

SessionState = Literal["waiting", "put off", "running", "done", "failed", "interrupted", "not started"]
"""failed: something is left to do or to mend; interrupted: begun, and not driven to its end."""
ENDS: tuple[SessionState, ...] = ("done", "failed", "interrupted")
MOST_FAILURES = 20
"""Failures kept per session; the journal has all of them."""
MOST_CHARACTERS = 2000
"""Characters kept of each part of a failure."""

Event = Mapping[str, Any]
"""Event of a run, as JSON."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Failure of a task, or a reason to wait."""

    failure: Failure
    """The error, its parts cut to `MOST_CHARACTERS`, without its traceback."""
    task: str = ""
    """Name of the task; empty where the session as a whole failed or waits."""
    camera: str = ""
    """Label of the camera; empty where none is known."""

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        parts = {name: value for name, value in self.failure.to_json().items() if name not in ("message", "traceback")}
        return {"failure": parts, "task": self.task, "camera": self.camera}

    @classmethod
    def from_json(cls, content: Event) -> RowFailure:
        """Read the mapping that `to_json` returns."""
        return cls(Failure.from_json(content["failure"]), str(content["task"]), str(content["camera"]))


def _bounded(content: Event) -> Failure:
    """Return a failure of an event, its parts cut to a bounded length, without its traceback."""
    failure = Failure.from_json(content)
    parts = {name: getattr(failure, name)[:MOST_CHARACTERS] for name in ("what", "where", "expected", "got", "do")}
    return replace(failure, **parts, traceback="", notes=tuple(note[:MOST_CHARACTERS] for note in failure.notes[:10]))


@dataclass(slots=True)
class SessionProgress:
    """Progress of one session."""

    number: int
    """Place of the session in the run."""
    session: str
    """Session folder."""
    state: SessionState = "waiting"
    """State of the session."""
    planned: int = 0
    """Steps that were planned."""
    done: int = 0
    """Steps that were computed."""
    kept: int = 0
    """Steps that were found finished."""
    failed: int = 0
    """Steps that failed."""
    skipped: int = 0
    """Steps that were skipped since a step upstream failed."""
    retries: int = 0
    """Attempts at steps that failed and were made again."""
    seconds: float = 0.0
    """Duration of all steps together, s."""
    started_s: float = 0.0
    """Unix time of its first event; 0 before."""
    ended_s: float = 0.0
    """Unix time of its end; 0 before."""
    report: str = ""
    """Path of its report; empty where there is none."""
    tasks: dict[str, str] = field(default_factory=dict)
    """Task -> status, of those that ended."""
    not_required: list[str] | None = None
    """Tasks without which it is done; None in journals of before 0.1, which do not name them."""
    qc: dict[str, str] = field(default_factory=dict)
    """Camera -> outcome of its checks."""
    failures: list[RowFailure] = field(default_factory=list)
    """Errors, each once, the first `MOST_FAILURES` of them."""
    n_more_failures: int = 0
    """Errors beyond those."""
    delays: list[RowFailure] = field(default_factory=list)
    """Reasons for which the session or a task of it had to wait, the first `MOST_FAILURES` of them."""
    failed_steps: list[RowFailure] = field(default_factory=list)
    """Errors of steps whose task has not ended, with their cameras; at most `MOST_FAILURES`."""

    @property
    def ended(self) -> int:
        """Return the number of steps that ended."""
        return self.done + self.kept + self.failed + self.skipped

    @property
    def is_over(self) -> bool:
        """Return True if nothing of it is under way."""
        return self.state in ENDS

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        content: dict[str, object] = {name: getattr(self, name) for name in _PLAIN}
        return content | {name: [each.to_json() for each in getattr(self, name)] for name in _LISTS}

    @classmethod
    def from_json(cls, content: Event) -> SessionProgress:
        """Read the mapping that `to_json` returns.

        Raises
        ------
        KeyError, TypeError, AttributeError
            If `content` is no such mapping.
        """
        known: dict[str, Any] = {name: content[name] for name in _PLAIN if name in content or name not in _NEWER}
        known |= {name: [RowFailure.from_json(each) for each in content[name]] for name in _LISTS}
        return cls(**known)

    # -- events -----------------------------------------------------------------------------------------------

    def take(self, name: str, event: Event) -> list[RowFailure]:
        """Add an event of this session; return the errors that it brings for the first time."""
        time_s = float(event.get("time_s") or 0)
        self.started_s = self.started_s or time_s
        fresh: list[RowFailure] = []
        if name == "SessionPutOff":
            self.state = "put off"
            reason = Failure("SessionPutOff", "locked", f"put last: {event['reason']}")
            self._add_delays([RowFailure(reason)])
        elif name == "SessionInterrupted":
            self._end("interrupted", time_s)
        elif name == "SessionPlanned":
            self.planned += sum(event["steps"].values())
            self.state = self.state if self.is_over else "running"
        elif name == "StepFinished":
            self._take_step(event["record"])
        elif name == "StepRetried":
            self.retries += 1
        elif name == "TaskFinished":
            fresh = self._take_task(event)
        elif name == "SessionFinished":
            self._end("done" if event["is_success"] else "failed", time_s)
            self.qc, self.report = dict(event["qc"]), str(event["report"])
            if event["failure"]:
                fresh = self._add_failures([RowFailure(_bounded(event["failure"]))])
        else:
            raise ValueError(f"no event of a session: {name}")
        return fresh

    def _end(self, state: SessionState, time_s: float) -> None:
        self.state, self.ended_s = state, time_s
        self.failed_steps = []

    def _take_step(self, record: Event) -> None:
        status = record["status"]
        if status not in ("done", "kept", "failed", "skipped"):
            raise ValueError(f"no status of a step: {status}")
        setattr(self, status, getattr(self, status) + 1)
        self.seconds += float(record.get("seconds") or 0)
        if status == "failed" and record.get("failure") and len(self.failed_steps) < MOST_FAILURES:
            camera = str(record["key"][0]).partition("-")[2]
            self.failed_steps.append(RowFailure(_bounded(record["failure"]), camera=camera))

    def _take_task(self, event: Event) -> list[RowFailure]:
        task, status = str(event["task"]), str(event["status"])
        self.tasks[task] = status
        if "is_required" in event:
            others = [name for name in self.not_required or () if name != task]
            self.not_required = others if event["is_required"] else [*others, task]
        if status == "Held":  # its reason is that of the task that it waits for
            return []
        cameras = {known.failure: known.camera for known in self.failed_steps}
        failures = [_bounded(content) for content in event["failures"]]
        found = [RowFailure(failure, task, cameras.get(failure, "")) for failure in failures]
        if status == "Waiting":
            self._add_delays(found)
            return []
        return self._add_failures(found)

    def _add_failures(self, found: Iterable[RowFailure]) -> list[RowFailure]:
        """Add errors that are not there yet, whichever task met them first, and return them."""
        known = {each.failure for each in self.failures}
        fresh = [each for each in found if each.failure not in known]
        room = MOST_FAILURES - len(self.failures)
        self.failures += fresh[:room]
        self.n_more_failures += len(fresh[room:])
        return fresh

    def _add_delays(self, found: Iterable[RowFailure]) -> None:
        fresh = [each for each in found if each not in self.delays]
        self.delays += fresh[: MOST_FAILURES - len(self.delays)]


_LISTS = ("failures", "delays", "failed_steps")
_NEWER = ("not_required",)
"""Fields that summaries of before 0.1 lack."""
_PLAIN = tuple(known.name for known in fields(SessionProgress) if known.name not in _LISTS)


@dataclass(slots=True)
class RunTotals:
    """Sums over a run."""

    steps: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Kind of step -> status -> number."""
    tasks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Task -> status -> number."""
    categories: Counter[str] = field(default_factory=Counter)
    """Category of failure -> number, each failure counted once per session."""
    ended: Counter[str] = field(default_factory=Counter)
    """State of sessions that ended -> number."""
    retries: int = 0
    """Attempts at steps that failed and were made again."""
    seconds: float = 0.0
    """Duration of all steps together, s."""
    gpu_s: float = 0.0
    """The same of steps on GPUs, times their GPUs, s."""
    gpu_j: float = 0.0
    """Energy of these GPUs meanwhile, J, as far as it could be read."""
    work: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    """Kind of work -> time on one core, s, and pixels, of steps that were computed."""
    single: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    """Kind of a step of no camera, which is a task's name where the task is one step -> number computed, and s."""
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    """Kind of step -> number of steps that were computed or failed, and their duration, s."""

    @property
    def n_steps(self) -> int:
        """Return the number of steps that ended."""
        return sum(counts.total() for counts in self.steps.values())

    def take_step(self, record: Event) -> None:
        """Add a step that ended."""
        kind, _, camera = str(record["key"][0]).partition("-")
        status, seconds = str(record["status"]), float(record.get("seconds") or 0)
        value = record.get("value") or {}
        self.steps[kind][status] += 1
        self.seconds += seconds
        self.gpu_s += seconds * int(record.get("gpus") or 0)
        self.gpu_j += float(record.get("gpu_j") or 0)
        if status in ("done", "failed"):
            _add(self.spent[kind], 1, seconds)
        if status != "done" or value.get("kept"):
            return
        work = value.get("work")
        if isinstance(work, dict) and work.get("pixels"):
            _add(self.work[str(work["kind"])], seconds, float(work["pixels"]))
        elif not camera:
            _add(self.single[kind], 1, seconds)

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        return {known.name: getattr(self, known.name) for known in fields(self)}

    @classmethod
    def from_json(cls, content: Event) -> RunTotals:
        """Read the mapping that `to_json` returns.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `content` is no such mapping.
        """
        # Summaries of before 0.1 do not know of GPUs.
        gpu_s, gpu_j = (float(content.get(name, 0)) for name in ("gpu_s", "gpu_j"))
        found = cls(retries=int(content["retries"]), seconds=float(content["seconds"]), gpu_s=gpu_s, gpu_j=gpu_j)
        for name in ("steps", "tasks"):
            getattr(found, name).update({key: Counter(counts) for key, counts in content[name].items()})
        for name in ("work", "single"):
            getattr(found, name).update({key: [float(a), float(b)] for key, (a, b) in content[name].items()})
        # Summaries of before 0.1 have no durations by kind.
        found.spent.update({key: [float(a), float(b)] for key, (a, b) in content.get("spent", {}).items()})
        found.categories.update(content["categories"])
        found.ended.update(content["ended"])
        return found


def _add(pair: list[float], first: float, second: float) -> None:
    pair[0] += first
    pair[1] += second


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause of a run, or of a part of it."""

    place: str
    """Disk, node, environment, or empty for the whole run."""
    failure: Failure
    """The reason, and what to do."""
    since_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """End of a run by its own driver."""

    interrupted: bool
    """True if it was stopped from outside."""
    seconds: float
    """Duration, s."""
    time_s: float
    """Unix time."""


class EndedRows(Protocol):
    """Place of the rows of sessions that ended."""

    def get(self, number: int) -> SessionProgress | None:
        """Return a row that was put here; None where there is none."""

    def put(self, row: SessionProgress) -> None:
        """Take a row; the last one of a session counts."""


class RunProgress:
    """Progress of a run; in memory are the sessions in flight alone.

    Parameters
    ----------
    ended : EndedRows
        Receives the rows of sessions that ended.
    sessions : sequence of str
        Session folders, in order; known from the event `RunStarted` otherwise.
    """

    def __init__(self, ended: EndedRows, sessions: Sequence[str] = ()) -> None:
        self.ended = ended
        self.numbers: dict[str, int] = {}
        """Session folder -> place in the run."""
        self._add_sessions(sessions)
        self._n_given = len(self.numbers)
        self.open: dict[int, SessionProgress] = {}
        """Sessions that have begun, or were put off, and have not ended."""
        self.totals = RunTotals()
        self.pauses: dict[str, Pause] = {}
        self.end: RunEnd | None = None
        self.n_events = 0

    def take(self, event: Event) -> bool:
        """Add an event; return whether it was one of this package."""
        try:
            self._take(str(event["event"]), event)
        except (KeyError, TypeError, AttributeError, ValueError):
            return False
        self.n_events += 1
        return True

    def _take(self, name: str, event: Event) -> None:
        if name == "RunStarted":
            self._add_sessions(event["sessions"])
            self._n_given = len(self.numbers)
        elif name == "RunFinished":
            self.pauses.clear()
            self._finish(event)
        elif name == "RunPaused":
            place = str(event["place"])
            self.pauses[place] = Pause(place, _bounded(event["failure"]), float(event["time_s"]))
        elif name == "RunResumed":
            self.pauses.pop(str(event["place"]), None)
        else:
            self._take_of_session(name, event)

    def _add_sessions(self, sessions: Iterable[str]) -> None:
        for path in sessions:
            self.numbers.setdefault(str(path), len(self.numbers))

    def _finish(self, event: Event) -> None:
        self.end = RunEnd(bool(event["interrupted"]), float(event["seconds"]), float(event.get("time_s") or 0))
        for row in [*self.open.values()]:
            # Sessions that had begun are named by events of their own, except by older versions.
            row.state = "interrupted" if row.ended and "n_interrupted" not in event else "not started"
            self._close(row)

    def _take_of_session(self, name: str, event: Event) -> None:
        path = str(event["session"])
        number = self.numbers.get(path, len(self.numbers))
        row = self.open.get(number) or self.ended.get(number) or SessionProgress(number, path)
        was_over = row.is_over
        fresh = row.take(name, event)
        if name == "StepFinished":
            self.totals.take_step(event["record"])
        elif name == "StepRetried":
            self.totals.retries += 1
        elif name == "TaskFinished":
            self.totals.tasks[str(event["task"])][str(event["status"])] += 1
        self.totals.categories.update(each.failure.category for each in fresh)
        self.numbers[path] = number
        self.open[number] = row
        if row.is_over:
            self._close(row, is_counted=not was_over)

    def _close(self, row: SessionProgress, is_counted: bool = True) -> None:
        """Hand over the row of a session that ended."""
        self.ended.put(row)
        self.open.pop(row.number, None)
        if is_counted:
            self.totals.ended[row.state] += 1

    @property
    def states(self) -> Counter[SessionState]:
        """Return the number of sessions in each state."""
        counts = Counter(cast("Mapping[SessionState, int]", self.totals.ended))
        counts.update(row.state for row in self.open.values())
        rest = len(self.numbers) - counts.total()
        if rest:
            counts["waiting" if self.end is None else "not started"] += rest
        return counts

    # -- as JSON ----------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, object]:
        """Return all but the sessions that ended and those that have not begun; `load_json` reads it back.

        Sessions that the start of the run does not name, since a feed brought them, are listed in their order.
        """
        pauses = [{**_fields(pause), "failure": pause.failure.to_json()} for pause in self.pauses.values()]
        return {
            "n_events": self.n_events,
            "totals": self.totals.to_json(),
            "pauses": pauses,
            "end": None if self.end is None else _fields(self.end),
            "added": list(self.numbers)[self._n_given :],
            "open": [row.to_json() for row in self.open.values()],
        }

    def load_json(self, content: Event) -> None:
        """Read the mapping that `to_json` returns.

        Raises
        ------
        KeyError, TypeError, AttributeError, ValueError
            If `content` is no such mapping.
        """
        self.n_events = int(content["n_events"])
        self.totals = RunTotals.from_json(content["totals"])
        for each in content["pauses"]:
            found = Pause(str(each["place"]), Failure.from_json(each["failure"]), float(each["since_s"]))
            self.pauses[found.place] = found
        self.end = None if content["end"] is None else RunEnd(**content["end"])
        self._add_sessions(map(str, content.get("added", ())))
        for each in content["open"]:
            row = SessionProgress.from_json(each)
            self.open[row.number] = row
            self.numbers.setdefault(row.session, row.number)


def _fields(value: Pause | RunEnd) -> dict[str, object]:
    return {known.name: getattr(value, known.name) for known in fields(value)}
