"""Sessions of a training rig: one camera, and a Bpod that records its pulses during trials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.synth.bpod_files import PROTOCOL, NotedTrial, to_ticks, write_bpod
from ibl_dask.synth.camera_files import camera_records, write_frame_data, write_separate_files
from ibl_dask.synth.clocks import CameraClock
from ibl_dask.synth.plan import camera_rng, frame_size, kept_exposures
from ibl_dask.synth.render import CameraVideo, VideoStyle, write_videos
from ibl_dask.synth.rig_files import VIDEO_FOLDER, camera_entry, write_yaml
from ibl_dask.synth.truth import CameraTruth
from ibl_dask.synth.wheel import simulate_behaviour

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.synth.render import Frames

    Floats = NDArray[np.float64]
    Trials = list[tuple[float, float]]

TRAINING_FPS = 30.0
"""Frame rate of a training rig, Hz."""
TASK_FOLDER = "raw_behavior_data"

_STROBE_S = 0.027
"""The strobe is high for most of a period, as on real rigs."""
_CUE_S = (0.05, 0.053, 0.1)
"""The go cue is two pulses 3 ms apart: after its rise a fall, a rise, a fall."""
_CHATTER_S = (0.002, 0.004, 0.1)
"""A cue whose first three edges are within 5 ms."""
_DRIFT_PPM = 60.0


@dataclass(frozen=True, slots=True)
class TrainingFaults:
    """Deviations of a recording from one pulse per frame in the Bpod's trials."""

    head_s: float = 1.0
    """Time for which the camera ran before the first trial; negative where it starts within that."""
    tail_s: float = 0.6
    """Time for which the camera ran after the last trial; negative where it stops within that."""
    n_dropped: int = 0
    """Exposures within the video that never became a frame."""
    n_lost_start: int = 0
    """Exposures before the first frame: the workflow missed them, a Bpod may have seen them."""
    n_lost_end: int = 0
    """Exposures after the last frame."""
    mute_trials: int = 0
    """Trials, every third from the second on, in which the Bpod notes nothing of the sounds."""
    blind_trials: int = 0
    """Trials, every third from the third on, in which the Bpod notes nothing of the camera."""
    short_gap: bool = False
    """Note the start of one trial so early that its first pulse comes 0.4 periods after the last before it."""
    chatter: bool = False
    """Give every other go cue three edges within 5 ms."""
    pins: Literal["sound", "stuck", "none"] = "sound"
    """State of pin 4: the sounds, constant, or no file of it."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTruth:
    """Ground truth of a session, on the clock of its Bpod."""

    camera: CameraTruth
    """Exposures and frames of the camera; its first and last pulse are those that the Bpod recorded."""
    trial_times_s: Floats
    """Start and end of each trial (trial, 2)."""
    ttl_times_s: Floats
    """Edges of the sound's TTL: rise, fall, rise, ..., whether noted or not."""
    noted_s: Floats
    """Time of each exposure in the Bpod's record; NaN where it has none (exposure,)."""

    @property
    def is_noted(self) -> NDArray[np.bool_]:
        """Return for each frame whether the Bpod noted its exposure (frame,)."""
        return np.isfinite(self.noted_s[self.camera.frame_exposures])


def plan_training(
    duration_s: float,
    *,
    label: str = "left",
    size: tuple[int, int] = (1280, 1024),
    seed: int = 0,
    faults: TrainingFaults | None = None,
) -> tuple[TrainingTruth, list[NotedTrial]]:
    """Plan a session and the Bpod's record of it; nothing is written.

    Parameters
    ----------
    duration_s
        From the start of the first trial to the end of the last, or a little less.
    label
        The camera that is wired to the Bpod.
    size
        Width and height of its frames, pixels.
    seed
        Seed of everything that varies.
    faults
        Deviations from one recorded pulse per frame; none by default.

    Raises
    ------
    UsageError
        If there is no time for a trial, or a fault needs more trials or frames than there are.
    """
    faults = faults or TrainingFaults()
    rng = camera_rng(seed, f"training {label}")
    trials = _trials(duration_s, rng)
    if len(trials) < 3:
        raise UsageError("this session is too short for three trials", got=f"{duration_s:g} s", do="make it longer")
    camera = _camera(label, size, trials, faults, rng)
    cues = [start + rng.uniform(0.5, 0.8) for start, _ in trials]
    sounds = [
        _sounds(cue, stop, faults.chatter and number % 2 == 0, rng)
        for number, (cue, (_, stop)) in enumerate(zip(cues, trials, strict=True))
    ]
    exposures = camera.exposure_times_s
    mute, blind = range(1, 3 * faults.mute_trials, 3), range(2, 2 + 3 * faults.blind_trials, 3)
    early = _shift(exposures, trials) if faults.short_gap else {}
    noted_s = np.full(exposures.size, np.nan)
    noted = []
    for number, ((start, stop), cue, edges) in enumerate(zip(trials, cues, sounds, strict=True)):
        shift = early.get(number, 0.0)
        inside = (exposures >= start) & (exposures < stop)
        falls = exposures + _STROBE_S
        events = {
            "Port1In": exposures[inside],
            "Port1Out": falls[(falls >= start) & (falls < stop)],
            "BNC2High": edges[::2],
            "BNC2Low": edges[1::2],
        }
        if number in blind:
            del events["Port1In"], events["Port1Out"]
        else:
            noted_s[inside] = to_ticks(exposures[inside] - start) + start - shift
        if number in mute:
            del events["BNC2High"], events["BNC2Low"]
        seen = {name: to_ticks(times - start) + start - shift for name, times in events.items() if times.size}
        noted.append(NotedTrial(start - shift, stop - shift, cue - shift, seen))
    known = np.flatnonzero(np.isfinite(noted_s))
    camera = CameraTruth(
        camera.label,
        camera.fps,
        camera.width,
        camera.height,
        exposures,
        camera.frame_exposures,
        int(known[0]),
        int(known[-1]) + 1,
    )
    return TrainingTruth(camera, np.array(trials), np.concatenate(sounds), noted_s), noted


def write_training_session(
    folder: Path,
    *,
    duration_s: float = 30.0,
    label: str = "left",
    seed: int = 0,
    scale: float = 1.0,
    frame_data: bool = False,
    faults: TrainingFaults | None = None,
    footage: Frames | None = None,
    task_folder: str = TASK_FOLDER,
    burn: bool = True,
    gop: int = 250,
) -> TrainingTruth:
    """Write a session of a training rig and return its ground truth.

    Parameters
    ----------
    folder
        Session folder, ending in `subject/YYYY-MM-DD/NNN`; made if need be.
    duration_s, label, seed, faults
        See `plan_training`.
    scale
        Scales the frames.
    frame_data
        Write `frameData.bin` instead of the three older files, whose clocks stand in the order of training rigs.
    footage
        Frames `(y, x)` of the scaled size to use instead of drawn ones.
    task_folder
        Folder of the Bpod's files.
    burn
        Burn frame numbers into the pixels.
    gop
        Greatest distance of keyframes, frames.

    Raises
    ------
    UsageError, NotASession
        If arguments contradict each other, or the folder's name is not that of a session.
    """
    faults = faults or TrainingFaults()
    folder.mkdir(parents=True, exist_ok=True)
    zero = datetime.fromisoformat(Session(folder).date).replace(hour=14, tzinfo=UTC)
    truth, noted = plan_training(duration_s, label=label, size=frame_size(label, scale), seed=seed, faults=faults)
    camera = truth.camera
    _write_description(folder, camera, task_folder)
    write_bpod(folder / task_folder, noted)
    videos = folder / VIDEO_FOLDER
    videos.mkdir(exist_ok=True)
    edges = truth.ttl_times_s if faults.pins == "sound" else np.empty(0)
    records = camera_records(camera, edges, zero, camera_rng(seed, f"files {label}"))
    if frame_data:
        write_frame_data(videos, label, records)
    else:
        write_separate_files(videos, label, records, camera_first=True)
        if faults.pins == "none":
            (videos / f"_iblrig_{label}Camera.GPIO.bin").unlink()
    rng = np.random.default_rng(seed)
    behaviour = simulate_behaviour(float(camera.exposure_times_s[-1]) + 1.0, truth.ttl_times_s[::4], rng)
    video = CameraVideo(camera, behaviour, footage, seed, burn, None)
    write_videos(videos, [video], VideoStyle(gop=gop), workers=1)
    return truth


def _trials(duration_s: float, rng: np.random.Generator) -> Trials:
    """Return trials of some seconds with half a second between them, on whole ticks; the first starts at zero."""
    trials: Trials = []
    at = 0.0
    while True:
        length = float(to_ticks(np.array(rng.uniform(2.0, 5.0))))
        if at + length > duration_s:
            return trials
        trials.append((at, at + length))
        at += length + float(to_ticks(np.array(rng.uniform(0.35, 0.6))))


def _camera(
    label: str, size: tuple[int, int], trials: Trials, faults: TrainingFaults, rng: np.random.Generator
) -> CameraTruth:
    clock = CameraClock(TRAINING_FPS, -faults.head_s, float(rng.uniform(-_DRIFT_PPM, _DRIFT_PPM)))
    n_exposures = round((trials[-1][1] + faults.tail_s + faults.head_s) * TRAINING_FPS)
    exposures = clock.exposure_times(n_exposures, rng)
    n_frames = n_exposures - faults.n_lost_start - faults.n_lost_end - faults.n_dropped
    if n_frames < 2:
        raise UsageError("fewer than two frames are left", got=f"{faults}")
    frames = faults.n_lost_start + kept_exposures(n_frames, faults.n_dropped, rng)
    return CameraTruth(label, TRAINING_FPS, *size, exposures, frames, 0, n_exposures)


def _sounds(cue: float, stop: float, chatter: bool, rng: np.random.Generator) -> Floats:
    """Return the edges of a trial's sounds: the go cue, and after some of them half a second of noise."""
    edges = [cue, *(cue + after for after in (_CHATTER_S if chatter else _CUE_S))]
    noise = cue + rng.uniform(0.3, 0.6)
    if rng.random() < 0.4 and noise + 0.5 < stop:
        edges += [noise, noise + 0.5]
    return np.array(edges)


def _shift(exposures: Floats, trials: Trials) -> dict[int, float]:
    """Return how early the middle trial is noted, so that its first pulse comes 0.4 periods after the last before."""
    middle = len(trials) // 2
    before = exposures[exposures < trials[middle - 1][1]][-1]
    first = exposures[exposures >= trials[middle][0]][0]
    return {middle: float(first - before) - 0.4 / TRAINING_FPS}


def _write_description(folder: Path, camera: CameraTruth, task_folder: str) -> None:
    content = {
        "version": "1.0.0",
        "procedures": ["Behavior training/tasks"],
        "sync": {"bpod": {"collection": task_folder}},
        "devices": {"cameras": {camera.label: camera_entry(camera)}},
        "tasks": [{PROTOCOL: {"collection": task_folder, "sync_label": "bpod"}}],
    }
    write_yaml(folder, content)
