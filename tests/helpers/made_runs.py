"""Runs that never were: their outcomes and their journals, of any number of sessions."""

import os
import socket
import time
from pathlib import Path

from ibl_dask.errors import (
    DecodeFailed,
    DiskFull,
    MissingEnvironment,
    MissingFile,
    NoPulses,
    OutOfMemory,
    TaskTimedOut,
)
from ibl_dask.model import events
from ibl_dask.model.status import Status
from ibl_dask.model.step import StepRecord
from ibl_dask.pipeline.run_outcome import Run, SessionOutcome
from ibl_dask.store.failures import failure_from
from ibl_dask.store.processes import this_process
from ibl_dask.store.run_record import RunRecord

ENVIRONMENTS = {
    name: failure_from(
        MissingEnvironment(
            f"no environment {name!r} is known",
            expected=f"the python of an environment `{name}`: under `environments:` of the site profile, or in "
            f"$IBL_DASK_PYTHON_{name.upper()}",
            got="neither",
            do=f"say where it is: export IBL_DASK_PYTHON_{name.upper()}=/path/to/{name}/bin/python; or install it "
            f"beside this package: pip install 'ibl_dask[{name}]'",
        )
    )
    for name in ("ibllib", "dlc")
}
WAITING = {
    "DLC": ENVIRONMENTS["dlc"],
    "SyncPulses_nidq": ENVIRONMENTS["ibllib"],
    "EphysRegisterRaw": ENVIRONMENTS["ibllib"],
}


def folder_of(root, n):
    return Path(root) / "Subjects" / f"SW_{n:04}" / "2023-05-01" / "001"


def video_is_missing(n):
    folder = folder_of("/mnt/s0/Data/cortexlab", n) / "raw_video_data"
    return failure_from(
        MissingFile(
            "the right camera has no video",
            where=str(folder),
            expected="_iblrig_rightCamera.raw.mp4 or _iblrig_rightCamera.raw.avi",
            got=f"neither of the two among {n} files",
            do="copy it from the acquisition computer; or, where it was never recorded, take the camera out of the "
            "description",
        )
    )


FAULTS = {
    "has no video": video_is_missing,
    "no pulse": lambda n: failure_from(
        NoPulses(
            f"the sync holds no pulse of the {('left', 'right')[n % 2]} camera",
            where=f"right camera of SW_{n:04}/2023-05-01/001",
            expected="about 108,000 pulses on channel 3",
            got=f"0 pulses; channels with fronts: 2 (left) {n},000",
            do="check that the cable of the camera was plugged in, or map the channel in _spikeglx_sync.wiring.json",
        )
    ),
    "do not decode": lambda n: failure_from(
        DecodeFailed(
            f"{n} of 54,000 frames of the left camera do not decode",
            where=str(folder_of("/mnt/s0", n) / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"),
            expected="every frame of the video",
            got=", ".join(map(str, range(n % 20))),
            do="copy the file again from the acquisition computer; compare the checksums",
        )
    ),
    "the disk is full": lambda n: failure_from(
        DiskFull("the disk is full", where=str(folder_of("/mnt/s0", n)), got=f"{n} bytes", do="make room on it")
    ),
    "took longer": lambda n: failure_from(TaskTimedOut("this step took longer than allowed", where=f"chunk {n}")),
    "broadcast": lambda n: failure_from(ValueError(f"could not broadcast input array from shape ({n},) into (4,)")),
    "lack of memory": lambda n: failure_from(
        OutOfMemory("a step was ended for lack of memory", where=f"worker {n}", got=f"{n} MB", do="raise `memory_gb`")
    ),
}


def outcome_of(root, n, failure=None):
    """Return the outcome of a session in which three tasks wait, and one fails where a failure is given."""
    outcome = SessionOutcome(folder_of(root, n), finished=True)
    video = Status.COMPLETE if failure is None else Status.ERRORED
    outcome.tasks = {"VideoCompress": video, **dict.fromkeys(WAITING, Status.WAITING)}
    outcome.reasons = dict(WAITING)
    outcome.not_required = set(WAITING)
    outcome.qc = {"left": "PASS", "right": "PASS" if failure is None else "CRITICAL"}
    if failure is not None:
        outcome.add_failures([failure], "VideoCompress")
    return outcome


def made_run(root, n_sessions, failures):
    """Return the result of a run.

    Parameters
    ----------
    root
        Folder of the subjects' folder.
    n_sessions
        Number of sessions.
    failures
        Number of a session -> its failure.
    """
    name = "20230502T081233-4be1f0"
    folder = Path(root) / "Subjects" / ".ibl_dask" / "runs" / name
    folder.mkdir(parents=True)
    sessions = [outcome_of(root, n, failures.get(n)) for n in range(n_sessions)]
    return Run(name, folder, sessions, n_workers=4)


def seven_kinds(n_sessions):
    """Return failures of every tenth session, of seven kinds."""
    makers = list(FAULTS.values())
    return {n: makers[n // 10 % len(makers)](n) for n in range(0, n_sessions, 10)}


def write_run(root, name, n_sessions, failures, n_begun=None):
    """Write the journal of a run, as its driver does; a driver that began only some of them was killed.

    Returns
    -------
    Path
        The work folder.
    """
    work = Path(root) / "Subjects" / ".ibl_dask"
    sessions = [str(folder_of(root, n)) for n in range(n_sessions)]
    mark = this_process().mark if n_begun is None else this_process().mark.replace(f"-{os.getpid()}-", "-4194303-")
    with RunRecord(work, name) as record:

        def emit(event):
            record.append(events.to_json(event))

        emit(events.RunStarted(name, tuple(sessions), socket.gethostname(), os.getpid(), 2, "1", time.time(), mark))
        for n, session in enumerate(sessions[:n_begun]):
            failure = failures.get(n)
            emit(events.SessionPlanned(session, {"frames-left": 2}, time.time(), {"frames-left": "decode"}))
            emit(events.StepFinished(session, StepRecord(("frames-left", "s", "f", 0), "done")))
            for task, reason in WAITING.items():
                emit(events.TaskFinished(session, task, "Waiting", (), (reason,), time.time(), is_required=False))
            status, failed = ("Complete", ()) if failure is None else ("Errored", (failure,))
            emit(events.TaskFinished(session, "VideoCompress", status, (), failed, time.time()))
            if n_begun is None or n < n_begun - 1:
                qc = {"left": "PASS", "right": "PASS" if failure is None else "FAIL"}
                emit(events.SessionFinished(session, failure is None, qc, "", None, time.time()))
        if n_begun is None:
            n_failed = len(failures)
            emit(events.RunFinished(name, n_sessions - n_failed, n_failed, 3.0, time.time()))
    return work
