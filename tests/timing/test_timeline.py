"""Channels and fronts of a Timeline DAQ."""

import json

import numpy as np
import pytest

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile
from ibl_dask.timing.clocks.nidq import Sync
from ibl_dask.timing.clocks.timeline import read_timeline_recording, timeline_channel_map


def sync(channels):
    return Sync(np.arange(len(channels), dtype=float), np.array(channels), np.ones(len(channels), np.int8))


def meta_file(folder, content):
    path = folder / "_timeline_DAQdata.meta.json"
    path.write_text(json.dumps(content))
    return path


def test_channels_are_the_columns_of_the_meta_file_and_unused_inputs_have_none(tmp_path):
    inputs = [
        {"name": "Left_Camera", "arrayColumn": 3},
        {"name": "belly_camera", "arrayColumn": 12.0},
        {"name": "spare", "arrayColumn": []},
        {"name": "other", "arrayColumn": -1},
    ]
    path = meta_file(tmp_path, {"inputs": inputs})
    assert timeline_channel_map(path, sync([3, 12])) == {"left_camera": 3, "belly_camera": 12}


def test_a_single_input_is_no_list(tmp_path):
    path = meta_file(tmp_path, {"inputs": {"name": "left_camera", "arrayColumn": 1}})
    assert timeline_channel_map(path, sync([1])) == {"left_camera": 1}


def test_without_meta_file_channels_from_0_are_the_usual_ones_and_others_are_refused():
    assert timeline_channel_map(None, sync([0, 2, 4]))["belly_camera"] == 2
    # Columns start at 1: the usual map would take the left camera's line for the right camera's.
    with pytest.raises(MissingFile, match=r"raw_sync_data.*channels 1, 2.*meta\.json"):
        timeline_channel_map(None, sync([1, 2]), where="raw_sync_data")


@pytest.mark.parametrize("content", [[], {"inputs": [{"name": "left_camera"}]}, {"inputs": 3}, {}])
def test_a_meta_file_without_inputs_is_refused(tmp_path, content):
    with pytest.raises(UnusableFile, match="makes no sense"):
        timeline_channel_map(meta_file(tmp_path, content), sync([1]))


def test_a_damaged_meta_file_is_refused(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text("{")
    with pytest.raises(UnusableFile):
        timeline_channel_map(path, sync([1]))


# -- samples -----------------------------------------------------------------------------------------------


INPUTS = [
    {"name": "left_camera", "arrayColumn": 1, "measurement": "Voltage"},
    {"name": "neural_frames", "arrayColumn": 2, "measurement": "EdgeCount"},
    {"name": "rotary_encoder", "arrayColumn": 3, "measurement": "Position"},
    {"name": "right_camera", "arrayColumn": 4, "measurement": "Voltage"},
    {"name": "weather", "arrayColumn": 5, "measurement": "Voltage"},
]


def recorded(folder, n_samples=400):
    """Return the files of a recording at 1 kHz with an offset, noise, counters, and a line that only carries noise."""
    raw = np.zeros((n_samples, 5))
    raw[:, 0] = 0.3 + 3.3 * (np.arange(n_samples) % 40 < 12) * (np.arange(n_samples) >= 40)
    raw[100:, 1], raw[200:, 1] = 7, 8
    raw[50:, 2], raw[150:, 2] = 2.0**32 - 1, 0  # one down, below zero, and up again
    raw[:, 3] = np.random.default_rng(0).normal(0, 0.02, n_samples)
    raw[::2, 4] = 5
    paths = [folder / f"_timeline_DAQdata.{name}" for name in ("raw.npy", "timestamps.npy")]
    np.save(paths[0], raw)
    np.save(paths[1], 10 + np.arange(n_samples) / 1000)
    return *paths, meta_file(folder, {"inputs": INPUTS})


def test_voltages_cross_half_of_their_swing_and_counters_change(tmp_path):
    found = read_timeline_recording(*recorded(tmp_path))
    assert (np.diff(found.times_s) >= 0).all()
    left = found.fronts(1)
    np.testing.assert_allclose(left.rises_s, 10 + np.arange(40, 400, 40) / 1000)
    np.testing.assert_allclose(left.falls_s, 10 + np.arange(52, 400, 40) / 1000)
    np.testing.assert_allclose(found.fronts(2).times_s, [10.1, 10.2])
    assert found.fronts(2).polarities.tolist() == [1, 1]
    np.testing.assert_allclose(found.fronts(3).times_s, [10.05, 10.15])
    assert found.fronts(3).polarities.tolist() == [-1, 1]


def test_noise_is_no_line_and_inputs_that_no_rig_has_are_left_out(tmp_path):
    found = read_timeline_recording(*recorded(tmp_path))
    assert set(found.counts()) == {1, 2, 3}


def test_times_may_be_given_for_some_samples_only(tmp_path):
    samples, times, meta = recorded(tmp_path)
    full = read_timeline_recording(samples, times, meta)
    np.save(times, np.array([[0, 10.0], [399, 10.399]]))
    np.testing.assert_allclose(read_timeline_recording(samples, times, meta).times_s, full.times_s)


def test_a_recording_that_is_not_complete_is_refused(tmp_path):
    samples, times, meta = recorded(tmp_path)
    with pytest.raises(MissingFile, match=r"timestamps\.npy"):
        read_timeline_recording(samples, None, meta)
    with pytest.raises(MissingFile, match=r"meta\.json"):
        read_timeline_recording(samples, times, None)
    np.save(times, np.arange(399))
    with pytest.raises(UnequalLengths, match=r"400.*399"):
        read_timeline_recording(samples, times, meta)
    samples.write_bytes(b"hello")
    with pytest.raises(UnusableFile, match=r"raw\.npy"):
        read_timeline_recording(samples, times, meta)
