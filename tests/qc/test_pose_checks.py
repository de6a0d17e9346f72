"""Checks of keypoints: their numbers, missing data, frames of other sizes, and their place in `qc.json`."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pose_data import side_camera

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.pose.features import features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.qc.pose import CHECKS, run_pose_checks
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.record import camera_record, pose_record, read_session_record, session_record


def whole(n: int = 900, seed: int = 0) -> PoseEvidence:
    keypoints = side_camera(n, seed)
    columns = features(keypoints, "left", "dlc")
    times = 5 + np.arange(n) / 60
    stimuli = np.arange(6.0, 5 + n / 60, 2.0)
    return PoseEvidence(
        "left", "dlc", keypoints.likely(), times, stimuli, columns.pupil_raw_px, columns.pupil_smooth_px, (1280, 1024)
    )


def checks_of(evidence: PoseEvidence) -> dict[str, CheckResult]:
    return {result.name: result for result in run_pose_checks(evidence)}


def test_a_good_camera_passes_all_checks_and_each_names_its_measurement() -> None:
    found = checks_of(whole())
    assert {name: result.outcome.name for name, result in found.items()} == dict.fromkeys(found, "PASS")
    assert len(found) == 8
    for result in found.values():
        assert result.measured
        assert result.threshold
        assert result.values


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_numbers_are_those_that_their_names_promise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = whole(400, seed % 7)
    stimuli = np.where(rng.random(9) < 0.2, np.nan, rng.uniform(0, 15, 9))
    found = checks_of(replace(evidence, stim_on_s=stimuli))
    hidden = np.isnan(evidence.keypoints.of("paw_r")[:, 0])
    near = [
        bool(h)
        for onset in stimuli
        for h, t in zip(hidden, evidence.times_s, strict=True)
        if onset - 0.5 <= t < onset + 1.5
    ]
    paw = found["paw_close_nan"]
    if near:
        assert paw.values["hidden_share"] == pytest.approx(sum(near) / len(near))
        assert paw.values["n_frames"] == len(near)
    else:
        assert paw.outcome is Outcome.NOT_SET
    tongue = found["lick_detection"].values
    assert tongue["left_hidden_share"] == pytest.approx(np.isnan(evidence.keypoints.of("tongue_end_l")[:, 0]).mean())
    raw = evidence.pupil_raw_px
    assert found["pupil_blocked"].values == {
        "blocked_share": pytest.approx(np.isnan(raw).mean()),
        "diameter_std_px": pytest.approx(np.nanstd(raw)),
    }
    assert found["time_trace_length_match"].values == {"n_rows": 400, "n_times": 400}


@pytest.mark.parametrize("label", ["left", "right", "body", "belly"])
@pytest.mark.parametrize("tracker", ["dlc", "lightningPose"])
def test_nothing_but_keypoints_leaves_checks_open_and_none_critical(label: str, tracker: str) -> None:
    for keypoints in (
        side_camera(50),
        Keypoints(("paw_l",), np.ones((0, 1, 3))),
        Keypoints(("a",), np.ones((9, 1, 3))),
    ):
        found = checks_of(PoseEvidence(label, tracker, keypoints.likely()))
        assert len(found) == len(CHECKS[tracker])
        assert Outcome.CRITICAL not in {result.outcome for result in found.values()}
        assert all(result.message for result in found.values() if result.outcome is Outcome.NOT_SET)


def test_a_video_of_half_the_size_has_half_the_box_and_half_the_spread() -> None:
    evidence = whole()
    values = evidence.keypoints.values.copy()
    values[:, :, :2] /= 2
    half = replace(
        evidence,
        keypoints=Keypoints(evidence.keypoints.names, values),
        pupil_raw_px=evidence.pupil_raw_px / 2,
        frame_size_px=(640, 512),
    )
    assert checks_of(half)["mean_in_bbox"].outcome is Outcome.PASS
    assert checks_of(replace(half, frame_size_px=(1280, 1024)))["mean_in_bbox"].outcome is Outcome.FAIL
    wide = replace(half, pupil_raw_px=np.tile([10.0, 24.0], 450))
    assert checks_of(wide)["pupil_blocked"].outcome is Outcome.FAIL
    assert checks_of(replace(wide, frame_size_px=(1280, 1024)))["pupil_blocked"].outcome is Outcome.PASS


def test_more_rows_than_times_fail_and_shift_no_other_check() -> None:
    evidence = whole()
    found = checks_of(replace(evidence, times_s=evidence.times_s[:-3]))
    assert found["time_trace_length_match"].outcome is Outcome.FAIL
    assert found["paw_close_nan"].outcome is Outcome.NOT_SET


def test_the_ratio_of_variances_is_published_and_does_not_count() -> None:
    evidence = whole()
    noisy = replace(evidence, pupil_smooth_px=evidence.pupil_smooth_px + 30 * np.sin(np.arange(900)))
    results = run_pose_checks(noisy)
    record = pose_record(results, "dlc")
    assert record["checks"]["pupil_diameter_snr"]["outcome"] == "FAIL"
    assert record["outcome"] == "PASS"


def test_qc_json_holds_keypoints_beside_cameras_and_reads_back() -> None:
    bad = replace(whole(), keypoints=side_camera(900).likely(2.0))
    pose = {"dlcLeft": pose_record(run_pose_checks(bad), "dlc")}
    cameras = {"left": camera_record([CheckResult("focus", Outcome.PASS)])}
    record = session_record("SW_001/2024-01-01/001", cameras, pose)
    assert record["outcome"] == "FAIL"
    assert record["extended_qc"]["dlcLeft"] == "FAIL"
    assert record["extended_qc"]["_dlcLeft_trace_all_nan"] == "FAIL"
    assert record["extended_qc"]["videoLeft"] == "PASS"
    assert read_session_record(json.loads(json.dumps(record))) == record
    assert "pose" not in session_record("SW_001/2024-01-01/001", cameras)
