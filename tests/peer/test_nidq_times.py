"""Frame times by a DAQ's pulses: those of the reference wherever it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import (
    SAMPLE_S,
    camera_file,
    edit_frame_data,
    ephys_session,
    frames_off,
    shorten_video,
    silence_pins,
    time_by_daq,
)

from ibl_dask.timing.clocks.nidq import channel_map

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

pytestmark = pytest.mark.peer

CAMERAS = ("left", "right", "body")
LAYOUTS = {
    "frameData": {},
    "ssv, wall clock first": {"ssv_cameras": CAMERAS},
    "ssv, camera clock first": {"ssv_cameras": CAMERAS, "camera_first": True},
}
RECORDINGS = {
    "one pulse per frame": {},
    "dropped frames": {"n_dropped": {"left": 25, "right": 60, "body": 9}},
    "surplus pulses at both ends": {"surplus_start_s": 1.5, "surplus_end_s": 0.8},
    "surplus pulses and dropped frames": {"surplus_start_s": 0.7, "surplus_end_s": 2.1, "n_dropped": 15},
    "missing pulses at the end": {"missing_end_frames": 20},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_with_pins_both_give_every_frame_the_same_time(
    reference: Reference, tmp_path: Path, recording: str, layout: str
) -> None:
    seed = sum(map(ord, recording + layout))
    folder, truth = ephys_session(
        tmp_path, CAMERAS, seed=seed, duration_s=10, **RECORDINGS[recording], **LAYOUTS[layout]
    )
    for label in CAMERAS:
        camera = truth.cameras[label]
        theirs = reference.ask("daq_times", session=folder, label=label)
        ours = time_by_daq(folder, label)
        assert theirs.log == () or "missing" in recording
        assert ours.facts["method"] == "pins"
        assert ours.times.size == theirs["times"].size == camera.n_frames
        np.testing.assert_array_equal(ours.measured, camera.has_pulse)
        np.testing.assert_allclose(ours.times[ours.measured], theirs["times"][ours.measured], rtol=0, atol=1e-6)
        for times in (ours.times, theirs["times"]):
            late = times[ours.measured] - camera.frame_times_s[ours.measured]
            assert -1e-9 < late.min() <= late.max() < SAMPLE_S
            assert np.abs(frames_off(times, camera)).max() < 0.5


@pytest.mark.parametrize("recording", [name for name in RECORDINGS if "missing" not in name])
def test_without_pins_both_count_the_same_where_counting_is_enough(
    reference: Reference, tmp_path: Path, recording: str
) -> None:
    """Without pins both take surplus pulses to come first, and only ours still knows of dropped frames."""
    settings = {**RECORDINGS[recording], "surplus_end_s": 0.0, "n_dropped": 0}
    folder, truth = ephys_session(tmp_path, **settings)
    edit_frame_data(folder, "body", silence_pins)
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    ours = time_by_daq(folder, "body")
    assert ours.facts["method"] == "counts"
    np.testing.assert_allclose(ours.times, theirs, rtol=0, atol=1e-6)
    assert np.abs(frames_off(ours.times, truth.cameras["body"])).max() < 0.5


def test_a_video_that_lacks_its_tail_is_timed_alike(reference: Reference, tmp_path: Path) -> None:
    folder, truth = ephys_session(tmp_path, surplus_start_s=0.5, n_dropped=4)
    n_frames = truth.cameras["body"].n_frames - 30
    shorten_video(folder, "body", n_frames)
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    ours = time_by_daq(folder, "body")
    assert ours.times.size == theirs.size == n_frames
    np.testing.assert_allclose(ours.times, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s[:n_frames], rtol=0, atol=SAMPLE_S)


def test_sounds_that_the_pin_missed_change_nothing_for_either(reference: Reference, tmp_path: Path) -> None:
    """The first and the last sound are seen; of those between, every third is not."""
    folder, truth = ephys_session(tmp_path, duration_s=40, surplus_start_s=0.5)

    def miss(table: np.ndarray) -> None:
        high = table[:, 3] > 0
        rises = np.flatnonzero(np.diff(high.astype(int)) == 1) + 1
        for rise in rises[2:-1:3]:
            table[rise : rise + np.flatnonzero(~high[rise:])[0], 3] = 0

    edit_frame_data(folder, "body", miss)
    theirs = reference.ask("daq_times", session=folder, label="body")
    assert any("more sync TTLs than GPIO state changes" in line for line in theirs.log)
    ours = time_by_daq(folder, "body")
    assert ours.facts["method"] == "pins"
    np.testing.assert_allclose(ours.times, theirs["times"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)


def test_real_camera_files_are_timed_alike(reference: Reference, data_folder: Path, tmp_path: Path) -> None:
    """Clocks and counters of real cameras; the pulses are synthetic, since those of these recordings are not public."""
    files = data_folder / "camera"
    camera_files = {
        "left": {"frame_data": files / "session_frameData_left" / "_iblrig_leftCamera.frameData.bin"},
        "body": {"timestamps": files / "session_ephys_body" / "_iblrig_bodyCamera.timestamps.ssv"},
    }
    folder, truth = ephys_session(tmp_path, ("left", "body"), surplus_start_s=0.3, camera_files=camera_files)
    for label, n_frames in (("left", 135), ("body", 6001)):
        theirs = reference.ask("daq_times", session=folder, label=label)["times"]
        ours = time_by_daq(folder, label).times
        assert ours.size == theirs.size == n_frames
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours, truth.cameras[label].frame_times_s, rtol=0, atol=SAMPLE_S)


def test_real_pins_and_counter_are_matched_alike(reference: Reference, data_folder: Path, tmp_path: Path) -> None:
    """510 real frames with one sound on the pin; of the 6001 real lines of clock those of 510 frames."""
    real = data_folder / "camera" / "session_ephys_body"
    clock = tmp_path / "timestamps.ssv"
    with (real / "_iblrig_bodyCamera.timestamps.ssv").open() as lines:
        clock.write_text("".join(line for line, _ in zip(lines, range(510), strict=False)))
    parts = {
        "timestamps": clock,
        "gpio": real / "_iblrig_bodyCamera.GPIO.bin",
        "frame_counter": real / "_iblrig_bodyCamera.frame_counter.bin",
    }
    folder, truth = ephys_session(tmp_path, surplus_start_s=0.6, surplus_end_s=0.4, camera_files={"body": parts})
    theirs = reference.ask("daq_times", session=folder, label="body")
    ours = time_by_daq(folder, "body")
    assert ours.facts["method"] == "pins"
    assert theirs.log == ()
    np.testing.assert_allclose(ours.times, theirs["times"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)
    assert camera_file(folder, "body", "GPIO.bin").stat().st_size == 510 * 8


def test_usual_wiring_is_the_same(reference: Reference) -> None:
    """Ours also knows the laser's lines where the reference's map leaves them out."""
    theirs = reference.ask("channel_maps")
    assert channel_map(None, "3A") == theirs["default"]["ephys"]["3A"]["ap"]
    assert channel_map(None, "nidq") == theirs["default"]["ephys"]["3B"]["nidq"]
    assert channel_map(None, "sync").items() >= theirs["default"]["sync"]["nidq"].items()
    assert channel_map(None, "timeline") == theirs["default"]["mesoscope"]["timeline"]
