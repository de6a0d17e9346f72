"""Frame times and checks of a mesoscope session, timed by a Timeline: those of the reference where it is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import edit_frame_data, folder_in, frames_off, silence_pins, time_by_daq

from ibl_dask.pipeline.run import run
from ibl_dask.synth import MesoscopeFaults, write_mesoscope_session
from ibl_dask.synth.mesoscope import TIMELINE_RATE_HZ
from ibl_dask.synth.plan import CameraFaults

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

    from ibl_dask.synth.truth import Truth

pytestmark = pytest.mark.peer

CAMERAS = ("left", "right", "belly")
SAMPLE_S = 1 / TIMELINE_RATE_HZ
FAULTS = {
    "left": CameraFaults(surplus_start_s=0.4),
    "right": CameraFaults(),
    "belly": CameraFaults(surplus_start_s=0.5),
}
DROPPED = {
    "left": CameraFaults(n_dropped=12, surplus_start_s=0.4, surplus_end_s=0.3),
    "right": CameraFaults(n_dropped=3),
    "belly": CameraFaults(n_dropped=5, surplus_end_s=0.7),
}
CHECKS = ("brightness", "camera_times", "dropped_frames", "file_headers", "pin_state", "resolution", "timestamps")


def mesoscope(
    root: Path, cameras: dict[str, CameraFaults], samples: bool = False, duration_s: float = 6
) -> tuple[Path, Truth]:
    folder, faults = folder_in(root), MesoscopeFaults(cameras, samples=samples)
    return folder, write_mesoscope_session(folder, duration_s=duration_s, scale=0.15, faults=faults)


@pytest.mark.parametrize("source", ["fronts", "samples"])
def test_with_pins_both_give_every_frame_of_a_timeline_session_the_same_time(
    reference: Reference, tmp_path: Path, source: str
) -> None:
    folder, truth = mesoscope(tmp_path, DROPPED, source == "samples")
    for label in CAMERAS:
        camera = truth.cameras[label]
        theirs = reference.ask("timeline_times", session=folder, label=label)
        assert theirs.log == ()
        ours = time_by_daq(folder, label)
        assert ours.facts["method"] == "pins"
        assert ours.measured.all()
        assert ours.times.size == theirs["times"].size == camera.n_frames
        np.testing.assert_allclose(ours.times, theirs["times"], rtol=0, atol=1e-6)
        late = ours.times - camera.frame_times_s
        assert -1e-9 < late.min() <= late.max() <= SAMPLE_S
        assert np.abs(frames_off(theirs["times"], camera)).max() < 0.5


def test_without_pins_both_count_the_pulses_of_a_timeline_alike(reference: Reference, tmp_path: Path) -> None:
    """Surplus pulses come first, and none was lost: counting is enough."""
    folder, truth = mesoscope(tmp_path, FAULTS)
    for label in CAMERAS:
        edit_frame_data(folder, label, silence_pins)
        theirs = reference.ask("timeline_times", session=folder, label=label)["times"]
        ours = time_by_daq(folder, label)
        assert ours.facts["method"] == "counts"
        np.testing.assert_allclose(ours.times, theirs, rtol=0, atol=1e-6)
        assert np.abs(frames_off(ours.times, truth.cameras[label])).max() < 0.5


def test_checks_of_a_timeline_session_have_the_same_outcomes_and_numbers(reference: Reference, tmp_path: Path) -> None:
    folder, _ = mesoscope(tmp_path, DROPPED, duration_s=30)  # enough sounds for the place to be sure
    assert run([folder]).exit_code == 0
    published = json.loads((folder / "ibl_dask" / "qc.json").read_text())["extended_qc"]
    for label in CAMERAS:
        theirs = reference.ask("session_checks", session=folder, label=label, names=[*CHECKS, "framerate"])
        for name in CHECKS:
            ours = published[f"_video{label.capitalize()}_{name}"]
            assert (ours if isinstance(ours, list) else [ours]) == theirs[name], (label, name)
        (their_rate, rate), (our_rate, our) = theirs["framerate"], published[f"_video{label.capitalize()}_framerate"]
        assert our == rate
        # Intervals of 16 and 17 ms: the median of 60 Hz is 58.8 Hz there.
        assert (their_rate, our_rate) == ("PASS" if label == "belly" else "FAIL", "PASS")
