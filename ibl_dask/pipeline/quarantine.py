"""Which tasks of a session go into quarantine after a run, and which stay there before one."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ibl_dask.model.failure import Failure
from ibl_dask.model.session import Session
from ibl_dask.pipeline.attempts import QUARANTINED
from ibl_dask.pipeline.task_states import TaskState
from ibl_dask.store.containment import contained
from ibl_dask.store.dataset_lookup import find_files
from ibl_dask.store.quarantine import QuarantinedTask, quarantine_fingerprint, read_quarantine, write_quarantine

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Quarantine:
    """Quarantine of the tasks of one session, for the holder of the session."""

    session: Session
    """The session."""
    options: str = ""
    """Fingerprint of the options of the run's tasks."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Category of a failure -> settings of the run on which it depends."""
    is_lifted: bool = False
    """Tasks are tried whatever happened before."""
    _known: dict[str, QuarantinedTask] = field(default_factory=dict)

    def read(self) -> None:
        """Read the tasks in quarantine."""
        self._known = {} if self.is_lifted else read_quarantine(self.session.own)

    def reason(self, state: TaskState) -> Failure | None:
        """Return the failure for which a task is not tried again; None where it may be tried."""
        entry = self._known.get(state.name)
        if entry is None or entry.fingerprint != self._fingerprint(state, entry.failure):
            return None
        day = datetime.fromtimestamp(entry.time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        note = (
            f"In quarantine since {day} (run {entry.run}): nothing that {state.name} depends on has changed since. "
            "`--retry quarantined` tries it again."
        )
        return replace(entry.failure, notes=(*entry.failure.notes, note))

    def conclude(self, states: Iterable[TaskState], run: str) -> None:
        """Write the tasks that failed in a run, with all files as they are at its end."""
        left = dict(self._known)
        for state in states:
            if state.is_in_quarantine:
                continue
            left.pop(state.name, None)
            failures = [failure for failure in (state.reason, *state.failures) if failure is not None]
            if state.has_failed and all(failure.category in QUARANTINED for failure in failures):
                fingerprint = self._fingerprint(state, failures[0])
                if fingerprint:
                    left[state.name] = QuarantinedTask(fingerprint, failures[0], run, time.time())
        if left != self._known or self.is_lifted:
            write_quarantine(self.session.own, left)

    def _fingerprint(self, state: TaskState, failure: Failure) -> str:
        """Return the fingerprint of what a task depends on; empty where its own code fails to name it."""
        task = state.task
        try:
            with contained(state.name):
                expected = task.input_files
        except Exception as error:  # noqa: BLE001  # the task fails of itself, and is tried each time
            _log.info("%s does not name its inputs: %s", state.name, error)
            return ""
        inputs = [path for each in expected for path in find_files(self.session.roots, each).files]
        code = (state.spec.executable, dict(state.spec.arguments), task.version, _source(type(task)))
        return quarantine_fingerprint(
            self.session, inputs, code, state.spec.env, self.options, self.settings.get(failure.category)
        )


def _source(cls: type) -> str:
    """Return the text of the module of a class, which a lab mends without a new version; empty where there is none."""
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (KeyError, OSError, TypeError):
        return ""
