"""A camera whose own clock, nominal rate and pulses show different rates is refused, with all three figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clock_verdicts import time_session
from random_clocks import Session, random_session

from ibl_dask.errors import ClocksDisagree, InputError
from ibl_dask.timing.alignment.camera_times import CameraTimes
from ibl_dask.timing.alignment.camlog_route import camlog_times
from ibl_dask.timing.alignment.frame_times import frame_times
from ibl_dask.timing.camera.camera_files import read_frame_data
from ibl_dask.timing.camera.camlog import read_camlog
from ibl_dask.timing.clocks.nidq import Fronts

SETTINGS = {"rate_hz": 60.0, "n_exposures": 1500, "before": 0, "after": 0}


def scaled(fronts: Fronts, factor: float) -> Fronts:
    return Fronts(fronts.times_s * factor, fronts.polarities)


def time_scaled(session: Session, folder: Path, factor: float, nominal_hz: float | None = 60.0) -> CameraTimes:
    """Time a session whose sync is in other units than s."""
    camera = None
    if session.frame_data is not None:
        path = folder / "_iblrig_leftCamera.frameData.bin"
        path.write_bytes(session.frame_data)
        camera = read_frame_data(path)
    assert session.fronts is not None
    assert session.ttl is not None
    pulses, ttl = scaled(session.fronts, factor), scaled(session.ttl, factor)
    return frame_times(session.n_frames, pulses, ttl, camera, where="left camera of SW_001", nominal_hz=nominal_hz)


@pytest.mark.parametrize("kind", ["nothing wrong", "no pins", "no counter"])
@pytest.mark.parametrize("factor", [30_000.0, 1e3, 1e6, 1.02, 1.01, 0.99, 0.98, 2.0, 0.5, 1.005])
def test_a_sync_on_another_scale_than_the_camera_s_clock_is_refused(kind: str, factor: float, tmp_path: Path) -> None:
    session = random_session(kind, 3, **SETTINGS)
    with pytest.raises(ClocksDisagree) as caught:
        time_scaled(session, tmp_path, factor)
    told = str(caught.value)
    assert "Hz by the camera's own clock" in told
    assert "60 Hz as the rig was set" in told
    assert float(caught.value.got.split()[0]) == pytest.approx(60 / factor, rel=1e-3)
    assert all((caught.value.what, caught.value.where, caught.value.expected, caught.value.got, caught.value.do))


@pytest.mark.parametrize("factor", [30_000.0, 1e3, 1.02, 0.98, 2.0])
def test_without_a_clock_of_its_own_the_nominal_rate_decides(factor: float, tmp_path: Path) -> None:
    session = random_session("no camera file", 3, **SETTINGS)
    with pytest.raises(ClocksDisagree, match=r"no clock of the camera.*60 Hz as the rig was set"):
        time_scaled(session, tmp_path, factor)
    assert time_scaled(session, tmp_path, factor, nominal_hz=None).times_s.size == session.n_frames


@pytest.mark.parametrize("factor", [1e3, 1.02, 0.98])
def test_a_camlog_beside_a_sync_on_another_scale_is_refused(factor: float, tmp_path: Path) -> None:
    session = random_session("camlog", 3, **SETTINGS)
    path = tmp_path / "body.camlog"
    assert session.camlog is not None
    assert session.fronts is not None
    path.write_bytes(session.camlog)
    with pytest.raises(InputError) as caught:
        camlog_times(session.n_frames, scaled(session.fronts, factor), read_camlog(path), where="body", nominal_hz=60)
    assert isinstance(caught.value, ClocksDisagree)


@pytest.mark.parametrize("drift_ppm", [-900, -200, 0, 200, 900])
@pytest.mark.parametrize("rate_hz", [30.0, 59.767, 149.99])
def test_clocks_that_drift_as_clocks_do_are_of_one_rate(drift_ppm: float, rate_hz: float, tmp_path: Path) -> None:
    session = random_session("nothing wrong", 5, rate_hz=rate_hz, drift_ppm=drift_ppm)
    found = time_session(session, tmp_path)
    assert np.abs(found.times_s - session.truth_s).max() < session.period_s / 2
    assert not found.assumed


def test_a_rig_that_was_set_to_another_rate_than_it_says_is_timed(tmp_path: Path) -> None:
    session = random_session("nothing wrong", 5, rate_hz=30.0)
    found = time_scaled(session, tmp_path, 1.0, nominal_hz=60.0)
    assert np.abs(found.times_s - session.truth_s).max() < session.period_s / 2


@pytest.mark.parametrize("n_frames", [2, 5, 20])
def test_short_videos_are_not_judged_by_a_tick_of_their_clock(n_frames: int, tmp_path: Path) -> None:
    session = random_session("nothing wrong", 5, **{**SETTINGS, "n_exposures": n_frames, "sounds": 2})
    assert time_session(session, tmp_path).times_s.size == n_frames


# -- records beside the video ------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [np.zeros((30, 4)), np.full((30, 4), np.nan), np.zeros((1, 4))])
def test_empty_records_at_the_end_change_nothing(empty: np.ndarray, tmp_path: Path) -> None:
    session = random_session("frames dropped", 4)
    assert session.frame_data is not None
    plain = time_session(session, tmp_path)
    more = time_session(replace(session, frame_data=session.frame_data + empty.astype("<f8").tobytes()), tmp_path)
    np.testing.assert_array_equal(more.times_s, plain.times_s)
    np.testing.assert_array_equal(more.quality, plain.quality)
    assert more.outcome_hint is plain.outcome_hint
    assert set(more.notes) - set(plain.notes) == {
        f"_iblrig_leftCamera.frameData.bin: the last {len(empty)} records are empty and were left out"
    }


@pytest.mark.parametrize("damage", ["counter stands still", "clock leaps", "no number", "pins change"])
def test_records_beyond_the_video_are_counted_and_not_looked_at(damage: str, tmp_path: Path) -> None:
    session = random_session("nothing wrong", 4, **SETTINGS)
    assert session.frame_data is not None
    table = np.frombuffer(session.frame_data, "<f8").reshape(-1, 4)
    beyond = np.repeat(table[-1:], 30, axis=0)
    beyond[:, 0] += 6e17 if damage == "clock leaps" else 0
    beyond[:, 2] += 0 if damage == "counter stands still" else np.arange(1, 31)
    beyond[:, 1] = np.nan if damage == "no number" else beyond[:, 1]
    beyond[:, 3] = 2.0**28 * (np.arange(30) % 2) if damage == "pins change" else beyond[:, 3]
    path = tmp_path / "_iblrig_leftCamera.frameData.bin"
    np.concatenate([table, beyond]).tofile(path)
    files = read_frame_data(path, n_frames=len(table))
    assert (files.n_frames, files.n_beyond, files.notes, files.damaged, files.n_count_stuck) == (
        len(table),
        30,
        (),
        (),
        0,
    )
    found = frame_times(len(table), session.fronts, session.ttl, files, where="left")
    assert "30 frames fewer than the camera's files describe, and nothing says which are missing" in found.assumed
    assert (found.quality == 3).all()
