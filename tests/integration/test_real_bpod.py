"""Sessions of a training rig made of real trials and a real mouse clip, through the command line.

The videos of these trials are not public: a clip stands in for them, of as many frames as the trials ask for.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from program import call
from real_trials import camera_file, exposures_of, make, noted

from ibl_dask.synth.camera_files import write_frame_data, write_separate_files
from ibl_dask.tasks.video_sync.pulse_times import load_timing

REAL = {"training_ge5": 3166, "biased_ge5": 2629}
"""Exposures from the first pulse in the trials to the last."""
TAIL = 300
"""Frames after the last pulse: 10 s."""
TICK_S = 1e-4


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "Subjects" / "SW_REAL" / "2019-07-01" / "001"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_trials_time_every_frame_and_hit_every_pulse(data_folder, folder, name):
    rises, edges = noted(data_folder, name)
    numbers, exposures = exposures_of(rises, TAIL)
    assert exposures.size == REAL[name] + TAIL
    make(folder, data_folder, name, exposures.size)
    camera_file(folder, exposures, edges[:0], write_separate_files, camera_first=True)
    code, text = call("plan", folder)
    assert code == 0, text
    assert "VideoSyncQC_bpod" in text
    assert "registered only" not in text
    code, text = call("run", folder, "--workers", "2")
    assert code == 0, text
    times = np.load(folder / "alf" / "_ibl_leftCamera.times.npy")
    assert len(times) == exposures.size
    assert (np.diff(times) > 0).all()
    np.testing.assert_allclose(times[numbers], rises, atol=1e-9)
    np.testing.assert_allclose(times, exposures, atol=2e-3)
    arrays, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert np.flatnonzero(arrays["pulse_quality"] == 0).tolist() == numbers.tolist()
    assert (arrays["pulse_quality"][-TAIL:] == 2).all()
    assert (arrays["quality"] == 3).all()
    assert facts["method"] == "counts"
    check = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]["checks"]
    assert check["timestamps"]["outcome"] == "FAIL"
    assert check["framerate"]["outcome"] == check["decoding"]["outcome"] == "PASS"
    assert (folder / "ibl_dask" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", REAL)
def test_real_sounds_on_the_pin_tell_which_pulse_the_first_frame_has(data_folder, folder, name):
    """The workflow missed the first 15 exposures; numbers alone could not tell, the sounds of the trials can."""
    rises, edges = noted(data_folder, name)
    numbers, exposures = exposures_of(rises, TAIL)
    make(folder, data_folder, name, exposures.size - 15)
    camera_file(folder, exposures[15:], edges, write_frame_data)
    code, text = call("run", folder, "--workers", "0")
    assert code == 0, text
    times = np.load(folder / "alf" / "_ibl_leftCamera.times.npy")
    assert len(times) == exposures.size - 15
    later = numbers[numbers >= 15]
    np.testing.assert_allclose(times[later - 15], rises[numbers >= 15], atol=1e-9)
    _, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert (facts["method"], facts["start"]) == ("pins", 15)
    pin_state = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]["checks"]["pin_state"]
    assert pin_state["outcome"] == "PASS"


def test_real_trials_of_another_session_than_the_video_are_refused_with_the_counts(data_folder, folder):
    rises, edges = noted(data_folder, "biased_ge5")
    _, exposures = exposures_of(rises, 3000)
    make(folder, data_folder, "biased_ge5", exposures.size)
    camera_file(folder, exposures, edges[:0], write_separate_files, camera_first=True)
    code, text = call("run", folder, "--workers", "0")
    assert code == 1
    for part in ("5,629 frames", "2,629 pulses", "3,000 after the last", "expected: ", "what to do: "):
        assert part in text, text
    assert not (folder / "alf" / "_ibl_leftCamera.times.npy").exists()
