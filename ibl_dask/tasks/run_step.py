"""Running steps: one of them anywhere, or all of them one after another."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ibl_dask.model.failure import Failure
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.step import Key, Step, StepRecord, StepStatus
from ibl_dask.store.containment import contained
from ibl_dask.store.disk import retry_transient
from ibl_dask.store.failures import failure_from
from ibl_dask.store.lock import LOCK_NAME, lending, require_lease
from ibl_dask.store.marker import read_marker, write_marker

_log = logging.getLogger(__name__)


def run_step(step: Step, records: Sequence[StepRecord], root: Path) -> StepRecord:
    """Run one step, or find that it is done already; never raise.

    Parameters
    ----------
    step : Step
        What to run.
    records : sequence of StepRecord
        Records of the steps it needs.
    root : Path
        Folder that its outputs are named from in the marker.

    Returns
    -------
    StepRecord
        How it went. An error becomes part of the record, so that what does not depend on it goes on.
    """
    started = time.time()
    clock = time.perf_counter()

    def record(status: StepStatus, value: Mapping[str, object], failure: Failure | None = None) -> StepRecord:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return StepRecord(step.key, status, dict(value), failure, started, time.perf_counter() - clock, worker)

    broken = [r for r in records if not r.is_ok]
    fatal = next((r for r in broken if r.key[0].split("-")[0] not in step.tolerates), None)
    if fatal is not None:
        return record("skipped", {}, fatal.failure)

    def attempt() -> dict[str, Any]:
        if step.lease:
            require_lease(lock, step.lease)
        if step.marker is not None:
            known = read_marker(step.marker, step.fingerprint, root)
            if known is not None:
                return {**known, "kept": True}
        with contained(f"{step.key[0]} of {step.session}"):
            value = dict(step.function(records={r.key: r for r in records}, **step.arguments))
        # Without something it wanted, the result is the best there is now, but not the last word.
        if step.marker is not None and not broken:
            outputs = [Path(path) for path in value.get("outputs", ())]
            write_marker(step.marker, step.fingerprint, root, outputs, value)
        return value

    lock = root / OWN_FOLDER / LOCK_NAME
    try:
        with lending(lock) if step.lease else contextlib.nullcontext():
            value = retry_transient(attempt)
    except Exception as error:  # noqa: BLE001  # the record carries it; one camera must not stop the others
        failure = failure_from(error)
        _log.info("%s of %s failed: %s", step.key[0], step.session, failure.message)
        return record("failed", {}, failure)
    return record("kept" if value.pop("kept", False) else "done", value)


def walk(
    steps: Iterable[Step],
    root: Path,
    listen: Callable[[StepRecord], None] = lambda record: None,
    before: Mapping[Key, StepRecord] | None = None,
) -> dict[Key, StepRecord]:
    """Run steps one after another, in an order in which each finds what it needs.

    Parameters
    ----------
    steps
        What to run.
    root
        See `run_step`.
    listen
        Called with each record.
    before
        Records of steps that ran already.
    """
    records: dict[Key, StepRecord] = dict(before or {})
    for step in in_order(steps):
        records[step.key] = run_step(step, [records[need] for need in step.needs if need in records], root)
        listen(records[step.key])
    return records


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Order steps so that each comes after what it needs; two steps with one key are one."""
    left = {step.key: step for step in steps}
    out: list[Step] = []
    while left:
        ready = [step for step in left.values() if not any(need in left for need in step.needs)]
        if not ready:
            raise RuntimeError(f"steps wait for each other in a circle: {sorted(key[0] for key in left)}")
        out.extend(ready)
        for step in ready:
            del left[step.key]
    return out
