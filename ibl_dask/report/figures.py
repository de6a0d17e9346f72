"""Figures of a camera: from arrays to SVG and JPEG, as strings."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.report import drawing
from ibl_dask.report.axes import FrameAxis, Scale, drawable, label_values, range_of
from ibl_dask.report.envelope import columns_covered, envelope
from ibl_dask.report.quantities import format_clock, format_count, format_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEFT_PX = 76
"""Room for the values beside a panel."""
PLOT_PX = 1088
"""Width of the plot; one column of an envelope is one pixel."""
WIDTH_PX = LEFT_PX + PLOT_PX + 16
HEAD_PX = 24
"""Room for the title over a panel."""
PANEL_PX = 84
MAX_DOTS = 1500
"""Beyond so many dots an envelope is drawn."""
MAX_OUTLIERS = 400
LOG_RATIO = 20
"""Intervals that reach so many times their median are drawn on a logarithmic scale."""
TIME_QUALITIES = ("measured", "interpolated", "extrapolated", "assumed")
"""Names of the values in the quality of times."""
ASSUMED = TIME_QUALITIES.index("assumed")
_NO_BREAKS = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of a stack that shares its horizontal axis."""

    body: str
    """SVG, from the left edge of the page, the title at the top."""
    height_px: float
    """Height with its title."""
    draws_grid: bool = True
    """True if the vertical grid lines of the axis run through it."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values along the frames of a camera."""

    frames: NDArray[np.int64]
    """Frame of each value. (n,)"""
    values: NDArray[np.float64]
    """Values; NaN where there is none. (n,)"""

    def on(self, axis: FrameAxis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return position and value of all whose frame lies on the axis, in order; NaN for values too large to draw."""
        n = min(len(self.frames), len(self.values))
        frames, values = np.asarray(self.frames[:n]), drawable(self.values[:n])
        inside = (frames >= 0) & (frames < len(axis.at))
        x = axis.at[frames[inside]]
        order = np.argsort(x, kind="stable")
        return x[order], values[inside][order]


def per_frame(values: NDArray[np.float32] | NDArray[np.float64]) -> Series:
    """Return values of frames 0, 1, 2 and so on as a series."""
    return Series(np.arange(len(values)), np.asarray(values, dtype=np.float64))


def plot_series(title: str, unit: str, series: Series, axis: FrameAxis, *, least_span: float = 0.0) -> Panel | None:
    """Draw values along the frames: each of them if they are few, else extremes and median per pixel column.

    Parameters
    ----------
    title, unit : str
        Title of the panel, and unit of the values.
    series : Series
        Values.
    axis : FrameAxis
        Horizontal axis.
    least_span : float
        Smallest range of the vertical axis.

    Returns
    -------
    Panel or None
        None where there is no value.
    """
    x, y = series.on(axis)
    if np.isnan(y).all():
        return None
    across = axis.scale(PLOT_PX)
    up = Scale(*range_of(y, least_span=least_span), PANEL_PX)
    n_undrawn = int(np.count_nonzero(np.isnan(drawable(series.values)) & ~np.isnan(series.values)))
    note = _summary(x, y, unit, axis) + (f" · {format_count(n_undrawn)} infinite, not drawn" if n_undrawn else "")
    return _panel(title, note, up, _curve(x, y, across, up))


def plot_intervals(times_s: NDArray[np.float64], axis: FrameAxis, period_s: float | None) -> Panel | None:
    """Draw the time from each frame to the next, ms; on a logarithmic scale where some are very long.

    Parameters
    ----------
    times_s : ndarray
        Frame times, s. (frame,)
    axis : FrameAxis
        Horizontal axis.
    period_s : float or None
        Usual time between frames, s, drawn as a line.
    """
    series = Series(np.arange(1, len(times_s)), _intervals_ms(times_s))
    x, y = series.on(axis)
    known = y[np.isfinite(y)]
    if not len(known):
        return None
    log = bool(known.min() > 0 and known.max() > LOG_RATIO * np.median(known))
    up = Scale(*range_of(y, least_span=0.02 * abs(float(np.median(known))), log=log), PANEL_PX, log)
    body = _curve(x, y, axis.scale(PLOT_PX), up)
    if period_s:
        body = _reference(up, period_s * 1000) + body
    return _panel("Inter-frame interval, ms" + (", log scale" if log else ""), _summary(x, y, "ms", axis), up, body)


def plot_residuals(
    frames: NDArray[np.int64], residuals_s: NDArray[np.float64], axis: FrameAxis, period_s: float | None
) -> Panel | None:
    """Draw the time from each change of the sync line to the frame that first shows it, ms, over the valid band.

    Parameters
    ----------
    frames : ndarray
        Frame of each match. (match,)
    residuals_s : ndarray
        Sync change minus frame time, s. (match,)
    axis : FrameAxis
        Horizontal axis.
    period_s : float or None
        Usual time between frames, s: valid residuals are in (-period, 0].
    """
    x, y = Series(frames, drawable(residuals_s) * 1000).on(axis)
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if not len(y):
        return None
    period_ms = period_s * 1000 if period_s else np.nan
    across, up = axis.scale(PLOT_PX), Scale(*range_of(y, np.array([-period_ms, 0.0]), least_span=1.0), PANEL_PX)
    off = (y > 0) | (y <= -period_ms)
    body = ""
    if period_s:
        top, bottom = PANEL_PX - up.place_one(0), PANEL_PX - up.place_one(-period_ms)
        body = drawing.draw_box(LEFT_PX, HEAD_PX + top, PLOT_PX, bottom - top, "band")
    body += _dots_or_curve(x[~off], y[~off], across, up, "dot")
    body += _dots(*_most_off(x[off], y[off], period_ms), across, up, "dot off")
    note = f"{format_count(len(y))} matched pulses · median {format_number(float(np.median(y)), 'ms')}"
    outside = f"{format_count(int(off.sum()))} outside"
    if period_s:
        note += f" · {outside} the band (−{period_ms:.4g}, 0]"  # noqa: RUF001  # a minus
    return _panel("Pulse residual: sync change minus frame time, ms", note, up, body)


def plot_lanes(
    time_quality: NDArray[np.uint8] | None, undecoded: NDArray[np.bool_] | None, axis: FrameAxis
) -> Panel | None:
    """Draw lanes of frames by quality of their times, and of frames that do not decode.

    A lane is marked at every pixel column that at least one such frame touches.

    Parameters
    ----------
    time_quality : ndarray or None
        Quality of each time, see `TIME_QUALITIES`. (frame,)
    undecoded : ndarray or None
        Whether a frame does not decode. (frame,)
    axis : FrameAxis
        Horizontal axis.
    """
    lanes: list[tuple[str, str, NDArray[np.bool_]]] = []
    if time_quality is not None:
        lanes += [(name, name, time_quality == value) for value, name in enumerate(TIME_QUALITIES[:ASSUMED])]
        if (time_quality == ASSUMED).any():
            lanes.append((TIME_QUALITIES[ASSUMED], "assumed", time_quality == ASSUMED))
    if undecoded is not None:
        lanes.append(("not decoded", "undecoded", undecoded))
    if not lanes or not len(axis.at):
        return None
    note = " · ".join(f"{name} {format_count(int(here.sum()))}" for name, _, here in lanes)
    pitch, body = 15, drawing.write_text(LEFT_PX, 15, "Where times come from, and decode errors", "title")
    body += drawing.write_text(LEFT_PX + PLOT_PX, 15, note, "note", "end")
    for i, (name, kind, here) in enumerate(lanes):
        body += _lane(HEAD_PX + i * pitch, name, kind, here[: len(axis.at)], axis)
    return Panel(body, HEAD_PX + pitch * len(lanes) + 8)


def stack(panels: Iterable[Panel | None], axis: FrameAxis, label: str) -> str:
    """Return panels below one another over their common axis as SVG; empty where there is none.

    Parameters
    ----------
    panels : iterable of Panel or None
        Panels from top to bottom; None is left out.
    axis : FrameAxis
        Common axis.
    label : str
        Description of the figure for screen readers.
    """
    shown = [panel for panel in panels if panel is not None]
    if not shown:
        return ""
    across, y, body = axis.scale(PLOT_PX), 0.0, ""
    ticks = [(LEFT_PX + across.place_one(at), text) for at, text in axis.ticks()]
    for panel in shown:
        bottom = y + panel.height_px - 8
        body += "".join(drawing.draw_rule(x, y + HEAD_PX, x, bottom, "grid") for x, _ in ticks)
        body += drawing.move(0, y, panel.body)
        y += panel.height_px
    body += "".join(drawing.write_text(x, y + 8, text, "tick", "middle") for x, text in ticks)
    name = "time on the main clock, minutes:seconds" if axis.is_time else "frame"
    body += drawing.write_text(LEFT_PX + PLOT_PX, y + 26, name, "note", "end")
    return drawing.frame_drawing(WIDTH_PX, y + 32, body, label)


def interval_histogram(times_s: NDArray[np.float64], n_bins: int = 72) -> str:
    """Draw how often each inter-frame interval occurs, counts on a logarithmic scale; empty without intervals.

    Intervals over four medians share the last bin, so that one long pause does not hide the rest.
    """
    intervals_ms = _intervals_ms(times_s)
    intervals_ms = intervals_ms[~np.isnan(intervals_ms)]
    if not len(intervals_ms):
        return ""
    width, height = 480.0, 170.0
    median = float(np.median(intervals_ms))
    limit = 4 * median if median > 0 else np.inf
    n_long = int((intervals_ms > limit).sum())
    across = Scale(*range_of(np.minimum(intervals_ms, limit), least_span=0.02 * abs(median)), width)
    counts, edges = np.histogram(np.minimum(intervals_ms, limit), bins=n_bins, range=(across.low, across.high))
    up = Scale(0.5, max(2.0, counts.max() * 1.6), height, is_log=True)
    body = _bars(counts, across.place(edges), up, n_long)
    xs = across.ticks(6)
    body += "".join(
        drawing.write_text(LEFT_PX + across.place_one(x), HEAD_PX + height + 16, text, "tick", "middle")
        for x, text in zip(xs, label_values(xs), strict=True)
    )
    body += drawing.write_text(LEFT_PX + width, HEAD_PX + height + 34, "interval, ms", "note", "end")
    note = f"{format_count(len(intervals_ms))} intervals · median {format_number(median, 'ms')}"
    if n_long:
        note += f" · {format_count(n_long)} over {format_number(limit, 'ms')}, in the last bar"
    body = _side(up) + drawing.write_text(LEFT_PX, 15, note, "note") + body
    return drawing.frame_drawing(
        LEFT_PX + width + 16, HEAD_PX + height + 42, body, "Histogram of inter-frame intervals"
    )


def _intervals_ms(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the time from each frame to the next, ms; NaN where a time is missing. (frame - 1,)"""
    return drawable(np.diff(drawable(times_s)) * 1000)


def picture(luma: NDArray[np.uint8]) -> str:
    """Return a grey picture as the text of a data URI (JPEG). `luma` is (y, x)."""
    import cv2

    _, content = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()


def _panel(title: str, note: str, up: Scale, body: str) -> Panel:
    head = drawing.write_text(LEFT_PX, 15, title, "title")
    head += drawing.write_text(LEFT_PX + PLOT_PX, 15, note, "note", "end")
    return Panel(_side(up, PLOT_PX) + head + body, HEAD_PX + up.size_px + 14)


def _side(up: Scale, rule_px: float = 480.0) -> str:
    """Draw the values beside a panel, and a thin line at each."""
    values, body = up.ticks(4), ""
    for value, text in zip(values, label_values(values), strict=True):
        y = HEAD_PX + up.size_px - up.place_one(value)
        body += drawing.draw_rule(LEFT_PX, y, LEFT_PX + rule_px, y, "grid")
        body += drawing.write_text(LEFT_PX - 8, y + 4, text, "tick", "end")
    return body


def _curve(x: NDArray[np.float64], y: NDArray[np.float64], across: Scale, up: Scale) -> str:
    if len(x) <= PLOT_PX:
        known = np.isfinite(y)
        breaks = np.flatnonzero(np.diff(np.flatnonzero(known)) > 1) + 1
        line = drawing.draw_line(across.place(x[known]), up.size_px - up.place(y[known]), breaks, "line")
        return drawing.move(LEFT_PX, HEAD_PX, line)
    found = envelope(x, y, across.low, across.high, PLOT_PX)
    breaks = np.flatnonzero(np.diff(found.column) > 2) + 1
    at, down = found.column.astype(np.float64) + 0.5, up.size_px
    area = drawing.draw_area(at, down - up.place(found.high), down - up.place(found.low), breaks, "area")
    line = drawing.draw_line(at, down - up.place(found.median), breaks, "line")
    return drawing.move(LEFT_PX, HEAD_PX, area + line)


def _dots_or_curve(x: NDArray[np.float64], y: NDArray[np.float64], across: Scale, up: Scale, kind: str) -> str:
    return _dots(x, y, across, up, kind) if len(x) <= MAX_DOTS else _curve(x, y, across, up)


def _dots(x: NDArray[np.float64], y: NDArray[np.float64], across: Scale, up: Scale, kind: str) -> str:
    return drawing.move(LEFT_PX, HEAD_PX, drawing.draw_dots(across.place(x), up.size_px - up.place(y), kind))


def _most_off(
    x: NDArray[np.float64], y: NDArray[np.float64], period_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values that lie farthest from the middle of the band, as many as a figure can bear."""
    middle = -period_ms / 2 if np.isfinite(period_ms) else 0.0
    kept = np.argsort(-np.abs(y - middle), kind="stable")[:MAX_OUTLIERS]
    return x[kept], y[kept]


def _reference(up: Scale, value: float) -> str:
    if not up.low <= value <= up.high:
        return ""
    y = HEAD_PX + up.size_px - up.place_one(value)
    return drawing.draw_rule(LEFT_PX, y, LEFT_PX + PLOT_PX, y, "reference")


def _lane(top: float, name: str, kind: str, here: NDArray[np.bool_], axis: FrameAxis) -> str:
    across = axis.scale(PLOT_PX)
    body = drawing.write_text(LEFT_PX - 8, top + 9, name, "tick", "end")
    body += drawing.draw_box(LEFT_PX, top, PLOT_PX, 10, "lane")
    # A frame lasts until the next one begins.
    begins, ends = axis.at[: len(here)], np.append(axis.at[1 : len(here)], across.high)
    columns = columns_covered(begins[here], ends[here], across.low, across.high, PLOT_PX)
    if len(columns):
        cuts = np.flatnonzero(np.diff(columns) > 1)
        first = columns[np.append(0, cuts + 1)]
        last = np.maximum(columns[np.append(cuts, len(columns) - 1)], first + 1)
        body += drawing.move(LEFT_PX, 0, drawing.draw_columns(first.tolist(), last.tolist(), top, 10, kind))
    return body


def _bars(counts: NDArray[np.intp], edges: NDArray[np.float64], up: Scale, n_long: int) -> str:
    body = ""
    last = int(np.flatnonzero(counts)[-1])
    for i in np.flatnonzero(counts).tolist():
        high = up.place_one(float(counts[i]))
        kind = "bar off" if n_long and i == last else "bar"
        x, y = LEFT_PX + float(edges[i]), HEAD_PX + up.size_px - high
        body += drawing.draw_box(x, y, float(edges[i + 1] - edges[i]) - 0.6, high, kind)
    return body


def _summary(x: NDArray[np.float64], y: NDArray[np.float64], unit: str, axis: FrameAxis) -> str:
    """Return extremes with their positions, and the median, as text."""
    lowest, highest = int(np.nanargmin(y)), int(np.nanargmax(y))
    parts: Sequence[tuple[str, int]] = (("min", lowest), ("max", highest))
    ends = [f"{word} {float(y[i]):.4g} at {_position(float(x[i]), axis)}" for word, i in parts]
    middle = f"median {float(np.nanmedian(y)):.4g} {unit}".rstrip()
    return " · ".join((ends[0], middle, ends[1]))


def _position(at: float, axis: FrameAxis) -> str:
    return format_clock(at) if axis.is_time else f"frame {at:,.0f}"
