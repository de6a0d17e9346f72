"""The camera's own files: ours reads what the reference reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import camera_file, ephys_session, folder_in, training_session

from ibl_dask.timing.camera.camera_files import CameraFiles, read_camera_files, read_frame_counter, read_gpio

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Answer, Reference

pytestmark = pytest.mark.peer


def ours(folder: Path, label: str) -> CameraFiles:
    table = camera_file(folder, label, "frameData.bin")
    if table.exists():
        return read_camera_files(frame_data=table)
    names = {"timestamps": "timestamps.ssv", "gpio": "GPIO.bin", "counter": "frame_counter.bin"}
    return read_camera_files(**{kind: camera_file(folder, label, name) for kind, name in names.items()})


def assert_same(files: CameraFiles, theirs: Answer) -> None:
    """Clocks count from the first frame in ours always, in the reference with `frameData` only."""
    clock = theirs["camera_clock"]
    np.testing.assert_allclose(files.camera_time_s, clock - clock[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(files.pc_time_s, theirs["pc_clock"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(files.count, theirs["count"])
    np.testing.assert_array_equal(files.pins, theirs["pins"])


@pytest.mark.parametrize("layout", [{}, {"ssv_cameras": ("body",)}, {"ssv_cameras": ("body",), "camera_first": True}])
def test_files_of_an_ephys_rig_say_the_same(reference: Reference, tmp_path: Path, layout: dict[str, object]) -> None:
    """150 s, so that the camera's clock starts anew."""
    folder, _ = ephys_session(tmp_path, duration_s=150, n_dropped=5, **layout)
    assert_same(ours(folder, "body"), reference.ask("camera_files", session=folder, label="body"))


@pytest.mark.parametrize("frame_data", [False, True])
def test_files_of_a_training_rig_say_the_same(reference: Reference, tmp_path: Path, frame_data: bool) -> None:
    folder, _ = training_session(tmp_path, frame_data=frame_data, n_dropped=3)
    assert_same(ours(folder, "left"), reference.ask("camera_files", session=folder, label="left"))


def test_real_files_say_the_same(reference: Reference, data_folder: Path, tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    shutil.copytree(data_folder / "camera" / "session_frameData_left", folder / "raw_video_data")
    shutil.copytree(data_folder / "camera" / "session_ephys_body", folder / "raw_video_data", dirs_exist_ok=True)
    assert_same(ours(folder, "left"), reference.ask("camera_files", session=folder, label="left"))
    theirs = reference.ask("camera_files", session=folder, label="body")
    np.testing.assert_array_equal(read_gpio(camera_file(folder, "body", "GPIO.bin")), theirs["pins"])
    np.testing.assert_array_equal(read_frame_counter(camera_file(folder, "body", "frame_counter.bin")), theirs["count"])
    clocks = read_camera_files(timestamps=camera_file(folder, "body", "timestamps.ssv"))
    np.testing.assert_allclose(
        clocks.camera_time_s, theirs["camera_clock"] - theirs["camera_clock"][0], rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(clocks.pc_time_s, theirs["pc_clock"], rtol=0, atol=1e-6)
