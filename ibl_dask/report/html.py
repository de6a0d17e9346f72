"""One HTML file per session: no request leaves it, nothing runs in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ibl_dask.report import figures
from ibl_dask.report.axes import FrameAxis, lay_out_frames
from ibl_dask.report.facts import (
    Facts,
    count_measured,
    headline,
    run_facts,
    say_assumed,
    timing_facts,
    usual_period_s,
    video_facts,
)
from ibl_dask.report.findings import Finding, read_findings
from ibl_dask.report.messages import Told, take_apart
from ibl_dask.report.palette import look_of
from ibl_dask.report.quantities import MISSING, say_count, say_duration, say_moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.report.content import CameraContent, SessionContent

_STATUS_NAMES = ("done", "kept", "failed", "skipped")
_SHOWN_RUNS = 12
"""Runs that a page lists; the provenance has all."""
Drawn = TypeVar("Drawn")
_log = logging.getLogger(__name__)


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
    run: str
    """Run that they are of."""


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera as the page shows it."""

    label: str
    outcome: str
    headline: tuple[str, ...]
    """Frames, duration, rate and method, for the one line at the top."""
    assumed: str
    """What is said of times that rest on an assumption; empty where none does."""
    remarks: tuple[str, ...]
    """What a reader should know of where this comes from."""
    undrawn: tuple[str, ...]
    """Figures that could not be drawn, and why."""
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
    failure: Told | None
    """Why it could not be checked at all."""
    before: str
    """How an earlier run judged it, where this one could not."""
    thumbnails: tuple[tuple[str, str], ...]
    """Caption and data URI of each picture."""
    timeline: str
    """SVG; empty where there is nothing to draw."""
    histogram: str
    """SVG; empty where there are no intervals."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as the page shows it."""

    name: str
    started: str
    host: str
    workers: str
    seconds: str
    tasks: tuple[tuple[str, str], ...]
    """Tasks and how they ended."""
    versions: tuple[tuple[str, str], ...]
    """What it was made with."""


def render_session(content: SessionContent) -> str:
    """Render the report of a session.

    Returns
    -------
    str
        A whole HTML page with styles and pictures inside. Parts that are missing are left out, or said to be missing;
        a figure that cannot be drawn is named in its place.
    """
    steps = content.ran.get("steps") or {}
    runs = tuple(_run_view(run) for run in reversed(content.runs))
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
            run_facts=run_facts(content.ran, steps),
            runs=runs[:_SHOWN_RUNS],
            n_older_runs=max(0, len(runs) - _SHOWN_RUNS),
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
    axis = lay_out_frames(camera.times_s, count_measured(camera))
    undrawn: list[str] = []
    thumbnails = _drawn("the pictures", lambda: _thumbnails(camera, axis), undrawn)
    timeline = _timeline(camera, axis, undrawn)
    times_s = camera.times_s
    histogram = "" if times_s is None else _drawn("the histogram", lambda: figures.interval_histogram(times_s), undrawn)
    return CameraView(
        label=camera.label,
        outcome=str(camera.qc.get("outcome") or "NOT_SET"),
        headline=headline(camera),
        assumed=say_assumed(camera),
        remarks=camera.remarks,
        undrawn=tuple(undrawn),
        findings=tuple(f for f in read_findings(camera.label, camera.qc) if f.check),
        facts=video_facts(camera),
        timing=timing_facts(camera),
        notes=tuple(str(note) for note in camera.timing.get("notes") or ()),
        no_times=take_apart(camera.no_times) if camera.no_times else None,
        failure=take_apart(camera.qc["failure"]) if camera.qc.get("failure") else None,
        before=str((camera.qc.get("before") or {}).get("outcome") or ""),
        thumbnails=thumbnails or (),
        timeline=timeline,
        histogram=histogram or "",
    )


def _drawn(name: str, draw: Callable[[], Drawn], undrawn: list[str]) -> Drawn | None:
    """Draw something; what cannot be drawn is named and costs nothing else."""
    try:
        return draw()
    except Exception as error:  # noqa: BLE001  # one figure must not cost the report
        _log.exception("a figure could not be drawn: %s", name)
        undrawn.append(f"{name}: {type(error).__name__}: {error}")
        return None


def _thumbnails(camera: CameraContent, axis: FrameAxis) -> tuple[tuple[str, str], ...]:
    if camera.thumbnails is None or camera.thumbnail_frames is None:
        return ()
    shown = []
    for frame, luma in zip(camera.thumbnail_frames.tolist(), camera.thumbnails, strict=False):
        if not luma.size:
            continue
        at = axis.describe(frame)
        shown.append((f"{frame:,}" + (f" · {at}" if at else ""), figures.picture(luma)))
    return tuple(shown)


def _timeline(camera: CameraContent, axis: FrameAxis, undrawn: list[str]) -> str:
    panels = [_drawn(name, draw, undrawn) for name, draw in _panels(camera, axis)]
    label = f"What was measured along the frames of the {camera.label} camera"
    return _drawn("the time line", lambda: figures.stack(panels, axis, label), undrawn) or ""


def _panels(camera: CameraContent, axis: FrameAxis) -> Iterator[tuple[str, Callable[[], figures.Panel | None]]]:
    """Return what is drawn along the frames, and how."""
    period = usual_period_s(camera)
    yield "where times come from", lambda: _lanes(camera, axis)
    for name, title, series, least_span in _measured_series(camera):
        yield name, partial(figures.plot_series, title, "", series, axis, least_span=least_span)
    if camera.times_s is not None:
        yield "intervals", partial(figures.plot_intervals, camera.times_s, axis, period)
    if camera.residuals_s is not None and camera.residual_frames is not None:
        yield "residuals", partial(figures.plot_residuals, camera.residual_frames, camera.residuals_s, axis, period)


def _lanes(camera: CameraContent, axis: FrameAxis) -> figures.Panel | None:
    undecoded: NDArray[np.bool_] | None = None if camera.brightness is None else np.isnan(camera.brightness)
    return figures.plot_lanes(camera.time_quality, undecoded, axis)


def _measured_series(camera: CameraContent) -> Iterator[tuple[str, str, figures.Series, float]]:
    """Return what was measured of each frame: its name, a title, the values, and the least span to draw."""
    if camera.brightness is not None:
        series = figures.per_frame(camera.brightness)
        yield "brightness", "Brightness, mean luma of the QC region", series, 4.0
    if camera.sharpness is not None and camera.sharpness_frames is not None:
        series = figures.Series(camera.sharpness_frames, camera.sharpness.astype(np.float64))
        yield "sharpness", "Sharpness, variance of the Laplacian", series, 1.0
    for region, energy in camera.motion_energy.items():
        title = f"Motion energy, {region}, mean absolute luma difference"
        yield f"motion energy of {region}", title, figures.per_frame(energy), 0.0


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
        run=str(row.get("run") or ""),
    )


def _run_view(run: Mapping[str, Any]) -> RunView:
    n_workers, versions = run.get("n_workers"), run.get("made") or {}
    return RunView(
        str(run.get("run") or ""),
        say_moment(run["started_s"]) if run.get("started_s") is not None else MISSING,
        str(run.get("host") or MISSING),
        say_count(n_workers) if n_workers else "none",
        say_duration(run.get("seconds")),
        tuple((str(name), str(status)) for name, status in (run.get("tasks") or {}).items()),
        tuple((str(name), str(text)) for name, text in versions.items() if name != "time"),
    )
