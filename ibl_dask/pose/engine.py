"""Protocol of pose engines: uint8 frames in, one row per keypoint and frame out, whatever the network behind it.

An engine is a network with its weights in some runtime. The values here are all that the package needs of one:
`EngineInfo` is declared by the engine itself when it is opened, `EngineSettings` by the site profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Colour = Literal["rgb", "bgr", "gray"]
"""Order of the colours that a network was trained on."""
EngineKind = Literal["deeplabcut", "iblvideo", "lightning_pose", "onnx", "synthetic"]
"""Kind of an engine: the adapter that runs it."""
ENGINE_KINDS: tuple[EngineKind, ...] = get_args(EngineKind)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Declaration of an engine about itself."""

    keypoints: tuple[str, ...]
    """Names of the keypoints, in the order of the rows."""
    halo: int = 0
    """Number of frames that a frame depends on to each side; 0 where frames are independent."""
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input, px; None where it takes any. The engine resizes other frames."""
    colour: Colour = "rgb"
    """Order of the colours of the network's input. Frames are given as RGB in any case; the engine converts."""
    batch_hint: int = 16
    """Number of frames of a batch to begin with."""
    tolerance_px: float = 0.0
    """Largest difference between frames predicted in chunks and in one call, px; 0 for bit for bit."""
    build: str = ""
    """Runtime, provider and precision, with their versions: values of other builds may differ."""


class Engine(Protocol):
    """A network that is ready to predict."""

    @property
    def info(self) -> EngineInfo:
        """Return the declaration of the engine."""

    def predict(self, frames: NDArray[np.uint8], before: int = 0, after: int = 0) -> NDArray[np.float32]:
        """Predict the keypoints of consecutive frames.

        Parameters
        ----------
        frames : (frame, y, x, 3) uint8
            Consecutive frames of a video, or the same crop of each, RGB.
        before, after : int
            Number of frames at the start and at the end that are context only (halo) and get no row. Fewer than
            `info.halo` are given only where the video begins or ends there: the engine then applies its rule for
            the ends of a video.

        Returns
        -------
        (frame - before - after, keypoint, 3) float32
            x and y in px of the given frames, likelihood 0 to 1. The centre of the top left pixel is (0, 0).
        """


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Engine of a site: an entry of `engines:` in its profile."""

    name: str
    """Name of the entry."""
    kind: EngineKind
    """Adapter that runs it."""
    python: str = ""
    """Python of the environment that holds the runtime; empty for the one that runs this."""
    weights: Path | None = None
    """File or folder of the network; None for an engine without one."""
    sha256: str = ""
    """SHA-256 of that, hexadecimal; of a folder see `weights_digest`."""
    keypoints: tuple[str, ...] = ()
    """Names of the keypoints. The engine has to declare the same; empty for any."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # JSON
    """Options of the adapter."""
    start_s: float = 300.0
    """Longest time to load it, s: imports and the compilation for a GPU take minutes on slow disks."""
    batch_s: float = 120.0
    """Longest time for a batch, s."""

    def identity(self, build: str = "") -> dict[str, object]:
        """Return everything that predictions depend on, without paths: for fingerprints.

        Parameters
        ----------
        build : str
            `EngineInfo.build`, once the engine has been opened.
        """
        return {
            "kind": self.kind,
            "sha256": self.sha256,
            "keypoints": list(self.keypoints),
            "options": dict(self.options),
            "build": build,
        }
