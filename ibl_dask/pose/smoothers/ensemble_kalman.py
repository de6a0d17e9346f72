"""Ensembles smoothed over the whole video by the ensemble Kalman smoother, in an environment of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import EngineFailed, MissingEnvironment
from ibl_dask.pose.ensembles import merge_ensemble
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.failures import crash_error
from ibl_dask.pose.host.process import HostDied, HostProcess
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.smoothers.rules import EnsembleSmoothing

_log = logging.getLogger(__name__)
ADAPTER = Path(__file__).with_name("ensemble_kalman_adapter.py")
START_S = 300.0
"""Longest time to load the library, s."""
SMOOTH_S = 7200.0
"""Longest time for a series, s."""
COLUMNS = ("x_ens_median", "y_ens_median", "x_ens_var", "y_ens_var", "x_posterior_var", "y_posterior_var")
"""Columns of a point beside x, y and likelihood, in the order of the field's tables."""
_FEWEST_FRAMES = 2


@dataclass(frozen=True, slots=True, eq=False)
class SmoothedEnsemble:
    """Smoothed keypoints."""

    keypoints: Keypoints
    """x, y, mean likelihood and `COLUMNS`, px of pictures."""
    build: str
    """Version of the smoother."""


def smooth_ensemble(
    members: Sequence[Keypoints], rule: EnsembleSmoothing, rate_hz: float, python: str
) -> SmoothedEnsemble:
    """Smooth the predictions of an ensemble over all frames of a video.

    Frames in which a member has no prediction, or no member is confident of a point, are left out of the series: the
    frames around them follow each other there. They keep the medians of the members and have no posterior variance
    (NaN).

    Parameters
    ----------
    members : sequence of Keypoints
        One table per member, of the same frames and keypoints, px of pictures: a pupil's left is left in the picture.
    rule : EnsembleSmoothing
        Parameters.
    rate_hz : float
        Rate of the header of the video, Hz.
    python : str
        Python of an environment with `ensemble-kalman-smoother`, or a command that runs one.

    Raises
    ------
    UnequalLengths
        If the members have different frames or keypoints.
    MissingEnvironment, TaskTimedOut, OutOfMemory, EngineCrashed, EngineFailed, UsageError
        If the smoother does not work, or returns no numbers.
    """
    merged = merge_ensemble(members)
    stack = np.stack([np.asarray(member.values, np.float64) for member in members])
    is_known = np.isfinite(stack).all(axis=(0, 2, 3)) & (stack[..., 2].mean(axis=0) > 0).all(axis=1)
    found, build = _run(stack[:, is_known], rule, rate_hz, python, merged.names)
    values = np.asarray(merged.values, np.float64).copy()
    values[..., 2] = np.nan_to_num(stack[..., 2]).mean(axis=0)
    values[is_known] = found[..., :3]
    further: dict[str, NDArray[np.generic]] = {}
    for number, name in enumerate(merged.names):
        for place, column in enumerate(COLUMNS, 3):
            own = np.full(len(values), np.nan)
            if f"{name}_{column}" in merged.further:
                own[:] = merged.further[f"{name}_{column}"]
            own[is_known] = found[:, number, place]
            further[f"{name}_{column}"] = own
    return SmoothedEnsemble(Keypoints(merged.names, values, further), build)


def in_frame(keypoints: Keypoints, pictures: PictureMap) -> Keypoints:
    """Return smoothed keypoints of pictures as those of the frame; variances follow the size of a pixel.

    Parameters
    ----------
    keypoints : Keypoints
        Result of `smooth_ensemble`.
    pictures : PictureMap
        Map from frames to the pictures.
    """
    values = keypoints.values.copy()
    values[..., :2] = pictures.to_frame(values[..., :2])
    corner, other = pictures.to_frame(np.array([[0.0, 0.0], [1.0, 1.0]]))
    areas = dict(zip("xy", (other - corner) ** 2, strict=True))
    further: dict[str, NDArray[np.generic]] = {}
    for name in keypoints.names:
        medians = np.stack([np.asarray(keypoints.further[f"{name}_{axis}_ens_median"]) for axis in "xy"], axis=-1)
        placed = dict(zip("xy", pictures.to_frame(medians).T, strict=True))
        for column in COLUMNS:
            own = np.asarray(keypoints.further[f"{name}_{column}"], np.float64)
            further[f"{name}_{column}"] = placed[column[0]] if column.endswith("median") else own * areas[column[0]]
    return replace(keypoints, values=values, further=further)


def _run(
    stack: NDArray[np.float64], rule: EnsembleSmoothing, rate_hz: float, python: str, names: tuple[str, ...]
) -> tuple[NDArray[np.float64], str]:
    """Return nine values of each point from the library, and its version. (frame, keypoint, 9)"""
    where = f"ensemble Kalman smoother ({python})"
    expected = (stack.shape[1], len(names), 3 + len(COLUMNS))
    try:
        process = HostProcess(python, start_s=START_S, folders=())
    except MissingEnvironment as error:
        raise _without_environment(error, python) from error
    try:
        request = {
            "do": "load",
            "engine": "smoother",
            "adapter": str(ADAPTER),
            "weights": None,
            "options": rule.parameters(rate_hz),
            "keypoints": list(names),
            "device": "cpu",
        }
        answer, _ = process.ask(request, timeout_s=START_S, where=where)
        build = str(answer["info"]["build"])
        if stack.shape[1] < _FEWEST_FRAMES:
            return np.full(expected, np.nan), build
        header = {"do": "smooth", "engine": "smoother", "shape": stack.shape}
        answer, raw = process.ask(header, timeout_s=SMOOTH_S, where=where, content=stack.astype("<f8").tobytes())
    except MissingEnvironment as error:
        raise _without_environment(error, python) from error
    except HostDied as died:
        raise crash_error(died.code, where, process.tail) from died
    finally:
        process.end()
        for line in process.take_lines():
            _log.info("[smoother] %s", line)
    shape = tuple(int(length) for length in answer["shape"])
    if shape != expected:
        raise EngineFailed("the smoother returned other rows", where, f"an array {expected}", f"an array {shape}")
    found = np.frombuffer(raw, "<f8").reshape(shape).astype(np.float64)
    if not np.isfinite(found).all():
        raise EngineFailed(
            "the smoother returned no numbers",
            where=where,
            expected="finite values of every frame",
            got=f"{int((~np.isfinite(found)).any(axis=(1, 2)).sum()):,} of {len(found):,} frames without",
            do="correct the parameters under `smooth:` of this network in the site profile",
        )
    return found, build


def _without_environment(error: MissingEnvironment, python: str) -> MissingEnvironment:
    return MissingEnvironment(
        error.what.replace("engine", "smoother"),
        where=python,
        expected=error.expected.replace("engine", "smoother"),
        got=error.got,
        do="pip install ensemble-kalman-smoother==4.6.2 in an environment of its own, and name its python as "
        "`smoother:` under `networks:` of the site profile",
    )
