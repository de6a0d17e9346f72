"""One time per frame, against recordings whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.errors import InputError, NoPulses, PulseCountMismatch, UnequalLengths, UnusableFile, UsageError
from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.camera_times import CameraTimes, Quality
from ibl_dask.timing.alignment.frame_times import frame_times
from ibl_dask.timing.camera.camera_files import CameraFiles, read_camera_files
from ibl_dask.timing.clocks.nidq import Fronts


@dataclass
class Recording:
    """A camera that exposes, and what the main clock and the camera's files make of it."""

    period: float = 1 / 60
    n_exposures: int = 3000
    drift_ppm: float = 0.0
    jitter: float = 0.0
    origin: float = 37.5
    pulses_before: int = 0
    pulses_after: int = 0
    frames_before: int = 0
    frames_after: int = 0
    dropped: tuple[int, ...] = ()
    tones: int = 40
    ttl_missed: float = 0.0
    ttl_spurious: float = 0.0
    pin_missed: float = 0.0
    pin_spurious: float = 0.0
    leading_fall: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        ideal = np.arange(-self.pulses_before, self.n_exposures + self.pulses_after) * self.period
        camera_clock = ideal + rng.uniform(-0.5, 0.5, ideal.size) * self.jitter * self.period
        main_clock = self.origin + camera_clock * (1 + self.drift_ppm * 1e-6)
        first, last = self.pulses_before, self.pulses_before + self.n_exposures
        self.exposures = main_clock[first:last]
        self.seen = np.ones(main_clock.size, bool)
        self.seen[first : first + self.frames_before] = False
        self.seen[last - self.frames_after : last] &= self.frames_after == 0
        self.pulses = main_clock[self.seen]
        self.count = np.setdiff1d(np.arange(self.n_exposures), self.dropped)
        self.truth = self.exposures[self.count]
        self.clock = np.floor((camera_clock[first:last] - camera_clock[first])[self.count] * 8000) / 8000
        tones = self._tones(rng)
        self.ttl = self._heard(rng, tones)
        self.pins = np.zeros((self.count.size, 4), bool)
        self.pins[:, 3] = self._state(rng, tones)

    def _tones(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Return non-overlapping tones, longer than any frame and at irregular times."""
        span, tones = self.exposures[-1] - self.exposures[0], []
        starts = self.exposures[0] + np.sort(rng.uniform(0.02, 0.98, self.tones)) * span
        for start in starts:
            if not tones or start > tones[-1][1] + 4 * self.period:
                tones.append((start, start + rng.choice([3.1, 6.3, 30.2]) * self.period))
        return tones

    def _heard(self, rng: np.random.Generator, tones: list[tuple[float, float]]) -> Fronts:
        """Return sync fronts, each missed with some chance, with made-up ones among them."""
        edges = [(t, sign) for tone in tones for t, sign in zip(tone, (1, -1), strict=True)]
        edges = [edge for edge in edges if rng.random() >= self.ttl_missed]
        extra = int(self.ttl_spurious * len(edges))
        edges += [(rng.uniform(self.exposures[0], self.exposures[-1]), int(rng.choice([1, -1]))) for _ in range(extra)]
        edges.sort()
        return Fronts(np.array([t for t, _ in edges]), np.array([p for _, p in edges], np.int8))

    def _state(self, rng: np.random.Generator, tones: list[tuple[float, float]]) -> np.ndarray:
        """Return what the pin shows on each frame, tones missed or made up with some chance."""
        state = np.zeros(self.truth.size, bool)
        for on, off in tones:
            if rng.random() >= self.pin_missed:
                state[(self.truth >= on) & (self.truth < off)] = True
        for _ in range(int(self.pin_spurious * len(tones))):
            at = int(rng.integers(1, state.size - 5))
            state[at : at + 3] = True
        return state

    @property
    def fronts(self) -> Fronts:
        times = np.ravel(np.column_stack([self.pulses, self.pulses + 0.3 * self.period]))
        polarities = np.tile(np.array([1, -1], np.int8), self.pulses.size)
        return Fronts(times[int(self.leading_fall) :], polarities[int(self.leading_fall) :])

    @property
    def camera(self) -> CameraFiles:
        return CameraFiles(self.count.size, self.clock, None, self.count - self.count[0], self.pins, ("x",))

    def times(self) -> CameraTimes:
        return frame_times(self.truth.size, self.fronts, self.ttl, self.camera, where="left")


def check_against_truth(found: CameraTimes, recording: Recording) -> None:
    assert found.times_s.shape == found.quality.shape == recording.truth.shape
    assert (np.diff(found.times_s) > 0).all()
    assert np.abs(found.times_s - recording.truth).max() < recording.period / 2


def remove_pulses(recording: Recording, numbers: list[int]) -> None:
    recording.pulses = np.delete(recording.pulses, numbers)


recordings = st.builds(
    Recording,
    period=st.sampled_from([1 / 30, 1 / 59.767, 1 / 150.01]),
    n_exposures=st.integers(1500, 4000),
    drift_ppm=st.floats(-200, 200),
    jitter=st.floats(0, 0.2),
    origin=st.floats(0, 1000),
    pulses_before=st.integers(0, 400),
    pulses_after=st.integers(0, 400),
    frames_before=st.integers(0, 13),
    frames_after=st.integers(0, 13),
    dropped=st.sets(st.integers(1, 1498), max_size=20).map(tuple),
    tones=st.integers(25, 60),
    leading_fall=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=80, deadline=None)
@given(recordings)
def test_every_frame_gets_its_time_on_any_recording(recording: Recording) -> None:
    if recording.frames_before:  # the sync began late: it cannot hold earlier pulses
        recording = replace(recording, pulses_before=0)
    if recording.frames_after:
        recording = replace(recording, pulses_after=0)
    found = recording.times()
    check_against_truth(found, recording)
    assert found.method == "pins"
    assert found.n_dropped == len(recording.dropped)
    outside = recording.frames_before + int(recording.leading_fall and not recording.pulses_before)
    assert found.n_missing_start <= outside
    assert found.n_surplus_start + found.n_surplus_end <= recording.pulses_before + recording.pulses_after


@settings(max_examples=60, deadline=None)
@given(
    recordings,
    st.sampled_from(["ttl_missed", "ttl_spurious", "pin_missed", "pin_spurious"]),
    st.floats(0, 0.3),
    st.floats(0, 0.1),
)
def test_missed_and_spurious_changes_move_nothing(recording: Recording, worst: str, much: float, little: float) -> None:
    kinds = {"ttl_missed": little, "ttl_spurious": little, "pin_missed": little, "pin_spurious": little}
    recording = replace(recording, frames_before=0, frames_after=0, **{**kinds, worst: much})
    found = recording.times()
    assert found.method == "pins", found.notes
    check_against_truth(found, recording)


@settings(max_examples=40, deadline=None)
@given(recordings, st.sets(st.integers(300, 1400), min_size=1, max_size=4))
def test_pulses_the_sync_missed_are_put_back(recording: Recording, missed: set[int]) -> None:
    recording = replace(recording, frames_before=0, frames_after=0, leading_fall=False)
    remove_pulses(recording, sorted(missed))
    found = recording.times()
    check_against_truth(found, recording)
    assert found.n_inserted == sum(number >= recording.pulses_before for number in missed)
    at = set(np.searchsorted(recording.truth, found.times_s[found.quality == Quality.INTERPOLATED] - 1e-3))
    assert len(at) <= len(missed)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2000), st.integers(-40, 400), st.floats(-200, 200), st.integers(0, 99))
def test_without_camera_files_there_is_still_one_time_per_frame(
    n_frames: int, surplus: int, drift: float, seed: int
) -> None:
    recording = Recording(n_exposures=max(n_frames + surplus, 2), drift_ppm=drift, jitter=0.1, seed=seed)
    found = frame_times(n_frames, recording.fronts, None, None, where="left") if surplus >= -40 else None
    assert found is not None
    assert found.times_s.size == n_frames
    assert (np.diff(found.times_s) > 0).all()
    assert found.method == "counts"


# -- what the numbers say ---------------------------------------------------------------------------------------


def test_clean_recording_passes_without_flags() -> None:
    recording = Recording(drift_ppm=37.0, jitter=0.02)
    found = recording.times()
    assert found.times_s == pytest.approx(recording.truth, abs=0)
    assert not found.flagged
    assert found.outcome_hint is Outcome.PASS
    assert found.drift_ppm == pytest.approx(37.0, abs=2)
    assert (found.start, found.n_pulses, found.n_surplus_start, found.n_surplus_end) == (0, 3000, 0, 0)
    assert found.residual_frames.size == found.residuals_s.size > 20
    assert (found.residuals_s <= 0).all()


def test_surplus_pulses_are_told_apart_by_end_and_do_not_flag() -> None:
    recording = Recording(pulses_before=700, pulses_after=250)
    found = recording.times()
    assert (found.n_surplus_start, found.n_surplus_end) == (700, 250)
    assert found.outcome_hint is Outcome.PASS
    np.testing.assert_array_equal(found.times_s, recording.truth)


def test_7_2_frames_before_the_first_pulse_have_no_hole() -> None:
    recording = Recording(frames_before=4)
    found = recording.times()
    assert found.start == -4
    assert found.n_missing_start == 4
    np.testing.assert_allclose(found.times_s, recording.truth, atol=1e-9)
    assert found.quality[:5].tolist() == [2, 2, 2, 2, 0]
    assert found.flagged
    assert found.outcome_hint is Outcome.WARNING
    assert any("the first 4 frames come before the first pulse" in note for note in found.notes)


def test_7_6_recording_that_starts_with_a_fall_times_frames_by_rises() -> None:
    recording = Recording(leading_fall=True, pulses_before=50)
    np.testing.assert_array_equal(recording.times().times_s, recording.truth)


def test_7_8_extrapolated_tail_keeps_the_true_rate() -> None:
    recording = Recording(period=1 / 59.767, n_exposures=9000, frames_after=58)
    found = recording.times()
    assert np.abs(found.times_s - recording.truth).max() < 1e-6
    assert found.n_missing_end == 58


def test_7_9_start_does_not_hang_on_the_first_change() -> None:
    recording = Recording(pulses_before=120)
    edges = recording.ttl
    shifted = Fronts(
        np.append(np.delete(edges.times_s, [0, 1]), recording.truth[-1] + np.array([0.2, 0.4])),
        np.append(np.delete(edges.polarities, [0, 1]), [1, -1]).astype(np.int8),
    )
    found = frame_times(recording.truth.size, recording.fronts, shifted, recording.camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)


@pytest.mark.parametrize("n_pulses", [2990, 3000, 3200])
def test_7_11_counts_alone_give_every_frame_a_time_and_say_which_end_was_cut(n_pulses: int) -> None:
    pulses = Recording(n_exposures=n_pulses)
    found = frame_times(3000, pulses.fronts, None, None, where="left")
    assert found.times_s.size == 3000
    assert (np.diff(found.times_s) > 0).all()
    assert found.n_surplus_start == max(n_pulses - 3000, 0)
    assert found.n_missing_end == max(3000 - n_pulses, 0)
    assert found.outcome_hint is Outcome.FAIL
    assert (found.quality == Quality.ASSUMED).all()
    told = " ".join(found.notes)
    assert "since the camera left no files" in told
    assert ("assumed to come before the first frame" in told) is (n_pulses > 3000)


def test_pins_that_cannot_be_used_fall_back_to_counts_and_say_why() -> None:
    recording = Recording()
    silent = Fronts(np.empty(0), np.empty(0, np.int8))
    found = frame_times(recording.truth.size, recording.fronts, silent, recording.camera, where="left")
    assert found.method == "counts"
    assert any("the sync line 0 times" in note for note in found.notes)
    assert found.outcome_hint is Outcome.FAIL
    np.testing.assert_array_equal(found.times_s, recording.truth)


# -- gaps -------------------------------------------------------------------------------------------------------


def paused(recording: Recording, after: int, pause: float) -> Recording:
    """Stop the camera for a while: later pulses, frames and changes all come later."""
    for name in ("pulses", "truth", "exposures"):
        values = getattr(recording, name)
        values[values > recording.exposures[after] + recording.period / 2] += pause
    recording.clock[after + 1 :] += pause
    times = recording.ttl.times_s
    times[times > recording.pulses[after] + recording.period / 2] += pause
    return recording


@pytest.mark.parametrize("with_clock", [True, False])
def test_pause_of_the_camera_is_not_filled(with_clock: bool) -> None:
    recording = paused(Recording(pulses_before=0), 1234, 0.5)
    camera = recording.camera if with_clock else replace(recording.camera, camera_time_s=None)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    assert found.method == "pins"
    assert found.n_inserted == 0
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert any("pauses of the camera" in note for note in found.notes)


@pytest.mark.parametrize("with_clock", [True, False])
def test_pause_and_missed_pulses_are_told_apart_by_pins(with_clock: bool) -> None:
    recording = paused(Recording(), 1000, 0.5)
    remove_pulses(recording, list(range(2000, 2012)))
    camera = recording.camera if with_clock else replace(recording.camera, camera_time_s=None)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    assert found.n_inserted == 12
    check_against_truth(found, recording)


@pytest.mark.parametrize("pause", [True, False])
def test_camera_clock_decides_about_a_gap_where_there_are_no_pins(pause: bool) -> None:
    recording = Recording()
    if pause:
        paused(recording, 1000, 0.25)
    else:
        remove_pulses(recording, list(range(1001, 1015)))
    camera = replace(recording.camera, pins=None)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    assert found.method == "counts"
    assert found.n_inserted == (0 if pause else 14)
    check_against_truth(found, recording)


def test_glitch_on_the_camera_line_shifts_nothing() -> None:
    recording = Recording(pulses_before=30)
    recording.pulses = np.sort(np.append(recording.pulses, recording.pulses[1500] + 0.35 * recording.period))
    found = recording.times()
    np.testing.assert_array_equal(found.times_s, recording.truth)


@pytest.mark.parametrize("delay", [2e-4, 2e-3])
def test_line_that_echoes_every_pulse_is_thinned_by_the_period_of_the_camera(delay: float) -> None:
    recording = Recording(pulses_before=30)
    recording.pulses = np.sort(np.append(recording.pulses, recording.pulses + delay))
    found = recording.times()
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert any("right after another" in note or "did not fit" in note for note in found.notes)


# -- lengths ----------------------------------------------------------------------------------------------------


def test_video_that_lacks_its_tail_gets_times_for_what_it_has() -> None:
    recording = Recording()
    found = frame_times(2000, recording.fronts, recording.ttl, recording.camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth[:2000])
    assert found.outcome_hint is Outcome.FAIL
    assert (found.quality == Quality.ASSUMED).all()
    assert "1,000 frames fewer" in found.assumed
    assert "nothing says which are missing" in found.assumed


def test_camera_files_a_little_short_go_on_one_by_one() -> None:
    recording = Recording(dropped=(500, 501))
    short = recording.count.size - 20
    camera = replace(
        recording.camera,
        n_frames=short,
        count=recording.count[:short],
        camera_time_s=recording.clock[:short],
        pins=recording.pins[:short],
    )
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert not found.flagged
    assert found.outcome_hint is Outcome.WARNING
    assert any("lack the last 20 frames" in note for note in found.notes)


def test_camera_files_much_too_short_are_refused() -> None:
    recording = Recording()
    with pytest.raises(UnequalLengths, match=r"3,061 frames.*3,000 frames"):
        frame_times(3061, recording.fronts, recording.ttl, recording.camera, where="left")


def test_frames_without_pulses_beyond_a_second_are_refused_with_all_counts() -> None:
    recording = Recording(frames_before=40, frames_after=25)
    with pytest.raises(PulseCountMismatch, match=r"65 frames have no pulse.*40 frames before.*25 after.*pins"):
        recording.times()


def test_a_second_of_frames_without_pulses_is_flagged_not_refused() -> None:
    recording = Recording(frames_before=35, frames_after=25)
    found = recording.times()
    check_against_truth(found, recording)
    assert (found.n_missing_start, found.n_missing_end) == (35, 25)


def test_half_a_percent_is_tolerated_where_it_is_more_than_a_second() -> None:
    found = frame_times(20_000, Recording(n_exposures=19_900).fronts, None, None, where="left")
    assert found.n_missing_end == 100
    with pytest.raises(PulseCountMismatch):
        frame_times(20_000, Recording(n_exposures=19_899).fronts, None, None, where="left")


def test_no_pulses_and_no_frames_are_refused() -> None:
    empty = Fronts(np.empty(0), np.empty(0, np.int8))
    with pytest.raises(NoPulses, match="7: 12"):
        frame_times(10, empty, None, None, where="left", fronts_per_channel={7: 12})
    with pytest.raises(UsageError):
        frame_times(0, Recording().fronts, None, None, where="left")


# -- damage to the camera's files and to the sync ---------------------------------------------------------------


def says_all(error: InputError, *parts: str) -> None:
    """Insist on the five parts of an error, and on what must be in them."""
    assert all((error.what, error.where, error.expected, error.got, error.do))
    for part in parts:
        assert part in str(error)


def test_counter_that_leaps_beyond_reason_is_refused_quickly_where_no_clock_knows_better() -> None:
    recording = Recording()
    count = recording.count.copy()
    count[1500:] += 10**12
    camera = replace(recording.camera, count=count, camera_time_s=None)
    with pytest.raises(PulseCountMismatch) as caught:
        frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    says_all(caught.value, "frames have no pulse")


@pytest.mark.parametrize("leap", [1, 7, 10**12])
def test_counter_that_leaps_is_mended_by_the_camera_clock_and_flagged(leap: int) -> None:
    recording = Recording(pulses_before=30, dropped=(500,))
    count = recording.count.copy()
    count[1500:] += leap
    found = frame_times(
        recording.truth.size, recording.fronts, recording.ttl, replace(recording.camera, count=count), where="left"
    )
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert found.outcome_hint is Outcome.WARNING
    assert any("leaps beyond the camera's clock at frame 1,500" in note for note in found.notes)


@pytest.mark.parametrize("with_clock", [True, False])
def test_pins_without_counter(with_clock: bool) -> None:
    recording = Recording(pulses_before=30, dropped=(700, 701, 2000))
    camera = replace(recording.camera, count=None)
    camera = camera if with_clock else replace(camera, camera_time_s=None)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    assert found.times_s.size == recording.truth.size
    if with_clock:  # the camera's clock shows what was dropped
        np.testing.assert_array_equal(found.times_s, recording.truth)
        assert (found.n_dropped, found.outcome_hint) == (3, Outcome.PASS)
    else:  # nothing does
        assert found.outcome_hint is Outcome.FAIL


@pytest.mark.parametrize("surplus", [0, 40])
def test_counter_without_pins_is_matched_by_numbers(surplus: int) -> None:
    recording = Recording(pulses_before=surplus, dropped=(700, 701))
    camera = replace(recording.camera, pins=None)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert found.method == "counts"
    assert found.outcome_hint is Outcome.FAIL
    assert any("there are no pin states" in note for note in found.notes)


@pytest.mark.parametrize("level", [True, False])
def test_pins_that_never_change_are_not_used(level: bool) -> None:
    recording = Recording()
    recording.pins[:] = level
    found = recording.times()
    assert (found.method, found.outcome_hint) == ("counts", Outcome.FAIL)
    assert any("the pin changes 0 times" in note for note in found.notes)
    np.testing.assert_array_equal(found.times_s, recording.truth)


def test_sync_line_that_no_channel_carries_leaves_the_numbers() -> None:
    recording = Recording(pulses_before=5)
    found = frame_times(recording.truth.size, recording.fronts, None, recording.camera, where="left")
    assert (found.method, found.outcome_hint) == ("counts", Outcome.FAIL)
    assert any("no sync line is wired to the pin" in note for note in found.notes)


@pytest.mark.parametrize("fps", [20, 30, 120, 150])
def test_pulses_of_another_camera_are_refused_with_the_channel_that_fits(fps: int) -> None:
    recording, other = Recording(), Recording(period=1 / fps, n_exposures=fps * 50)
    with pytest.raises(NoPulses) as caught:
        frame_times(
            recording.truth.size,
            other.fronts,
            recording.ttl,
            recording.camera,
            where="left camera of SW_001",
            fronts_per_channel={0: 6000, 1: fps * 100, 7: 80},
        )
    says_all(caught.value, "left camera of SW_001", "16.67 ms", f"{1e3 / fps:.2f} ms", "channel 0 (6,000 fronts)")


def test_channel_with_too_few_pulses_is_refused_with_the_channel_that_fits() -> None:
    recording = Recording()
    few = Recording(n_exposures=1000)
    with pytest.raises(PulseCountMismatch) as caught:
        frame_times(3000, few.fronts, None, None, where="left", fronts_per_channel={2: 2000, 5: 6010})
    says_all(caught.value, "channel 5 (6,010 fronts)")
    with pytest.raises(PulseCountMismatch) as caught:
        frame_times(3000, few.fronts, None, recording.camera, where="left", fronts_per_channel={2: 2000, 3: 10})
    says_all(caught.value, "no channel has about 6,000 fronts", "2: 2,000, 3: 10")


def test_times_of_the_sync_that_are_no_numbers_are_refused() -> None:
    recording = Recording()
    for value in (np.nan, np.inf):
        fronts = recording.fronts
        fronts.times_s[77] = value
        with pytest.raises(UnusableFile) as caught:
            frame_times(recording.truth.size, fronts, recording.ttl, recording.camera, where="left")
        says_all(caught.value, "no number at front 77")


def test_edges_of_the_sync_line_that_have_no_time_are_not_matched() -> None:
    recording = Recording(pulses_before=9)
    times = recording.ttl.times_s.copy()
    times[[3, 12]] = np.nan, np.inf
    ttl = Fronts(times, recording.ttl.polarities)
    found = frame_times(recording.truth.size, recording.fronts, ttl, recording.camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert found.residuals_s.size <= times.size - 2


def test_fronts_in_any_order_say_the_same() -> None:
    recording = Recording(pulses_before=9)
    order = np.random.default_rng(3).permutation(len(recording.fronts))
    shuffled = Fronts(recording.fronts.times_s[order], recording.fronts.polarities[order])
    found = frame_times(recording.truth.size, shuffled, recording.ttl, recording.camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)


def test_damage_to_the_camera_files_is_a_warning_though_times_are_right() -> None:
    recording = Recording()
    camera = replace(recording.camera, notes=("torn",), damaged=("torn",))
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert found.outcome_hint is Outcome.WARNING
    assert "torn" in found.notes


def test_files_of_which_nothing_can_be_used_leave_the_numbers() -> None:
    recording = Recording()
    camera = CameraFiles(0, notes=("corrupt",), damaged=("corrupt",))
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    assert (found.method, found.outcome_hint) == ("counts", Outcome.FAIL)
    assert "corrupt" in found.notes


@pytest.mark.parametrize("damage", ["stands still", "out of order", "leaps a cycle", "backwards"])
def test_damaged_camera_clock_moves_nothing(damage: str) -> None:
    recording = Recording(pulses_before=50, dropped=(40, 41, 900))
    clock = recording.clock.copy()
    if damage == "stands still":
        clock[:] = 0
    elif damage == "out of order":
        clock[200:1200:10], clock[201:1201:10] = clock[201:1201:10].copy(), clock[200:1200:10].copy()
    elif damage == "leaps a cycle":
        clock[1700:] += 128
    else:
        clock = clock[::-1].copy()
    camera = replace(recording.camera, camera_time_s=clock)
    found = frame_times(recording.truth.size, recording.fronts, recording.ttl, camera, where="left")
    np.testing.assert_array_equal(found.times_s, recording.truth)
    assert found.method == "pins"


@pytest.mark.parametrize("n_frames", [1, 2, 3, 30, 150, 299])
def test_short_videos_get_their_times(n_frames: int) -> None:
    recording = Recording(n_exposures=300, tones=8)
    camera = replace(
        recording.camera,
        n_frames=n_frames,
        count=recording.count[:n_frames],
        camera_time_s=recording.clock[:n_frames],
        pins=recording.pins[:n_frames],
    )
    recording.pulses = recording.pulses[: max(n_frames, 2)]
    found = frame_times(n_frames, recording.fronts, recording.ttl, camera, where="left")
    assert found.times_s.size == n_frames
    off = np.abs(found.times_s - recording.truth[:n_frames]).max()
    assert off < recording.period / 2 or found.outcome_hint is Outcome.FAIL


def test_real_camera_files_match_sync_fronts_made_from_them(data_folder: Path) -> None:
    folder = data_folder / "camera" / "session_ephys_body"
    clock = read_camera_files(timestamps=folder / "_iblrig_bodyCamera.timestamps.ssv")
    rng = np.random.default_rng(8)
    truth = 20 + clock.camera_time_s * (1 + 6e-5)
    tones = np.sort(rng.uniform(truth[100], truth[-100], 40))
    edges = np.ravel(np.column_stack([tones, tones + 0.1]))
    pins = np.zeros((truth.size, 4), bool)
    pins[:, 3] = np.searchsorted(edges, truth, side="right") % 2 == 1
    before = truth[0] - np.arange(90, 0, -1) / 30.2
    rises = np.concatenate([before, np.delete(truth, [1000, 2500, 2501])])
    fronts = Fronts(np.ravel(np.column_stack([rises, rises + 0.005])), np.tile(np.array([1, -1], np.int8), rises.size))
    ttl = Fronts(edges, np.tile(np.array([1, -1], np.int8), 40))
    found = frame_times(truth.size, fronts, ttl, replace(clock, pins=pins), where="body")
    assert (found.method, found.start) == ("pins", 90)
    assert np.abs(found.times_s - truth).max() < 0.5 / 30
    assert found.drift_ppm == pytest.approx(60, abs=2)
