"""Cost of the checks of a measured session, and of finding the face in a frame pass.

    python benchmarks/camera_qc.py [--minutes 60] [--repeat 3] [--out benchmarks/results/camera_qc.md]

checks         steps `qc` of three cameras and `publish` of a session of an hour, one after another in one process:
               per-frame stores, times, camera files and indexes are read from disk, `qc.json` is written.
reference      checks of `CameraQC` on arrays of the same lengths in memory, with 100 real frames per camera; without
               decoding, reading and wheel alignment. Needs IBL_DASK_PEER_PYTHON.
face           one frame: search of the whole frame (done twice by the reference), search by `ibl_dask`, and total work
               of the reducer on a sampled frame. Reference frames are read from --reference-frames.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from machine import machine, write_page

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.session import Session
from ibl_dask.model.step import StepKey, StepRecord, Upstream
from ibl_dask.store import arrays
from ibl_dask.store.frames import Column, FramesStore, write_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.video_sync.camera_qc import CheckCamera, PublishQc
from ibl_dask.tasks.video_sync.pulse_times import TIMING_VERSION
from ibl_dask.tasks.video_sync.timing_summary import FramesTimed, TimingSummary
from ibl_dask.video.container.index import INDEX_VERSION, FrameIndex
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.reference_frame import FaceFinder, ReferenceFrame, find_reference, sharp_positions

RIGS = {"left": (60, 1280, 1024), "right": (150, 640, 512), "body": (30, 640, 512)}
PEER = os.environ.get("IBL_DASK_PEER_PYTHON")

THEIRS = """
import json, sys, time
import numpy as np
from iblutil.util import Bunch
from ibllib.qc.camera import CameraQC

out = {}
for label, (fps, width, height) in json.loads(sys.argv[1]).items():
    n = int(sys.argv[2]) * 60 * fps
    qc = CameraQC.__new__(CameraQC)
    qc.label, qc._type, qc.n_samples = label, "ephys", 100
    frames = np.resize(qc.load_reference_frames(label), (100, height, width))
    pin = np.zeros((n, 4), bool)
    pin[::900] = True
    qc.data = Bunch(
        frame_samples=frames, timestamps=np.arange(n) / fps, count=np.arange(n), pin_state=pin,
        audio=np.arange(2 * (n // 900)), bonsai_times=[], camera_times=np.arange(n) / fps,
        video=Bunch(length=n, fps=fps, width=width, height=height),
    )
    clock = time.perf_counter()
    for name in ("brightness", "camera_times", "dropped_frames", "file_headers", "focus", "framerate", "pin_state",
                 "position", "resolution", "timestamps"):
        getattr(qc, "check_" + name)()
    out[label] = time.perf_counter() - clock
print("SECONDS" + json.dumps(out))
"""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--reference-frames", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = write_measured(Path(folder), options.minutes)
        frames = {label: fps * 60 * options.minutes for label, (fps, _, _) in RIGS.items()}
        ours = [judge(workspace) for _ in range(options.repeat)]
        theirs = [ask_the_reference(options.minutes) for _ in range(options.repeat)] if PEER else []
    lines = [machine(), "", "| | frames | checks, s | the reference's, s |", "| --- | ---: | ---: | ---: |"]
    for label in [*RIGS, "publish"]:
        row = [f"{frames[label]:,}" if label in frames else "", median(ours, label), median(theirs, label)]
        lines.append(f"| {label} | " + " | ".join(row) + " |")
    totals = [[{"": sum(run.values())} for run in runs] for runs in (ours, theirs)]
    lines.append(f"| together | | {median(totals[0], '')} | {median(totals[1], '')} |")
    if options.reference_frames:
        lines += ["", *face_table(options.reference_frames, options.repeat)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        write_page(options.out, text)


def median(runs: list[dict[str, float]], name: str) -> str:
    """Format the median of one row."""
    seconds = [run[name] for run in runs if name in run]
    return f"{statistics.median(seconds):.2f}" if seconds else ""


def write_measured(root: Path, minutes: int) -> Workspace:
    """Write the results of frame pass and timing of three cameras."""
    folder = root / "Subjects" / "SW_001" / "2023-05-01" / "001"
    (folder / "raw_video_data").mkdir(parents=True)
    (folder / "alf").mkdir()
    cameras = {c: {"fps": f, "width": w, "height": h, "sync_label": "audio"} for c, (f, w, h) in RIGS.items()}
    description = {"devices": {"cameras": cameras}, "sync": {"nidq": {"collection": "raw_ephys_data"}}}
    (folder / "_ibl_experiment.description.yaml").write_text(json.dumps(description))
    workspace = Workspace(Session(folder), root / "work")
    workspace.check_writable()
    for label, (fps, width, height) in RIGS.items():
        write_camera(workspace, label, minutes * 60 * fps, fps, width, height)
    return workspace


def write_camera(workspace: Workspace, label: str, n: int, fps: int, width: int, height: int) -> None:
    """Write index, camera file, times and per-frame store of one camera."""
    rng = np.random.default_rng(n)
    number = np.arange(n)
    keys = number[::250]
    index = FrameIndex(
        codec="h264",
        pixel_format="yuv420p",
        width=width,
        height=height,
        time_base=Fraction(1, fps),
        rate=Fraction(fps),
        pts=number,
        key_pts=keys,
        key_dts=keys,
        key_is_closed=np.ones(len(keys), np.bool_),
        places=np.zeros(0, np.int64),
        n_hidden=0,
        n_absent=0,
        n_empty=0,
        notes=(),
        size_bytes=1,
        mtime_ns=1,
    )
    arrays.write_arrays(workspace.index_file(label), "frame-index", INDEX_VERSION, *index.to_arrays())
    times = 10 + number / fps
    np.save(workspace.times_file(label), times)
    ticks, pins = 638_000_000_000_000_000 + number * (10_000_000 // fps), (number % 900 < 6) << 28
    timer = (np.floor(number / fps).astype(np.int64) % 128 << 25) | ((number * 8000 // fps) % 8000 << 12)
    raw = np.column_stack([ticks, timer, number, pins]).astype(np.float64)
    raw.tofile(workspace.session.path / "raw_video_data" / f"_iblrig_{label}Camera.frameData.bin")
    timing = {
        "quality": np.zeros(n, np.uint8),
        "residual_frames": number[::900],
        "residuals_s": -rng.uniform(0, 1 / fps, len(number[::900])),
    }
    arrays.write_arrays(workspace.timing_file(label), "camera-timing", TIMING_VERSION, timing, {})
    columns, coordinates = {}, {"frame": Column(("frame",), number), "time": Column(("frame",), times)}
    for reducer in camera_reducers(label, n, width, height):
        wanted = reducer.wanted(Chunk(0, n))
        if reducer.frame_dim != "frame":
            coordinates[reducer.frame_dim] = Column((reducer.frame_dim,), wanted)
        for variable in reducer.variables:
            values = rng.normal(100, 0.5, (len(wanted), *variable.shape)).astype(variable.dtype)
            columns[variable.name] = Column((reducer.frame_dim, *variable.dims), values)
    n_samples = len(coordinates["sample_frame"].values)
    for name in ("face_x", "face_y", "face_score", "histogram_correlation", "face_laplacian", "face_is_sharp"):
        columns[name] = Column(("sample_frame",), rng.normal(100, 1, n_samples))
    columns["decode_error"] = Column(("frame",), np.zeros(n, np.uint8))
    columns["time_quality"] = Column(("frame",), np.zeros(n, np.uint8))
    write_frames(workspace.frames_store(label), FramesStore(columns, coordinates, {}, {}), "", label)


def judge(workspace: Workspace) -> dict[str, float]:
    """Run the steps of the checks; return the duration of each, s."""
    seconds, records = {}, {}
    for label in RIGS:
        timing = TimingSummary(n_ttl_rises=1, hint="PASS", period_s=1 / RIGS[label][0])
        index, wheel, frames = (StepKey(f"{kind}-{label}", "", "", 0) for kind in ("index", "wheel", "frames"))
        timed = StepRecord(wheel, "done", FramesTimed(frames=0, timing=timing))
        known = Upstream([StepRecord(index, "done"), timed, StepRecord(frames, "done")])
        camera = workspace.session.description.camera(label)
        clock = time.perf_counter()
        check = CheckCamera(
            session="",
            camera=label,
            workspace=workspace,
            described=camera,
            reference_frames=None,
            index=index,
            wheel=wheel,
            merge=frames,
        )
        records[check.key] = StepRecord(check.key, "done", check.run(known))
        seconds[label] = time.perf_counter() - clock
    clock = time.perf_counter()
    publish = PublishQc(session="", workspace=workspace, cameras=tuple(RIGS), checks=tuple(records))
    publish.run(Upstream(records.values()))
    seconds["publish"] = time.perf_counter() - clock
    return seconds


def ask_the_reference(minutes: int) -> dict[str, float]:
    """Return the duration of the reference's checks on arrays in memory, s."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home, "MPLBACKEND": "Agg"}
        command = [str(PEER), "-c", THEIRS, json.dumps(RIGS), str(minutes)]
        answer = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return dict(json.loads(answer.stdout.partition("SECONDS")[2]))


def face_table(folder: Path, repeat: int) -> list[str]:
    """Return the table of the face search."""
    lines = ["| one frame, ms | search of the whole frame | ours | all of a sampled frame | of one judged for focus |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for label, (_, width, height) in RIGS.items():
        reference = find_reference(label, width, height, folder)
        if not isinstance(reference, ReferenceFrame):
            sys.exit(reference)
        pictures = np.load(reference.path)
        finder, face = FaceFinder(pictures[0], reference.face), reference.face
        image = np.roll(pictures[-1], (7, -11), (0, 1))
        equalised = np.asarray(cv2.equalizeHist(image), np.uint8)
        size = (face.bottom - face.top, face.right - face.left)
        full, ours = milliseconds(finder.search, image, repeat), milliseconds(finder.find, image, repeat)
        sampled = ours + milliseconds(finder.histogram_correlation, image, repeat)
        places = milliseconds(lambda picture, size=size: sharp_positions(picture, *size), equalised, repeat)
        lines.append(f"| {label} | {full:.1f} | {ours:.1f} | {sampled:.1f} | {sampled + places:.1f} |")
    return lines


def milliseconds(function: Callable[[np.ndarray], object], image: np.ndarray, repeat: int) -> float:
    """Return the shortest time of some calls, ms."""
    seconds = []
    for _ in range(max(3, repeat)):
        clock = time.perf_counter()
        function(image)
        seconds.append(time.perf_counter() - clock)
    return 1000 * min(seconds)


if __name__ == "__main__":
    main()
