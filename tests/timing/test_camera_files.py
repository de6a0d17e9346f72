"""The camera's own files: layouts, damage, lengths."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.errors import MissingFile, TruncatedFile, UnequalLengths, UnusableFile
from ibl_dask.timing.camera.camera_files import (
    read_camera_files,
    read_frame_counter,
    read_frame_data,
    read_gpio,
    read_timestamps_ssv,
)


def register(seconds: float) -> int:
    """Write a camera time as the camera does, one tick at a time."""
    whole = int(seconds)
    cycles = int((seconds - whole) * 8000 + 0.5)
    return ((whole % 128) << 25) | (cycles << 12) | 123


def table(n: int, period: float = 1 / 32, first: float = 126.0) -> np.ndarray:
    rows = np.empty((n, 4))
    for i in range(n):
        pin4 = 2**28 if i % 7 == 3 else 0
        rows[i] = 637568488e9 + i * period * 1e7, register(first + i * period), 9000 + i, pin4 + 2**31
    return rows


def ssv(path: Path, n: int, *, swapped: bool = False, period: float = 1 / 32, first: float = 126.0) -> Path:
    zone = timezone(timedelta(hours=-4))
    start = datetime(2020, 8, 19, 23, 59, 50, tzinfo=zone)
    lines = []
    for i in range(n):
        wall = (start + timedelta(seconds=i * period)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0-04:00"
        pair = (wall, str(register(first + i * period)))
        lines.append(" ".join(pair[::-1] if swapped else pair) + " \n")
    path.write_text("".join(lines))
    return path


# -- frameData --------------------------------------------------------------------------------------------------


def test_frame_data_gives_clocks_count_and_pins_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "_iblrig_leftCamera.frameData.bin"
    table(500).tofile(path)
    files = read_frame_data(path)
    truth = np.arange(500) / 32
    assert files.n_frames == 500
    assert files.sources == (path.name,)
    assert files.notes == ()
    np.testing.assert_allclose(files.camera_time_s, truth, atol=1.3e-4)
    np.testing.assert_allclose(files.pc_time_s, truth, atol=2e-5)
    np.testing.assert_array_equal(files.count, np.arange(500))
    np.testing.assert_array_equal(files.pins[:, 3], np.arange(500) % 7 == 3)
    assert files.pins[:, 0].all()
    assert not files.pins[:, 1:3].any()


@pytest.mark.parametrize("extra", [1, 8, 31])
def test_torn_last_record_costs_that_record_and_is_flagged(tmp_path: Path, extra: int) -> None:
    path = tmp_path / "frameData.bin"
    path.write_bytes(table(10).tobytes() + bytes(extra))
    files = read_frame_data(path)
    assert files.n_frames == 10
    np.testing.assert_array_equal(files.count, np.arange(10))
    assert f"10 whole records were read, and {extra} bytes left out" in files.damaged[0]
    assert files.notes == files.damaged


def test_file_without_one_whole_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frameData.bin"
    path.write_bytes(bytes(31))
    with pytest.raises(
        TruncatedFile, match=r"frameData\.bin.*32 bytes per frame.*31 bytes.*copy the file again"
    ) as caught:
        read_frame_data(path)
    assert caught.value.where == str(path)


def test_empty_frame_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").touch()
    with pytest.raises(UnusableFile, match="empty"):
        read_frame_data(tmp_path / "x.bin")


def test_columns_without_sense_are_left_out_and_noted(tmp_path: Path) -> None:
    rows = table(20)
    rows[3, 0], rows[4, 1], rows[5, 2], rows[6, 3] = np.nan, -1, 0.5, np.inf
    rows.tofile(tmp_path / "x.bin")
    files = read_frame_data(tmp_path / "x.bin")
    assert (files.pc_time_s, files.camera_time_s, files.count, files.pins) == (None, None, None, None)
    assert files.n_frames == 20
    assert len(files.notes) == len(files.damaged) == 4


def test_pin_states_with_odd_low_bits_are_read_and_noted(tmp_path: Path) -> None:
    rows = table(20)
    rows[2, 3] += 5
    rows.tofile(tmp_path / "x.bin")
    files = read_frame_data(tmp_path / "x.bin")
    assert files.pins[3, 3]
    assert "multiple of 2^28 at frame 2" in files.notes[0]


@pytest.mark.parametrize("back", [0, 1, 400])
def test_counter_that_does_not_grow_once_is_left_out_and_the_rest_kept(tmp_path: Path, back: int) -> None:
    rows = table(20)
    rows[7:, 2] -= back + 1
    rows.tofile(tmp_path / "x.bin")
    files = read_frame_data(tmp_path / "x.bin")
    assert (files.count, files.n_count_stuck) == (None, 1)
    assert "does not grow at frame 7" in files.damaged[0]
    assert files.n_frames == files.camera_time_s.size == len(files.pins) == 20
    rows[:, 2].tofile(tmp_path / "counter.bin")
    with pytest.raises(UnusableFile, match="does not grow at frame 7"):
        read_frame_counter(tmp_path / "counter.bin")


@pytest.mark.parametrize("dropped", [0, 3])
def test_counter_that_wraps_at_32_bits_goes_on(tmp_path: Path, dropped: int) -> None:
    rows = table(20)
    truth = np.arange(20) + dropped * (np.arange(20) >= 8)
    rows[:, 2] = (2**32 - 8 + truth) % 2**32
    rows.tofile(tmp_path / "x.bin")
    files = read_frame_data(tmp_path / "x.bin")
    np.testing.assert_array_equal(files.count, truth)
    assert "starts again after 2^32 - 1" in files.notes[0]
    assert files.damaged == ()


def test_absent_files_are_named(tmp_path: Path) -> None:
    for read in (read_frame_data, read_timestamps_ssv, read_gpio, read_frame_counter):
        with pytest.raises(MissingFile, match=r"nowhere\.bin"):
            read(tmp_path / "nowhere.bin")
    with pytest.raises(MissingFile, match="no file about its frames"):
        read_camera_files()


# -- timestamps.ssv ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
def test_both_column_orders_are_read(tmp_path: Path, swapped: bool) -> None:
    pc, camera = read_timestamps_ssv(ssv(tmp_path / "t.ssv", 700, swapped=swapped))
    np.testing.assert_allclose(pc, np.arange(700) / 32, atol=1e-6)  # crosses midnight
    np.testing.assert_allclose(camera, np.arange(700) / 32, atol=1.3e-4)  # crosses the 128 s cycle


@pytest.mark.parametrize("ending", ["Z", "", "+05:30"])
@pytest.mark.parametrize("fraction", ["", ".5", ".5000000"])
def test_other_iso_forms_are_read(tmp_path: Path, ending: str, fraction: str) -> None:
    path = tmp_path / "t.ssv"
    path.write_text(f"2024-02-28T23:59:59{fraction}{ending} 0\r\n2024-02-29T00:00:01{fraction}{ending} 67108864\r\n")
    pc, camera = read_timestamps_ssv(path)
    assert pc.tolist() == [0.0, 2.0]
    assert camera.tolist() == [0.0, 2.0]


def test_change_of_utc_offset_does_not_shift_times(tmp_path: Path) -> None:
    path = tmp_path / "t.ssv"
    path.write_text("2020-10-25T02:59:59.0000000+02:00 0 \n2020-10-25T02:00:00.0000000+01:00 33554432 \n")
    assert read_timestamps_ssv(path)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "bad",
    [
        "2020-08-19T12:42:5",
        "2020-08-19T12:42:57.7903616-04:00",
        "2020-08-19T12:42:57.7903616-04:00 12 13",
        "2020-13-19T12:42:57.7903616-04:00 12",
        "2020-08-19T12:42:57.7903616-04:00 12x",
        "2020-08-19T12:42:57.7903616-04:00 -12",
        "2020-08-19T12:42:57.7903616-04:00 4294967296",
        "2020-08-19T12:42:57.79036\x0016-04:00 12",
        "12 2020-08-19T12:42:57.7903616-04:00",
        "",
    ],
)
def test_corrupt_line_is_named(tmp_path: Path, bad: str) -> None:
    path = ssv(tmp_path / "t.ssv", 9)
    lines = path.read_text().split("\n")
    lines[4] = bad
    path.write_text("\n".join(lines))
    with pytest.raises(UnusableFile, match="line 5 of the timestamps is corrupt"):
        read_timestamps_ssv(path)


def test_swapping_a_column_half_way_is_not_mistaken_for_data(tmp_path: Path) -> None:
    path = tmp_path / "t.ssv"
    path.write_text("1 2\n3 4\n")
    with pytest.raises(UnusableFile, match="line 1"):
        read_timestamps_ssv(path)


# -- row 7.12: the camera clock's cycle -------------------------------------------------------------------------


def test_7_12_frames_out_of_order_add_no_cycle(tmp_path: Path) -> None:
    rows = table(400, first=3.0)
    rows[[200, 201], 1] = rows[[201, 200], 1]
    rows.tofile(tmp_path / "x.bin")
    clock = read_frame_data(tmp_path / "x.bin").camera_time_s
    assert clock[-1] == pytest.approx(399 / 32, abs=2e-4)


@pytest.mark.parametrize("pause", [70.0, 127.5, 200.0, 1000.0])
def test_7_12_cycles_within_a_pause_are_counted_by_the_wall_clock(tmp_path: Path, pause: float) -> None:
    rows = table(400, first=100.0)
    for i in range(250, 400):
        rows[i, 0] += pause * 1e7
        rows[i, 1] = register(100.0 + i / 32 + pause)
    rows.tofile(tmp_path / "x.bin")
    files = read_frame_data(tmp_path / "x.bin")
    assert files.camera_time_s[-1] == pytest.approx(399 / 32 + pause, abs=2e-4)
    assert "after frame 249" in files.notes[0]


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 127.9), st.floats(0.005, 20), st.integers(2, 300))
def test_7_12_clock_is_unwrapped_whatever_its_phase(first: float, period: float, n: int) -> None:
    from ibl_dask.timing.camera.camera_clock import cycle_seconds, unwrap_cycles

    truth = np.array([int((first + i * period) * 8000) / 8000 for i in range(n)])
    found = unwrap_cycles(cycle_seconds(np.array([register(t) for t in truth], dtype=np.int64)), None, [])
    np.testing.assert_allclose(found, truth - truth[0], atol=1.3e-4)


# -- several files of one camera --------------------------------------------------------------------------------


def separate(folder: Path, n_clock: int, n_pins: int, n_count: int) -> dict[str, Path]:
    paths = {k: folder / f"{k}.bin" for k in ("gpio", "counter")}
    table(n_pins)[:, 3].tofile(paths["gpio"])
    table(n_count)[:, 2].tofile(paths["counter"])
    return paths | {"timestamps": ssv(folder / "t.ssv", n_clock)}


def test_older_files_say_the_same_as_the_table(tmp_path: Path) -> None:
    table(300).tofile(tmp_path / "x.bin")
    new = read_camera_files(frame_data=tmp_path / "x.bin")
    old = read_camera_files(**separate(tmp_path, 300, 300, 300))
    for name in ("camera_time_s", "count", "pins"):
        np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
    assert old.n_frames == new.n_frames == 300
    assert old.sources == ("t.ssv", "gpio.bin", "counter.bin")


def test_small_differences_in_length_are_cut_and_noted(tmp_path: Path) -> None:
    files = read_camera_files(**separate(tmp_path, 300, 290, 310))
    assert files.n_frames == 290
    assert {len(files.camera_time_s), len(files.pc_time_s), len(files.count), len(files.pins)} == {290}
    assert "t.ssv 300, gpio.bin 290, counter.bin 310" in files.notes[0]


def test_large_differences_in_length_are_refused_with_each_length(tmp_path: Path) -> None:
    with pytest.raises(UnequalLengths, match=r"t\.ssv 300, gpio\.bin 300, counter\.bin 267"):
        read_camera_files(**separate(tmp_path, 300, 300, 267))


def test_absent_and_empty_pin_and_counter_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    files = read_camera_files(
        timestamps=ssv(tmp_path / "t.ssv", 50), gpio=tmp_path / "no.bin", counter=tmp_path / "empty.bin"
    )
    assert files.n_frames == 50
    assert files.pins is None
    assert files.count is None
    assert files.notes == ("no.bin is absent and was left out", "empty.bin is empty and was left out")


@pytest.mark.parametrize("which", ["counter", "gpio"])
def test_torn_counter_or_pin_file_costs_its_last_frame(tmp_path: Path, which: str) -> None:
    paths = separate(tmp_path, 50, 50, 50)
    paths[which].write_bytes(paths[which].read_bytes()[:-3])
    files = read_camera_files(**paths)
    assert files.n_frames == 49
    assert "49 whole records were read, and 5 bytes left out" in files.damaged[0]


@pytest.mark.parametrize("absent", ["timestamps", "gpio", "counter"])
def test_any_one_of_the_older_files_can_be_absent(tmp_path: Path, absent: str) -> None:
    paths = separate(tmp_path, 50, 50, 50)
    del paths[absent]
    files = read_camera_files(**paths)
    assert files.n_frames == 50
    missing = {"timestamps": files.camera_time_s, "gpio": files.pins, "counter": files.count}
    assert [name for name, part in missing.items() if part is None] == [absent]


def test_corrupt_timestamps_leave_pins_and_counter(tmp_path: Path) -> None:
    paths = separate(tmp_path, 50, 50, 50)
    lines = paths["timestamps"].read_text().split("\n")
    lines[4] = "2020-08-19T12:4"
    paths["timestamps"].write_text("\n".join(lines))
    files = read_camera_files(**paths)
    assert files.n_frames == 50
    assert files.camera_time_s is None
    np.testing.assert_array_equal(files.count, np.arange(50))
    assert "t.ssv: line 5 of the timestamps is corrupt" in files.damaged[0]
    alone = read_camera_files(timestamps=paths["timestamps"])
    assert (alone.n_frames, alone.camera_time_s) == (0, None)
    assert alone.damaged == files.damaged


def test_7_12_clock_with_jitter_at_its_wrap_gains_no_cycle(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = table(4000, first=100.0)
    truth = np.arange(4000) / 32 + rng.uniform(-0.02, 0.02, 4000)  # neighbours change places now and then
    rows[:, 1] = [register(100.0 + t) for t in truth]
    rows.tofile(tmp_path / "x.bin")
    clock = read_frame_data(tmp_path / "x.bin").camera_time_s
    assert (np.diff(truth) < 0).any()
    np.testing.assert_allclose(clock, truth - truth[0], atol=2.6e-4)


# -- real files -------------------------------------------------------------------------------------------------


def test_real_body_timestamps_are_read_whole(data_folder: Path) -> None:
    pc, camera = read_timestamps_ssv(data_folder / "camera/session_ephys_body/_iblrig_bodyCamera.timestamps.ssv")
    assert len(pc) == len(camera) == 6001
    assert camera[0] == pc[0] == 0
    assert (np.diff(camera) > 0).all()
    assert np.abs(camera - pc).max() < 0.1
    assert pc[-1] == pytest.approx(198.561, abs=1e-3)


def test_real_frame_data_is_read_whole(data_folder: Path) -> None:
    files = read_frame_data(data_folder / "camera/session_frameData_left/_iblrig_leftCamera.frameData.bin")
    assert files.n_frames == 135
    np.testing.assert_array_equal(files.count, np.arange(135))
    assert files.pins.all(axis=0).tolist() == [False, True, True, True]
    assert files.period_s == pytest.approx(1 / 30, rel=0.01)
    assert np.abs(files.camera_time_s - files.pc_time_s).max() < 0.01


def test_real_pins_and_counter_are_read_whole(data_folder: Path) -> None:
    folder = data_folder / "camera/session_ephys_body"
    pins = read_gpio(folder / "_iblrig_bodyCamera.GPIO.bin")
    np.testing.assert_array_equal(np.flatnonzero(np.diff(pins[:, 3].astype(int))) + 1, [166, 172])
    count = read_frame_counter(folder / "_iblrig_bodyCamera.frame_counter.bin")
    np.testing.assert_array_equal(count, np.arange(510))


def test_files_of_different_recordings_are_refused_also_where_each_covers_the_video(data_folder: Path) -> None:
    folder = data_folder / "camera/session_ephys_body"
    parts = [folder / f"_iblrig_bodyCamera.{name}" for name in ("timestamps.ssv", "GPIO.bin", "frame_counter.bin")]
    with pytest.raises(UnequalLengths, match="6,001"):
        read_camera_files(None, *parts, n_frames=510)


def test_real_body_files_of_different_recordings_are_refused(data_folder: Path) -> None:
    folder = data_folder / "camera/session_ephys_body"
    with pytest.raises(UnequalLengths, match=r"6,001.*510"):
        read_camera_files(
            timestamps=folder / "_iblrig_bodyCamera.timestamps.ssv",
            gpio=folder / "_iblrig_bodyCamera.GPIO.bin",
            counter=folder / "_iblrig_bodyCamera.frame_counter.bin",
        )


def test_real_frame_data_torn_anywhere_keeps_its_whole_records(data_folder: Path, tmp_path: Path) -> None:
    content = (data_folder / "camera/session_frameData_left/_iblrig_leftCamera.frameData.bin").read_bytes()
    torn = tmp_path / "torn.bin"
    torn.write_bytes(content[:-17])
    whole = read_frame_data(data_folder / "camera/session_frameData_left/_iblrig_leftCamera.frameData.bin")
    files = read_frame_data(torn)
    assert files.n_frames == 134
    np.testing.assert_array_equal(files.camera_time_s, whole.camera_time_s[:134])
    assert files.damaged
