"""Places that need a look: frames of failing checks, odd pulses, and stretches without likely keypoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.pose.keypoints import LIKELY
from ibl_dask.pose.worst_frames import keypoint_scores
from ibl_dask.report.check_rows import read_check_rows, read_pose_rows
from ibl_dask.view.content import Jump

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.report.check_rows import CheckRow
    from ibl_dask.report.content import CameraContent
    from ibl_dask.view.content import ViewCamera

MOST_RESIDUALS, MOST_STRETCHES = 10, 12
"""Most places of one camera."""
_USUAL = 0.5
"""Share of frames in which a point that is usually seen is likely."""
_LOW = 0.5
"""Share of the points that are usually seen, below which a frame counts as lost."""

_SHORTEST = 2
"""Frames of the shortest stretch: single frames are lost all the time."""


def jumps_of_camera(camera: ViewCamera, content: CameraContent | None, keypoints: Keypoints | None) -> tuple[Jump, ...]:
    """Return the places of one camera: checks that do not pass, odd pulses, stretches without likely keypoints."""
    jumps: list[Jump] = []
    if content is not None:
        jumps += _checks(camera, content, keypoints)
        jumps += _residuals(camera, content)
    if keypoints is not None:
        jumps += _stretches(camera, keypoints)
    return tuple(jumps)


def _checks(camera: ViewCamera, content: CameraContent, keypoints: Keypoints | None) -> Iterator[Jump]:
    rows = [row for row in read_check_rows(camera.label, content.qc) if row.check]
    for row in rows:
        if row.outcome in ("CRITICAL", "FAIL", "WARNING"):
            values = (content.qc.get("checks") or {}).get(row.check, {}).get("values") or {}
            yield _check_jump(camera, row, place_of_check(row.check, values, camera, content))
    for posed in read_pose_rows(content.pose).values():
        for row in posed:
            if row.outcome in ("CRITICAL", "FAIL", "WARNING"):
                yield _check_jump(camera, row, None if keypoints is None else _worst(keypoints))


def _check_jump(camera: ViewCamera, row: CheckRow, frame: int | None) -> Jump:
    inside = frame is not None and 0 <= frame < len(camera.times_s)
    return Jump("check", camera.label, row.check, row.measured or row.message, row.outcome, frame if inside else None)


def place_of_check(name: str, values: Mapping[str, object], camera: ViewCamera, content: CameraContent) -> int | None:
    """Return the frame that shows best why a check failed; None where it is about the whole video.

    Parameters
    ----------
    name : str
        Name of the check.
    values : mapping
        Its values in `qc.json`.
    camera, content
        The camera, and its part of the report.
    """
    for key in ("longest_after_frame", "first_frame_after"):
        if isinstance(values.get(key), int):
            return int(str(values[key]))
    brightness, quality = content.brightness, content.time_quality
    if name in ("frame_intervals", "framerate", "dropped_frames", "camera_times") and len(camera.times_s) > 1:
        return int(np.argmax(np.diff(camera.times_s)))
    if name in ("timestamps", "reckoned_times") and quality is not None and (quality != 0).any():
        return int(np.argmax(quality != 0))
    if name in ("pulse_residuals", "pin_state"):
        return next((int(frame) for frame, _ in _far_residuals(content)), None)
    if name == "focus" and content.sharpness is not None and content.sharpness_frames is not None:
        return int(content.sharpness_frames[np.nanargmin(content.sharpness)]) if len(content.sharpness) else None
    if brightness is None or not np.isfinite(brightness).any():
        return None
    if name == "decoding":
        return int(np.argmax(np.isnan(brightness))) if np.isnan(brightness).any() else None
    if name == "black_frames":
        return int(np.nanargmin(brightness))
    if name == "brightness":
        return int(np.nanargmax(np.abs(brightness - np.nanmedian(brightness))))
    if name in ("flicker", "light_steps") and len(brightness) > 1:
        return int(np.argmax(np.nan_to_num(np.abs(np.diff(brightness))))) + 1
    if name == "repeated_frames" and content.motion_energy:
        energy = next(iter(content.motion_energy.values()))
        return 1 + int(np.nanargmin(energy[1:])) if len(energy) > 1 and np.isfinite(energy[1:]).any() else None
    return None


def _far_residuals(content: CameraContent) -> list[tuple[int, float]]:
    """Return frame and residual in s of matched pulses, the farthest from half a period before the edge first."""
    if content.residuals_s is None or content.residual_frames is None or not len(content.residuals_s):
        return []
    period = content.timing.get("period_s")
    middle = -float(period) / 2 if isinstance(period, int | float) else float(np.median(content.residuals_s))
    order = np.argsort(-np.abs(content.residuals_s - middle), kind="stable")
    return [(int(content.residual_frames[i]), float(content.residuals_s[i])) for i in order.tolist()]


def _residuals(camera: ViewCamera, content: CameraContent) -> Iterator[Jump]:
    """Yield pulses that are off by a frame or more: right residuals are in (-period, 0]."""
    period = content.timing.get("period_s")
    if not isinstance(period, int | float):
        return
    off = [(frame, value) for frame, value in _far_residuals(content) if not -period < value <= 0]
    for frame, value in off[:MOST_RESIDUALS]:
        if 0 <= frame < len(camera.times_s):
            yield Jump("residual", camera.label, "pulse residual", f"{value * 1e3:+.1f} ms", "WARNING", frame)


def _worst(keypoints: Keypoints) -> int | None:
    scores = np.nan_to_num(keypoint_scores(keypoints)).sum(axis=1)
    return int(np.argmax(scores)) if len(scores) else None


def _stretches(camera: ViewCamera, keypoints: Keypoints) -> Iterator[Jump]:
    """Yield the longest stretches in which most of the points that are usually seen are not likely, longest first."""
    likely = keypoints.values[:, :, 2] >= LIKELY
    usual = likely.mean(axis=0) >= _USUAL if len(likely) else np.zeros(len(keypoints.names), bool)
    if not usual.any():
        return
    for start, stop in lost_stretches(likely[:, usual].mean(axis=1) < _LOW)[:MOST_STRETCHES]:
        if stop - start < _SHORTEST:
            return
        text = f"{stop - start:,} frames, {camera.times_s[stop - 1] - camera.times_s[start]:.2f} s"
        yield Jump("likelihood", camera.label, "low likelihood", text, "WARNING", start)


def lost_stretches(is_lost: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and one past the end of each run of lost frames, longest first."""
    steps = np.diff(is_lost.astype(np.int8), prepend=0, append=0)
    runs = list(zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True))
    return sorted(runs, key=lambda run: run[0] - run[1])
