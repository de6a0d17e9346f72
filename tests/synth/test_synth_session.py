"""Whole synthetic sessions: formats, and truth against what was written."""

from pathlib import Path

import av
import numpy as np
import pytest

from ibl_dask.errors import NotASession, UsageError
from ibl_dask.model.session import Session
from ibl_dask.synth import Truth, loop_clip, read_frame_number, write_session
from ibl_dask.synth.clocks import DAQ_RATE_HZ, CameraTimer, unwrap_timer
from ibl_dask.synth.rig_files import CHANNELS

TAIL = "lab/Subjects/synth_001/2024-05-01/001"
DURATION_S = 6.0
FPS = {"left": 60, "right": 150, "body": 30}
MOTION_ROI = {  # (rows), (columns) of the whole frame
    "left": ((800 / 1024, 1020 / 1024), (233 / 1280, 1096 / 1280)),
    "right": ((426 / 512, 510 / 512), (104 / 640, 545 / 640)),
    "body": ((402 / 512, 481 / 512), (31 / 640, 103 / 640)),
}


def read_luma(path):
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            yield np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def load_sync(folder):
    names = ("times", "channels", "polarities")
    return [np.load(folder / "raw_ephys_data" / f"_spikeglx_sync.{name}.npy") for name in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / TAIL
    heard = []
    truth = write_session(
        folder,
        duration_s=DURATION_S,
        scale=0.25,
        seed=3,
        n_dropped={"right": 5},
        surplus_start_s={"left": 0.5},
        surplus_end_s={"left": 0.2, "right": 0.1},
        missing_end_frames={"body": 4},
        ssv_cameras=("body",),
        gop=30,
        on_progress=lambda *event: heard.append(event),
    )
    return folder, truth, heard


@pytest.fixture(scope="module")
def lumas(made):
    folder, truth, _ = made
    videos = folder / "raw_video_data"
    return {label: np.stack(list(read_luma(videos / f"_iblrig_{label}Camera.raw.mp4"))) for label in truth.cameras}


def test_frames_are_numbered_and_as_many_as_said(made, lumas):
    _, truth, heard = made
    for label, camera in truth.cameras.items():
        assert camera.n_frames == DURATION_S * FPS[label]
        assert [read_frame_number(luma) for luma in lumas[label]] == list(range(camera.n_frames))
        assert (label, camera.n_frames, camera.n_frames) in heard


def test_the_truth_says_what_was_asked_for(made):
    _, truth, _ = made
    assert {label: c.n_dropped for label, c in truth.cameras.items()} == {"left": 0, "right": 5, "body": 0}
    assert {label: c.n_surplus_start for label, c in truth.cameras.items()} == {"left": 30, "right": 0, "body": 0}
    assert {label: c.n_surplus_end for label, c in truth.cameras.items()} == {"left": 12, "right": 15, "body": 0}
    assert np.flatnonzero(~truth.cameras["body"].has_pulse).tolist() == [176, 177, 178, 179]


def test_the_truth_reads_back(made):
    folder, truth, _ = made
    again = Truth.read(folder)
    assert np.array_equal(again.ttl_times_s, truth.ttl_times_s)
    for label, camera in truth.cameras.items():
        assert np.array_equal(again.cameras[label].frame_times_s, camera.frame_times_s)
        assert again.cameras[label].stop_pulse == camera.stop_pulse


def test_sync_is_float64_in_order_with_alternating_polarities(made):
    folder, _, _ = made
    times, channels, polarities = load_sync(folder)
    assert times.dtype == channels.dtype == polarities.dtype == np.float64
    assert np.all(np.diff(times) >= 0)
    assert set(np.unique(channels)) == set(CHANNELS.values())
    for channel in (0, 1, 2, 7):
        assert np.array_equal(polarities[channels == channel][::2], np.ones(np.sum(channels == channel) // 2))
        assert np.all(polarities[channels == channel][1::2] == -1)
    for channel in (5, 6):
        assert np.all(np.diff(polarities[channels == channel]) != 0)


def test_each_pulse_is_at_its_true_time_within_one_sample(made):
    folder, truth, _ = made
    times, channels, polarities = load_sync(folder)
    for label, camera in truth.cameras.items():
        rises = times[(channels == CHANNELS[label]) & (polarities == 1)]
        late = rises - camera.pulse_times_s
        assert np.all((late >= -1e-9) & (late <= 1 / DAQ_RATE_HZ + 1e-9))
        assert np.array_equal(rises, camera.recorded_pulse_times_s)
        assert np.allclose(np.median(np.diff(camera.frame_times_s)), 1 / FPS[label], rtol=2e-4)


def test_frame_data_has_the_format_of_the_rig(made):
    folder, truth, _ = made
    table = np.fromfile(folder / "raw_video_data" / "_iblrig_rightCamera.frameData.bin").reshape(-1, 4)
    camera = truth.cameras["right"]
    assert table.shape == (camera.n_frames, 4)
    assert np.sum(np.diff(table[:, 2]) - 1) == 5
    clock = unwrap_timer(table[:, 1].astype(np.uint32))
    since_first = camera.frame_times_s - camera.frame_times_s[0]
    assert np.max(np.abs(clock - since_first)) < 125e-6 + 1e-3
    pc = (table[:, 0] - table[0, 0]) / 1e7
    assert np.all(table[:, 0] % 128 == 0)
    assert np.max(np.abs(pc - since_first)) < 0.02
    assert set(np.unique(table[:, 3])) == {0.0, float(0x10000000)}


def test_separate_files_have_the_format_of_the_rig(made):
    folder, truth, _ = made
    videos = folder / "raw_video_data"
    lines = (videos / "_iblrig_bodyCamera.timestamps.ssv").read_text().split("\n")
    n_frames = truth.cameras["body"].n_frames
    assert lines.pop() == ""
    assert len(lines) == n_frames
    wall, clock, rest = lines[0].split(" ")
    assert wall.startswith("2024-05-01T10:00:0")
    assert wall.endswith("-04:00")
    assert len(wall) == 33
    assert 0 <= int(clock) < 2**32
    assert rest == ""
    assert np.all(np.diff(np.fromfile(videos / "_iblrig_bodyCamera.frame_counter.bin")) == 1)
    assert np.fromfile(videos / "_iblrig_bodyCamera.GPIO.bin").size == n_frames
    assert not (videos / "_iblrig_bodyCamera.frameData.bin").exists()


def test_a_sound_shows_first_on_the_frame_exposed_next(made):
    folder, truth, _ = made
    table = np.fromfile(folder / "raw_video_data" / "_iblrig_leftCamera.frameData.bin").reshape(-1, 4)
    changes = np.flatnonzero(np.diff(table[:, 3])) + 1
    times = truth.cameras["left"].frame_times_s
    assert changes.size == truth.ttl_times_s.size > 0
    assert np.all((times[changes - 1] < truth.ttl_times_s) & (truth.ttl_times_s <= times[changes]))


def test_encoder_fronts_decode_to_the_wheel(made):
    folder, truth, _ = made
    times, channels, polarities = load_sync(folder)
    (ta, pa), (tb, pb) = ((times[channels == c], polarities[channels == c]) for c in (5, 6))
    steps = np.r_[pb[np.searchsorted(tb, ta) - 1] * pa, -pa[np.searchsorted(ta, tb) - 1] * pb]
    when = np.r_[ta, tb]
    order = np.argsort(when)
    position = -np.cumsum(steps[order]) / 4096 * 2 * np.pi
    wheel = np.interp(when[order], truth.wheel_times_s, truth.wheel_rad)
    assert np.max(np.abs((position - wheel) - np.median(position - wheel))) < 0.01
    alf_times = np.load(folder / "alf" / "_ibl_wheel.timestamps.npy")
    alf_position = np.load(folder / "alf" / "_ibl_wheel.position.npy")
    assert np.all(np.diff(alf_times) > 0)
    assert np.max(np.abs(alf_position - np.interp(alf_times, truth.wheel_times_s, truth.wheel_rad))) < 0.01


def test_the_description_is_understood(made):
    folder, truth, _ = made
    description = Session(folder).description
    assert description.sync.kind == "nidq"
    for label, camera in truth.cameras.items():
        described = description.camera(label)
        assert (described.fps, described.width, described.height) == (FPS[label], camera.width, camera.height)


@pytest.mark.parametrize("label", FPS)
def test_motion_in_the_wheel_region_follows_wheel_speed(made, lumas, label):
    _, truth, _ = made
    camera = truth.cameras[label]
    rows, columns = MOTION_ROI[label]
    y = slice(*(round(part * camera.height) for part in rows))
    x = slice(*(round(part * camera.width) for part in columns))
    region = lumas[label][:, y, x].astype(np.int16)
    energy = np.abs(region[2:] - region[:-2]).sum(axis=(1, 2)).astype(float)
    speed = np.abs(np.gradient(truth.wheel_rad, truth.wheel_times_s))
    assert np.corrcoef(energy, np.interp(camera.frame_times_s[1:-1], truth.wheel_times_s, speed))[0, 1] > 0.7


@pytest.mark.parametrize("label", FPS)
def test_brightness_in_the_qc_region_is_what_a_good_rig_has(lumas, label):
    frames = lumas[label]
    _, height, width = frames.shape
    region = {
        "left": frames[:, : height // 2, : int(0.66 * width)],
        "right": frames[:, : height // 2, int(0.66 * width) :],
        "body": frames[:, :, width // 2 :],
    }[label]
    brightness = region.mean(axis=(1, 2))
    assert np.all((brightness > 60) & (brightness < 160))
    assert brightness.std() < 10


def test_raw_videos_are_avi(tmp_path):
    folder = tmp_path / TAIL
    write_session(folder, duration_s=1.0, cameras=("body",), scale=0.25, raw_avi=True, camera_first=True, workers=1)
    video = folder / "raw_video_data" / "_iblrig_bodyCamera.raw.avi"
    assert [read_frame_number(luma) for luma in read_luma(video)] == list(range(30))


def test_footage_replaces_drawn_frames(tmp_path):
    clip = [np.full((100, 120), 40 + 10 * k, np.uint8) for k in range(5)]
    source = {"body": loop_clip(clip, 30, 240, 200)}
    truth = write_session(tmp_path / TAIL, duration_s=1.0, cameras=("body",), footage=source)
    video = tmp_path / TAIL / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4"
    frames = list(read_luma(video))
    assert [read_frame_number(luma) for luma in frames] == list(range(30))
    assert (truth.cameras["body"].width, truth.cameras["body"].height) == (240, 200)
    assert abs(float(frames[2][100:].mean()) - 60) < 3


def test_footage_that_ends_early_is_refused(tmp_path):
    clip = [np.full((200, 240), 90, np.uint8)] * 3
    with pytest.raises(UsageError, match="ends early"):
        write_session(tmp_path / TAIL, duration_s=1.0, cameras=("body",), footage={"body": clip})


def real_frame_data(path: Path) -> np.ndarray:
    """Write a frameData file with a drop, a sound and a turn of the timer."""
    counts = np.delete(np.arange(100), 40)
    seconds = counts / 30
    timer = CameraTimer(phase_s=127.0).read(seconds)
    pins = np.where((counts > 50) & (counts < 54), 0x10000000, 0)
    np.stack([6.4e17 + seconds * 1e7, timer, 5000.0 + counts, pins], axis=1).tofile(path)
    return counts


def test_pulses_follow_the_camera_files_of_a_real_rig(tmp_path):
    path = tmp_path / "frameData.bin"
    counts = real_frame_data(path)
    folder = tmp_path / TAIL
    truth = write_session(
        folder, cameras=("left",), scale=0.25, camera_files={"left": {"frame_data": path}}, surplus_start_s=0.2
    )
    camera = truth.cameras["left"]
    assert (folder / "raw_video_data" / "_iblrig_leftCamera.frameData.bin").read_bytes() == path.read_bytes()
    assert (camera.n_frames, camera.n_dropped, camera.n_surplus_start, camera.fps) == (99, 1, 6, 30.0)
    assert np.allclose(np.diff(camera.exposure_times_s), 1 / 30, atol=1.3e-4)
    shown = np.searchsorted(camera.frame_times_s, truth.ttl_times_s)
    assert counts[shown].tolist() == [51, 54]


def test_short_pin_files_are_taken(tmp_path):
    lines = [f"2020-08-19T12:42:57.7903616-04:00 {word} \n" for word in CameraTimer(3.0).read(np.arange(60) / 30)]
    (tmp_path / "a.ssv").write_text("".join(lines))
    pins = np.zeros(20)
    pins[5:8] = 0x10000000
    pins.tofile(tmp_path / "g.bin")
    files = {"timestamps": tmp_path / "a.ssv", "gpio": tmp_path / "g.bin"}
    truth = write_session(tmp_path / TAIL, cameras=("body",), scale=0.25, camera_files={"body": files})
    assert truth.cameras["body"].n_frames == 60
    assert np.searchsorted(truth.cameras["body"].frame_times_s, truth.ttl_times_s).tolist() == [5, 8]


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(UsageError, match="both missing and left over"):
        write_session(tmp_path / TAIL, surplus_end_s=1.0, missing_end_frames=3)
    with pytest.raises(UsageError, match="no such camera"):
        write_session(tmp_path / TAIL, cameras=("belly",))
    with pytest.raises(UsageError, match="cannot be used"):
        write_session(tmp_path / TAIL, camera_files={"left": {}})
    with pytest.raises(NotASession):
        write_session(tmp_path / "somewhere")


@pytest.mark.parametrize("phase_s", [0.0, 127.9])
def test_the_timer_unwraps_to_125_us(phase_s):
    times = np.arange(20_000) / 150
    clock = unwrap_timer(CameraTimer(phase_s).read(times))
    assert np.max(np.abs(clock - times)) < 126e-6


def test_frames_with_the_lamp_off_are_black_and_the_others_are_as_they_were(tmp_path):
    found = {}
    for name, dark in (("lit", {}), ("dark", {"body": range(40, 55)})):
        folder = tmp_path / name / TAIL
        write_session(folder, duration_s=3, cameras=("body",), scale=0.25, burn=False, dark_frames=dark)
        path = folder / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4"
        found[name] = np.array([frame.mean() for frame in read_luma(path)])
    is_dark = np.isin(np.arange(90), np.arange(40, 55))
    assert found["dark"][is_dark].max() < 25 < found["lit"].min()
    assert np.abs(found["dark"] - found["lit"])[~is_dark].max() < 1
