"""Sessions of a mesoscope rig, whose main clock is a Timeline DAQ: from the description to the report."""

import json
import shutil

import numpy as np
import pytest
from program import on_disk
from video_tasks import of_videos

import ibl_dask as ibd
from ibl_dask.pipeline.run import run
from ibl_dask.synth import MesoscopeFaults, write_mesoscope_session
from ibl_dask.synth.mesoscope import META, TIMELINE_RATE_HZ
from ibl_dask.synth.plan import CameraFaults
from ibl_dask.tasks.video_sync.pulse_times import load_timing

SAMPLE_S = 1 / TIMELINE_RATE_HZ
SESSION = "lab/Subjects/SP_001/2023-03-03/001"
FAULTS = MesoscopeFaults(
    cameras={"left": CameraFaults(n_dropped=2, surplus_start_s=0.4), "belly": CameraFaults(surplus_start_s=0.5)}
)


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesoscope") / SESSION
    return folder, write_mesoscope_session(folder, duration_s=20, scale=0.15, faults=FAULTS)


@pytest.fixture
def mesoscope(_made, tmp_path):
    """Return a copy of a small session that a test may do anything with, and the truth about it."""
    folder = tmp_path / SESSION
    shutil.copytree(_made[0], folder)
    return folder, _made[1]


def off_by(folder, truth, label):
    times = np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")
    return np.abs(times - truth.cameras[label].frame_times_s).max()


def message_of(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


def test_left_right_and_belly_get_their_true_times_checks_and_report(mesoscope, client):
    folder, truth = mesoscope
    result = run([folder], client=client)
    assert result.exit_code == 0, message_of(result)
    names = ("VideoRegisterRaw", "VideoCompress", "VideoSyncQC_nidq")
    assert of_videos(result.sessions[0].tasks) == dict.fromkeys(names, "Complete")
    record = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    for label in ("left", "right", "belly"):
        assert off_by(folder, truth, label) <= SAMPLE_S
        _, facts = load_timing(folder / "ibl_dask" / f"{label}Camera-timing.npz")
        assert facts["method"] == "pins"
        assert facts["n_dropped"] == truth.cameras[label].n_dropped
        checks = record["cameras"][label]["checks"]
        for name in ("timestamps", "pin_state", "camera_times", "decoding"):
            assert checks[name]["outcome"] == "PASS", checks[name]
    assert record["extended_qc"]["_videoBelly_timestamps"] == "PASS"
    assert "belly" in (folder / "ibl_dask" / "report.html").read_text()
    assert (folder / "ibl_dask" / "bellyCamera-frames.zarr").is_dir()


def test_the_meta_file_of_the_daq_says_which_line_is_where(mesoscope):
    folder, truth = mesoscope
    path = folder / "raw_sync_data" / META
    path.rename(path.with_name("_timeline_DAQdata.meta.0123abcd-0000-1111-2222-333344445555.json"))
    (times,), _ = ibd.VideoSyncQcNidq(folder, cameras="right").extract_camera()
    assert np.abs(times - truth.cameras["right"].frame_times_s).max() <= SAMPLE_S


def test_without_meta_file_no_line_passes_for_that_of_another_camera(mesoscope):
    folder, _ = mesoscope
    (folder / "raw_sync_data" / META).unlink()
    task = ibd.VideoSyncQcNidq(folder)
    assert task.extract_camera() == ([], [])
    assert len(task.failures) == 1
    assert "the channels of the lines are not known" in task.failures[0].message
    assert "_timeline_DAQdata.meta.json" in task.failures[0].message
    assert not list((folder / "alf").glob("*Camera.times.npy"))


def test_without_meta_file_channels_from_0_are_in_the_usual_order(tmp_path):
    folder = tmp_path / SESSION
    truth = write_mesoscope_session(
        folder, duration_s=5, cameras=("belly",), scale=0.2, faults=MesoscopeFaults(without_meta=True)
    )
    path = folder / "raw_sync_data" / "_timeline_sync.channels.npy"
    channels = np.load(path)
    usual = np.zeros(256, np.uint8)
    usual[[4, 6, 7]] = 2, 4, 0  # belly, audio, and any other line in place of the left camera's
    np.save(path, usual[channels])
    ibd.VideoSyncQcNidq(folder).extract_camera()
    assert off_by(folder, truth, "belly") <= SAMPLE_S


def test_fronts_that_nobody_extracted_are_found_in_the_samples_of_the_daq(tmp_path):
    folder = tmp_path / SESSION
    truth = write_mesoscope_session(folder, duration_s=5, scale=0.2, faults=MesoscopeFaults(samples=True))
    assert not list(folder.rglob("_timeline_sync*"))
    before = on_disk(folder / "raw_sync_data")
    result = run([folder])
    assert result.exit_code == 0, message_of(result)
    for label in truth.cameras:
        assert off_by(folder, truth, label) <= SAMPLE_S
    assert on_disk(folder / "raw_sync_data") == before


def test_a_camera_that_is_wired_to_no_input_is_named(mesoscope):
    folder, truth = mesoscope
    path = folder / "raw_sync_data" / META
    path.write_text(path.read_text().replace("belly_camera", "something"))
    task = ibd.VideoSyncQcNidq(folder)
    task.extract_camera()
    assert len(task.failures) == 1
    assert "belly_camera among the channels" in task.failures[0].message
    assert off_by(folder, truth, "left") <= SAMPLE_S
