"""Elements of SVG with colours of the page, so that one figure fits light and dark pages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FINE = 2
"""Steps of a path per pixel: paths hold whole numbers, which keeps files small."""


def write_text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """Draw a line of text.

    Parameters
    ----------
    x, y : float
        Position of its baseline, px.
    text : str
        Text.
    kind : str
        CSS class.
    anchor : str
        Alignment at x: start, middle or end.
    """
    css = f' class="{kind}"' if kind else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.5g}" y="{y:.5g}"{css}{place}>{escape(text)}</text>'


def draw_box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Draw a filled rectangle.

    Parameters
    ----------
    x, y : float
        Upper left corner, px.
    width, height : float
        Size, px.
    kind : str
        CSS class.
    """
    return f'<rect x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}" class="{kind}"/>'


def draw_rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Draw a straight line.

    Parameters
    ----------
    x1, y1, x2, y2 : float
        Its ends, px.
    kind : str
        CSS class.
    """
    return f'<path d="M{x1:.5g} {y1:.5g}L{x2:.5g} {y2:.5g}" class="{kind}"/>'


def draw_dots(x: NDArray[np.float64], y: NDArray[np.float64], kind: str) -> str:
    """Draw a round dot at each position.

    Parameters
    ----------
    x, y : ndarray
        Positions, px. (point,)
    kind : str
        CSS class.
    """
    steps = "".join(f"M{a} {b}h0" for a, b in zip(_fine(x), _fine(y), strict=True))
    return _path(steps, kind)


def draw_line(x: NDArray[np.float64], y: NDArray[np.float64], breaks: NDArray[np.intp], kind: str) -> str:
    """Draw a line through points, interrupted before each point in `breaks`.

    Parameters
    ----------
    x, y : ndarray
        Position of each point, px. (point,)
    breaks : ndarray
        Numbers of points before which the line is interrupted.
    kind : str
        CSS class.
    """
    return _path("".join(_trace(a, b) for a, b in _runs(_fine(x), _fine(y), breaks)), kind)


def draw_area(
    x: NDArray[np.float64],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    breaks: NDArray[np.intp],
    kind: str,
) -> str:
    """Fill the area between two lines, interrupted before each point in `breaks`.

    Parameters
    ----------
    x, upper, lower : ndarray
        Position of each point on both lines, px. (point,)
    breaks : ndarray
        Numbers of points before which the area is interrupted.
    kind : str
        CSS class.
    """
    across, top, bottom = _fine(x), _fine(upper), _fine(lower)
    steps = []
    for (a, b), (_, c) in zip(_runs(across, top, breaks), _runs(across, bottom, breaks), strict=True):
        steps.append(_trace(np.concatenate([a, a[::-1]]), np.concatenate([b, c[::-1]])) + "z")
    return _path("".join(steps), kind)


def draw_columns(first: Iterable[int], last: Iterable[int], top: float, height: float, kind: str) -> str:
    """Draw filled bars of one height, each from its first to its last pixel column.

    Parameters
    ----------
    first, last : iterable of int
        Pixel columns of each bar.
    top, height : float
        Upper edge and height, px.
    kind : str
        CSS class.
    """
    steps = (f"M{a} {top:.5g}h{b - a + 1}v{height:.5g}h-{b - a + 1}z" for a, b in zip(first, last, strict=True))
    return f'<path d="{"".join(steps)}" class="{kind}"/>'


def move(x: float, y: float, body: str) -> str:
    """Shift some elements.

    Parameters
    ----------
    x, y : float
        Distance, px.
    body : str
        The elements.
    """
    return f'<g transform="translate({x:.5g} {y:.5g})">{body}</g>'


def frame_drawing(width: float, height: float, body: str, label: str) -> str:
    """Return a whole SVG that fills the width of its container.

    Parameters
    ----------
    width, height : float
        Size of the drawing, px.
    body : str
        Its elements.
    label : str
        Description for screen readers.
    """
    return (
        f'<svg viewBox="0 0 {width:.5g} {height:.5g}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="xMidYMid meet">{body}</svg>'
    )


def _path(steps: str, kind: str) -> str:
    return f'<path transform="scale({1 / FINE})" d="{steps}" class="{kind}"/>' if steps else ""


def _fine(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values * FINE).astype(np.int64)


def _runs(
    x: NDArray[np.int64], y: NDArray[np.int64], breaks: NDArray[np.intp]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return [(a, b) for a, b in zip(np.split(x, breaks), np.split(y, breaks), strict=True) if len(a)]


def _trace(x: NDArray[np.int64], y: NDArray[np.int64]) -> str:
    steps = (f"{a}{b}" if b < 0 else f"{a} {b}" for a, b in zip(np.diff(x).tolist(), np.diff(y).tolist(), strict=True))
    rest = " ".join(steps)
    return f"M{x[0]} {y[0]}l{rest}" if rest else f"M{x[0]} {y[0]}h1"
