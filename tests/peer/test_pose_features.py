"""Features, licks and speeds beside brainbox and the tasks of ibllib, on real predictions and on made-up ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pose_data import SIDE, predictions, side_camera

from ibl_dask.pose.ensembles import merge_ensemble
from ibl_dask.pose.features import features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.licks import lick_times, session_licks, sniff_times
from ibl_dask.pose.pupil import diameter, smooth_diameter
from ibl_dask.pose.speed import speed
from ibl_dask.report.event_windows import lick_counts
from ibl_dask.store.tables import read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

pytestmark = pytest.mark.peer
NAMES = ",".join(SIDE)


def times_of(n: int, rate: float = 60.0, seed: int = 0) -> np.ndarray:
    return 5 + np.cumsum(1 / rate + np.random.default_rng(seed).normal(0, 1e-4, n))


@pytest.mark.parametrize("camera", ["left", "right"])
def test_likely_points_and_raw_diameters_are_those_of_the_reference(reference: Reference, camera: str) -> None:
    keypoints = side_camera(camera=camera)
    theirs = reference.ask("likely_points", names=NAMES, values=keypoints.values)["values"]
    np.testing.assert_array_equal(keypoints.likely().values.reshape(len(keypoints), -1), theirs)
    raw = reference.ask("pupil_diameter", names=NAMES, values=keypoints.values)["raw"]
    np.testing.assert_allclose(diameter(keypoints.likely()), raw, rtol=1e-12)


def test_points_of_single_precision_at_the_limit_are_kept_as_in_the_reference(reference: Reference) -> None:
    values = side_camera(400).values.astype(np.float32)
    values[::2, :, 2] = np.float32(0.9)
    values[1::2, :, 2] = np.nextafter(np.float32(0.9), np.float32(0))
    theirs = reference.ask("likely_points", names=NAMES, values=values)["values"]
    np.testing.assert_array_equal(Keypoints(SIDE, values).likely().values.reshape(400, -1), theirs)
    assert np.isnan(theirs[1::2, 0]).all()
    assert not np.isnan(theirs[::2, 0]).any()


@pytest.mark.recordings
@pytest.mark.parametrize("seed", range(5))
def test_diameters_of_real_predictions_are_those_of_the_reference(reference: Reference, seed: int) -> None:
    keypoints = predictions(seed)
    raw = reference.ask("pupil_diameter", names=",".join(keypoints.names), values=keypoints.values)["raw"]
    ours = features(keypoints, "left", "dlc")
    np.testing.assert_allclose(ours.pupil_raw_px, raw, rtol=1e-12)
    smooth = reference.ask("smooth_pupil_diameter", raw=raw, camera="left")["smooth"]
    np.testing.assert_allclose(ours.pupil_smooth_px, smooth, atol=1e-6)
    assert np.isfinite(smooth).mean() > 0.9


@pytest.mark.parametrize("camera", ["left", "right"])
@pytest.mark.parametrize("seed", range(3))
def test_smooth_diameters_with_blinks_and_outliers_are_those_of_the_reference(
    reference: Reference, camera: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = 20 + 3 * np.sin(np.arange(900) / 100) + rng.normal(0, 0.3, 900)
    raw[rng.integers(20, 880, 30)] = np.nan
    raw[300:340] = np.nan
    raw[500:520] = np.nan
    raw[rng.integers(20, 880, 6)] += 40
    theirs = reference.ask("smooth_pupil_diameter", raw=raw, camera=camera)["smooth"]
    np.testing.assert_allclose(smooth_diameter(raw, camera), theirs, atol=1e-6)


def test_7_19_gaps_at_the_ends_and_after_one_in_the_beginning_are_filled_in_the_reference(reference: Reference) -> None:
    raw = 20 + np.sin(np.arange(1500) / 100) + np.random.default_rng(0).normal(0, 0.1, 1500)
    raw[:10] = np.nan
    raw[400:700] = np.nan
    raw[-200:] = np.nan
    theirs = reference.ask("smooth_pupil_diameter", raw=raw, camera="left")["smooth"]
    assert not np.isnan(theirs).any()
    ours = smooth_diameter(raw, "left")
    expected = np.zeros(1500, bool)
    expected[400:700] = expected[-200:] = True
    np.testing.assert_array_equal(np.isnan(ours), expected)
    np.testing.assert_allclose(ours[~expected], theirs[~expected], atol=1e-6)


def test_licks_sniffs_and_speeds_are_those_of_the_reference(reference: Reference) -> None:
    for camera, rate in (("left", 60.0), ("right", 150.0)):
        keypoints, times = side_camera(camera=camera, seed=3), times_of(1500, rate)
        likely = keypoints.likely()
        asked = {"names": NAMES, "values": keypoints.values, "times": times}
        theirs = reference.ask("events", **asked)
        np.testing.assert_array_equal(lick_times(likely, times), theirs["licks"])
        np.testing.assert_array_equal(sniff_times(likely, times), theirs["sniffs"])
        for name in ("paw_r", "paw_l", "nose_tip"):
            found = reference.ask("keypoint_speed", camera=camera, keypoint=name, **asked)["speed"]
            np.testing.assert_allclose(speed(likely, name, times, camera), found, rtol=1e-9, atol=1e-6)


def test_the_files_of_a_session_are_those_of_ephys_post_dlc(reference: Reference, tmp_path: Path) -> None:
    keypoints = {"left": side_camera(1400, 1), "right": side_camera(1300, 2, "right")}
    times = {"left": times_of(1400, 60), "right": times_of(1300, 150)}
    for camera, table in keypoints.items():
        write_table(tmp_path / f"{camera}.pqt", table.columns())
        np.save(tmp_path / f"{camera}.npy", times[camera])
    asked = {c: str(tmp_path / f"{c}.pqt") for c in keypoints}, {c: str(tmp_path / f"{c}.npy") for c in keypoints}
    theirs = reference.ask("post_task", tracker="dlc", tables=asked[0], times=asked[1])
    for camera, table in keypoints.items():
        ours = features(table, camera, "dlc").columns()
        assert list(ours) == theirs[f"{camera}_columns"]
        np.testing.assert_allclose(np.column_stack(list(ours.values())), theirs[f"{camera}_features"], atol=1e-6)
    licks = session_licks(lick_times(table.likely(), times[camera]) for camera, table in keypoints.items())
    np.testing.assert_array_equal(licks, theirs["licks"])


@pytest.mark.recordings
def test_the_features_of_an_ensemble_are_those_of_post_lp(reference: Reference, tmp_path: Path) -> None:
    """The five real members make the eye; licks need a tongue besides."""
    pupil = merge_ensemble([predictions(seed) for seed in range(5)])
    rest = side_camera(2000, 4)
    others = [i for i, name in enumerate(SIDE) if not name.startswith("pupil")]
    both = Keypoints(
        pupil.names + tuple(SIDE[i] for i in others),
        np.concatenate([pupil.values, rest.values[:, others]], axis=1),
        pupil.further,
    )
    write_table(tmp_path / "left.pqt", both.columns())
    np.save(tmp_path / "left.npy", times_of(2000))
    theirs = reference.ask(
        "post_task",
        tracker="lightningPose",
        tables={"left": str(tmp_path / "left.pqt")},
        times={"left": str(tmp_path / "left.npy")},
    )
    ours = features(Keypoints.from_columns(read_table(tmp_path / "left.pqt")), "left", "lightningPose")
    assert ours.notes == ()
    np.testing.assert_allclose(
        np.column_stack([ours.pupil_raw_px, ours.pupil_smooth_px]), theirs["left_features"], rtol=1e-9
    )
    np.testing.assert_array_equal(lick_times(both.likely(), times_of(2000)), theirs["licks"])


def test_a_single_network_ends_post_lp_and_has_features_here(reference: Reference, tmp_path: Path) -> None:
    keypoints = side_camera(700, 5)
    write_table(tmp_path / "left.pqt", keypoints.columns())
    np.save(tmp_path / "left.npy", times_of(700))
    tables, times = {"left": str(tmp_path / "left.pqt")}, {"left": str(tmp_path / "left.npy")}
    theirs = reference.ask("post_task", tracker="lightningPose", tables=tables, times=times)
    assert "left_features" not in theirs.values
    ours = features(keypoints, "left", "lightningPose")
    assert np.isfinite(ours.pupil_raw_px).mean() > 0.8
    assert "single network" in ours.notes[0]


def test_tables_are_read_by_one_and_pandas_and_theirs_here(reference: Reference, tmp_path: Path) -> None:
    keypoints = side_camera(300, 6)
    blank = replace(keypoints, values=np.where(keypoints.values > 0.95, keypoints.values, np.nan))
    path = tmp_path / "_ibl_leftCamera.dlc.pqt"
    write_table(path, blank.columns())
    theirs = reference.ask("read_table", path=path)
    assert theirs["names"] == list(blank.columns())
    assert set(theirs["kinds"]) == {"float64"}
    np.testing.assert_array_equal(theirs["values"], blank.values.reshape(300, -1))
    other = tmp_path / "_ibl_rightCamera.dlc.pqt"
    reference.ask("write_table", path=other, names=NAMES, values=blank.values)
    read = Keypoints.from_columns(read_table(other))
    assert read.names == SIDE
    np.testing.assert_array_equal(read.values, blank.values)


def test_7_20_the_curve_of_incorrect_trials_leaves_out_some_in_the_reference(reference: Reference) -> None:
    """Two correct and eight incorrect trials: only the first two incorrect ones, without licks, are in its curve."""
    feedback, kinds = np.arange(5.0, 25.0, 2.0), np.array([1.0, 1, -1, -1, -1, -1, -1, -1, -1, -1])
    licks = np.concatenate(([4.0], feedback[4:] + 0.401, [40.0]))
    theirs = reference.ask("lick_curves", licks=licks, stim_on=feedback - 1, feedback=feedback, feedback_type=kinds)
    assert theirs["incorrect"].max() == 0
    _, counts = lick_counts(licks, feedback[kinds < 0])
    assert counts.mean(axis=0).max() == 6 / 8


def test_after_a_long_gap_the_filter_of_the_reference_has_lost_its_digits(reference: Reference) -> None:
    """An eye closed for three minutes at 60 Hz: the fits that span the gap are off by more than 1e-5 px there."""
    rng = np.random.default_rng(0)
    raw = 20 + np.sin(np.arange(11_500) / 30) + rng.normal(0, 0.2, 11_500)
    raw[700:10_800] = np.nan
    theirs = reference.ask("smooth_pupil_diameter", raw=raw, camera="left")["smooth"]
    ours = smooth_diameter(raw, "left")
    off = np.flatnonzero(np.abs(ours - theirs) > 1e-6)
    assert off.size
    assert ((off > 680) & (off < 10_820)).all()
    ends = np.concatenate((np.arange(680), np.arange(10_820, 11_500)))
    np.testing.assert_allclose(ours[ends], theirs[ends], atol=1e-9)
