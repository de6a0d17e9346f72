"""Logs of labcams, and frame times by them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.errors import ClocksDisagree, MissingFile, NoPulses, PulseCountMismatch, UnequalLengths, UnusableFile
from ibl_dask.model.outcome import Outcome
from ibl_dask.synth.clocks import DAQ_RATE_HZ, sample_on_daq
from ibl_dask.synth.truth import CameraTruth
from ibl_dask.synth.widefield import CamlogStyle, camlog_text
from ibl_dask.timing.alignment.camera_times import Quality
from ibl_dask.timing.alignment.camlog_route import camlog_times
from ibl_dask.timing.camera.camlog import Camlog, read_camlog
from ibl_dask.timing.clocks.nidq import Fronts

HEADER = "# Camera: left log file\n# Date: 04-08-2022\n# labcams version: 0.7\n# Log header:frame_id,timestamp\n"
SAMPLE_S = 1 / DAQ_RATE_HZ


def written(folder, text, name="_iblrig_leftCamera.raw.camlog"):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def log_of(folder, rows, trailer=True):
    end = f"# [22-08-04 14:00:01] - Wrote {len(rows)} frames on left (1 files).\n" if trailer else ""
    return read_camlog(written(folder, HEADER + "".join(f"{row}\n" for row in rows) + end))


# -- the file ----------------------------------------------------------------------------------------------


def test_ids_and_clock_of_each_frame_are_read_and_further_columns_do_not_matter(tmp_path):
    log = log_of(tmp_path, ["1,0.0014252", "2,0.0347656,4", "4,0.1014338,4,x"])
    assert log.frame_ids.tolist() == [1, 2, 4]
    np.testing.assert_allclose(log.timestamps_s, [0.0014252, 0.0347656, 0.1014338])
    assert log.notes == ()
    files = log.camera_files
    assert files.count.tolist() == [0, 1, 3]
    np.testing.assert_allclose(files.camera_time_s, [0, 0.0333404, 0.1000086], atol=1e-12)
    assert files.pins is None


def test_ids_may_start_at_the_camera_s_counter_and_the_clock_anywhere(tmp_path):
    log = log_of(tmp_path, ["16696704,582606.55", "16696705,582606.5834"])
    assert log.frame_ids.tolist() == [16696704, 16696705]
    assert log.camera_files.count.tolist() == [0, 1]


def test_a_clock_in_ns_is_told_by_its_steps_and_one_that_is_no_clock_is_left_out(tmp_path):
    log = log_of(tmp_path, ["1,5000000000", "2,5033333333", "3,5066666667"])
    np.testing.assert_allclose(np.diff(log.timestamps_s), 1 / 30, atol=1e-9)
    assert "taken for ns" in log.notes[0]
    for rows in (["1,5", "2,5", "3,5"], ["1,0", "2,40000", "3,80000"], ["1,0.2", "2,0.1", "3,0.3"]):
        log = log_of(tmp_path, rows)
        assert log.timestamps_s is None
        assert log.camera_files.camera_time_s is None
        assert "no clock" in log.notes[0]


def test_leds_and_sync_counts_are_kept_apart_from_the_frames(tmp_path):
    rows = ["1,0.1", "#LED:5,1,0.1", "2,0.2", "#SYNC:7,2,0.2", "#SYNC1:8,2,0.2", "# LED:6, 2, 0.2", "3,0.3"]
    log = log_of(tmp_path, rows)
    assert log.n_frames == 3
    assert log.led.tolist() == [[5, 1, 0.1], [6, 2, 0.2]]
    assert log.sync.tolist() == [[0, 7, 2, 0.2], [1, 8, 2, 0.2]]


def test_the_frame_that_labcams_writes_behind_a_warning_is_not_lost(tmp_path):
    warning = (
        "# ISSUE RECORDING. FRAME COUNT ON QUEUE TOO HIGH. DROPPING FRAMES.# THIS IS NOT NORMAL, CHECK THE INSTALATION."
    )
    log = log_of(tmp_path, ["1,0.1", f"{warning}900,30.1,4", "901,30.2", "902,30.3"])
    assert log.frame_ids.tolist() == [1, 900, 901, 902]
    assert "too slow" in log.notes[0]


@pytest.mark.parametrize("cut", [1, 2, 4, 8])
def test_a_torn_last_line_is_left_out_and_said(tmp_path, cut):
    text = HEADER + "1,0.10000\n2,0.20000\n3,0.30000\n"
    log = read_camlog(written(tmp_path, text[:-cut]))
    assert log.frame_ids.tolist() == [1, 2]
    assert "ends within a line" in log.notes[0]
    assert "stopped before the recording" in log.notes[1]


def test_a_trailer_with_another_number_or_further_files_is_said(tmp_path):
    end = "# [22-08-04 14:00:01] - Wrote 5 frames on left (2 files).\n"
    log = read_camlog(written(tmp_path, HEADER + "1,0.1\n2,0.2\n" + end))
    assert any("describes 2 frames and says that 5 were written" in note for note in log.notes)
    assert any("2 video files" in note for note in log.notes)


def test_windows_line_ends_and_foreign_letters_are_no_hindrance(tmp_path):
    path = tmp_path / "x.camlog"
    path.write_bytes(b"# Camera: s\xe9ance\r\n1,0.1\r\n\r\n2,0.2\r\n")
    assert read_camlog(path).frame_ids.tolist() == [1, 2]


def test_ids_that_do_not_grow_are_left_out_and_the_lines_still_counted(tmp_path):
    log = log_of(tmp_path, ["65534,0.1", "65535,0.2", "1,0.3"])
    assert not log.ids_grow
    assert log.n_frames == 3
    assert log.camera_files.count is None
    assert "do not grow at frame 2" in log.notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no frame"),
        (HEADER, "holds no frame"),
        (HEADER + "1,0.1\n2;0.2\n3,0.3\n", "line 6 of the log is damaged"),
        (HEADER + "1,0.1\n2,nan\n3,0.3\n", "line 6 of the log is damaged"),
        (HEADER + "1,0.1\n2\n3,0.3\n", "line 6 of the log is damaged"),
        (HEADER + "1,0.1\n1.5,0.2\n3,0.3\n", "id of frame 1 is no whole number"),
    ],
    ids=["empty", "comments", "separator", "nan", "one column", "half id"],
)
def test_a_damaged_log_is_refused_with_the_line(tmp_path, text, told):
    with pytest.raises(UnusableFile, match=told):
        read_camlog(written(tmp_path, text))


def test_an_absent_log_is_named(tmp_path):
    with pytest.raises(MissingFile, match="nowhere"):
        read_camlog(tmp_path / "nowhere.camlog")


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=60),
    first_id=st.integers(0, 2**40),
    origin_s=st.floats(0, 1e6),
    style=st.builds(
        CamlogStyle,
        in_ns=st.booleans(),
        extra=st.lists(st.sampled_from(["0", "4", "8.5", "x"]), max_size=3),
        events=st.booleans(),
        slow_at=st.lists(st.integers(0, 59), max_size=3),
    ),
)
def test_whatever_labcams_writes_is_read_back(tmp_path_factory, steps, first_id, origin_s, style):
    exposures = np.concatenate([[0], np.cumsum(steps)])
    times = 1 + exposures / 60
    camera = CameraTruth("left", 60, 64, 64, 1 + np.arange(exposures[-1] + 1) / 60, exposures, 0, exposures[-1] + 1)
    text = camlog_text(
        camera, replace(style, first_id=first_id, origin_s=origin_s), "2022-08-04", np.random.default_rng(0)
    )
    log = read_camlog(written(tmp_path_factory.mktemp("log"), text))
    np.testing.assert_array_equal(log.frame_ids - first_id, exposures)
    np.testing.assert_allclose(log.camera_files.camera_time_s, times - times[0], rtol=1e-4, atol=1e-6)


# -- times -------------------------------------------------------------------------------------------------


def camera(n_frames=600, *, before=0, after=0, dropped=(), jitter_s=20e-6, fps=60.0, seed=0, pause=None):
    """Return when a camera exposed, and the exposures that became frames; `pause` is (exposure, s)."""
    rng = np.random.default_rng(seed)
    n = before + n_frames + len(dropped) + after
    exposures = 1.234 + np.arange(n) / (fps * 1.00004) + rng.normal(0, jitter_s, n)
    if pause is not None:
        exposures[before + pause[0] :] += pause[1]
    return exposures, before + np.setdiff1d(np.arange(n_frames + len(dropped)), dropped)


def fronts_of(exposures, first_is_fall=False):
    rises, falls = sample_on_daq(exposures), sample_on_daq(exposures + 5e-3)
    if first_is_fall:
        falls = np.concatenate([[rises[0] - 4e-3], falls])
    times = np.concatenate([rises, falls])
    polarities = np.repeat(np.array([1, -1], np.int8), [rises.size, falls.size])
    order = np.argsort(times)
    return Fronts(times[order], polarities[order])


def log_by(exposures, frames, first_id=1, drift=1 + 3e-5, step_s=1e-7):
    clock = 77.0 + np.rint((exposures[frames] - exposures[frames[0]]) * drift / step_s) * step_s
    none = np.empty((0, 3))
    return Camlog(first_id + frames - frames[0], clock, none, np.empty((0, 4)), "left.camlog")


def times_of(n_frames, fronts, log):
    return camlog_times(n_frames, fronts, log, where="left camera")


@pytest.mark.parametrize("first_id", [1, 16696704])
@pytest.mark.parametrize("dropped", [(), (100,), (100, 101, 350)])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 1), (20, 7), (0, 200)])
def test_times_are_true_wherever_pulses_are_in_excess_and_frames_were_dropped(before, after, dropped, first_id):
    exposures, frames = camera(before=before, after=after, dropped=dropped)
    result = times_of(frames.size, fronts_of(exposures), log_by(exposures, frames, first_id))
    assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S
    assert (result.start, result.n_surplus_start, result.n_surplus_end) == (before, before, after)
    assert result.method == "intervals"
    assert result.n_dropped == len(dropped)
    assert not result.flagged
    assert result.outcome_hint is Outcome.PASS


@pytest.mark.parametrize(("missing_start", "missing_end"), [(0, 1), (1, 0), (5, 12)])
def test_frames_without_pulse_at_the_ends_are_extrapolated_and_marked(missing_start, missing_end):
    exposures, frames = camera()
    seen = exposures[missing_start : exposures.size - missing_end]
    result = times_of(frames.size, fronts_of(seen), log_by(exposures, frames))
    assert np.abs(result.times_s - exposures[frames]).max() < 2e-4
    assert (result.n_missing_start, result.n_missing_end) == (missing_start, missing_end)
    expected = np.zeros(frames.size, np.uint8)
    expected[:missing_start] = expected[frames.size - missing_end :] = Quality.EXTRAPOLATED
    np.testing.assert_array_equal(result.quality, expected)
    assert result.outcome_hint is Outcome.WARNING
    assert any("extrapolated" in note for note in result.notes)


def test_pulses_that_the_sync_missed_are_interpolated():
    exposures, frames = camera(before=3)
    seen = np.delete(exposures, [50, 200, 201, 202, 480])
    result = times_of(frames.size, fronts_of(seen), log_by(exposures, frames))
    assert np.abs(result.times_s - exposures[frames]).max() < 2e-4
    assert np.flatnonzero(result.quality).tolist() == [47, 197, 198, 199, 477]
    assert set(result.quality) == {Quality.MEASURED, Quality.INTERPOLATED}
    assert result.start == 3


def test_glitches_between_pulses_are_left_out():
    exposures, frames = camera(before=2)
    fronts = fronts_of(np.sort(np.concatenate([exposures, exposures[[40, 300]] + 7e-3])))
    result = times_of(frames.size, fronts, log_by(exposures, frames))
    assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S


@pytest.mark.parametrize("before", [0, 4])
@pytest.mark.parametrize("periods", [198.3, 198.5, 2.5])
def test_a_pause_of_the_camera_stays_one_and_tells_which_pulse_is_the_first(before, periods):
    # Without jitter: nothing else tells.
    exposures, frames = camera(before=before, after=3, pause=(222, periods / 60), jitter_s=0)
    result = times_of(frames.size, fronts_of(exposures), log_by(exposures, frames))
    assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S
    assert result.start == before
    assert result.n_inserted == 0
    assert any("pauses of the camera" in note for note in result.notes)


def test_where_nothing_tells_the_first_pulse_is_assumed_to_be_that_of_the_first_frame():
    exposures, frames = camera(after=3, jitter_s=0)
    for log in (log_by(exposures, frames), None):
        result = times_of(frames.size, fronts_of(exposures), log)
        assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S
        assert result.outcome_hint is Outcome.FAIL
        assert (result.quality == Quality.ASSUMED).all()
        assert any("3 pulses are in excess and nothing shows where" in note for note in result.notes)


def test_a_sync_that_begins_within_a_pulse_gives_rises_all_the_same():
    exposures, frames = camera()
    result = times_of(frames.size, fronts_of(exposures, first_is_fall=True), log_by(exposures, frames))
    assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S


def test_ids_that_count_nothing_leave_one_pulse_per_frame():
    exposures, frames = camera(after=1)
    log = replace(log_by(exposures, frames), ids_grow=False)
    result = times_of(frames.size, fronts_of(exposures), log)
    assert np.abs(result.times_s - exposures[frames]).max() <= SAMPLE_S


def test_a_log_cut_short_is_continued_and_one_that_is_longer_than_the_video_is_cut():
    exposures, frames = camera()
    fronts = fronts_of(exposures)
    short = times_of(frames.size, fronts, log_by(exposures, frames[:-5]))
    assert np.abs(short.times_s - exposures[frames]).max() <= SAMPLE_S
    long = times_of(frames.size - 8, fronts, log_by(exposures, frames))
    assert np.abs(long.times_s - exposures[frames[:-8]]).max() <= SAMPLE_S
    assert long.n_surplus_end == 8
    with pytest.raises(UnequalLengths):
        times_of(frames.size, fronts, log_by(exposures, frames[:300]))


def test_too_few_pulses_and_none_at_all_are_refused():
    exposures, frames = camera()
    with pytest.raises(PulseCountMismatch, match="camlog"):
        times_of(frames.size, fronts_of(exposures[:300]), log_by(exposures, frames))
    with pytest.raises(NoPulses):
        times_of(frames.size, Fronts(np.empty(0), np.empty(0, np.int8)), log_by(exposures, frames))


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(0, 30),
    after=st.integers(0, 30),
    n_dropped=st.integers(0, 10),
    n_missed=st.integers(0, 5),
    fps=st.sampled_from([30.0, 60.0, 150.0]),
    first_id=st.sampled_from([0, 1, 12345]),
    seed=st.integers(0, 10_000),
)
def test_every_frame_gets_its_own_exposure(before, after, n_dropped, n_missed, fps, first_id, seed):
    rng = np.random.default_rng(seed)
    dropped = np.sort(rng.choice(np.arange(5, 795), n_dropped, replace=False))
    exposures, frames = camera(800 - n_dropped, before=before, after=after, dropped=tuple(dropped), fps=fps, seed=seed)
    missed = rng.choice(np.arange(before + 20, before + 780), n_missed, replace=False)
    result = times_of(frames.size, fronts_of(np.delete(exposures, missed)), log_by(exposures, frames, first_id))
    off = np.abs(result.times_s - exposures[frames])
    assert off.max() < 3e-4
    assert off[result.quality == Quality.MEASURED].max() <= SAMPLE_S
    assert (np.diff(result.times_s) > 0).all()
    assert result.times_s.size == frames.size
    assert result.n_dropped == n_dropped


@pytest.mark.parametrize("n_frames", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 2])
def test_short_videos_are_timed_and_their_place_is_named_an_assumption(n_frames, before):
    exposures, frames = camera(n_frames, before=before, after=4)
    result = times_of(n_frames, fronts_of(exposures), log_by(exposures, frames))
    np.testing.assert_allclose(result.times_s, exposures[frames - before], atol=SAMPLE_S)
    assert (result.start, result.n_surplus_start, result.n_surplus_end) == (0, 0, before + 4)
    assert result.outcome_hint is Outcome.FAIL
    assert (result.quality == Quality.ASSUMED).all()


def test_a_clock_that_leaps_or_is_of_another_camera_never_passes_for_a_good_one():
    exposures, frames = camera(before=5, after=9)
    log = log_by(exposures, frames)
    rng = np.random.default_rng(4)
    leaping = np.concatenate([log.timestamps_s[:300], log.timestamps_s[300:] + 1000])
    for clock in (leaping, np.sort(rng.uniform(0, 10, frames.size)), log.timestamps_s * 0.4):
        try:
            result = times_of(frames.size, fronts_of(exposures), replace(log, timestamps_s=clock))
        except (ClocksDisagree, PulseCountMismatch):
            continue
        off = np.abs(result.times_s - exposures[frames]).max()
        assert off <= SAMPLE_S or result.outcome_hint is not Outcome.PASS
