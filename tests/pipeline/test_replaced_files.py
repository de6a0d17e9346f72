"""A file in whose place another of the same size and age is put changes what was made of it; the same bytes do not.

As `cp -p` does it: a bad copy is found out, and the good one of the acquisition computer takes its place.
"""

import json
import os
import shutil

import numpy as np
import pytest
from published import one_camera_of, results

from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.synth import write_training_session, write_widefield_session
from ibl_dask.synth.session import write_session
from ibl_dask.tasks import index_video as index
from ibl_dask.video.container.index import index_video

TASKS = {"ephys": "VideoSyncQC_nidq", "training": "VideoSyncQC_bpod", "widefield": "VideoSyncQC_nidq"}
PLACES = {name: f"lab/Subjects/{name.upper()[:2]}_001/2023-05-01/001" for name in TASKS}
VIDEO = "raw_video_data/_iblrig_leftCamera.raw.mp4"
TIMES = "alf/_ibl_leftCamera.times.npy"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return sessions of each rig with the left camera alone, timed and measured."""
    root = tmp_path_factory.mktemp("finished")
    found = {name: root / place for name, place in PLACES.items()}
    write_session(found["ephys"], duration_s=3, scale=0.125, gop=20, cameras=("left",), ssv_cameras=("left",))
    write_training_session(found["training"], duration_s=20, scale=0.1)
    write_widefield_session(found["widefield"], duration_s=3, cameras=("left",), scale=0.15)
    wiring = json.dumps({"SYSTEM": "3B", "SYNC_WIRING_DIGITAL": {"P0.0": "left_camera", "P0.7": "audio"}})
    (found["ephys"] / "raw_ephys_data" / "_spikeglx_ephysData_g0_t0.nidq.wiring.json").write_text(wiring)
    rng = np.random.default_rng(0)
    for part in ("timestamps", "position"):
        np.save(found["ephys"] / "alf" / f"_ibl_wheel.{part}.npy", np.sort(rng.uniform(0, 3, 500)))
    for name, session in found.items():
        result = run([session], tasks=[TASKS[name]])
        assert result.exit_code == 0, [failure.message for failure in result.sessions[0].failures]
    return found


@pytest.fixture
def copied(finished, tmp_path):
    """Return a function that makes a copy of one of them, which a test may do anything with."""
    return lambda name: shutil.copytree(finished[name], tmp_path / PLACES[name])


def run_again(session, **options):
    (task,) = (TASKS[name] for name, place in PLACES.items() if place.split("/")[2] in session.parts)
    return run([session], tasks=[task], **options)


def statuses(result):
    """Return how the steps ended, by kind; of several alike the sorted set."""
    found = {}
    for record in result.sessions[0].records.values():
        found.setdefault(record.key[0], set()).add(record.status)
    return found


def replace(path, content):
    """Write other bytes and leave size and age."""
    stat = path.stat()
    assert len(content) == stat.st_size
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def newest_times(session):
    """Return the frame times that count: those of the newest revision."""
    revisions = sorted((session / "alf").glob("#*#/_ibl_leftCamera.times.npy"))
    return np.load([session / TIMES, *revisions][-1])


def other_bytes(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 8 : middle + 8] = content[middle - 8 : middle + 8][::-1]
    content[middle] ^= 1
    return bytes(content)


FILES = [
    ("ephys", "_spikeglx_sync.times.npy", "times-left"),
    ("ephys", "_spikeglx_sync.channels.npy", "times-left"),
    ("ephys", "_spikeglx_sync.polarities.npy", "times-left"),
    ("ephys", "*.wiring.json", "times-left"),
    ("ephys", "_iblrig_leftCamera.timestamps.ssv", "times-left"),
    ("ephys", "_iblrig_leftCamera.GPIO.bin", "times-left"),
    ("ephys", "_iblrig_leftCamera.frame_counter.bin", "times-left"),
    ("ephys", "_ibl_wheel.timestamps.npy", "wheel-left"),
    ("ephys", "_ibl_wheel.position.npy", "wheel-left"),
    ("training", "_iblrig_taskData.raw.jsonable", "times-left"),
    ("training", "_iblrig_leftCamera.GPIO.bin", "times-left"),
    ("widefield", "_iblrig_leftCamera.raw.camlog", "times-left"),
    ("widefield", "_spikeglx_sync.times.npy", "times-left"),
]


@pytest.mark.parametrize(("rig", "name", "step"), FILES, ids=[f"{rig}-{name}" for rig, name, _ in FILES])
def test_other_bytes_of_the_same_size_and_age_are_read_and_the_right_ones_bring_the_old_results(
    copied, rig, name, step
):
    session = copied(rig)
    (path,) = (path for path in session.rglob(name) if "ibl_dask" not in path.parts)
    good, before = path.read_bytes(), newest_times(session)
    replace(path, other_bytes(path))
    assert statuses(run_again(session)).get(step, {"failed"}) != {"kept"}
    replace(path, good)
    result = run_again(session)
    assert result.exit_code == 0, [failure.message for failure in result.sessions[0].failures]
    np.testing.assert_array_equal(newest_times(session), before)


def test_a_session_that_was_copied_is_done_there_too(copied):
    """Change times are others in a copy, and so is the folder."""
    for rig in TASKS:
        session = copied(rig)
        result = run_again(session)
        found = statuses(result)
        assert result.exit_code == 0
        assert {"times-left", "wheel-left", "frames-left"} <= found.keys()
        assert [found[kind] for kind in ("times-left", "wheel-left", "frames-left")] == [{"kept"}] * 3
        assert "framepass-left" not in found


def test_a_session_that_was_touched_is_done_all_the_same(copied):
    session = copied("ephys")
    for path in [*session.rglob("*.npy"), *session.rglob("*.bin"), session / VIDEO]:
        os.utime(path)
    found = statuses(run_again(session))
    assert [found[kind] for kind in ("times-left", "wheel-left", "frames-left")] == [{"kept"}] * 3
    assert "framepass-left" not in found


def test_sync_times_that_were_half_a_second_off_give_the_right_times_once_the_right_file_is_there(copied):
    session = copied("ephys")
    path = session / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    right, good = np.load(session / TIMES), path.read_bytes()
    off = path.with_name("off.npy")
    np.save(off, np.load(path) + 0.5)
    replace(path, off.read_bytes())
    assert run_again(session, overwrite=True).exit_code == 0
    np.testing.assert_allclose(np.load(session / TIMES), right + 0.5)
    replace(path, good)
    assert run_again(session).exit_code == 0
    np.testing.assert_array_equal(newest_times(session), right)


def spoilt(video):
    """Return a video whose frames do not decode from about the middle to the next keyframe."""
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    return bytes(content)


def test_a_video_with_frames_that_do_not_decode_passes_once_the_good_copy_is_there(copied):
    session = copied("ephys")
    with one_camera_of(session):
        expected = results(session)
    good = (session / VIDEO).read_bytes()
    replace(session / VIDEO, spoilt(session / VIDEO))
    bad = run_again(session)
    assert bad.exit_code == 1
    assert "do not decode" in bad.sessions[0].failures[0].message
    planned = {said.task: said.why for said in forecast(make_pipeline(session, tasks=[TASKS["ephys"]]))}
    assert planned[TASKS["ephys"]] in ("nothing to do", "changed input")
    replace(session / VIDEO, good)
    (said,) = (s for s in forecast(make_pipeline(session)) if s.task == TASKS["ephys"])
    assert said.why == "changed input", said
    assert run_again(session).exit_code == 0
    with one_camera_of(session):
        found = results(session)
    assert {name: value.tobytes() for name, value in found.items()} == {n: v.tobytes() for n, v in expected.items()}


def test_another_decoder_decodes_anew(copied, monkeypatch):
    session = copied("ephys")
    before = json.loads((session / "ibl_dask" / "leftCamera-frames.zarr" / "zarr.json").read_text())["attributes"]
    assert "libavcodec" in before["video"]["decoder"]
    monkeypatch.setattr(index, "decoder_build", lambda: "PyAV 99.0.0, libavcodec 99.1.100, libswscale 9.1.100")
    assert statuses(run_again(session))["framepass-left"] == {"done"}
    assert "framepass-left" not in statuses(run_again(session))
    (said,) = (s for s in forecast(make_pipeline(session)) if s.task == TASKS["ephys"])
    assert said.why == "changed input", "here it would be decoded by what is installed"


def test_overwrite_makes_everything_anew_whatever_stands(copied):
    for rig in TASKS:
        session = copied(rig)
        before = np.load(session / TIMES)
        (said,) = (s for s in forecast(make_pipeline(session, overwrite=True)) if s.task == TASKS[rig])
        assert said.why == "forced"
        found = statuses(run_again(session, overwrite=True))
        for kind in ("index-left", "times-left", "framepass-left", "wheel-left", "frames-left", "qc-left"):
            assert found[kind] == {"done"}, kind
        np.testing.assert_array_equal(np.load(session / TIMES), before)
        assert not list((session / "alf").glob("#*#"))
        again = statuses(run_again(session))
        assert "framepass-left" not in again
        assert again["times-left"] == {"kept"}


def test_overwrite_of_compressed_videos_compresses_them_anew_and_decodes_nothing_twice(tmp_path):
    session = tmp_path / PLACES["ephys"]
    write_session(session, duration_s=2, scale=0.125, gop=12, raw_avi=True, cameras=("left",))
    assert run([session]).exit_code == 0
    before = (session / VIDEO).read_bytes()
    result = run([session], overwrite=True)
    assert result.exit_code == 0
    found = statuses(result)
    assert (found["encode-left"], found["compress-left"]) == ({"done"}, {"done"})
    assert found["framepass-left"] == {"kept"}, "it was measured while it was compressed, in this run"
    assert (session / VIDEO).read_bytes() == before
    assert len(index_video(session / VIDEO)) == 120
    assert not (session / "raw_video_data.trash").exists()
