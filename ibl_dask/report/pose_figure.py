"""Figure of a session's keypoints with ten panels, `dlc_qc_plot.png` and `lp_qc_plot.png` of the field."""

from __future__ import annotations

import io
from functools import partial
from string import ascii_uppercase
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingEnvironment
from ibl_dask.report.pose_content import PoseContent, Trials
from ibl_dask.report.pose_trace_panels import draw_traces
from ibl_dask.report.pose_trial_panels import (
    draw_lick_raster,
    draw_lick_rate,
    draw_motion_energy,
    draw_pupil,
    draw_speed,
    draw_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Panel = Callable[[Axes], str | None]

SIZE_IN = (17.0, 10.0)
DOTS_PER_IN = 100
FILE_NAMES = {"dlc": "dlc_qc_plot.png", "lightningPose": "lp_qc_plot.png"}
"""Tracker -> name of the figure in the session's folder `snapshot`."""
_TITLES = {"dlc": "DeepLabCut", "lightningPose": "Lightning Pose"}
_LABELS = ("left", "right", "body")
_REASON_COLUMNS = 30
"""Characters of a line of a reason, as many as a panel is wide."""


def pose_figure_png(content: PoseContent) -> bytes:
    """Draw the figure of a session's keypoints.

    There are ten panels always, lettered A to J: keypoints on a frame of the left, right and body camera, motion
    energy, wheel, speed of paw and nose, licks on average and per trial, pupil. A panel whose data are missing, or
    that cannot be drawn, has the reason in its place, and takes no other with it.

    Parameters
    ----------
    content : PoseContent
        Data of the session.

    Returns
    -------
    bytes
        A PNG image.

    Raises
    ------
    MissingEnvironment
        If matplotlib is not installed.
    """
    figure = pose_figure(content)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DOTS_PER_IN, metadata={"Software": None})
    return out.getvalue()


def pose_figure(content: PoseContent) -> Figure:
    """Draw the figure as an object of matplotlib, for notebooks; see `pose_figure_png`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as NewFigure
    except ImportError as error:
        raise MissingEnvironment(
            "figures of keypoints need matplotlib",
            expected="the extra `pose` of ibl_dask",
            got=str(error),
            do="install it: pip install 'ibl_dask[pose]'",
        ) from error

    figure = NewFigure(figsize=SIZE_IN)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{content.session}: {_TITLES[content.tracker]}", fontsize=12)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.88, bottom=0.07, wspace=0.32, hspace=0.42)
    for number, (title, panel) in enumerate(_panels(content)):
        ax = figure.add_subplot(2, 5, number + 1)
        _draw(ax, title, panel)
        ax.annotate(
            ascii_uppercase[number], (0, 1), (-28, 26), "axes fraction", "offset points", fontsize=16, fontweight="bold"
        )
    return figure


def _panels(content: PoseContent) -> list[tuple[str, Panel]]:
    """Return the panels in order, each with its title where it has nothing to draw."""
    of_trials: tuple[tuple[str, Callable[[Axes, PoseContent, Trials], str | None]], ...] = (
        ("Motion energy", draw_motion_energy),
        ("Wheel position", draw_wheel),
        ("Paw speed", partial(draw_speed, part="paw")),
        ("Nose speed", partial(draw_speed, part="nose_tip")),
        ("Licks", draw_lick_rate),
        ("Licks of each correct trial", draw_lick_raster),
        ("Pupil diameter", draw_pupil),
    )
    return [
        *((f"{label.capitalize()} camera", partial(_traces, content, label)) for label in _LABELS),
        *((title, partial(_of_trials, content, draw)) for title, draw in of_trials),
    ]


def _traces(content: PoseContent, label: str, ax: Axes) -> str | None:
    reason = draw_traces(ax, content.camera(label))
    return None if reason is None else content.reasons.get(label, reason)


def _of_trials(content: PoseContent, draw: Callable[[Axes, PoseContent, Trials], str | None], ax: Axes) -> str | None:
    if content.trials is None:
        return content.reasons.get("trials", "no trials to average over")
    trials = content.trials.drawn()
    if not len(trials):
        return f"none of {len(content.trials):,} trials is complete\nand at most 10 s long"
    return draw(ax, content, trials)


def _draw(ax: Axes, title: str, panel: Panel) -> None:
    try:
        with np.errstate(all="ignore"):
            reason = panel(ax)
    except Exception as error:  # noqa: BLE001  # one panel must not take the others with it
        ax.clear()
        reason = f"could not be drawn:\n{type(error).__name__}: {error}"
    if reason is not None:
        ax.set_axis_off()
        ax.set_title(title, fontsize=10)
        lines = "\n".join(fill(line, _REASON_COLUMNS) for line in reason.splitlines())
        ax.text(0.5, 0.5, lines, color="#b00020", fontsize=11, ha="center", va="center", transform=ax.transAxes)
