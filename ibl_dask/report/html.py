"""Report of a session as one HTML file, without requests and without scripts."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ibl_dask.model.failure import Failure
from ibl_dask.report import figures
from ibl_dask.report.axes import FrameAxis, lay_out_frames
from ibl_dask.report.check_rows import (
    CheckRow,
    camera_failure,
    outcome_with_keypoints,
    read_check_rows,
    read_pose_rows,
    severity,
    worst_first,
)
from ibl_dask.report.facts import (
    Rows,
    count_measured,
    format_assumed,
    headline,
    notes_of,
    run_rows,
    timing_rows,
    usual_period_s,
    video_rows,
)
from ibl_dask.report.page_environment import page_environment
from ibl_dask.report.quantities import MISSING, format_count, format_duration, format_moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.report.content import CameraContent, JsonRecord, SessionContent

_STATUS_NAMES = ("done", "kept", "failed", "skipped")
_SHOWN_RUNS = 12
"""Runs that a page lists; the provenance has all."""
Drawn = TypeVar("Drawn")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepView:
    """Row of the table of steps: all steps of one name."""

    name: str
    n: str
    statuses: tuple[str, ...]
    """Counts of done, kept, failed and skipped steps."""
    has_failed: bool
    seconds: str
    share: float
    """Share of the seconds of all steps, percent."""
    workers: str
    run: str
    """Run that computed them."""


@dataclass(frozen=True, slots=True)
class CameraView:
    """Section of the page on one camera."""

    label: str
    outcome: str
    headline: tuple[str, ...]
    """Frames, duration, rate and method, for the one line at the top."""
    assumed: str
    """Sentence on times that rest on an assumption; empty where none does."""
    remarks: tuple[str, ...]
    """Notes on the origin of the data."""
    undrawn: tuple[str, ...]
    """Figures that could not be drawn, each with its error."""
    checks: tuple[CheckRow, ...]
    """Its checks, failing ones first."""
    folded: tuple[tuple[str, tuple[CheckRow, ...]], ...]
    """Checks that need nobody, under a line that counts them."""
    video: Rows
    """Properties of the video."""
    timing: Rows
    """Properties of its times."""
    notes: tuple[str, ...]
    """Notes of the alignment."""
    no_times: Failure | None
    """Reason for missing times."""
    failure: Failure | None
    """Reason for missing checks."""
    before: str
    """Outcome of an earlier run, where this one could not check the camera."""
    thumbnails: tuple[tuple[str, str], ...]
    """Caption and data URI of each picture."""
    timeline: str
    """SVG; empty where there is nothing to draw."""
    histogram: str
    """SVG; empty where there are no intervals."""


@dataclass(frozen=True, slots=True)
class RunView:
    """Row of the table of runs."""

    name: str
    started: str
    host: str
    workers: str
    seconds: str
    tasks: tuple[tuple[str, str], ...]
    """(task, status)."""
    versions: tuple[tuple[str, str], ...]
    """(package, version)."""


def render_session(content: SessionContent) -> str:
    """Render the report of a session.

    Returns
    -------
    str
        A whole HTML page with styles and pictures inside. Missing parts are left out or marked as missing; a figure
        that cannot be drawn is replaced by its name and its error.
    """
    steps = content.ran.get("steps") or {}
    runs = tuple(_run_view(run) for run in reversed(content.runs))
    failures = _failures(content)
    return (
        page_environment()
        .get_template("session.html.j2")
        .render(
            content=content,
            failures=failures,
            failure_messages=[failure.message for failure in failures],
            cameras=sorted(map(_view, content.cameras), key=lambda camera: severity(camera.outcome)),
            pose_figures=[
                (name, "data:image/png;base64," + base64.b64encode(image).decode())
                for name, image in content.pose_figures.items()
            ],
            pose_clips=[
                (name, "data:video/mp4;base64," + base64.b64encode(clip).decode())
                for name, clip in content.pose_clips.items()
            ],
            tasks=content.ran.get("tasks") or {},
            steps=_steps(steps),
            status_names=_STATUS_NAMES,
            run_rows=run_rows(content.ran, steps),
            runs=runs[:_SHOWN_RUNS],
            n_older_runs=max(0, len(runs) - _SHOWN_RUNS),
            made_at=format_moment(content.made["time"]) if content.made.get("time") else "",
            versions={name: value for name, value in content.made.items() if name != "time"},
        )
    )


def _failures(content: SessionContent) -> tuple[Failure, ...]:
    """Return every failure once: those of the run, then those of cameras that could not be checked."""
    failures: dict[str, Failure] = {}
    for record in content.ran.get("failures") or ():
        failure = Failure.from_json(record)
        failures.setdefault(failure.message, replace(failure, kind=failure.kind or "failure"))
    for camera in content.cameras:
        reason = camera_failure(camera.qc)
        if reason is not None:
            failures.setdefault(reason.message, replace(reason, kind=f"{camera.label} camera", category=""))
    return tuple(failures.values())


def _view(camera: CameraContent) -> CameraView:
    axis = lay_out_frames(camera.times_s, count_measured(camera))
    undrawn: list[str] = []
    thumbnails = _drawn("the pictures", lambda: _thumbnails(camera, axis), undrawn)
    timeline = _timeline(camera, axis, undrawn)
    times_s, checks = camera.times_s, worst_first(_checks(camera))
    histogram = "" if times_s is None else _drawn("the histogram", lambda: figures.interval_histogram(times_s), undrawn)
    return CameraView(
        label=camera.label,
        outcome=outcome_with_keypoints(camera.qc, camera.pose.values()),
        headline=headline(camera),
        assumed=format_assumed(camera),
        remarks=camera.remarks,
        undrawn=tuple(undrawn),
        checks=checks,
        folded=_folded(checks),
        video=video_rows(camera),
        timing=timing_rows(camera),
        notes=notes_of(camera.timing),
        no_times=camera.no_times,
        failure=camera_failure(camera.qc),
        before=camera.qc["before"].get("outcome") or "" if camera.qc.get("before") else "",
        thumbnails=thumbnails or (),
        timeline=timeline,
        histogram=histogram or "",
    )


def _checks(camera: CameraContent) -> Iterator[CheckRow]:
    yield from (row for row in read_check_rows(camera.label, camera.qc) if row.check)
    for rows in read_pose_rows(camera.pose).values():
        yield from rows


def _folded(checks: Sequence[CheckRow]) -> tuple[tuple[str, tuple[CheckRow, ...]], ...]:
    """Return the checks that passed, and those that were not made, each under a line that counts them."""
    found = []
    for outcome, words in (("PASS", "{} passed"), ("NOT_SET", "{} could not be made")):
        rows = tuple(row for row in checks if row.outcome == outcome)
        if rows:
            found.append((words.format(f"{len(rows)} check{'s' * (len(rows) != 1)}"), rows))
    return tuple(found)


def _drawn(name: str, draw: Callable[[], Drawn], undrawn: list[str]) -> Drawn | None:
    """Draw a figure; one that fails is added to `undrawn` and leaves the others as they are."""
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
    """Yield name and drawing function of each panel along the frames."""
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
    """Yield the measurements per frame: name, title, values, and the least span to draw."""
    if camera.brightness is not None:
        series = figures.per_frame(camera.brightness)
        yield "brightness", "Brightness, mean luma of the QC region", series, 4.0
    if camera.sharpness is not None and camera.sharpness_frames is not None:
        series = figures.Series(camera.sharpness_frames, camera.sharpness.astype(np.float64))
        yield "sharpness", "Sharpness, variance of the Laplacian", series, 1.0
    for region, energy in camera.motion_energy.items():
        title = f"Motion energy, {region}, mean absolute luma difference"
        yield f"motion energy of {region}", title, figures.per_frame(energy), 0.0


def _steps(steps: Mapping[str, JsonRecord]) -> tuple[StepView, ...]:
    total = sum(float(row.get("seconds") or 0) for row in steps.values()) or 1.0
    return tuple(_step(str(name), row, total) for name, row in steps.items())


def _step(name: str, row: JsonRecord, total_s: float) -> StepView:
    statuses, seconds = row.get("status") or {}, float(row.get("seconds") or 0)
    return StepView(
        name=name,
        n=format_count(row.get("n")),
        statuses=tuple(format_count(statuses[key]) if statuses.get(key) else "" for key in _STATUS_NAMES),
        has_failed=bool(statuses.get("failed")),
        seconds=f"{seconds:,.1f}",
        share=100 * seconds / total_s,
        workers=format_count(len(row.get("workers") or ())),
        run=str(row.get("run") or ""),
    )


def _run_view(run: JsonRecord) -> RunView:
    n_workers, versions = run.get("n_workers"), run.get("made") or {}
    return RunView(
        str(run.get("run") or ""),
        format_moment(run["started_s"]) if run.get("started_s") is not None else MISSING,
        str(run.get("host") or MISSING),
        format_count(n_workers) if n_workers else "none",
        format_duration(run.get("seconds")),
        tuple((str(name), str(status)) for name, status in (run.get("tasks") or {}).items()),
        tuple((str(name), str(text)) for name, text in versions.items() if name != "time"),
    )
