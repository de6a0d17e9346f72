"""Synthetic sessions of widefield and mesoscope rigs: formats, and truth against what was written."""

import json

import numpy as np
import pytest

from ibl_dask.errors import NotASession, UsageError
from ibl_dask.model.session import Session
from ibl_dask.synth import (
    CamlogStyle,
    WidefieldFaults,
    read_frame_number,
    write_mesoscope_session,
    write_widefield_session,
)
from ibl_dask.synth.mesoscope import INPUTS, META
from ibl_dask.synth.plan import CameraFaults
from ibl_dask.video.reader import FrameReader

TAIL = "lab/Subjects/synth_001/2022-08-04/001"


@pytest.fixture(scope="module")
def widefield(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widefield") / TAIL
    faults = WidefieldFaults({"left": CameraFaults(n_dropped=3)}, {"left": CamlogStyle(first_id=37)})
    return folder, write_widefield_session(folder, duration_s=4, cameras=("left",), scale=0.2, faults=faults)


@pytest.fixture(scope="module")
def mesoscope(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesoscope") / TAIL
    return folder, write_mesoscope_session(folder, duration_s=4, scale=0.2)


def test_a_camlog_has_a_line_per_frame_with_the_camera_s_own_number(widefield):
    folder, truth = widefield
    camera = truth.cameras["left"]
    lines = (folder / "raw_video_data" / "_iblrig_leftCamera.raw.camlog").read_text().splitlines()
    assert lines[0] == "# Camera: leftcam log file"
    assert lines[3] == "# Log header:frame_id,timestamp"
    assert lines[-1].endswith(f"Wrote {camera.n_frames} frames on leftcam (1 files).")
    rows = np.array([line.split(",")[:2] for line in lines if not line.startswith("#")], dtype=float)
    np.testing.assert_array_equal(rows[:, 0], 37 + camera.frame_exposures)
    np.testing.assert_allclose(np.diff(rows[:, 1]), np.diff(camera.frame_times_s), atol=2e-6)
    assert any(line.startswith("#LED:") for line in lines)


def test_the_description_of_a_widefield_rig_says_that_videos_are_compressed(widefield):
    description = Session(widefield[0]).description
    assert description.cameras[0].compressed
    assert (description.sync.kind, description.sync.collection) == ("nidq", "raw_sync_data")


def test_timeline_fronts_are_on_samples_and_on_columns_counted_from_1(mesoscope):
    folder, truth = mesoscope
    sync = {
        part: np.load(folder / "raw_sync_data" / f"_timeline_sync.{part}.npy")
        for part in ("times", "channels", "polarities")
    }
    assert [sync[part].dtype for part in sync] == [np.float64, np.uint8, np.int8]
    meta = json.loads((folder / "raw_sync_data" / META).read_text())
    columns = {entry["name"]: entry["arrayColumn"] for entry in meta["inputs"]}
    assert [columns[name] for name in INPUTS] == list(range(1, len(INPUTS) + 1))
    for label, camera in truth.cameras.items():
        rises = sync["times"][(sync["channels"] == columns[f"{label}_camera"]) & (sync["polarities"] > 0)]
        late = rises - camera.pulse_times_s
        assert late.min() >= 0
        assert late.max() <= 1e-3
    assert (np.diff(sync["times"]) >= 0).all()


def test_frames_of_the_belly_camera_carry_their_numbers(mesoscope):
    with FrameReader(mesoscope[0] / "raw_video_data" / "_iblrig_bellyCamera.raw.mp4") as reader:
        frames = reader.read(0, 4)
    assert [read_frame_number(frame) for frame in frames] == [0, 1, 2, 3]


def test_wishes_that_cannot_be_met_are_refused(tmp_path):
    with pytest.raises(NotASession):
        write_widefield_session(tmp_path / "somewhere")
    with pytest.raises(UsageError, match="too small"):
        write_mesoscope_session(tmp_path / TAIL, scale=0.01)
