"""Runs steps: one of them on a worker, or several in order in this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ibl_dask.model.failure import Failure
from ibl_dask.model.gpu_energy import read_gpu_j
from ibl_dask.model.result import EMPTY, Result
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.step import Step, StepKey, StepRecord, StepStatus, Upstream
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.containment import contained
from ibl_dask.store.disk import retry_transient
from ibl_dask.store.failures import failure_from
from ibl_dask.store.lock import LOCK_NAME, lending, require_lease
from ibl_dask.store.marker import read_marker, write_marker
from ibl_dask.tasks.log_capture import logging_to
from ibl_dask.tasks.step_log import StepLog, format_traceback, label, with_log


def run_step(step: Step, records: Sequence[StepRecord], root: Path) -> StepRecord:
    """Run one step, or keep its result of an earlier run; never raise.

    What it says goes to the log of its task, and so does how it ends.

    Parameters
    ----------
    step : Step
        The step.
    records : sequence of StepRecord
        Records of the steps upstream.
    root : Path
        Folder to which the outputs are relative in the marker.

    Returns
    -------
    StepRecord
        Status, result and duration. An error becomes part of the record, so that independent steps go on.
    """
    started = time.time()
    clock = time.perf_counter()
    n_gpus = step.resources.gpu
    before_j = read_gpu_j() if n_gpus else None

    def record(status: StepStatus, result: Result = EMPTY, failure: Failure | None = None) -> StepRecord:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        after_j = None if before_j is None else read_gpu_j()
        gpu_j = None if before_j is None or after_j is None else round(after_j - before_j, 3)
        seconds = time.perf_counter() - clock
        return StepRecord(step.key, status, result, failure, started, seconds, worker, n_gpus, gpu_j)

    broken = [r for r in records if not r.is_ok]
    may_fail = step.may_fail
    fatal = next((r for r in broken if r.key not in may_fail), None)
    if fatal is not None:
        return record("skipped", failure=fatal.failure)

    def attempt() -> Result:
        if step.lease:
            require_lease(lock, step.lease)
        if step.marker is not None:
            known = read_marker(step.marker, step.fingerprint, root)
            if known is not None:
                return replace(step.result_form.from_json(known), is_kept=True)
        with contained(f"{step.name} of {step.session}"):
            result = step.run(Upstream(records))
            if not isinstance(result, Result):
                raise TypeError(f"the step {step.name} returned a {type(result).__name__} in place of a Result")
        # A marker is permanent: a result made without one of the optional inputs must be made again.
        if step.marker is not None and not broken:
            write_marker(step.marker, step.fingerprint, root, result.outputs, result.to_json())
            for folder in result.spent:
                shutil.rmtree(folder, ignore_errors=True)
        return result

    lock = root / OWN_FOLDER / LOCK_NAME
    name = label(step.name, step.chunk, is_split=step.chunk_work is not None)
    with logging_to(step.task_log, name, type(step).__module__) as log:
        log.begin("started")
        try:
            with lending(lock) if step.lease else contextlib.nullcontext():
                result = retry_transient(attempt)
        except Exception as error:  # noqa: BLE001  # the record carries it; one camera must not stop the others
            ended = record("failed", failure=_noted(failure_from(error), log))
            log.flush()
            log.write("ERROR", f"failed after {ended.seconds:.3f} s\n{format_traceback(error)}")
            return ended
        ended = record("kept" if result.is_kept else "done", result)
        log.flush()
        if ended.status == "done" or log.is_written:
            log.write("INFO", _end(ended))
        return ended


def _noted(failure: Failure, log: StepLog) -> Failure:
    """Return a failure that names the log, if it comes of a bug: there is more to be read."""
    if log.log is None or failure.category != "bug" or log.log.command in failure.message:
        return failure
    return replace(failure, notes=(*failure.notes, f"Its log: {log.log.command}."))


def _end(record: StepRecord) -> str:
    result = record.result
    reason = result.reason.message if isinstance(result.reason, Failure) else result.reason
    how = "" if result.disposition == "complete" else f", {result.disposition}"
    return f"{record.status} in {record.seconds:.3f} s{how}{f': {reason}' if reason else ''}"


def walk(
    steps: Iterable[Step],
    root: Path,
    listen: Callable[[StepRecord], None] = lambda record: None,
    before: Mapping[StepKey, StepRecord] | None = None,
    log: TaskLog | None = None,
) -> dict[StepKey, StepRecord]:
    """Run steps one after another, each after the steps upstream of it.

    Parameters
    ----------
    steps
        The steps, in any order.
    root
        See `run_step`.
    listen
        Called with each record.
    before
        Records of steps that ran already.
    log
        Log of steps that have none.
    """
    records: dict[StepKey, StepRecord] = dict(before or {})
    for step in in_order(with_log(steps, log)):
        records[step.key] = run_step(step, [records[need] for need in step.needs if need in records], root)
        listen(records[step.key])
    return records


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Sort steps so that each comes after the steps upstream of it; steps with equal keys are one.

    Raises
    ------
    RuntimeError
        If steps wait for each other in a circle.
    """
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
