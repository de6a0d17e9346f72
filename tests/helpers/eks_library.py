"""The ensemble Kalman smoother as its library runs it: `python eks_library.py OUT.npz CSV...`, in its environment."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from eks import fit_eks_pupil, fit_eks_singlecam

out, tables = sys.argv[1], sys.argv[2:]
with tempfile.TemporaryDirectory() as folder:
    pupil, *_ = fit_eks_pupil(tables, str(Path(folder) / "pupil.csv"), smooth_params=[0.9999, 0.999])
    points, *_ = fit_eks_singlecam(tables, str(Path(folder) / "points.csv"), smooth_param=10.0)
np.savez(
    out,
    pupil=pupil.to_numpy(),
    pupil_columns=[f"{part}_{coord}" for _, part, coord in pupil.columns],
    points=points.to_numpy(),
    points_columns=[f"{part}_{coord}" for _, part, coord in points.columns],
)
