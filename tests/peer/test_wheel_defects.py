"""Where the reference's alignment by the wheel fails, or measures what was not there, and that ours is right.

The numbers in the names are those of `docs/differences.md`. The reference works through a video in windows of 5,000
frames, each like the others; where one window is enough they are of 500 frames here, so that videos are short.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from passes import values_of
from small_recordings import CHANNELS, edit_frame_data, edit_sync, folder_in, silence_pins

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.pipeline.run import run
from ibl_dask.synth import MesoscopeFaults, write_mesoscope_session, write_session
from ibl_dask.synth.movie import write_video
from ibl_dask.synth.plan import CameraFaults
from ibl_dask.synth.truth import Truth
from ibl_dask.tasks.video_sync.pulse_times import load_timing
from ibl_dask.timing.clocks.pulses import Pulses
from ibl_dask.timing.clocks.timeline import read_timeline_recording
from ibl_dask.timing.wheel.alignment import align
from ibl_dask.timing.wheel.motion import motion
from ibl_dask.timing.wheel.sources import counts_from_counter, read_timeline_wheel
from ibl_dask.timing.wheel.trace import TICKS_PER_TURN, Wheel
from ibl_dask.video.chunking import cut_evenly
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reducers.motion_energy import MotionEnergy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from reference import Reference

pytestmark = pytest.mark.peer

SEED = 7
"""Its wheel turns enough in 20 s to tell a shift."""
LEFT = CHANNELS["left"]


def published_off(folder: Path, truth: Truth) -> NDArray[np.float64]:
    """Return by how many frames each published time of the left camera is off."""
    camera = truth.cameras["left"]
    return (np.load(folder / "alf" / "_ibl_leftCamera.times.npy") - camera.frame_times_s) * camera.fps


def notes_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    return dict(facts), "; ".join(facts["notes"])


def without_times(folder: Path) -> Path:
    """Leave nothing that was extracted, so that ours has to."""
    shutil.rmtree(folder / "alf")
    return folder


def tell_of_nidq(folder: Path) -> None:
    """Leave what the reference knows a rig with a nidq by; it looks at the name alone."""
    (folder / "raw_ephys_data" / "_spikeglx_ephysData_g0_t0.nidq.meta").touch()


# -- sessions that fall back to the wheel --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _as_many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("as_many")
    truth = write_session(folder_in(root), duration_s=20, cameras=("left",), scale=0.15, seed=SEED, gop=100, workers=1)
    edit_frame_data(folder_in(root), "left", silence_pins)
    tell_of_nidq(folder_in(root))
    return root, truth


@pytest.fixture
def as_many(_as_many: tuple[Path, Truth], tmp_path: Path) -> tuple[Path, Truth]:
    """Return a session of 1,200 frames and as many pulses, without pins, whose video shows the wheel."""
    shutil.copytree(_as_many[0], tmp_path, dirs_exist_ok=True)
    return folder_in(tmp_path), _as_many[1]


def with_a_pulse_more(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let the camera make one pulse more before its first one."""
    first = np.flatnonzero(table[:, 1] == LEFT)[:2]
    earlier = table[first] - [1 / 60, 0, 0]
    return np.vstack([table, earlier])


def test_7_3_as_many_pulses_as_frames_end_the_alignment_in_the_reference(
    reference: Reference, as_many: tuple[Path, Truth], tmp_path: Path
) -> None:
    folder, truth = as_many
    assert truth.cameras["left"].recorded_pulse_times_s.size == truth.cameras["left"].n_frames == 1200
    theirs = reference.ask("wheel_data", session=folder, label="left", sync="nidq")
    assert theirs.error is not None
    assert theirs.error.startswith("AttributeError")
    fallen = reference.ask("wheel_fallback", session=folder, label="left", sync="nidq")
    assert any("Failed to align with wheel" in line and "no attribute" in line for line in fallen.log)
    # One pulse more, and it reads the same session.
    shutil.copytree(folder, tmp_path / "more" / folder.name)
    more = tmp_path / "more" / folder.name
    edit_sync(more, with_a_pulse_more)
    assert reference.ask("wheel_data", session=more, label="left", sync="nidq")["n_surplus"] == 1
    assert run([without_times(folder)]).exit_code == 0
    facts, notes = notes_of(folder)
    assert facts["wheel"]["is_confident"]
    assert "the wheel confirms" in notes
    assert np.abs(published_off(folder, truth)).max() < 0.01


def test_7_4_a_timeline_s_session_is_looked_for_on_a_nidq_by_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """Half a second of pulses comes after the video; without pins and wheel they would be taken to come before it.

    Of 30 s this wheel tells the very frame; another one may be a frame off.
    """
    folder = folder_in(tmp_path)
    faults = MesoscopeFaults(cameras={"left": CameraFaults(surplus_end_s=0.5)})
    truth = write_mesoscope_session(folder, duration_s=30, cameras=("left",), scale=0.125, seed=1, faults=faults)
    edit_frame_data(folder, "left", silence_pins)
    theirs = reference.ask("wheel_fallback", session=folder, label="left", sync="timeline")
    assert theirs["asked"] == [{"sync": "nidq", "upload": True}]
    assert any("Failed to align with wheel" in line for line in theirs.log)
    camera = truth.cameras["left"]
    off = (theirs["times"] - camera.frame_times_s) * camera.fps
    np.testing.assert_allclose(off, 30, atol=0.1)
    # Asked for the clock that there is, the same alignment finds its data.
    assert reference.ask("wheel_data", session=folder, label="left", sync="timeline")["n_surplus"] == 30
    assert run([without_times(folder)]).exit_code == 0
    assert notes_of(folder)[0]["method"] == "wheel"
    ours = published_off(folder, truth)
    assert np.abs(ours).max() < 0.5


# -- motion energy -------------------------------------------------------------------------------------------------


def test_7_14_the_last_window_has_no_motion_energy_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    """5,100 frames are a window of 5,000 and one of the rest."""
    n_frames = 5100
    greys = [np.full((64, 64), level, np.uint8) for level in (90, 106, 94, 102, 98)]
    folder = folder_in(tmp_path)
    footage = {"left": cycle(greys)}
    write_session(folder, duration_s=n_frames / 60, cameras=("left",), surplus_start_s=0.1, footage=footage, burn=False)
    tell_of_nidq(folder)
    theirs = reference.ask("wheel_energies", session=folder, label="left", height=64, width=64)["energies"]
    assert theirs.size == 5000 - 4
    assert np.count_nonzero(theirs) > 4900
    path = folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    ours = energies(path, 64, 64)
    assert ours.size == n_frames
    assert np.isnan(ours[-2:]).all()
    assert np.count_nonzero(ours[5000:-2]) > 90


def test_7_14_a_video_of_fewer_than_5000_frames_has_no_motion_energy_at_all_in_the_reference(
    reference: Reference, as_many: tuple[Path, Truth]
) -> None:
    folder, truth = as_many
    edit_sync(folder, with_a_pulse_more)
    camera = truth.cameras["left"]
    theirs = reference.ask("wheel_energies", session=folder, label="left", height=camera.height, width=camera.width)
    assert theirs["energies"].size == 0
    assert theirs["failure"] is not None
    assert theirs["failure"].startswith("IndexError")
    assert run([without_times(folder)]).exit_code == 0
    facts, _ = notes_of(folder)
    assert facts["wheel"]["is_confident"]
    assert abs(facts["wheel"]["shift_frames"]) < 0.5
    assert np.abs(published_off(folder, truth)).max() < 0.5


def test_7_21_eight_differences_of_grey_levels_lose_a_count_in_the_reference(reference: Reference) -> None:
    levels = np.arange(256)
    frames = np.zeros((3 * levels.size, 2, 2), np.uint8)
    frames[2::3] = levels[:, None, None]  # each level follows two frames after black
    theirs = reference.ask("motion_energy", frames=frames)["energy"][::3] / 4
    lost = [37, 74, 77, 148, 154, 161, 167, 173]
    assert np.flatnonzero(theirs != levels).tolist() == lost
    assert (levels - theirs)[lost].tolist() == [1] * 8
    reducer, decoded = MotionEnergy(Region(0, 2, 0, 2)), av.VideoFrame(2, 2, "yuv420p")
    part = reducer.start(Chunk(0, len(frames)))
    for number, frame in enumerate(frames):
        part.add(number, frame, decoded)
    ours = part.arrays()[reducer.name]
    np.testing.assert_array_equal(ours[3:-3:3], levels[1:-1])


# -- a hand in the picture -----------------------------------------------------------------------------------------

HEIGHT, WIDTH, FPS = 48, 64, 30
WINDOW = 500
STILL = (430, 570)
"""Frames in which the wheel stands."""


@dataclass(frozen=True, eq=False)
class Film:
    """A video of a wheel, with a hand in some frames."""

    path: Path
    frames: NDArray[np.uint8]
    wheel: Wheel
    times_s: NDArray[np.float64]


def film(path: Path, n_frames: int, hands: list[tuple[int, int]], lamp: int | None = None) -> Film:
    """Film a wheel that turns in bouts, but for a still stretch.

    Parameters
    ----------
    path
        Where to.
    n_frames
        How long.
    hands
        First frame, and the one after the last, with a bright hand in it.
    lamp
        Frame from which there is more light.
    """
    rng = np.random.default_rng(SEED)
    times = 1 + np.arange(n_frames) / FPS
    clock = np.arange(0, times[-1] + 1, 1e-3)
    speed = np.zeros(clock.size)
    starts = np.arange(1.2, clock[-1] - 2, 1.9)
    for start in starts + rng.uniform(0, 0.8, starts.size):
        phase = (clock - start) / rng.uniform(0.35, 1.0)
        speed += np.where((phase > 0) & (phase < 1), rng.choice([-4, 4]) * np.sin(np.pi * phase) ** 2, 0)
    speed[(clock > times[STILL[0]]) & (clock < times[STILL[1]])] = 0
    wheel = Wheel(clock, np.cumsum(speed) * 1e-3, "made up")
    tyre = np.repeat(np.repeat(rng.integers(60, 100, (12, 64)), 4, 0), 4, 1).astype(np.uint8)
    at = np.rint(np.interp(times, clock, wheel.position_rad) * 60).astype(int)
    frames = np.stack([np.roll(tyre, place, axis=1)[:, :WIDTH] for place in at])
    if lamp is not None:
        frames[lamp:] += 12
    for first, stop in hands:
        frames[first:stop, 8:40, 20:50] = 220
    lossless = {"crf": "0", "preset": "ultrafast"}
    write_video(path, iter(frames), WIDTH, HEIGHT, FPS, options=lossless)
    return Film(path, frames, wheel, times)


def by_reference(
    reference: Reference, path: Path, n_frames: int, number: int, region: tuple[int, int] = (HEIGHT, WIDTH)
) -> dict[str, Any]:
    """Return the reference's energies of a window; the first compares the third frame with the fifth."""
    height, width = region
    asked = reference.ask(
        "wheel_energy", video=path, n_frames=n_frames, window=WINDOW, number=number, height=height, width=width
    )
    assert asked.error is None
    return asked.values


def energies(path: Path, height: int, width: int) -> NDArray[np.float64]:
    """Return our own energies of all pixels, (frame,)."""
    reducer, index = MotionEnergy(Region(0, height, 0, width)), index_video(path)
    values = values_of(path, index, cut_evenly(len(index), 700), [reducer])
    return np.asarray(values[f"{reducer.name}/{reducer.name}"], np.float64)


def assert_right_by_ours(made: Film) -> None:
    """Assert that our energies are plain differences, and that the wheel is found to be in step."""
    ours = energies(made.path, HEIGHT, WIDTH)
    plain = np.abs(made.frames[2:].astype(int) - made.frames[:-2]).mean(axis=(1, 2))
    np.testing.assert_allclose(ours[:-2], plain, rtol=1e-6)
    turned = motion(made.wheel)
    assert turned is not None
    pulses = Pulses(made.times_s, np.ones(made.times_s.size, np.bool_))
    found = align(ours, pulses, np.arange(made.times_s.size) + 6, turned)
    assert found.is_confident, found.why_not
    assert abs(found.shift_frames - 6) < 0.5


def test_7_15_frames_that_are_not_next_to_the_window_give_energy_that_was_not_there_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """More light 50 frames before a window that begins with a hand: the wheel stands, and nothing changes within it."""
    made = film(tmp_path / "hand.mp4", 1400, [(496, 520)], lamp=450)
    theirs = by_reference(reference, made.path, 1400, 1)
    assert (theirs["first"], theirs["last"]) == (496, 996)
    assert theirs["asked"] == [[496, 995], [96, 295]]  # the frames next to the window are 296 to 495
    until = STILL[1] - 496 - 6
    assert np.flatnonzero(theirs["energy"][:until]).tolist() == [20, 21]  # where the hand leaves
    control = film(tmp_path / "no_hand.mp4", 1400, [], lamp=450)
    assert not by_reference(reference, control.path, 1400, 1)["energy"][:until].any()
    assert_right_by_ours(made)


def test_7_15_a_hand_at_the_end_of_the_last_window_but_one_takes_all_its_energy_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """Frames past the end of the video are read as black ones, beside which every frame has a hand in it."""
    n_frames = 1180
    made = film(tmp_path / "hand.mp4", n_frames, [(976, 996)])
    theirs = by_reference(reference, made.path, n_frames, 1)
    assert theirs["asked"] == [[496, 995], [1196, 1395]]
    control = film(tmp_path / "no_hand.mp4", n_frames, [])
    true = by_reference(reference, control.path, n_frames, 1)["energy"].astype(float)
    moving = true > 0
    assert moving.sum() > 100
    assert theirs["energy"][moving].sum() < 0.01 * true[moving].sum()
    assert_right_by_ours(made)


def test_7_16_a_hand_in_the_first_frame_alone_is_an_index_error_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    made = film(tmp_path / "hand.mp4", 1400, [(0, 1)])
    assert by_reference(reference, made.path, 1400, 0)["failure"].startswith("IndexError")
    two = film(tmp_path / "two.mp4", 1400, [(0, 2)])
    assert "failure" not in by_reference(reference, two.path, 1400, 0)
    assert_right_by_ours(made)


def test_7_16_a_hand_in_the_last_frame_alone_is_an_index_error_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """It is the last of every stretch that the reference looks at in search of a frame without a hand."""
    last = [499, *range(899, 4700, 200)]
    made = film(tmp_path / "hand.mp4", 4800, [(at, at + 1) for at in last])
    theirs = by_reference(reference, made.path, 4800, 0, region=(24, 32))
    assert len(theirs["asked"]) == 21
    assert theirs["failure"].startswith("IndexError")
    assert_right_by_ours(made)


def test_7_17_a_hand_that_stays_for_256_frames_is_not_painted_out_by_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """255 times 256 is nothing in 8 bits."""
    made = {n: film(tmp_path / f"{n}.mp4", 1400, [(100, 100 + n)]) for n in (255, 256)}
    theirs = {n: by_reference(reference, each.path, 1400, 0)["energy"].astype(float) for n, each in made.items()}
    enters, leaves = [96, 97], [352, 353]
    usual = np.quantile(theirs[255], 0.99)
    assert (theirs[256][enters + leaves] > 3 * usual).all()
    assert theirs[255].max() < 2 * usual
    assert_right_by_ours(made[256])


# -- a counter that turns over -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 5])
def test_7_18_a_counter_that_turns_over_loses_a_count_in_the_reference(reference: Reference, step: int) -> None:
    true = np.array([3, 1, 0, -step, -step - 1, -step, 0, 2])
    raw = (true % 2**32).astype(np.float64)
    theirs = reference.ask("counter", raw=raw)["counts"]
    np.testing.assert_array_equal(theirs, np.where(true < 0, true + 1, true))
    np.testing.assert_array_equal(counts_from_counter(raw), true)


def test_7_18_the_wheel_of_a_timeline_misses_a_tick_at_every_turn_of_its_counter_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """One tick down, and up again, past zero: the times at which the wheel passes it are not there."""
    folder = tmp_path / "raw_sync_data"
    folder.mkdir()
    true = np.repeat([2, 1, 0, -1, -2, -1, 0, 1], 50)
    clock = np.arange(true.size) / 1000
    np.save(folder / "_timeline_DAQdata.raw.npy", np.stack([true % 2**32, 0 * true], axis=1).astype(np.float64))
    np.save(folder / "_timeline_DAQdata.timestamps.npy", clock)
    inputs = [{"name": "rotary_encoder", "arrayColumn": 1, "measurement": "Position", "daqChannelID": "ctr0"}]
    (folder / "_timeline_DAQdata.meta.json").write_text(json.dumps({"inputs": inputs}))
    files = [folder / f"_timeline_DAQdata.{name}" for name in ("raw.npy", "timestamps.npy", "meta.json")]
    turned = np.flatnonzero(np.diff(true)) + 1
    past_zero = [2, 5]  # of the seven turns: 0 to -1, and -1 to 0
    kept = np.delete(turned, past_zero)
    wheel, fronts = (reference.ask(call, session=tmp_path) for call in ("timeline_wheel", "timeline_fronts"))
    np.testing.assert_allclose(wheel["times"], clock[kept])
    np.testing.assert_allclose(fronts["times"], clock[kept])
    ours = read_timeline_wheel(*files)
    assert ours is not None
    np.testing.assert_allclose(ours.times_s, clock[turned])
    ticks = (true[turned] - true[turned[0]]) * 2 * np.pi / (4 * TICKS_PER_TURN)
    np.testing.assert_allclose(ours.position_rad, ticks, atol=1e-12)
    sync = read_timeline_recording(*files)
    np.testing.assert_allclose(sync.times_s, clock[turned])
    np.testing.assert_array_equal(sync.polarities, np.sign(np.diff(true)[turned - 1]))
