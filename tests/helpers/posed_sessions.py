"""Sessions with tables of keypoints and frame times, as other programs leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pose_data import side_camera

from ibl_dask.store.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.pose.keypoints import Keypoints

RELATIVE = "lab/Subjects/SW_001/2023-05-01/001"


def write_poses(
    folder: Path, label: str, tracker: str = "dlc", n_frames: int = 150, seed: int = 0, with_times: bool = True
) -> Keypoints:
    """Write keypoints of a camera with a gap, and frame times that are not evenly spaced; return the keypoints."""
    alf = folder / "alf"
    alf.mkdir(parents=True, exist_ok=True)
    keypoints = side_camera(n_frames, seed)
    keypoints.values[7] = (np.nan, np.nan, 0)  # a frame that does not decode
    write_table(alf / f"_ibl_{label}Camera.{tracker}.pqt", keypoints.columns())
    if with_times:
        jitter = np.random.default_rng(seed).uniform(0, 0.001, n_frames)
        np.save(alf / f"_ibl_{label}Camera.times.npy", np.arange(n_frames) / 60 + 5 + jitter)
    return keypoints
