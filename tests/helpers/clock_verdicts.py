"""What becomes of a random session (`random_clocks.py`): right, flagged, refused, or silently wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from random_clocks import Session

from ibl_dask.errors import InputError
from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.camera_times import CameraTimes, Quality
from ibl_dask.timing.alignment.camlog_route import camlog_times
from ibl_dask.timing.alignment.clock_policy import BPOD
from ibl_dask.timing.alignment.frame_times import frame_times, times_from_pulses
from ibl_dask.timing.camera.camera_files import read_frame_data
from ibl_dask.timing.camera.camlog import read_camlog
from ibl_dask.timing.clocks.bpod import bpod_pulses, read_bpod

RIGHT, RIGHT_FLAGGED, RIGHT_ASSUMED = "right", "right, flagged", "right, assumed"
WRONG_ASSUMED, WRONG_FLAGGED, SILENT = "wrong, assumed", "wrong, flagged", "silently wrong"
REFUSED, NO_TRACE = "refused", "no trace"
VERDICTS = (RIGHT, RIGHT_FLAGGED, RIGHT_ASSUMED, WRONG_ASSUMED, WRONG_FLAGGED, SILENT, NO_TRACE, REFUSED)


@dataclass(frozen=True)
class Judged:
    """What became of a session, and why."""

    verdict: str
    times: CameraTimes | None = None
    error: str = ""
    worst_frames: float = 0.0
    """By how much a frame is off at most, frames."""


def time_session(session: Session, folder: Path) -> CameraTimes:
    """Give the frames of a session their times, from the files that its devices left."""
    where = "left camera of SW_001"
    file = None
    if session.frame_data is not None:
        path = folder / "_iblrig_leftCamera.frameData.bin"
        path.write_bytes(session.frame_data)
        file = read_frame_data(path)
    if session.trials is not None:
        path = folder / "_iblrig_taskData.raw.jsonable"
        path.write_bytes(session.trials)
        events = read_bpod(path)
        pulses = bpod_pulses(events, where=where)
        return times_from_pulses(session.n_frames, pulses, events.ttl, file, where=where, policy=BPOD)
    if session.camlog is not None:
        path = folder / "body_cam0.camlog"
        path.write_bytes(session.camlog)
        return camlog_times(session.n_frames, session.fronts, read_camlog(path), where=where)
    return frame_times(session.n_frames, session.fronts, session.ttl, file, where=where)


def judge(session: Session, folder: Path) -> Judged:
    """Compare what comes out with the truth."""
    try:
        found = time_session(session, folder)
    except InputError as error:
        return Judged(REFUSED, error=f"{type(error).__name__}: {error}")
    off = np.abs(found.times_s - session.truth_s) / session.period_s
    wrong = np.nan_to_num(off) >= 0.5
    worst = float(np.nanmax(off))
    outcome, assumed = found.outcome_hint, found.quality == 3
    if not wrong.any():
        verdict = RIGHT if outcome is Outcome.PASS else RIGHT_ASSUMED if assumed.any() else RIGHT_FLAGGED
    elif outcome is Outcome.PASS and (found.quality[wrong] == Quality.MEASURED).any():
        verdict = NO_TRACE if session.leaves_no_trace else SILENT
    else:
        verdict = WRONG_ASSUMED if assumed[wrong].all() else WRONG_FLAGGED
    return Judged(verdict, found, worst_frames=worst)
