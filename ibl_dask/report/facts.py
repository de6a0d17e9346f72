"""Rows of a report on a camera and on a run: names with formatted values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.report.figures import ASSUMED
from ibl_dask.report.quantities import (
    MISSING,
    format_bytes,
    format_count,
    format_duration,
    format_moment,
    format_number,
)

if TYPE_CHECKING:
    from ibl_dask.report.content import CameraContent, JsonRecord

_TIMING_COUNTS = (
    ("n_pulses", "camera pulses"),
    ("n_surplus_start", "surplus pulses at the start"),
    ("n_surplus_end", "surplus pulses at the end"),
    ("n_missing_start", "frames before the first pulse"),
    ("n_missing_end", "frames after the last pulse"),
    ("n_dropped", "frames the camera dropped"),
    ("n_not_measured", "times not measured"),
    ("n_assumed", "times of frames whose pulse is an assumption"),
)
_METHODS = {
    "pins": "pin changes matched with sync pulses",
    "intervals": "intervals between pulses matched with those of the camera's log",
    "counts": "frames and pulses counted",
    "wheel": "frames and pulses counted, and moved to agree with the wheel",
}
Rows = tuple[tuple[str, str], ...]
"""(name, formatted value)."""


def notes_of(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return the notes in a record; none where it has no list of them."""
    notes = record.get("notes")
    return tuple(str(note) for note in notes) if isinstance(notes, list | tuple) else ()


def count_measured(camera: CameraContent) -> int:
    """Return the length of the longest per-frame array."""
    arrays = (camera.brightness, *camera.motion_energy.values())
    return max((len(array) for array in arrays if array is not None), default=0)


def usual_period_s(camera: CameraContent) -> float | None:
    """Return the usual time between frames, s; None where it is unknown or implausible."""
    period = camera.timing.get("period_s")
    return float(period) if isinstance(period, int | float) and 1e-6 < period < 1e6 else None


def _duration(camera: CameraContent) -> str:
    """Return the duration of the recording; from the frame rate in the header where there are no times."""
    times = camera.times_s
    if times is not None and len(times) > 1 and np.isfinite(times[[0, -1]]).all():
        return format_duration(float(times[-1]) - float(times[0]))
    frames, fps = camera.video.get("frames"), camera.video.get("fps")
    if not (isinstance(frames, int | float) and isinstance(fps, int | float) and frames and fps):
        return ""
    return f"about {format_duration(frames / fps)} by its header"


def headline(camera: CameraContent) -> tuple[str, ...]:
    """Return number of frames, duration, frame rate and origin of the times."""
    frames = camera.video.get("frames") or count_measured(camera) or None
    period, method = usual_period_s(camera), camera.timing.get("method")
    return (
        f"{format_count(frames)} frames" if frames else "no frames",
        _duration(camera),
        format_number(1 / period, "Hz") if period else "",
        f"times from {method}" if method else "no frame times",
    )


def format_assumed(camera: CameraContent) -> str:
    """Return the number of times that rest on an assumed match of frames and pulses, with the reason; empty if none."""
    quality = camera.time_quality
    n_assumed = 0 if quality is None else int(np.count_nonzero(quality == ASSUMED))
    if not n_assumed:
        return ""
    why = camera.timing.get("assumed") or "nothing confirms which pulse belongs to which frame"
    return f"{format_count(n_assumed)} times are assumed and may be off by whole frames: {why}"


def video_rows(camera: CameraContent) -> Rows:
    """Return the properties of a camera's video and of its compression."""
    video = camera.video
    if not video:
        return ()
    keyframes, hidden = video.get("keyframes"), video.get("hidden")
    rows = [
        ("frames", format_count(video.get("frames"))),
        ("size", f"{video.get('width', MISSING)} × {video.get('height', MISSING)} px"),  # noqa: RUF001  # times
        ("rate in the header", format_number(video.get("fps"), "Hz")),
        ("codec", str(video.get("codec") or MISSING)),
        ("keyframes", format_count(keyframes)),
        ("frames that do not decode", format_count(camera.n_decode_errors)),
    ]
    if hidden:
        rows.append(("frames the container hides", format_count(hidden)))
    if video.get("absent"):
        rows.append(("frames missing at the end: the file was cut short", format_count(video["absent"])))
    if video.get("video"):
        rows.append(("file", str(video["video"])))
    return (*rows, *_compression_rows(camera.compression))


def _compression_rows(made: Mapping[str, object]) -> Rows:
    if not made:
        return ()
    sizes = f"{format_bytes(made.get('bytes'))} of {format_bytes(made.get('raw_bytes'))} as recorded"
    rows = [("compressed", f"{made.get('profile', MISSING)}: {sizes}")]
    if made.get("median_psnr_db") is not None:
        median, lowest = (format_number(made.get(f"{name}_psnr_db"), "dB") for name in ("median", "lowest"))
        rows.append(("PSNR to the raw video, median", f"{median}, lowest {lowest}"))
        rows.append(("SSIM, median", format_number(made.get("median_ssim"))))
    return (*rows, *(("note on the copy", str(note)) for note in notes_of(made)))


def timing_rows(camera: CameraContent) -> Rows:
    """Return the origin and quality of a camera's times."""
    timing, period = camera.timing, usual_period_s(camera)
    if not timing:
        return ()
    method = str(timing.get("method") or "")
    rows = [("method", f"{method}: {_METHODS[method]}" if method in _METHODS else method or MISSING)]
    rows += [(name, format_count(timing[key])) for key, name in _TIMING_COUNTS if timing.get(key) is not None]
    if period:
        rows.append(("frame period", f"{period * 1000:.4f} ms ({1 / period:.3f} Hz)"))
    drift = timing.get("drift_ppm")
    if isinstance(drift, int | float):
        rows.append(("drift of the camera's clock", f"{drift:+.2f} ppm"))
    return tuple(rows)


def run_rows(ran: JsonRecord, steps: Mapping[str, JsonRecord]) -> Rows:
    """Return the properties of the latest run.

    Parameters
    ----------
    ran : mapping
        Record of the run in the provenance.
    steps : mapping
        Name of the steps -> their record in the provenance.
    """
    rows = [(name, str(ran[key])) for key, name in (("run", "run"), ("host", "host of the driver")) if ran.get(key)]
    if ran.get("n_workers") is not None:
        rows.append(
            ("workers", format_count(ran["n_workers"]) if ran["n_workers"] else "none, the driver ran the steps")
        )
    if ran.get("started_s"):
        rows.append(("started", format_moment(ran["started_s"])))
    if ran.get("seconds") is not None:
        rows.append(("wall time", format_duration(ran["seconds"])))
    mine = [row for row in steps.values() if row.get("run") == ran.get("run")]
    if mine:
        rows.append(("time in its steps", format_duration(sum(float(row.get("seconds") or 0) for row in mine))))
    return tuple(rows)
