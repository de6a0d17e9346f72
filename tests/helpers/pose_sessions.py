"""Content of the figure of keypoints: a made-up session in which everything happens around the stimulus."""

from __future__ import annotations

import numpy as np
from pose_data import side_camera

from ibl_dask.pose.features import features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.licks import lick_times, session_licks
from ibl_dask.report.pose_content import PoseCamera, PoseContent, Trials

DURATION_S = 30


def pose_content(seed: int = 0) -> PoseContent:
    """Return a session of half a minute with three cameras, seven trials, a wheel and licks."""
    rng = np.random.default_rng(seed)
    stim_on = np.arange(3.0, DURATION_S - 4, 3.5)
    feedback = stim_on + rng.uniform(0.3, 1.2, stim_on.size)
    kinds = np.where(np.arange(stim_on.size) % 3 == 1, -1.0, 1.0)
    choice = np.where(np.arange(stim_on.size) % 2, 1.0, -1.0)
    cameras, licks = [], []
    for label, rate in (("left", 60), ("right", 150)):
        n = DURATION_S * rate
        keypoints, times = side_camera(n, seed, label), np.arange(n) / rate
        columns = features(keypoints, label, "dlc")
        likely = keypoints.likely()
        licks.append(lick_times(likely, times))
        frame = rng.integers(0, 90, (1024, 1280) if label == "left" else (512, 640), np.uint8)
        energy = rng.uniform(1, 2, n)
        cameras.append(PoseCamera(label, likely, times, frame, energy, columns.pupil_smooth_px))
    n = DURATION_S * 30
    tail = np.column_stack([rng.normal(330, 3, n), rng.normal(180, 3, n), np.ones(n)])[:, None]
    frame = rng.integers(0, 90, (512, 640), np.uint8)
    cameras.append(PoseCamera("body", Keypoints(("tail_start",), tail), np.arange(n) / 30, frame, rng.uniform(1, 2, n)))
    times = np.arange(0, DURATION_S, 0.01)
    wheel = np.sum(
        [c * 0.15 * (1 + np.tanh((times - s - 0.4) * 7)) for s, c in zip(stim_on, choice, strict=True)], axis=0
    )
    return PoseContent(
        "SW_001/2024-01-01/001",
        "dlc",
        tuple(cameras),
        Trials(stim_on, feedback, choice, kinds),
        (times, wheel),
        session_licks(licks),
    )
