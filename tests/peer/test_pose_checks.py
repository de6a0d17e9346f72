"""Checks of keypoints beside `DlcQC` and `LpQC` of the reference: keys, outcomes and numbers, and where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from needs import DATA
from pose_data import SIDE, side_camera

from ibl_dask.pose.features import Tracker, features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.qc.pose import run_pose_checks
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.record import extended_pose_qc, pose_namespace, pose_record

if TYPE_CHECKING:
    from reference import Answer, Reference

pytestmark = pytest.mark.peer
RATES = {"left": 60, "right": 150, "body": 30}


def theirs_on(reference: Reference, evidence: PoseEvidence, keypoints: Keypoints) -> Answer:
    optional = {
        "times": evidence.times_s,
        "stim_on": evidence.stim_on_s,
        "raw": evidence.pupil_raw_px,
        "smooth": evidence.pupil_smooth_px,
    }
    return reference.ask(
        "pose_qc",
        tracker=evidence.tracker,
        side=evidence.label,
        names=",".join(keypoints.names),
        values=keypoints.values,
        **{name: value for name, value in optional.items() if value is not None},
    )


def published(evidence: PoseEvidence) -> tuple[str, dict[str, object]]:
    name = pose_namespace(evidence.tracker, evidence.label)
    keys = extended_pose_qc({name: pose_record(run_pose_checks(evidence), evidence.tracker)})
    outcome = keys.pop(name)
    assert isinstance(outcome, str)
    return outcome, keys


def evidence_of(keypoints: Keypoints, label: str, tracker: Tracker, stim_on: np.ndarray) -> PoseEvidence:
    times = 10 + np.arange(len(keypoints)) / RATES[label]
    columns = features(keypoints, label, "dlc") if label != "body" else None
    return PoseEvidence(
        label,
        tracker,
        keypoints.likely(),
        times,
        stim_on,
        None if columns is None else columns.pupil_raw_px,
        None if columns is None else columns.pupil_smooth_px,
    )


def damaged(seed: int, label: str) -> Keypoints:
    """Return keypoints with something wrong that a check looks for, or nothing."""
    keypoints = side_camera(1800, seed, label)
    values = keypoints.values
    match seed % 6:
        case 1:
            values[:, 0, 2] = 0.3  # the nose is never likely
        case 2:
            values[:, :, 0] += 400  # the camera was turned
        case 3:
            values[:, 7:9, 2] = 0.99  # the tongue is the spout
        case 4:
            values[:, 5, 2] = np.where(np.arange(1800) % 20 < 3, 0.1, 0.99)  # the far paw: WARNING
            values[:, 6, 2] = np.where(np.arange(1800) % 20 < 7, 0.1, 0.99)  # the near paw: FAIL
        case 5:
            values[:, 1, 1] -= np.where(np.arange(1800) // 100 % 2, 60.0, 0.0)  # an unsteady pupil
    return keypoints


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("label", ["left", "right"])
@pytest.mark.parametrize("tracker", ["dlc", "lightningPose"])
def test_keys_outcomes_and_numbers_are_those_of_the_reference(
    reference: Reference, tracker: Tracker, label: str, seed: int
) -> None:
    keypoints = damaged(seed, label)
    evidence = evidence_of(keypoints, label, tracker, 11 + 2.0 * np.arange(4))
    theirs = theirs_on(reference, evidence, keypoints)
    outcome, keys = published(evidence)
    assert keys == theirs["metrics"]
    assert outcome == theirs["outcome"]


@pytest.mark.parametrize("tracker", ["dlc", "lightningPose"])
def test_the_body_camera_has_the_same_keys(reference: Reference, tracker: Tracker) -> None:
    values = np.array([[[300.0, 200.0, 1.0]]] * 90)
    for place in ((300, 200), (520, 200)):
        values[:, 0, :2] = place
        keypoints = Keypoints(("tail_start",), values)
        evidence = evidence_of(keypoints, "body", tracker, np.array([11.0]))
        theirs = theirs_on(reference, evidence, keypoints)
        assert published(evidence) == (theirs["outcome"], theirs["metrics"])


@pytest.mark.recordings
def test_real_diameters_times_and_stimuli_have_the_outcomes_of_the_reference(reference: Reference) -> None:
    """The files with which the reference tests its own checks."""
    folder = DATA / "qc"
    pupil = np.load(folder / "pupil_diameter.npy", allow_pickle=False)
    raw, smooth = np.atleast_2d(pupil)[:2] if pupil.shape[0] == 2 else np.atleast_2d(pupil.T)[:2]
    times, stim_on = np.load(folder / "camera_times.npy"), np.load(folder / "stimOn_times.npy")
    keypoints = side_camera(len(times), 0)
    evidence = PoseEvidence("left", "dlc", keypoints.likely(), times, stim_on, raw, smooth)
    theirs = theirs_on(reference, evidence, keypoints)
    outcome, keys = published(evidence)
    assert keys == theirs["metrics"]
    assert outcome == theirs["outcome"]
    assert isinstance(keys["_dlcLeft_pupil_diameter_snr"], list)


def test_traces_that_are_all_nan_end_the_reference_and_fail_here(reference: Reference) -> None:
    keypoints = side_camera(300)
    keypoints.values[:, :, 2] = 0.1
    evidence = evidence_of(keypoints, "left", "dlc", np.array([11.0]))
    theirs = theirs_on(reference, evidence, keypoints)
    assert theirs.error is not None
    assert "NaN" in theirs.error
    outcome, keys = published(evidence)
    assert outcome == keys["_dlcLeft_mean_in_bbox"] == keys["_dlcLeft_trace_all_nan"] == "FAIL"


def test_no_trials_end_the_reference_and_leave_two_checks_open_here(reference: Reference) -> None:
    keypoints = side_camera(600)
    evidence = replace(evidence_of(keypoints, "left", "dlc", np.array([11.0])), stim_on_s=None)
    assert theirs_on(reference, evidence, keypoints).error is not None
    outcome, keys = published(evidence)
    assert outcome == "PASS"
    assert {name for name, value in keys.items() if value == "NOT_SET"} == {
        "_dlcLeft_paw_close_nan",
        "_dlcLeft_paw_far_nan",
    }


def test_an_empty_smooth_diameter_passes_in_the_reference(reference: Reference) -> None:
    keypoints = side_camera(600)
    evidence = evidence_of(keypoints, "left", "dlc", np.array([11.0]))
    evidence = replace(evidence, pupil_smooth_px=np.full(600, np.nan))
    theirs = theirs_on(reference, evidence, keypoints)["metrics"]["_dlcLeft_pupil_diameter_snr"]
    assert theirs[0] == "PASS"
    assert np.isnan(theirs[1])
    assert published(evidence)[1]["_dlcLeft_pupil_diameter_snr"] == "NOT_SET"


def test_windows_of_a_slow_camera_are_twice_as_long_in_the_reference(reference: Reference) -> None:
    """At 30 Hz its 120 frames are four seconds: the paw is hidden from 1.5 s after each stimulus on."""
    keypoints = side_camera(1200, unlikely=0)
    times = np.arange(1200) / 30
    stim_on = np.arange(1.0, 36.0, 4.0)
    since = (times[:, None] - stim_on).T
    keypoints.values[((since > 1.6) & (since < 3.4)).any(axis=0), 5:7, 2] = 0.1
    evidence = PoseEvidence("left", "dlc", keypoints.likely(), times, stim_on, *(np.zeros(1200),) * 2)
    theirs = theirs_on(reference, evidence, keypoints)["metrics"]
    assert theirs["_dlcLeft_paw_close_nan"] == theirs["_dlcLeft_paw_far_nan"] == "FAIL"
    ours = published(evidence)[1]
    assert ours["_dlcLeft_paw_close_nan"] == ours["_dlcLeft_paw_far_nan"] == "PASS"
    assert SIDE[5:7] == ("paw_l", "paw_r")
