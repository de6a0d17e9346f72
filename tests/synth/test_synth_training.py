"""Synthetic sessions of a training rig: formats, and truth against what was written."""

import json

import numpy as np
import pytest

from ibl_dask.errors import NotASession, UsageError
from ibl_dask.model.session import Session
from ibl_dask.synth import TrainingFaults, read_frame_number, write_training_session
from ibl_dask.synth.training import plan_training
from ibl_dask.video.reader import FrameReader

TAIL = "lab/Subjects/synth_001/2020-02-01/001"
FAULTS = TrainingFaults(n_dropped=2, mute_trials=1, blind_trials=1, chatter=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / TAIL
    return folder, write_training_session(folder, duration_s=20, scale=0.125, seed=5, faults=FAULTS)


def trials_of(folder):
    lines = (folder / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable").read_text().splitlines()
    return [json.loads(line)["behavior_data"] for line in lines]


def absolute(trials, name):
    return np.array(
        [
            t["Trial start timestamp"] - t["Bpod start timestamp"] + time
            for t in trials
            for time in t["Events timestamps"].get(name, [])
        ]
    )


def test_trials_have_the_layout_of_real_ones(made, data_folder):
    folder, _ = made
    for name in ("session_training_ge5", "session_biased_ge5"):
        real = trials_of(data_folder / "bpod" / name)
        assert trials_of(folder)[0].keys() == real[0].keys()
        assert {"Port1In", "Port1Out", "BNC2High", "BNC2Low"} <= real[0]["Events timestamps"].keys()
    settings = json.loads((folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json").read_text())
    assert {"IBLRIG_VERSION_TAG", "PYBPOD_PROTOCOL"} <= settings.keys()


def test_pulses_are_noted_within_trials_alone_and_to_a_tick(made):
    folder, truth = made
    noted = absolute(trials_of(folder), "Port1In")
    known = np.isfinite(truth.noted_s)
    np.testing.assert_allclose(noted, truth.noted_s[known], atol=1e-9)
    assert np.abs(truth.noted_s - truth.camera.exposure_times_s)[known].max() <= 0.5e-4 + 1e-9
    starts, stops = truth.trial_times_s.T
    trial = np.searchsorted(starts, noted + 1e-4, side="right") - 1
    assert (noted <= stops[trial] + 1e-4).all()
    assert 2 not in trial  # the blind trial
    assert 0 < (~truth.is_noted).sum() < truth.camera.n_frames


def test_events_that_did_not_happen_are_absent(made):
    folder, _ = made
    events = [trial["Events timestamps"] for trial in trials_of(folder)]
    assert [number for number, e in enumerate(events) if "Port1In" not in e] == [2]
    assert [number for number, e in enumerate(events) if "BNC2High" not in e] == [1]
    assert all(e["Tup"] for e in events)


def test_go_cues_are_two_pulses_3_ms_apart_or_chatter(made):
    folder, _ = made
    trials = trials_of(folder)
    for number, expected in ((0, [0.002, 0.002, 0.096]), (3, [0.05, 0.003, 0.047])):
        events = trials[number]["Events timestamps"]
        edges = np.sort([*events["BNC2High"], *events["BNC2Low"]])[:4]
        np.testing.assert_allclose(np.diff(edges), expected, atol=1.1e-4)


def test_the_camera_s_clock_stands_first_as_on_training_rigs(made):
    folder, truth = made
    videos = folder / "raw_video_data"
    lines = (videos / "_iblrig_leftCamera.timestamps.ssv").read_text().splitlines()
    assert len(lines) == truth.camera.n_frames
    clock, wall = lines[0].split()
    assert clock.isdigit()
    assert wall.startswith("2020-02-01T")
    counter = np.fromfile(videos / "_iblrig_leftCamera.frame_counter.bin")
    np.testing.assert_array_equal(counter - counter[0], truth.camera.frame_exposures - truth.camera.frame_exposures[0])
    with FrameReader(videos / "_iblrig_leftCamera.raw.mp4") as reader:
        frames = reader.read(0, 5)
    assert [read_frame_number(frame) for frame in frames] == [0, 1, 2, 3, 4]


def test_the_description_names_camera_and_clock(made):
    description = Session(made[0]).description
    assert [camera.label for camera in description.cameras] == ["left"]
    assert (description.camera("left").fps, description.sync.kind) == (30, "bpod")
    assert description.sync.collection == description.protocols[0].collection == "raw_behavior_data"


def test_equal_arguments_give_equal_sessions_and_seeds_differ():
    first, again, other = (plan_training(30, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.noted_s, again.noted_s)
    assert first.trial_times_s.tolist() != other.trial_times_s.tolist()


def test_a_gap_can_be_shorter_than_half_a_frame(made):
    truth, noted = plan_training(30, faults=TrainingFaults(short_gap=True))
    times = truth.noted_s[np.isfinite(truth.noted_s)]
    assert np.diff(times).min() == pytest.approx(0.4 / 30, abs=2e-4)
    assert (np.diff([trial.start_s for trial in noted]) > 0).all()


def test_wishes_that_cannot_be_met_are_refused(tmp_path):
    with pytest.raises(UsageError, match="too short"):
        plan_training(5)
    with pytest.raises(UsageError, match="fewer than two frames"):
        plan_training(20, faults=TrainingFaults(n_lost_start=5000))
    with pytest.raises(NotASession):
        write_training_session(tmp_path / "somewhere")
