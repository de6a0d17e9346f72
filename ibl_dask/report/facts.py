"""What a report says of a camera and of a run, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.report.figures import ASSUMED
from ibl_dask.report.quantities import MISSING, say_bytes, say_count, say_duration, say_moment, say_number

if TYPE_CHECKING:
    from ibl_dask.report.content import CameraContent

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
Facts = tuple[tuple[str, str], ...]
"""Names, and what there is to say."""


def count_measured(camera: CameraContent) -> int:
    """Return how many frames the longest of the per-frame arrays covers."""
    arrays = (camera.brightness, *camera.motion_energy.values())
    return max((len(array) for array in arrays if array is not None), default=0)


def usual_period_s(camera: CameraContent) -> float | None:
    """Return the usual time between frames, s; None where it is not known, or that of no camera."""
    period = camera.timing.get("period_s")
    return float(period) if isinstance(period, int | float) and 1e-6 < period < 1e6 else None


def _duration(camera: CameraContent) -> str:
    """Say how long the camera recorded; from the frame rate in the header where there are no times."""
    times = camera.times_s
    if times is not None and len(times) > 1 and np.isfinite(times[[0, -1]]).all():
        return say_duration(float(times[-1]) - float(times[0]))
    frames, fps = camera.video.get("frames"), camera.video.get("fps")
    return f"about {say_duration(frames / fps)} by its header" if frames and fps else ""


def headline(camera: CameraContent) -> tuple[str, ...]:
    """Say how many frames, how long, at which rate, and where the times come from."""
    frames = camera.video.get("frames") or count_measured(camera) or None
    period, method = usual_period_s(camera), camera.timing.get("method")
    return (
        f"{say_count(frames)} frames" if frames else "no frames",
        _duration(camera),
        say_number(1 / period, "Hz") if period else "",
        f"times from {method}" if method else "no frame times",
    )


def say_assumed(camera: CameraContent) -> str:
    """Say how many times rest on an assumption of which pulse is a frame's own, and which; empty where none does."""
    quality = camera.time_quality
    n_assumed = 0 if quality is None else int(np.count_nonzero(quality == ASSUMED))
    if not n_assumed:
        return ""
    why = camera.timing.get("assumed") or "nothing confirms which pulse belongs to which frame"
    return f"{say_count(n_assumed)} times are assumed and may be off by whole frames: {why}"


def video_facts(camera: CameraContent) -> Facts:
    """Describe the video of a camera, and how it was compressed."""
    video = camera.video
    if not video:
        return ()
    keyframes, hidden = video.get("keyframes"), video.get("hidden")
    facts = [
        ("frames", say_count(video.get("frames"))),
        ("size", f"{video.get('width', MISSING)} × {video.get('height', MISSING)} px"),  # noqa: RUF001  # times
        ("rate in the header", say_number(video.get("fps"), "Hz")),
        ("codec", str(video.get("codec") or MISSING)),
        ("keyframes", say_count(keyframes)),
        ("frames that do not decode", say_count(camera.n_decode_errors)),
    ]
    if hidden:
        facts.append(("frames the container hides", say_count(hidden)))
    if video.get("absent"):
        facts.append(("frames missing at the end: the file was cut short", say_count(video["absent"])))
    if video.get("video"):
        facts.append(("file", str(video["video"])))
    return (*facts, *_compression_facts(camera.compression))


def _compression_facts(made: Mapping[str, Any]) -> Facts:
    if not made:
        return ()
    sizes = f"{say_bytes(made.get('bytes'))} of {say_bytes(made.get('raw_bytes'))} as recorded"
    facts = [("compressed", f"{made.get('profile', MISSING)}: {sizes}")]
    if made.get("median_psnr_db") is not None:
        told = f"{say_number(made['median_psnr_db'], 'dB')}, lowest {say_number(made.get('lowest_psnr_db'), 'dB')}"
        facts.append(("PSNR to the raw video, median", told))
        facts.append(("SSIM, median", say_number(made.get("median_ssim"))))
    return (*facts, *(("note on the copy", str(note)) for note in made.get("notes", ())))


def timing_facts(camera: CameraContent) -> Facts:
    """Describe how the times of a camera were obtained."""
    timing, period = camera.timing, usual_period_s(camera)
    if not timing:
        return ()
    method = str(timing.get("method") or "")
    facts = [("method", f"{method}: {_METHODS[method]}" if method in _METHODS else method or MISSING)]
    facts += [(name, say_count(timing[key])) for key, name in _TIMING_COUNTS if timing.get(key) is not None]
    if period:
        facts.append(("frame period", f"{period * 1000:.4f} ms ({1 / period:.3f} Hz)"))
    drift = timing.get("drift_ppm")
    if isinstance(drift, int | float):
        facts.append(("drift of the camera's clock", f"{drift:+.2f} ppm"))
    return tuple(facts)


def run_facts(ran: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> Facts:
    """Describe the latest run."""
    facts = [(name, str(ran[key])) for key, name in (("run", "run"), ("host", "host of the driver")) if ran.get(key)]
    if ran.get("n_workers") is not None:
        facts.append(("workers", say_count(ran["n_workers"]) if ran["n_workers"] else "none, the driver ran the steps"))
    if ran.get("started_s"):
        facts.append(("started", say_moment(ran["started_s"])))
    if ran.get("seconds") is not None:
        facts.append(("wall time", say_duration(ran["seconds"])))
    mine = [row for row in steps.values() if row.get("run") == ran.get("run")]
    if mine:
        facts.append(("time in its steps", say_duration(sum(float(row.get("seconds") or 0) for row in mine))))
    return tuple(facts)
