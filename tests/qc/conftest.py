"""Evidence of a camera that is in perfect order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ibl_dask.model.description import Camera
from ibl_dask.qc.evidence import CameraEvidence

N = 1000


@pytest.fixture
def bare() -> CameraEvidence:
    """Return what is known of a video nobody decoded, from a rig nobody described."""
    return CameraEvidence(Camera("left"), N, 1280, 1024, 60.0)


@pytest.fixture
def good(bare: CameraEvidence) -> CameraEvidence:
    """Return evidence that passes every check."""
    pin = np.zeros(N, bool)
    pin[100::100] = True
    return replace(
        bare,
        camera=Camera("left", fps=60, width=1280, height=1024),
        times_s=100 + np.arange(N) / 60,
        n_camera_times=N,
        count=np.arange(7, 7 + N),
        pin_state=pin,
        n_ttl_rises=9,
        sample_brightness=np.full(100, 100.0),
        sample_laplacian=np.full((20, 2), 101.0),
        sample_high_frequency=np.full(20, 7.0),
        n_decode_errors=0,
    )
