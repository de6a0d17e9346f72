"""The page of the viewer, and the data that it asks for."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ibl_dask.errors import UsageError
from ibl_dask.model.verdict import current_verdict
from ibl_dask.report.palette import look_of
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.view.bins import reduce_track
from ibl_dask.view.session_view import SessionView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.model.json_object import JsonObject
    from ibl_dask.view.content import Track

MOST_COLUMNS = 4000
"""Columns of the widest screen."""


def head_of(view: SessionView, ranges: dict[str, tuple[int, int]] | None = None) -> dict[str, object]:
    """Return all that a page has before it asks for anything; JSON.

    Parameters
    ----------
    view : SessionView
        The session.
    ranges : dict, optional
        Label -> first and last frame that the page can show; all by default.
    """
    start_s, stop_s = view.span_s
    return {
        "session": view.workspace.session.reference,
        "start_s": start_s,
        "stop_s": stop_s,
        "tracker": view.tracker,
        "remarks": list(view.remarks),
        "cameras": [
            {
                "label": camera.label,
                "first": (ranges or {}).get(camera.label, (0, 0))[0],
                "last": (ranges or {}).get(camera.label, (0, camera.n_frames - 1))[1],
                "n_frames": camera.n_frames,
                "rate_hz": _rate(camera.times_s),
                "width": camera.size_px[0],
                "height": camera.size_px[1],
                "shown": list(view.picture_size(camera.label)),
                "remark": camera.remark,
                "is_posed": camera.label in view.posed,
            }
            for camera in view.cameras
        ],
    }


def _rate(times_s: NDArray[np.float64]) -> float:
    """Return the frames per second of a camera: most intervals are right."""
    step = float(np.median(np.diff(times_s[:2000]))) if len(times_s) > 1 else 0.0
    return min(1000.0, 1 / step) if step > 0 else 30.0


def series_of(view: SessionView, start_s: float, stop_s: float, n_columns: int) -> dict[str, object]:
    """Return all tracks in a range of time, reduced to columns; JSON.

    Raises
    ------
    UsageError
        If the range is empty, or there are too many columns or none.
    """
    if not (np.isfinite([start_s, stop_s]).all() and start_s < stop_s and 1 <= n_columns <= MOST_COLUMNS):
        raise UsageError(
            "this range of time cannot be drawn",
            expected=f"a start before its end, and 1 to {MOST_COLUMNS} columns",
            got=f"{start_s:g} to {stop_s:g} s in {n_columns} columns",
        )
    tracks = [{**about_track(track), **reduce_track(track, start_s, stop_s, n_columns)} for track in view.tracks]
    return {"from": start_s, "to": stop_s, "columns": n_columns, "tracks": tracks}


def about_track(track: Track) -> JsonObject:
    """Return name, kind and bounds of a track; JSON."""
    known = track.values[np.isfinite(track.values)]
    bounds = [float(known.min()), float(known.max())] if len(known) else [0.0, 1.0]
    return {"name": track.name, "kind": track.kind, "unit": track.unit, "camera": track.camera, "bounds": bounds}


def places_of(view: SessionView) -> dict[str, object]:
    """Return the places that need a look, the names of keypoints and the verdicts; JSON."""
    verdicts = read_verdicts(view.workspace.session)
    current = {label: current_verdict(verdicts, label, view.tracker) for label in sorted(view.posed)}
    return {
        "places": [
            {
                "kind": jump.kind,
                "camera": jump.camera,
                "title": jump.title,
                "text": jump.text,
                "outcome": jump.outcome,
                "css": look_of(jump.outcome).css,
                "frame": jump.frame,
                "time": None if jump.frame is None else float(view.camera(jump.camera).times_s[jump.frame]),
            }
            for jump in view.jumps
        ],
        "keypoints": {label: list(keypoints.names) for label, keypoints in view.keypoints.items()},
        "verdicts": {label: str(each) for label, each in current.items() if each is not None},
        "remarks": [*view.remarks, *view.later_remarks],
    }


def keypoints_of(view: SessionView, label: str, first: int, last: int) -> bytes:
    """Return x, y and likelihood of some frames, float32, little-endian. (frame, keypoint, 3)"""
    view.camera(label)
    found = view.keypoints.get(label)
    return b"" if found is None else found.values[first : last + 1].astype("<f4").tobytes()


def packed(picture: bytes) -> bytes:
    """Return a picture after its length, 4 bytes little-endian; a length of 0 is a frame that does not decode."""
    return struct.pack("<I", len(picture)) + picture


def base64_of(content: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(content).decode()


def as_script(value: object) -> str:
    """Return JSON that may stand within a script of a page: no text in it ends the script."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def render_page(head: dict[str, object], scripts: Iterable[str] = ()) -> str:
    """Return the page of a session.

    Parameters
    ----------
    head : dict
        See `head_of`, with `mode`: `server` or `folder`.
    scripts : iterable of str
        Names of files beside the page that it loads first.
    """
    data = Markup(as_script(head))  # escaped above
    return _environment().get_template("view.html.j2").render(head=head, data=data, scripts=list(scripts))


def render_list(references: Sequence[tuple[str, str]]) -> str:
    """Return a page with links to sessions.

    Parameters
    ----------
    references : sequence of (str, str)
        Reference and outcome of each, in the order of their addresses, `0/`, `1/`, ...
    """
    rows = [(reference, outcome, look_of(outcome)) for reference, outcome in references]
    return _environment().get_template("list.html.j2").render(rows=rows)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ibl_dask.view", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
