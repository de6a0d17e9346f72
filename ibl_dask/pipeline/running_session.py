"""A session in flight: its pipeline, the states of its tasks, and the records that are still needed."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from ibl_dask.model.failure import Failure
from ibl_dask.model.places import below
from ibl_dask.model.result import CamerasJudged, VideoIndexed
from ibl_dask.model.step import StepKey, StepRecord
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.pipeline.quarantine import Quarantine
from ibl_dask.pipeline.run_outcome import Run, SessionOutcome
from ibl_dask.pipeline.task_states import TaskState, make_states
from ibl_dask.store.atomic import sweep_temporaries
from ibl_dask.store.containment import contained
from ibl_dask.store.disk import retry_transient
from ibl_dask.store.lock import Held


@dataclass(slots=True)
class _StepTotals:
    """Totals over the steps of one name."""

    n: int = 0
    seconds: float = 0.0
    status: Counter[str] = field(default_factory=Counter)
    workers: set[str] = field(default_factory=set)

    def add(self, record: StepRecord) -> None:
        """Add a step."""
        self.n += 1
        self.seconds += record.seconds
        self.status[record.status] += 1
        self.workers.add(record.worker)

    def to_json(self) -> dict[str, object]:
        """Return the totals as plain values."""
        row = {"n": self.n, "seconds": round(self.seconds, 3), "status": dict(self.status)}
        return row | {"workers": sorted(self.workers)}


class RunningSession:
    """A session from its admission to its end.

    Parameters
    ----------
    order : int
        Place of the session in the run.
    outcome : SessionOutcome
        Its row in the result of the run.
    pipeline : Pipeline
        Its tasks.
    held : Held, optional
        Its lock, where that was taken before planning.
    """

    def __init__(self, order: int, outcome: SessionOutcome, pipeline: Pipeline, held: Held | None = None) -> None:
        self.order = order
        self.outcome = outcome
        self.pipeline = pipeline
        self.held = held
        self.states = make_states(pipeline.specs, pipeline.tasks)
        self.records: dict[StepKey, StepRecord] = {}
        """Records of steps that tasks still need, by key."""
        self.ended: set[StepKey] = set()
        """Keys of all steps that ended."""
        self.waiting: dict[StepKey, list[TaskState]] = {}
        """Tasks that wait for a step or a call, by its key."""
        self.quarantine = Quarantine(pipeline.session)
        """Tasks that are not tried again."""
        self.phase: Literal["tasks", "report"] = "tasks"
        self.started_s = time.time()
        self._device: int | None = None
        self._clock = time.perf_counter()
        self._totals: dict[str, _StepTotals] = {}
        self._videos: dict[str, dict[str, object]] = {}
        self._files: dict[str, dict[str, object]] = {}
        self._judged: CamerasJudged | None = None

    @property
    def reference(self) -> str:
        """Return the reference of the session."""
        return self.pipeline.session.reference

    @property
    def device(self) -> int:
        """Return the number of the file system of the session; 0 where that cannot be asked."""
        if self._device is None:
            try:
                self._device = self.pipeline.session.path.stat().st_dev
            except OSError:
                self._device = 0
        return self._device

    def time_out_s(self, key: StepKey) -> float:
        """Return the time after which a step is ended: the longest of the tasks that wait for it, s; 0 for none."""
        limits = [self.pipeline.time_outs_s.get(state.name, 0.0) for state in self.waiting.get(key, ())]
        return 0.0 if 0.0 in limits else max(limits, default=0.0)

    def note(self, record: StepRecord) -> None:
        """Take the record of a step that ended."""
        result = record.result
        self.records[record.key] = record
        self.ended.add(record.key)
        self.outcome.started = True
        self.outcome.count_step(record)
        self._totals.setdefault(record.key.name, _StepTotals()).add(record)
        self._note_files(record)
        if isinstance(result, VideoIndexed) and not result.is_raw:
            self._videos[result.camera] = record.value
        if isinstance(result, CamerasJudged):  # the report comes last, and covers cameras that this run did not check
            self._judged = result

    def _note_files(self, record: StepRecord) -> None:
        """Note which step left which file of the session."""
        root = self.pipeline.session.outputs
        for path in record.result.outputs:
            if path.is_relative_to(root):
                self._files[path.relative_to(root).as_posix()] = {
                    "step": record.key.name,
                    "fingerprint": record.key.fingerprint,
                    "status": record.status,
                    "started_s": record.started_s,
                    "seconds": round(record.seconds, 3),
                    "worker": record.worker,
                }

    def recall(self, keys: set[StepKey]) -> None:
        """Read records of ended tasks from the journal, for a task that shares steps with them."""
        if keys & self.ended - self.records.keys():
            known = retry_transient(lambda: self.outcome.records)
            self.records.update((key, known[key]) for key in keys - self.records.keys() if key in known)

    def release_records(self, state: TaskState) -> None:
        """Drop the records of a task that ended, unless a task in flight has the same steps.

        Records of first steps stay: they are few, and tasks often share them.
        """
        others = [other for other in self.states.values() if not other.is_over]
        for key in state.keys:
            if key not in state.first and not any(key in other.keys for other in others):
                self.records.pop(key, None)

    def facts_for_report(self, run: Run) -> dict[str, object]:
        """Return the part of the report that only the driver knows, as plain values."""
        return {
            "videos": self._videos,
            "run": run.name,
            "host": socket.gethostname(),
            "n_workers": run.n_workers,
            "started_s": self.started_s,
            "seconds": time.perf_counter() - self._clock,
            "steps": {name: totals.to_json() for name, totals in self._totals.items()},
            "tasks": {name: str(status) for name, status in self.outcome.tasks.items()},
            "options": dict(self.pipeline.options),
            "requests": {name: _request(state) for name, state in self.states.items()},
            "files": self._files,
            "failures": [
                {**failure.to_json(), "tasks": self._tasks_with(failure)} for failure in self.outcome.failures
            ],
        }

    def _tasks_with(self, failure: Failure) -> list[str]:
        return [name for name, state in self.states.items() if failure == state.reason or failure in state.failures]

    def end(self, report: StepRecord) -> None:
        """Complete the row of the session, from the record of its report and the latest outcomes of its checks."""
        outcome, workspace = self.outcome, self.pipeline.workspace
        if report.is_ok:
            outcome.report = workspace.report_file
        elif report.failure is not None:
            outcome.failures.append(report.failure)
        outcome.qc = {} if self._judged is None else dict(self._judged.cameras)
        outcome.finished = True
        self.sweep()
        if outcome.is_success:
            workspace.clean()

    def sweep(self) -> None:
        """Remove temporary files of killed writers. Only while the lock is held."""
        workspace = self.pipeline.workspace
        folders = {camera.collection for camera in workspace.session.description.cameras}
        outputs = [below(workspace.session.outputs, name) for name in ("alf", *sorted(folders))]
        owned = [folder for folder in (workspace.session.own, *outputs) if workspace.is_own(folder)]
        for folder in (*owned, workspace.scratch):
            sweep_temporaries(folder)


def _request(state: TaskState) -> dict[str, object]:
    """Return a task as plain values: class, arguments, steps, and patterns of the files that it declares to read."""
    reads: list[str] = []
    arguments: object = dict(state.spec.arguments)
    # A task of a lab may raise anything where it describes itself, and its results do not depend on that.
    with contextlib.suppress(Exception), contained(state.name):
        arguments = state.task.arguments()
        reads = [leaf.pattern for expected in state.task.input_files for leaf in expected.leaves if not leaf.inverted]
    return {
        "executable": state.spec.executable,
        "arguments": json.loads(json.dumps(arguments, default=str)),
        "steps": sorted({key.name for key in state.keys}),
        "reads": list(dict.fromkeys(reads)),
    }
