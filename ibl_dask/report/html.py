"""One HTML file per session: no request leaves it, nothing runs in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ibl_dask.report import figures
from ibl_dask.report.axes import FrameAxis, lay_out_frames
from ibl_dask.report.findings import Finding, read_findings
from ibl_dask.report.messages import Told, take_apart
from ibl_dask.report.palette import look_of
from ibl_dask.report.quantities import MISSING, say_bytes, say_count, say_duration, say_moment, say_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.report.content import CameraContent, SessionContent

_STATUS_NAMES = ("done", "kept", "failed", "skipped")
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


@dataclass(frozen=True, slots=True)
class FailureView:
    """A failure as the page shows it."""

    kind: str
    """Class of the error, or the camera that could not be checked."""
    category: str
    """Who can mend it."""
    told: Told
    """Its message, part by part."""
    traceback: str = ""
    """Where it came from."""


@dataclass(frozen=True, slots=True)
class StepView:
    """A kind of steps as the page shows it."""

    name: str
    n: str
    statuses: tuple[str, ...]
    """Counts of done, kept, failed and skipped steps."""
    has_failed: bool
    seconds: str
    share: float
    """Of the seconds of all steps, percent."""
    workers: str


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera as the page shows it."""

    label: str
    outcome: str
    headline: tuple[str, ...]
    """Frames, duration, rate and method, for the one line at the top."""
    findings: tuple[Finding, ...]
    """Its checks, failing ones first."""
    facts: Facts
    """About the video."""
    timing: Facts
    """About its times."""
    notes: tuple[str, ...]
    """What the alignment has to say."""
    no_times: Told | None
    """Why there are no times."""
    thumbnails: tuple[tuple[str, str], ...]
    """Caption and data URI of each picture."""
    timeline: str
    """SVG; empty where there is nothing to draw."""
    histogram: str
    """SVG; empty where there are no intervals."""


def render_session(content: SessionContent) -> str:
    """Render the report of a session.

    Returns
    -------
    str
        A whole HTML page with styles and pictures inside. Parts that are missing are left out, or said to be missing.
    """
    steps = content.ran.get("steps") or {}
    return (
        _environment()
        .get_template("session.html.j2")
        .render(
            content=content,
            failures=_failures(content),
            cameras=[_view(camera) for camera in content.cameras],
            tasks=content.ran.get("tasks") or {},
            steps=_steps(steps),
            status_names=_STATUS_NAMES,
            run_facts=_run_facts(content.ran, steps),
            made_at=say_moment(content.made["time"]) if content.made.get("time") else "",
            versions={name: value for name, value in content.made.items() if name != "time"},
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ibl_dask.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"look": look_of, "told": take_apart}
    return environment


def _failures(content: SessionContent) -> tuple[FailureView, ...]:
    """Return every failure once: those of the run, then cameras that could not be checked."""
    found: dict[str, FailureView] = {}
    for failure in content.ran.get("failures") or ():
        message = str(failure.get("message") or "")
        words = [str(failure.get(key) or "") for key in ("kind", "category", "traceback")]
        found.setdefault(message, FailureView(words[0] or "failure", words[1], take_apart(message), words[2]))
    for camera in content.cameras:
        reason = str(camera.qc.get("failure") or "")
        if reason:
            found.setdefault(reason, FailureView(f"{camera.label} camera", "", take_apart(reason)))
    return tuple(found.values())


def _view(camera: CameraContent) -> CameraView:
    axis = lay_out_frames(camera.times_s, _n_measured(camera))
    return CameraView(
        label=camera.label,
        outcome=str(camera.qc.get("outcome") or "NOT_SET"),
        headline=_headline(camera),
        findings=tuple(f for f in read_findings(camera.label, camera.qc) if f.check),
        facts=_video_facts(camera),
        timing=_timing_facts(camera),
        notes=tuple(str(note) for note in camera.timing.get("notes") or ()),
        no_times=take_apart(camera.no_times) if camera.no_times else None,
        thumbnails=_thumbnails(camera, axis),
        timeline=_timeline(camera, axis),
        histogram="" if camera.times_s is None else figures.interval_histogram(camera.times_s),
    )


def _n_measured(camera: CameraContent) -> int:
    """Return how many frames the longest of the per-frame arrays covers."""
    arrays = (camera.brightness, *camera.motion_energy.values())
    return max((len(array) for array in arrays if array is not None), default=0)


def _period_s(camera: CameraContent) -> float | None:
    period = camera.timing.get("period_s")
    return float(period) if isinstance(period, int | float) and period > 0 else None


def _duration(camera: CameraContent) -> str:
    """Say how long the camera recorded; from the frame rate in the header where there are no times."""
    times = camera.times_s
    if times is not None and len(times) > 1 and np.isfinite(times[[0, -1]]).all():
        return say_duration(float(times[-1] - times[0]))
    frames, fps = camera.video.get("frames"), camera.video.get("fps")
    return f"about {say_duration(frames / fps)} by its header" if frames and fps else ""


def _headline(camera: CameraContent) -> tuple[str, ...]:
    frames = camera.video.get("frames") or _n_measured(camera) or None
    period, method = _period_s(camera), camera.timing.get("method")
    n_assumed = int(camera.timing.get("n_assumed") or 0)
    return (
        f"{say_count(n_assumed)} times are assumed: {camera.timing.get('assumed') or MISSING}" if n_assumed else "",
        f"{say_count(frames)} frames" if frames else "no frames",
        _duration(camera),
        say_number(1 / period, "Hz") if period else "",
        f"times from {method}" if method else "no frame times",
    )


def _video_facts(camera: CameraContent) -> Facts:
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


def _timing_facts(camera: CameraContent) -> Facts:
    timing, period = camera.timing, _period_s(camera)
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


def _thumbnails(camera: CameraContent, axis: FrameAxis) -> tuple[tuple[str, str], ...]:
    if camera.thumbnails is None or camera.thumbnail_frames is None:
        return ()
    shown = []
    for frame, luma in zip(camera.thumbnail_frames.tolist(), camera.thumbnails, strict=False):
        at = axis.describe(frame)
        shown.append((f"{frame:,}" + (f" · {at}" if at else ""), figures.picture(luma)))
    return tuple(shown)


def _timeline(camera: CameraContent, axis: FrameAxis) -> str:
    panels = [_lanes(camera, axis), *_measured_panels(camera, axis)]
    period = _period_s(camera)
    if camera.times_s is not None:
        panels.append(figures.plot_intervals(camera.times_s, axis, period))
    if camera.residuals_s is not None and camera.residual_frames is not None:
        panels.append(figures.plot_residuals(camera.residual_frames, camera.residuals_s, axis, period))
    return figures.stack(panels, axis, f"What was measured along the frames of the {camera.label} camera")


def _lanes(camera: CameraContent, axis: FrameAxis) -> figures.Panel | None:
    undecoded: NDArray[np.bool_] | None = None if camera.brightness is None else np.isnan(camera.brightness)
    return figures.plot_lanes(camera.time_quality, undecoded, axis)


def _measured_panels(camera: CameraContent, axis: FrameAxis) -> list[figures.Panel | None]:
    panels: list[figures.Panel | None] = []
    if camera.brightness is not None:
        series = figures.per_frame(camera.brightness)
        title = "Brightness, mean luma of the QC region"
        panels.append(figures.plot_series(title, "", series, axis, least_span=4))
    if camera.sharpness is not None and camera.sharpness_frames is not None:
        series = figures.Series(camera.sharpness_frames, camera.sharpness.astype(np.float64))
        panels.append(figures.plot_series("Sharpness, variance of the Laplacian", "", series, axis, least_span=1))
    for region, energy in camera.motion_energy.items():
        title = f"Motion energy, {region}, mean absolute luma difference"
        panels.append(figures.plot_series(title, "", figures.per_frame(energy), axis))
    return panels


def _steps(steps: Mapping[str, Mapping[str, Any]]) -> tuple[StepView, ...]:
    total = sum(float(row.get("seconds") or 0) for row in steps.values()) or 1.0
    return tuple(_step(str(name), row, total) for name, row in steps.items())


def _step(name: str, row: Mapping[str, Any], total_s: float) -> StepView:
    statuses, seconds = row.get("status") or {}, float(row.get("seconds") or 0)
    return StepView(
        name=name,
        n=say_count(row.get("n")),
        statuses=tuple(say_count(statuses[key]) if statuses.get(key) else "" for key in _STATUS_NAMES),
        has_failed=bool(statuses.get("failed")),
        seconds=f"{seconds:,.1f}",
        share=100 * seconds / total_s,
        workers=say_count(len(row.get("workers") or ())),
    )


def _run_facts(ran: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> Facts:
    facts = [(name, str(ran[key])) for key, name in (("run", "run"), ("host", "host of the driver")) if ran.get(key)]
    if ran.get("n_workers") is not None:
        facts.append(("workers", say_count(ran["n_workers"]) if ran["n_workers"] else "none, the driver ran the steps"))
    if ran.get("started_s"):
        facts.append(("started", say_moment(ran["started_s"])))
    if ran.get("seconds") is not None:
        facts.append(("wall time", say_duration(ran["seconds"])))
    if steps:
        work_s = sum(float(row.get("seconds") or 0) for row in steps.values())
        facts.append(("time in all steps", say_duration(work_s)))
    return tuple(facts)
