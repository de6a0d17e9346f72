"""Content of the viewer, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.video.container.index import FrameIndex

Kind = Literal["line", "points", "level", "marks"]
"""line: joined values; points: single values; level: a word of each frame, as a number; marks: moments."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewCamera:
    """One camera that has a video."""

    label: str
    """left, right, body, ..."""
    video: Path
    """Its video."""
    n_frames: int
    """Number of its frames."""
    size_px: tuple[int, int]
    """Width and height of its frames."""
    index: Callable[[], FrameIndex]
    """Returns the index of the video; its first call may take a second for an hour of video."""
    times_s: NDArray[np.float64]
    """Time of each frame: on the main clock, or where it has none on the clock of its video. (frame,)"""
    is_timed: bool
    """Whether the times are on the main clock."""
    remark: str = ""
    """Reason for times that are not on the main clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Values along the time axis."""

    name: str
    """Its name, unique within a session."""
    kind: Kind
    """How it is drawn."""
    times_s: NDArray[np.float64]
    """Times of the values, not decreasing. (n,)"""
    values: NDArray[np.float64]
    """The values; NaN where there is none. (n,)"""
    unit: str = ""
    """Unit of the values."""
    camera: str = ""
    """Label of the camera that it was measured of; empty for the whole session."""
    first_frame: int = -1
    """Number of the frame of its first value, where it has one value per frame; else -1."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A place that needs a look."""

    kind: Literal["check", "residual", "likelihood"]
    """Origin."""
    camera: str
    """Label of the camera."""
    title: str
    """Short name."""
    text: str
    """What was measured there."""
    outcome: str
    """Outcome of the check; WARNING for other places."""
    frame: int | None
    """Number of the frame; None where the whole video is concerned."""
