"""Sessions of a training rig around real trials: a real clip stands in for the videos, which are not public."""

import json
import shutil
from datetime import UTC, datetime

import numpy as np
import yaml

from ibl_dask.synth.camera_files import camera_records
from ibl_dask.synth.movie import loop_clip, write_video
from ibl_dask.synth.truth import CameraTruth
from ibl_dask.video.reader import FrameReader

SIZE = (320, 256)


def noted(data_folder, name):
    """Return rises of the strobe and edges of the sound as the trials give them, s since the start of the Bpod."""
    path = data_folder / "bpod" / f"session_{name}" / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable"
    rises, edges = [], []
    for line in path.read_text().splitlines():
        trial = json.loads(line)["behavior_data"]
        start, events = trial["Trial start timestamp"] - trial["Bpod start timestamp"], trial["Events timestamps"]
        rises += [start + t for t in events.get("Port1In", [])]
        edges += [start + t for kind in ("BNC2High", "BNC2Low") for t in events.get(kind, [])]
    return np.array(rises), np.sort(edges)


def exposures_of(rises, tail):
    """Return when an even camera exposed that was seen at these times, and for some frames after them."""
    numbers = np.concatenate([[0], np.cumsum(np.rint(np.diff(rises) / 0.03329))]).astype(int)
    within = np.interp(np.arange(numbers[-1] + 1), numbers, rises)
    period = (rises[-1] - rises[1]) / (numbers[-1] - numbers[1])
    return numbers, np.concatenate([within, rises[-1] + period * np.arange(1, tail + 1)])


def make(folder, data_folder, name, n_frames):
    shutil.copytree(data_folder / "bpod" / f"session_{name}" / "raw_behavior_data", folder / "raw_behavior_data")
    with FrameReader(data_folder / "video" / "mirror_mouse.mp4") as reader:
        clip = reader.read(0, 100)
    video = folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    write_video(video, loop_clip(clip, n_frames, *SIZE), *SIZE, 30, options={"preset": "ultrafast"})
    camera = {"collection": "raw_video_data", "sync_label": "audio", "width": SIZE[0], "height": SIZE[1]}
    description = {
        "version": "1.0.0",
        "sync": {"bpod": {"collection": "raw_behavior_data"}},
        "devices": {"cameras": {"left": camera}},
        "tasks": [{f"_iblrig_tasks_{name}": {"collection": "raw_behavior_data", "sync_label": "bpod"}}],
    }
    (folder / "_ibl_experiment.description.yaml").write_text(yaml.safe_dump(description))


def camera_file(folder, exposures, edges, write, **options):
    truth = CameraTruth("left", 30.0, *SIZE, exposures, np.arange(exposures.size), 0, exposures.size)
    records = camera_records(truth, edges, datetime(2019, 7, 1, 12, tzinfo=UTC), np.random.default_rng(0))
    write(folder / "raw_video_data", "left", records, **options)
