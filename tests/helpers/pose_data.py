"""Keypoints for tests: real predictions of an ensemble, and made-up ones of a whole camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from needs import DATA

from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.prediction_csv import keypoints_from_csv

SIDE = (
    "nose_tip",
    "pupil_top_r",
    "pupil_right_r",
    "pupil_bottom_r",
    "pupil_left_r",
    "paw_l",
    "paw_r",
    "tongue_end_l",
    "tongue_end_r",
    "tube_top",
    "tube_bottom",
)
"""Keypoints of a side camera, in the order of DeepLabCut's table of the field."""
PLACES = {
    "nose_tip": (420, 400),
    "pupil_top_r": (620, 180),
    "pupil_right_r": (633, 193),
    "pupil_bottom_r": (620, 206),
    "pupil_left_r": (607, 193),
    "paw_l": (300, 700),
    "paw_r": (520, 720),
    "tongue_end_l": (380, 540),
    "tongue_end_r": (400, 545),
    "tube_top": (350, 560),
    "tube_bottom": (350, 590),
}
"""Usual places in frames of the left camera, px."""


def predictions(seed: int, folder: Path = DATA) -> Keypoints:
    """Return the real predictions of one member of an ensemble of the field: 4 points of a pupil, 2,000 frames."""
    path = next((folder / "pose").glob(f"*.left.rng={seed}.csv"))
    return keypoints_from_csv(path.read_text(), str(path))


def side_camera(n_frames: int = 1500, seed: int = 0, camera: str = "left", unlikely: float = 0.05) -> Keypoints:
    """Return keypoints of a side camera: a pupil that breathes, blinks, licks, paws that move and are hidden."""
    rng = np.random.default_rng(seed)
    values = np.empty((n_frames, len(SIDE), 3))
    t = np.arange(n_frames)
    for i, name in enumerate(SIDE):
        place = np.array(PLACES[name], float)
        jitter = rng.normal(0, 0.4, (n_frames, 2))
        if name.startswith("pupil"):
            place = (place - (620, 193)) * (1 + 0.3 * np.sin(t / 200))[:, None] + (620, 193)
        if name.startswith("paw"):
            jitter += np.cumsum(rng.normal(0, 1.5, (n_frames, 2)), axis=0) * 0.3
        values[:, i, :2] = place + jitter
        values[:, i, 2] = np.where(rng.random(n_frames) < unlikely, rng.random(n_frames) * 0.9, 0.99)
    for start in rng.integers(0, max(1, n_frames - 40), 4):  # blinks
        values[start : start + int(rng.integers(3, 40)), 1:5, 2] = 0.2
    tongue = rng.random(n_frames) < 0.85
    values[tongue, 7:9, 2] = 0.1
    if camera == "right":
        values[:, :, :2] /= 2
    return Keypoints(SIDE, values)
