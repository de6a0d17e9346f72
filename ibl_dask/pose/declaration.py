"""Checks of what an engine declares, is given and returns."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import EngineFailed, UsageError, WrongKeypoints
from ibl_dask.pose.engine import Colour, EngineInfo, EngineSettings


def read_declaration(info: object, settings: EngineSettings) -> EngineInfo:
    """Return the declaration of an engine from the mapping that its adapter gives.

    Raises
    ------
    EngineFailed
        If it is no declaration.
    WrongKeypoints
        If the engine predicts other keypoints than the profile names.
    """
    where = f"engine {settings.name}"
    try:
        if not isinstance(info, dict):
            raise TypeError(f"a {type(info).__name__}")
        size = info.get("input_size")
        found = EngineInfo(
            keypoints=tuple(str(name) for name in info["keypoints"]),
            halo=int(info.get("halo", 0)),
            input_size=None if size is None else (int(size[0]), int(size[1])),
            colour=info.get("colour", "rgb"),
            batch_hint=int(info.get("batch_hint", 16)),
            tolerance_px=float(info.get("tolerance_px", 0.0)),
            build=str(info.get("build", "")),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _nonsense(where, f"{type(error).__name__}: {error}") from error
    if not found.keypoints or len(set(found.keypoints)) < len(found.keypoints) or not all(found.keypoints):
        raise _nonsense(where, f"keypoints {list(found.keypoints)}")
    if found.halo < 0 or found.batch_hint < 1 or not 0 <= found.tolerance_px < math.inf:
        raise _nonsense(where, str(found))
    if found.colour not in get_args(Colour):
        raise _nonsense(where, f"colour {found.colour!r}")
    if settings.keypoints and found.keypoints != settings.keypoints:
        raise WrongKeypoints(
            f"engine {settings.name} predicts other keypoints than the profile names",
            where=str(settings.weights or where),
            expected=", ".join(settings.keypoints),
            got=", ".join(found.keypoints),
            do="correct `keypoints:` or `weights:` under `engines:` of the site profile; their order counts",
        )
    return found


def _nonsense(where: str, got: str) -> EngineFailed:
    return EngineFailed(
        "the engine declares nonsense",
        where=where,
        expected="names of keypoints, a halo of 0 or more frames, a batch of 1 or more",
        got=got,
        do="correct its adapter, or its options in the site profile",
    )


def check_frames(frames: NDArray[np.uint8], before: int, after: int, info: EngineInfo) -> int:
    """Return the number of rows that frames get, after a check of the call.

    Raises
    ------
    UsageError
        If the arguments are no frames, or more of them are halo than the engine takes.
    """
    n_rows = len(frames) - before - after if frames.ndim else -1
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise UsageError(
            "these are no frames",
            expected="an array (frame, y, x, 3) of uint8",
            got=f"an array {frames.shape} of {frames.dtype}",
        )
    if not (
        0 <= before <= info.halo and 0 <= after <= info.halo and n_rows >= 0 and frames.shape[1] and frames.shape[2]
    ):
        raise UsageError(
            "these frames do not match their halo",
            expected=f"at most {info.halo} frames of halo on each side, and frames that have pixels",
            got=f"frames {frames.shape}, {before} before and {after} after",
        )
    return n_rows


def check_result(found: NDArray[np.float32], n_rows: int, info: EngineInfo, where: str) -> NDArray[np.float32]:
    """Return a result of an engine that has one row per frame and keypoint, and likelihoods.

    Raises
    ------
    EngineFailed
        If it has another shape, likelihoods outside 0 to 1, or likely keypoints that are nowhere.
    """
    expected = (n_rows, len(info.keypoints), 3)
    if found.shape != expected:
        raise EngineFailed(
            "the engine returned other rows than it was given frames",
            where=where,
            expected=f"an array {expected}",
            got=f"an array {found.shape}",
            do="correct its adapter, or its options in the site profile",
        )
    likelihood = found[..., 2]
    if not np.all((likelihood >= 0) & (likelihood <= 1)):
        raise EngineFailed(
            "the engine returned likelihoods that are none",
            where=where,
            expected="0 to 1",
            got=f"{np.nanmin(likelihood):g} to {np.nanmax(likelihood):g}, {int(np.isnan(likelihood).sum()):,} NaN"
            if not np.all(np.isnan(likelihood))
            else "NaN",
            do="declare the activation of its output under `options:` in the site profile, as `activation: sigmoid`",
        )
    n_nowhere = int(np.count_nonzero((likelihood > 0) & ~np.isfinite(found[..., :2]).all(axis=2)))
    if n_nowhere:
        raise EngineFailed(
            "the engine returned keypoints that are nowhere",
            where=where,
            expected="finite x and y, or a likelihood of 0",
            got=f"{n_nowhere:,} of {likelihood.size:,} without a place, and with a likelihood",
            do="correct its adapter, or the precision of its network",
        )
    return found
