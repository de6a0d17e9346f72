"""The reference's wheel and alignment on the same arrays and files, where the reference is right."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from needs import PEER
from wheel_scenes import make_scene, turning

from ibl_dask.model.chunk import Chunk
from ibl_dask.synth import write_video
from ibl_dask.synth.wheel import encoder_edges, quadrature
from ibl_dask.timing.clocks.nidq import Fronts
from ibl_dask.timing.wheel.alignment import align
from ibl_dask.timing.wheel.bout import active_bout, bout_offset
from ibl_dask.timing.wheel.bpod_encoder import read_bpod_wheel
from ibl_dask.timing.wheel.motion import motion
from ibl_dask.timing.wheel.sources import wheel_from_fronts
from ibl_dask.timing.wheel.trace import Wheel
from ibl_dask.video.container.index import index_video
from ibl_dask.video.framepass import join_passes, run_pass
from ibl_dask.video.reducers.camera_set import wheel_region
from ibl_dask.video.reducers.motion_energy import MotionEnergy

pytestmark = pytest.mark.peer

COMMON = """
import json, sys
from pathlib import Path
import numpy as np
from iblutil.util import Bunch
import brainbox.behavior.wheel as wh
data = np.load(sys.argv[1])
"""
TURNING = """
from ibllib.io.extractors.ephys_fpga import _rotary_encoder_positions_from_fronts
from ibllib.qc.camera import CameraQC
answers = {}
for i in range(int(sys.argv[2])):
    times, position = data[f"{i}/times"], data[f"{i}/position"]
    even, clock = wh.interpolate_position(times, position)
    velocity, _ = wh.velocity_filtered(even, 1000)
    answers[f"{i}/velocity"], answers[f"{i}/clock"] = velocity, clock
    period = CameraQC.get_active_wheel_period(Bunch(timestamps=times, position=position))
    answers[f"{i}/period"] = np.array([np.nan, np.nan]) if period is None else np.asarray(period)
fronts = [data[name] for name in ("ta", "pa", "tb", "pb")]
answers["decoded_times"], answers["decoded"] = _rotary_encoder_positions_from_fronts(*fronts)
np.savez(sys.argv[3], **answers)
"""
BPOD = """
from ibllib.io.extractors.training_wheel import get_wheel_position
times, position = get_wheel_position(Path(sys.argv[2]))
np.savez(sys.argv[3], times=times, position=position)
"""
OFFSETS = """
from ibllib.io.extractors.video_motion import MotionAlignment
aligned = MotionAlignment.__new__(MotionAlignment)
import logging
aligned.log, aligned.alignment = logging.getLogger("x"), Bunch()
aligned.video_paths = {"right": sys.argv[2]}
answers = []
for off in data["offs"]:
    aligned.data = Bunch(
        wheel=Bunch(timestamps=data["wheel_times"], position=data["wheel_position"]),
        camera_times={"right": data["times"] + off},
    )
    answers.append(aligned.align_motion(period=data["bout"], side="right")[0])
np.savez(sys.argv[3], offsets=np.array(answers))
"""
SHIFTS = """
from ibldsp.utils import WindowGenerator
from ibllib.io.extractors.video_motion import MotionAlignmentFullSession
full = MotionAlignmentFullSession.__new__(MotionAlignmentFullSession)
position, full.wheel_time = wh.interpolate_position(data["wheel_times"], data["wheel_position"], freq=1000)
full.wheel_vel, _ = wh.velocity_filtered(position, 1000)
fps, twin = int(data["fps"]), 150
windows = WindowGenerator(data["energy"].size - 1, fps * twin, fps * (twin - 10))
places = list(enumerate(windows.firstlast))
found = [
    [full.compute_shifts(data["times"] + off, data["energy"], *place, i, windows)[0] for i, place in places]
    for off in data["offs"]
]
np.savez(sys.argv[3], shifts=np.array(found, float))
"""


@pytest.fixture
def reference(tmp_path):
    """Return a function that runs the reference on arrays and returns its own."""

    def ask(script, argument, **arrays):
        np.savez(tmp_path / "asked.npz", **arrays)
        done = subprocess.run(
            [PEER, "-c", COMMON + script, str(tmp_path / "asked.npz"), str(argument), str(tmp_path / "answer.npz")],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLBACKEND": "Agg"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "answer.npz")

    return ask


def restless(seed, duration_s=60.0):
    """Return a wheel that turns in bouts of 1 to 15 s."""
    rng = np.random.default_rng(seed)
    clock = np.arange(0, duration_s, 1e-3)
    speed = np.zeros(clock.size)
    at = 1.0
    while at < duration_s - 2:
        length = rng.uniform(1, 15)
        moving = (clock > at) & (clock < at + length)
        speed[moving] = rng.choice([-1, 1]) * (1 + np.abs(np.sin(3 * clock[moving])) * rng.uniform(1, 5))
        at += length + rng.uniform(0.5, 4)
    ticks = np.floor(np.cumsum(speed) * 1e-3 / (2 * np.pi / 4096))
    edges = np.flatnonzero(np.diff(ticks)) + 1
    return Wheel(clock[edges] + seed, ticks[edges] * 2 * np.pi / 4096, "made up")


def test_speed_bouts_and_decoding_are_those_of_the_reference(reference):
    wheels = [restless(seed) for seed in range(6)] + [turning(40.0, np.random.default_rng(9))[0]]
    _, behaviour = turning(30.0, np.random.default_rng(4))
    times, counts = encoder_edges(behaviour)
    line, polarity = quadrature(counts)
    first, second = (Fronts(times[line == k], polarity[line == k].astype(np.int8)) for k in (0, 1))
    arrays = {f"{i}/times": w.times_s for i, w in enumerate(wheels)}
    arrays |= {f"{i}/position": w.position_rad for i, w in enumerate(wheels)}
    arrays |= {"ta": first.times_s, "pa": first.polarities, "tb": second.times_s, "pb": second.polarities}
    theirs = reference(TURNING, len(wheels), **arrays)
    n_bouts = 0
    for i, wheel in enumerate(wheels):
        ours = motion(wheel)
        assert abs(ours.velocity.size - theirs[f"{i}/velocity"].size) <= 1
        n = min(ours.velocity.size, theirs[f"{i}/velocity"].size)
        np.testing.assert_allclose(ours.times_s[:n], theirs[f"{i}/clock"][:n], atol=1e-8)
        np.testing.assert_allclose(ours.velocity[: n - 500], theirs[f"{i}/velocity"][: n - 500], atol=1e-5)
        bout, period = active_bout(ours), theirs[f"{i}/period"]
        if bout is None:
            assert np.isnan(period).all()
        else:
            n_bouts += 1
            np.testing.assert_allclose(bout, period, atol=1.1e-3)
    assert n_bouts >= 4
    decoded = wheel_from_fronts(first, second)
    start = max(first.times_s[0], second.times_s[0])
    ours_at = np.interp(theirs["decoded_times"], decoded.times_s, decoded.position_rad)
    after = theirs["decoded_times"] > start
    np.testing.assert_allclose(np.diff(ours_at[after]), np.diff(theirs["decoded"][after]), atol=1e-9)


@pytest.mark.parametrize("name", ["session_training_ge5", "session_biased_ge5"])
def test_real_encoders_turn_as_the_reference_says(reference, data_folder, tmp_path, name):
    folder = tmp_path / name
    shutil.copytree(data_folder / "bpod" / name, folder)
    theirs = reference(BPOD, folder)
    raw = folder / "raw_behavior_data"
    files = ("_iblrig_encoderPositions.raw.ssv", "_iblrig_encoderEvents.raw.ssv", "_iblrig_taskData.raw.jsonable")
    ours = motion(read_bpod_wheel(*(raw / file for file in files)))
    unique, first = np.unique(theirs["times"], return_index=True)
    other = motion(Wheel(unique, theirs["position"][first], "the reference"))
    clock = np.arange(max(ours.start_s, other.start_s) + 0.5, min(ours.stop_s, other.stop_s) - 0.5, 0.01)
    mine, its = ours.speed_at(clock), other.speed_at(clock)
    assert np.corrcoef(mine, its)[0, 1] > 0.98
    assert np.abs(mine - its).mean() < 0.05 * its.mean()


def test_offsets_of_a_bout_are_those_of_the_reference_on_a_video(reference, tmp_path):
    fps, n = 30.0, 480
    wheel = restless(2, 18.0)
    turned = motion(wheel)
    bout = active_bout(turned)
    times = wheel.times_s[0] + np.arange(n) / fps
    angle = np.interp(times, wheel.times_s, wheel.position_rad)
    rng = np.random.default_rng(0)
    pattern = np.repeat(np.repeat(rng.integers(40, 200, (64, 80)), 8, 0), 8, 1).astype(np.uint8)
    frames = [np.roll(pattern, int(a * 60), axis=1) for a in angle]
    path = tmp_path / "_iblrig_rightCamera.raw.mp4"
    write_video(path, iter(frames), 640, 512, fps)
    index = index_video(path)
    reducer = MotionEnergy(wheel_region("right", 640, 512))
    done = run_pass(path, index, Chunk(0, n), [reducer])
    energy = join_passes([reducer], [(done.chunk, done.arrays)])[f"{reducer.name}/{reducer.name}"]
    offs = np.array([-3, -1, 0, 1, 2, 6]) / fps
    theirs = reference(
        OFFSETS,
        path,
        offs=offs,
        times=times,
        bout=np.array(bout),
        wheel_times=wheel.times_s,
        wheel_position=wheel.position_rad,
    )
    ours = [bout_offset(energy, times + off, turned, bout) for off in offs]
    assert ours == theirs["offsets"].tolist()
    assert len(set(ours)) == len(offs)


def test_shifts_of_a_whole_session_are_those_of_the_reference(reference):
    offs = np.array([-4, 0, 9])
    scene = make_scene(400, 30, 11)
    theirs = reference(
        SHIFTS,
        0,
        energy=scene.energy[:-2].astype(float),
        times=scene.pulses.times_s[:-2],
        offs=offs / 30,
        fps=30,
        wheel_times=scene.wheel.times_s,
        wheel_position=scene.wheel.position_rad,
    )
    for off, shifts in zip(offs, theirs["shifts"], strict=True):
        ours = align(scene.energy, scene.pulses, scene.shows + off, scene.motion)
        assert abs(ours.shift_frames - np.nanmedian(shifts)) <= 1
