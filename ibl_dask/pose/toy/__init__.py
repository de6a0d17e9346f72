"""A toy network: keypoints of the synthetic mouse of `ibl_dask.synth`, seen from the side. Not for real videos.

`benchmarks/toy_network.py` trained it, on pictures of the synthesiser alone. It shows a run of pose estimation with a
real network where no other is at hand; its runtime is the extra `pose`.
"""

from __future__ import annotations

from pathlib import Path

from ibl_dask.pose.engine import EngineSettings

WEIGHTS = Path(__file__).with_name("toy_mouse.onnx")
SHA256 = "e7619cb04b4cb039e5e492b23e01f4a5053d388a1479dfadb5cb1d27ed50d275"
"""SHA-256 of the weights."""
KEYPOINTS = (
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
"""Names of its keypoints, those of the International Brain Laboratory for side views."""


def toy_engine(python: str = "") -> EngineSettings:
    """Return the toy network as an engine: whole frames of the left camera, of any size.

    Parameters
    ----------
    python : str
        Python of an environment with onnxruntime; empty for the one that runs this.
    """
    return EngineSettings("toy_mouse", "onnx", python, WEIGHTS, SHA256, KEYPOINTS)
