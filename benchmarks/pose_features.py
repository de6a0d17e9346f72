"""Time for what follows pose estimation, of an hour of a side camera, and the same by the reference.

    python benchmarks/pose_features.py [--minutes 60] [--reference-minutes 5] [--out FILE]

Keypoints are drawn at random, with blinks, licks and hidden paws. The reference (`brainbox.behavior.dlc`, ibllib 4.1.0)
is timed on fewer minutes if `IBL_DASK_PEER_PYTHON` names a Python that has it; its time grows with the number of
frames. Seconds are those of one core. Results of both are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine, write_page
from numpy.typing import NDArray

from ibl_dask.pose.features import features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.licks import lick_times
from ibl_dask.pose.pupil import diameter, smooth_diameter
from ibl_dask.pose.speed import speed
from ibl_dask.store.tables import read_table, write_table

RESULTS = Path(__file__).parent / "results" / "pose_features.md"
RATES = {"left": 60, "right": 150}
NAMES = (
    "nose_tip",
    *(f"pupil_{side}_r" for side in ("top", "right", "bottom", "left")),
    *("paw_l", "paw_r", "tongue_end_l", "tongue_end_r", "tube_top", "tube_bottom"),
)
OF_REFERENCE = """
import sys, time
import numpy as np, pandas as pd
from brainbox.behavior import dlc
with np.load(sys.argv[1]) as given:
    values, times, names, camera = given["values"], given["times"], given["names"].tolist(), str(given["camera"])
columns = [f"{name}_{part}" for name in names for part in ("x", "y", "likelihood")]
table = dlc.likelihood_threshold(pd.DataFrame(values.reshape(len(values), -1), columns=columns))
out, seconds = {}, {}
for what, compute in {
    "raw": lambda: dlc.get_pupil_diameter(table),
    "smooth": lambda: dlc.get_smooth_pupil_diameter(out["raw"], camera),
    "licks": lambda: dlc.get_licks(table, times),
    "speed": lambda: dlc.get_speed(table, times, camera, "paw_r"),
}.items():
    start = time.process_time()
    out[what] = np.asarray(compute())
    seconds[what] = time.process_time() - start
np.savez(sys.argv[2], **out, **{f"{name}_s": value for name, value in seconds.items()})
"""


def draw_keypoints(n_frames: int, seed: int) -> Keypoints:
    """Return random keypoints of a side camera."""
    rng = np.random.default_rng(seed)
    values = np.empty((n_frames, len(NAMES), 3))
    values[:, :, :2] = rng.uniform(100, 900, (len(NAMES), 2)) + rng.normal(0, 0.5, (n_frames, len(NAMES), 2))
    size = 12 + 3 * np.sin(np.arange(n_frames) / 300)
    for i, (dx, dy) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0)), 1):
        jitter = rng.normal(0, 0.3, (n_frames, 2))
        values[:, i, :2] = (620, 190) + size[:, None] * (dx, dy) + jitter
    values[:, :, 2] = np.where(rng.random((n_frames, len(NAMES))) < 0.03, 0.5, 0.99)
    for start in rng.integers(0, n_frames, n_frames // 600):
        values[start : start + int(rng.integers(5, 60)), 1:5, 2] = 0.2
    values[rng.random(n_frames) < 0.85, 7:9, 2] = 0.1
    return Keypoints(NAMES, values)


def timed(compute: Callable[[], object]) -> float:
    start = time.process_time()
    compute()
    return time.process_time() - start


def measure(camera: str, minutes: float, folder: Path) -> dict[str, float]:
    """Return the seconds of each step on an hour of a camera."""
    keypoints = draw_keypoints(round(60 * minutes * RATES[camera]), 1)
    times = np.arange(len(keypoints)) / RATES[camera]
    likely, raw = keypoints.likely(), diameter(keypoints.likely())
    path = folder / f"{camera}.pqt"
    return {
        "raw": timed(lambda: diameter(likely)),
        "smooth": timed(lambda: smooth_diameter(raw, camera)),
        "licks": timed(lambda: lick_times(likely, times)),
        "speed": timed(lambda: speed(likely, "paw_r", times, camera)),
        "write": timed(lambda: write_table(path, keypoints.columns())),
        "read": timed(lambda: Keypoints.from_columns(read_table(path))),
        "features": timed(lambda: features(keypoints, camera, "dlc")),
    }


def ask_reference(python: str, camera: str, minutes: float, folder: Path) -> tuple[dict[str, float], float]:
    """Return the seconds of the reference, and the largest difference to its results, px or s."""
    keypoints = draw_keypoints(round(60 * minutes * RATES[camera]), 1)
    times = np.arange(len(keypoints)) / RATES[camera]
    asked, answered = folder / "asked.npz", folder / "answered.npz"
    np.savez(asked, values=keypoints.values, times=times, names=np.array(keypoints.names), camera=np.array(camera))
    environment = {**os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([python, "-c", OF_REFERENCE, str(asked), str(answered)], check=True, env=environment)
    with np.load(answered) as found:
        theirs: dict[str, NDArray[np.float64]] = {name: found[name] for name in found.files}
    likely = keypoints.likely()
    raw = diameter(likely)
    ours = {
        "raw": raw,
        "smooth": smooth_diameter(raw, camera),
        "licks": lick_times(likely, times),
        "speed": speed(likely, "paw_r", times, camera),
    }
    largest = max(float(np.nanmax(np.abs(ours[name] - theirs[name]))) for name in ours)
    return {name: float(theirs[f"{name}_s"]) for name in ours}, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--reference-minutes", type=float, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    python = os.environ.get("IBL_DASK_PEER_PYTHON", "")
    lines = [
        "# After pose estimation",
        "",
        f"`benchmarks/pose_features.py`: {options.minutes:g} min of each camera, seconds of one core. {machine()}.",
        "",
        "| camera | frames | raw diameter | smooth diameter | licks | speed of a point | write table | read it |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    shown = ("raw", "smooth", "licks", "speed", "write", "read")
    notes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for camera, rate in RATES.items():
            ours = measure(camera, options.minutes, folder)
            cells = " | ".join(f"{ours[step]:.2f}" for step in shown)
            lines.append(f"| {camera} | {round(60 * options.minutes * rate):,} | {cells} |")
        if python:
            for camera, rate in RATES.items():
                theirs, largest = ask_reference(python, camera, options.reference_minutes, folder)
                cells = " | ".join(f"{theirs[step]:.2f}" if step in theirs else "" for step in shown)
                n_frames = round(60 * options.reference_minutes * rate)
                lines.append(f"| {camera}, the reference | {n_frames:,} | {cells} |")
                notes.append(f"Largest difference of any value of the {camera} camera: {largest:.1e} (px, s or px/s).")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = "\n".join([*lines, "", *notes, f"Peak memory: {peak:,.0f} MB."]) + "\n"
    write_page(options.out, text)
    print(text)


if __name__ == "__main__":
    main()
