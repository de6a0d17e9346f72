"""Sessions whose sync nobody extracted: the fronts come from the SpikeGLX recording itself."""

import numpy as np
import pytest
from program import on_disk
from spikeglx_files import write_recording

import ibl_dask as ibd
from ibl_dask.pipeline.run import run
from ibl_dask.synth.truth import Truth
from ibl_dask.timing.clocks import spikeglx_binary

SAMPLE_S = 1 / 30_000


@pytest.fixture
def recorded(session_folder, data_folder):
    """Return a session with the recording in place of the fronts."""
    sync = session_folder / "raw_ephys_data"
    parts = [sync / f"_spikeglx_sync.{part}.npy" for part in ("times", "channels", "polarities")]
    times, channels, polarities = map(np.load, parts)
    write_recording(sync, times, channels, polarities, data_folder / "nidq" / "sample3B_g0_t0.nidq.meta")
    for path in parts:
        path.unlink()
    return session_folder


def message_of(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


def statuses(result, kind):
    return [r.status for r in result.sessions[0].records.values() if r.key[0].split("-")[0] == kind]


def test_the_recording_is_read_once_and_all_cameras_get_their_true_times(recorded, client):
    pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")
    raw = on_disk(recorded / "raw_ephys_data")
    result = run([recorded], client=client)
    assert result.exit_code == 0, message_of(result)
    assert statuses(result, "sync") == ["done"]
    for label, camera in Truth.read(recorded).cameras.items():
        times = np.load(recorded / "alf" / f"_ibl_{label}Camera.times.npy")
        assert np.abs(times - camera.frame_times_s).max() <= SAMPLE_S
    assert on_disk(recorded / "raw_ephys_data") == raw
    again = run([recorded])
    assert statuses(again, "sync") == []
    assert statuses(again, "times") == ["kept"] * 3


def test_another_recording_is_read_anew(recorded, data_folder):
    pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")
    (before,), _ = ibd.VideoSyncQcNidq(recorded, cameras="left").extract_camera()
    sync = recorded / "raw_ephys_data"
    with np.load(recorded / "ibl_dask" / "sync-fronts.npz") as kept:
        times, channels, polarities = kept["times"], kept["channels"], kept["polarities"]
    write_recording(sync, times + 1, channels, polarities, data_folder / "nidq" / "sample3B_g0_t0.nidq.meta")
    (after,), _ = ibd.VideoSyncQcNidq(recorded, cameras="left", overwrite=True).extract_camera()
    assert np.abs(before - Truth.read(recorded).cameras["left"].frame_times_s).max() <= SAMPLE_S
    assert np.abs(after - 1 - before).max() <= SAMPLE_S


def test_extracted_fronts_take_precedence(session_folder, data_folder):
    sync = session_folder / "raw_ephys_data"
    write_recording(sync, [0.5, 0.6], [0, 0], [1, -1], data_folder / "nidq" / "sample3B_g0_t0.nidq.meta")
    task = ibd.VideoSyncQcNidq(session_folder, cameras="body")
    (times,), _ = task.extract_camera()
    assert np.abs(times - Truth.read(session_folder).cameras["body"].frame_times_s).max() <= SAMPLE_S
    assert not (session_folder / "ibl_dask" / "sync-fronts.npz").exists()


def test_without_the_library_both_ways_out_are_named_once_and_the_videos_are_measured(recorded, monkeypatch):
    monkeypatch.setattr(spikeglx_binary, "find_spec", lambda name: None)
    result = run([recorded])
    assert result.exit_code == 1
    for text in ("SyncPulses", "pip install 'ibl_dask[spikeglx]'", ".nidq.bin"):
        assert text in message_of(result)
    assert len(result.sessions[0].failures) == 1
    assert statuses(result, "frames") == ["done"] * 3


def test_with_neither_fronts_nor_recording_the_fronts_are_named(session_folder):
    (session_folder / "raw_ephys_data" / "_spikeglx_sync.times.npy").unlink()
    task = ibd.VideoSyncQcNidq(session_folder, cameras="body")
    assert task.extract_camera() == ([], [])
    assert "_spikeglx_sync.times.npy" in task.failures[0].message
    assert "SyncPulses" in task.failures[0].message


def test_of_several_recordings_none_is_guessed_and_the_one_that_is_named_times_all_cameras(recorded, data_folder):
    pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")
    sync = recorded / "raw_ephys_data"
    header = data_folder / "nidq" / "sample3B_g0_t0.nidq.meta"
    write_recording(sync, [0.5, 0.6], [0, 0], [1, -1], header, name="_spikeglx_ephysData_g1_t0")
    task = ibd.VideoSyncQcNidq(recorded)
    assert task.extract_camera() == ([], [])
    told = {record.failure.message for record in task.records.values() if record.failure is not None}
    assert len(told) == 1
    assert "_spikeglx_ephysData_g0_t0, _spikeglx_ephysData_g1_t0" in told.pop()
    found, _ = ibd.VideoSyncQcNidq(recorded, recording="_spikeglx_ephysData_g0_t0").extract_camera()
    for times, camera in zip(found, (Truth.read(recorded).cameras[c] for c in ("body", "left", "right")), strict=True):
        assert np.abs(times - camera.frame_times_s).max() <= SAMPLE_S
