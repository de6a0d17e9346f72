"""Evidence of a camera that is in perfect order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faces import make_face

from ibl_dask.model.description import Camera
from ibl_dask.qc.evidence import CameraEvidence, WheelEvidence

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
    rng = np.random.default_rng(0)
    n_seen = 3600  # a minute, of which light steps can be told
    scenery = rng.integers(0, 256, (64, 80))
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
        face=make_face(),
        brightness=rng.normal(100, 0.5, n_seen).astype(np.float32),
        motion_energy=rng.uniform(1, 2, n_seen).astype(np.float32),
        thumbnails=(scenery + rng.integers(-3, 4, (8, 64, 80))).clip(0, 255).astype(np.uint8),
        thumbnail_frames=np.arange(62, N, 125),
        time_quality=np.zeros(N, np.uint8),
        residuals_s=-rng.uniform(0, 1 / 60, 18),
        period_s=1 / 60,
        wheel=WheelEvidence(True, True, 0, 0.1, 0.002, 0.8, True, ""),
    )
