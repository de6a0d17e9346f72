"""Failure of frames of a video that do not decode: named, and no reason to lose the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import DecodeFailed
from ibl_dask.model.failure import Failure
from ibl_dask.model.frame_ranges import find_ranges, format_ranges
from ibl_dask.store.failures import failure_from


def lost_frames(
    errors: NDArray[np.generic], camera: str, video: Path, *, lack: str, consequence: str
) -> Failure | None:
    """Return the failure that names the frames of a camera that do not decode; None where all do.

    Parameters
    ----------
    errors : ndarray of bool
        True where a frame does not decode (frame,).
    camera : str
        Label.
    video : Path
        The video.
    lack : str
        Predicate of these frames, for the message: `do not decode`.
    consequence : str
        Their place in the results, for the advice.
    """
    if not errors.any():
        return None
    lost = DecodeFailed(
        f"{int(np.count_nonzero(errors)):,} of {len(errors):,} frames of the {camera} camera {lack}",
        where=str(video),
        expected="every frame of the video",
        got=f"nothing exact for frames {format_ranges(find_ranges(errors))}",
        do=f"compare the file with the original on the acquisition computer, and copy it again if they differ; "
        f"{consequence}",
    )
    return replace(failure_from(lost), kind="Incomplete")
