"""Duration and imports of `ibl-dask plan` for many sessions of an hour.

Each session has three cameras of 216,000 frames, two probes and two protocols. Videos are links to one file, since
only their tables are read.

    python benchmarks/plan.py [--sessions 5000] [--out benchmarks/results/plan.md]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import yaml
from machine import machine, write_page

N_FRAMES = 216_000
HEAVY = ("av", "cv2", "dask", "distributed", "torch", "ibllib", "tensorflow")
PLAN = """
import contextlib, io, json, sys, time
clock = time.perf_counter()
from ibl_dask.cli.plan import show_plan
imported = time.perf_counter() - clock
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    show_plan([sys.argv[1]], None, None, None, None, as_json=True)
totals = json.loads(printed.getvalue())["totals"]
heavy = [name for name in {heavy!r} if name in sys.modules]
print(json.dumps([imported, time.perf_counter() - clock, heavy, totals]))
"""


def write_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=60, options={"preset": "ultrafast", "g": "250", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")
        for number in range(N_FRAMES):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    enlarge(path)


def enlarge(path: Path) -> None:
    """Write the size of a picture of the right camera into the tables of a video, so that it has as many chunks.

    No frame is decoded: to encode an hour of that size would take minutes.
    """
    content = bytearray(path.read_bytes())
    place = content.index(b"avc1", content.index(b"stsd")) + 28  # width and height follow 24 bytes of the entry
    if struct.unpack_from(">HH", content, place) != (16, 16):
        raise RuntimeError("the size of a picture is not where it was expected")
    struct.pack_into(">HH", content, place, 640, 512)
    path.write_bytes(content)


def write_session(folder: Path, video: Path) -> None:
    description = {
        "version": "1.0.0",
        "sync": {"nidq": {"collection": "raw_ephys_data", "extension": "bin", "acquisition_software": "spikeglx"}},
        "devices": {
            "cameras": {label: {"collection": "raw_video_data"} for label in ("left", "right", "body")},
            "neuropixel": {name: {"collection": f"raw_ephys_data/{name}"} for name in ("probe00", "probe01")},
        },
        "tasks": [
            {"_iblrig_tasks_ephysChoiceWorld": {"collection": "raw_task_data_00"}},
            {"_iblrig_tasks_passiveChoiceWorld": {"collection": "raw_task_data_01"}},
        ],
    }
    for name in ("raw_video_data", "raw_ephys_data/probe00", "raw_ephys_data/probe01"):
        (folder / name).mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text(yaml.safe_dump(description))
    for label in ("left", "right", "body"):
        os.link(video, folder / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4")
    for name in ("probe00", "probe01"):
        header = "imDatPrb_type=0\nimDatPrb_port=1\nimDatPrb_slot=2\n"
        (folder / "raw_ephys_data" / name / f"_spikeglx_g0_t0.{name}.ap.meta").write_text(header)


def main() -> None:
    """Plan, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n = options.sessions
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        video = root / "video.mp4"
        write_video(video)
        for number in range(n):
            write_session(root / "lab" / "Subjects" / f"S{number:04}" / "2023-05-01" / "001", video)
        printed = subprocess.run(
            [sys.executable, "-c", PLAN.format(heavy=HEAVY), str(root / "lab")],
            capture_output=True,
            text=True,
            check=True,
        )
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    imported, seconds, heavy, totals = json.loads(printed.stdout)
    text = (
        f"{machine()}\n\n`python benchmarks/plan.py --sessions {n}`: {n:,} sessions of an hour, each with three "
        f"cameras of {N_FRAMES:,} frames (H.264 with B-frames; only tables are read), two probes and two protocols; "
        f"{totals['tasks']:,} tasks, {totals['tasks_that_run']:,} of which would run. From 400 sessions on, one "
        "process per core, four at most, plans them.\n\n| | |\n| --- | ---: |\n"
        f"| wall time | {seconds:.1f} s |\n"
        f"| of which imports | {imported:.1f} s |\n"
        f"| per session | {1e3 * (seconds - imported) / n:.1f} ms |\n"
        f"| CPU time, user and system | {used.ru_utime:.1f} s, {used.ru_stime:.1f} s |\n"
        f"| imported of {', '.join(HEAVY)} | {', '.join(heavy) or 'none'} |\n"
    )
    print(text)
    if options.out is not None:
        write_page(options.out, text)


if __name__ == "__main__":
    main()
