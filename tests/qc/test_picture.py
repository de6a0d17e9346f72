"""What is found in every frame of a session, where the reference looks at a hundred."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from faces import make_face
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence

PASS, WARNING, FAIL, NOT_SET = Outcome.PASS, Outcome.WARNING, Outcome.FAIL, Outcome.NOT_SET
N, RATE = 36_000, 60


def run(name: str, evidence: CameraEvidence, **changes: object) -> CheckResult:
    (result,) = run_checks(replace(evidence, **changes), (name,))  # type: ignore[arg-type]
    return result


@pytest.fixture
def hour(good: CameraEvidence) -> CameraEvidence:
    """Return ten minutes of a camera in perfect order, noise and slow changes included."""
    rng = np.random.default_rng(3)
    slow = 4 * np.sin(np.arange(N) / 9000) + np.sin(np.arange(N) / 970)
    return replace(
        good,
        n_frames=N,
        times_s=np.arange(N) / RATE,
        brightness=(90 + slow + rng.normal(0, 0.3, N)).astype(np.float32),
        motion_energy=rng.uniform(0.5, 3, N).astype(np.float32),
    )


def bright(hour: CameraEvidence) -> np.ndarray:
    assert hour.brightness is not None
    return hour.brightness.copy()


CHECKS = ("black_frames", "repeated_frames", "light_steps", "flicker", "camera_movement", "decoding")


def test_camera_in_order_passes(hour: CameraEvidence) -> None:
    assert {r.name: r.outcome for r in run_checks(hour, CHECKS)} == dict.fromkeys(CHECKS, PASS)


@pytest.mark.parametrize(("n_errors", "outcome"), [(0, PASS), (1, FAIL), (1000, FAIL)])
def test_damaged_frames_fail(good: CameraEvidence, n_errors: int, outcome: Outcome) -> None:
    result = run("decoding", good, n_decode_errors=n_errors)
    assert (result.outcome, result.numbers) == (outcome, ())
    assert f"{n_errors:,} of 1,000" in result.measured
    assert result.values["share_undecoded"] == n_errors / 1000


@pytest.mark.parametrize(
    ("places", "luma", "outcome"),
    [
        (slice(0, 0), 16, PASS),
        (slice(500, 501), 20, WARNING),
        (slice(500, 501), 20.5, PASS),
        (slice(27_001, None), 16, WARNING),
        (slice(27_000, None), 16, FAIL),
        (slice(None), 0, FAIL),
    ],
)
def test_black_frames(hour: CameraEvidence, places: slice, luma: float, outcome: Outcome) -> None:
    values = bright(hour)
    values[places] = luma
    result = run("black_frames", hour, brightness=values)
    assert result.outcome == outcome
    assert result.values["n_black"] == (len(values[places]) if outcome != PASS else 0)


def test_black_frames_are_named(hour: CameraEvidence) -> None:
    values = bright(hour)
    values[100:110] = values[7] = 16
    assert run("black_frames", hour, brightness=values).message == "frames 7, 100 to 109"


def test_frames_that_do_not_decode_are_not_black_nor_repeated(hour: CameraEvidence) -> None:
    values = bright(hour)
    values[1000:9000] = np.nan
    for result in run_checks(replace(hour, brightness=values), CHECKS):
        assert result.outcome == PASS, result
    values[:] = np.nan
    for name in ("black_frames", "repeated_frames", "light_steps", "flicker"):
        assert run(name, hour, brightness=values).outcome == NOT_SET


def frozen(hour: CameraEvidence, start: int, stop: int) -> CameraEvidence:
    """Return evidence in which frames start+1 to stop-1 repeat frame `start`."""
    values, energy = bright(hour), np.array(hour.motion_energy)
    values[start:stop] = values[start]
    energy[start : max(start, stop - 2)] = 0
    return replace(hour, brightness=values, motion_energy=energy)


@pytest.mark.parametrize(("length", "outcome"), [(2, PASS), (3, PASS), (RATE, PASS), (RATE + 1, FAIL), (20_000, FAIL)])
def test_picture_that_stands_still_for_a_second_fails(hour: CameraEvidence, length: int, outcome: Outcome) -> None:
    result = run("repeated_frames", frozen(hour, 700, 700 + length))
    assert result.outcome == outcome
    assert result.values["longest_frames"] == length - 1
    assert result.values["n_repeated"] == length - 1
    assert ("frames 701" in result.message) == (outcome == FAIL)


def test_every_frame_twice_is_a_warning(hour: CameraEvidence) -> None:
    values = np.repeat(bright(hour)[: N // 2], 2)
    result = run("repeated_frames", hour, brightness=values)
    assert (result.outcome, result.values["share_repeated"]) == (WARNING, 0.5)


def test_equal_brightness_is_a_coincidence_where_something_moves(hour: CameraEvidence) -> None:
    values = bright(hour)
    values[500:800] = 90
    assert run("repeated_frames", hour, brightness=values).values["n_repeated"] == 0


@given(st.lists(st.tuples(st.sampled_from([10.0, 11.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=30))
def test_repeats_never_contradict_brightness_or_motion(frames: list[tuple[float, float]]) -> None:
    from ibl_dask.qc.picture import _repeats

    values, energy = (np.array(column, np.float32) for column in zip(*frames, strict=True))
    repeats = _repeats(values, energy)
    for i in np.flatnonzero(repeats):
        assert i > 0
        assert values[i] == values[i - 1]
        if i > 1 and repeats[i - 1]:
            assert energy[i - 2] == 0


@pytest.mark.parametrize("name", ["mirror_mouse", "openfield_mouse"])
def test_real_recordings_repeat_no_frame_and_their_cameras_stand_still(
    bare: CameraEvidence, data_folder, name: str
) -> None:
    from passes import values_of

    from ibl_dask.video.container.index import index_video
    from ibl_dask.video.reducers.camera_set import camera_reducers

    path = data_folder / "video" / f"{name}.mp4"
    index = index_video(path)
    n = min(len(index), 1000)
    wanted = ("brightness", "motion_energy_wheel", "thumbnails")
    reducers = [r for r in camera_reducers("left", n, index.width, index.height) if r.name in wanted]
    measured = {key.split("/")[1]: v for key, v in values_of(path, index, [Chunk(0, n)], reducers).items()}
    evidence = replace(
        bare,
        n_frames=n,
        width=index.width,
        height=index.height,
        header_fps=index.fps,
        brightness=measured["brightness"],
        motion_energy=measured["motion_energy_wheel"],
        thumbnails=measured["thumbnail"],
        thumbnail_frames=reducers[-1].wanted(Chunk(0, n)),
    )
    for check in ("repeated_frames", "flicker", "black_frames", "camera_movement"):
        assert run(check, evidence).outcome == PASS, check
    assert run("repeated_frames", evidence).values["n_repeated"] == 0
    pictures = measured["thumbnail"].copy()
    pictures[5:] = np.roll(pictures[5:], (3, 6), (1, 2))
    moved = run("camera_movement", evidence, thumbnails=pictures)
    assert moved.outcome == WARNING
    scale = index.width / 320
    assert moved.values["shift_x_px"] == pytest.approx(6 * scale, abs=3 * scale)
    assert moved.values["shift_y_px"] == pytest.approx(3 * scale, abs=scale)


@pytest.mark.parametrize(("height", "n_steps"), [(0, 0), (9, 0), (11, 1), (-11, 1), (60, 1)])
def test_light_that_changes_and_stays_so_is_found(hour: CameraEvidence, height: float, n_steps: int) -> None:
    values = bright(hour)
    values[20_000:] += height
    result = run("light_steps", hour, brightness=values)
    assert result.outcome == (WARNING if n_steps else PASS)
    assert result.values["n_steps"] == n_steps
    if n_steps:
        assert result.values["largest_step_frame"] == pytest.approx(20_000, abs=RATE)
        assert result.values["largest_step_luma"] == pytest.approx(height, abs=2)


def test_lamp_off_and_on_again_are_two_steps_and_a_bout_of_grooming_is_none(hour: CameraEvidence) -> None:
    values = bright(hour)
    values[10_000:20_000] -= 40
    assert run("light_steps", hour, brightness=values).values["n_steps"] == 2
    values = bright(hour)
    values[10_000 : 10_000 + 6 * RATE] -= 40
    assert run("light_steps", hour, brightness=values).outcome == PASS


def test_light_steps_need_half_a_minute(hour: CameraEvidence) -> None:
    short = replace(hour, brightness=bright(hour)[: 29 * RATE], times_s=np.arange(29 * RATE) / RATE)
    result = run("light_steps", short)
    assert (result.outcome, result.message) == (NOT_SET, "the video is shorter than 30 s")


def test_damaged_minute_is_no_step(hour: CameraEvidence) -> None:
    values = bright(hour)
    values[10_000:20_000] = np.nan
    assert run("light_steps", hour, brightness=values).outcome == PASS
    values[20_000:] += 30
    assert run("light_steps", hour, brightness=values).outcome == WARNING


@pytest.mark.parametrize(
    ("every", "outcome"), [(20_000, PASS), (2_200, PASS), (1_500, WARNING), (220, WARNING), (150, FAIL), (2, FAIL)]
)
def test_flicker(hour: CameraEvidence, every: int, outcome: Outcome) -> None:
    """A frame that differs makes two jumps."""
    values = bright(hour)
    values[every // 2 :: every] += 30
    assert run("flicker", hour, brightness=values).outcome == outcome


SHIFTS = [((0, 0), PASS), ((2, 0), PASS), ((5, 0), WARNING), ((0, -4), WARNING), ((31, 0), WARNING), ((34, 0), FAIL)]


def scenery(data_folder) -> np.ndarray:
    frames = np.load(data_folder / "qc" / "reference_frames" / "frames_left.npy")
    return np.asarray(cv2.resize(frames[0], (320, 256), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(("shift", "outcome"), SHIFTS)
@pytest.mark.parametrize("split", [1, 4, 7])
def test_camera_that_moved_is_found(
    good: CameraEvidence, data_folder, shift: tuple[int, int], outcome: Outcome, split: int
) -> None:
    rng = np.random.default_rng(split)
    picture = scenery(data_folder)
    pictures = [np.roll(picture, shift[::-1] if i >= split else (0, 0), (0, 1)) for i in range(8)]
    noisy = (np.array(pictures) * rng.uniform(0.8, 1, (8, 1, 1)) + rng.normal(0, 4, (8, 256, 320))).clip(0, 255)
    result = run("camera_movement", good, thumbnails=noisy.astype(np.uint8))
    assert result.outcome == outcome
    assert result.values["shift_x_px"] == pytest.approx(4 * shift[0], abs=1)
    assert result.values["shift_y_px"] == pytest.approx(4 * shift[1], abs=1)
    if outcome != PASS:
        assert result.values["first_frame_after"] == 62 + 125 * split


def test_animal_that_moves_its_head_is_no_camera_that_moves(good: CameraEvidence) -> None:
    x = np.where(np.arange(100) < 50, 138.0, 178.0)
    result = run("camera_movement", good, face=make_face(x))
    assert result.outcome == PASS
    assert (result.values["face_shift_x_px"], result.values["face_shift_y_px"]) == (40, 0)
    assert "+40, +0 px" in result.measured


def test_pictures_of_nothing_tell_nothing_of_the_camera(good: CameraEvidence) -> None:
    nothing = np.zeros((8, 64, 80), np.uint8)
    assert run("camera_movement", good, thumbnails=nothing).outcome == NOT_SET
    rng = np.random.default_rng(0)
    unlike = rng.integers(0, 256, (8, 64, 80)).astype(np.uint8)
    assert run("camera_movement", good, thumbnails=unlike).outcome in (NOT_SET, PASS)
