"""The viewer as a folder that opens without a server: a page, and its data as scripts beside it.

Pages that are opened as files may not read other files, but may run scripts beside them: each file of data is a script
that hands its content to the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.store.atomic import writing_folder
from ibl_dask.view import page
from ibl_dask.view.session_view import SessionView, frames_between

if TYPE_CHECKING:
    from ibl_dask.view.content import Track

LONGEST_S = 120.0
"""Longest range of a folder, s; a second of the three cameras of an ephys rig takes about 6 MB."""
PAGE = "index.html"


def write_view(view: SessionView, target: Path, start_s: float | None = None, stop_s: float | None = None) -> Path:
    """Write the viewer of a range of time as a folder, and return its page.

    Parameters
    ----------
    view : SessionView
        The session.
    target : Path
        The folder; it must not exist, or be empty.
    start_s, stop_s : float, optional
        The range, s on the main clock; from the first to the last frame by default.

    Raises
    ------
    UsageError
        If the range is empty, too long or outside the session, or the folder holds files.
    MissingFile, UnreadableVideo
        If a video changed; no folder is written.
    NotWritable
        If the folder cannot be written, or the disk is full.
    AlreadyThere
        If files have come into the folder meanwhile.
    """
    start_s, stop_s = _range_within(view, start_s, stop_s)
    target = target.resolve()  # a link to an empty folder is as good as that
    _require_empty(target)
    ranges = {camera.label: frames_between(camera, start_s, stop_s) for camera in view.cameras}
    head = {**page.head_of(view, ranges), "mode": "folder", "start_s": start_s, "stop_s": stop_s}
    segments: dict[str, int] = {}
    for each in head["cameras"]:  # type: ignore[attr-defined]
        each["segment"] = segments[each["label"]] = max(1, math.ceil(each["rate_hz"]))
    with writing_folder(target, is_new=True) as folder:
        (folder / "data").mkdir()
        for name, content in _contents(view, ranges, segments, start_s, stop_s):
            text = f"give({json.dumps(name)}, {json.dumps(content, allow_nan=False, separators=(',', ':'))});\n"
            (folder / "data" / f"{name}.js").write_text(text)
        (folder / PAGE).write_text(page.render_page(head), encoding="utf-8")
    return target / PAGE


def _require_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            "this folder holds files",
            where=str(target),
            expected="a new folder, or an empty one",
            got="other files" if target.is_dir() else "a file",
            do="name another folder with --out",
        )


def _range_within(view: SessionView, start_s: float | None, stop_s: float | None) -> tuple[float, float]:
    first_s, last_s = view.span_s
    start_s, stop_s = first_s if start_s is None else start_s, last_s if stop_s is None else stop_s
    got = f"{start_s:g} to {stop_s:g} s"
    if not start_s < stop_s or stop_s <= first_s or start_s >= last_s:
        expected = f"a start before its end, within {first_s:.3f} to {last_s:.3f} s"
        raise UsageError("this range of time shows nothing", "--from and --to", expected, got)
    start_s, stop_s = max(start_s, first_s), min(stop_s, last_s)
    if stop_s - start_s > LONGEST_S:
        raise UsageError(
            "this range of time is too long for a folder",
            where="--from and --to",
            expected=f"{LONGEST_S:g} s or less",
            got=got,
            do="give a shorter range, or use the server, which has no limit: leave out --out",
        )
    return start_s, stop_s


def _contents(
    view: SessionView, ranges: dict[str, tuple[int, int]], segments: dict[str, int], start_s: float, stop_s: float
) -> Iterator[tuple[str, object]]:
    """Yield name and content of each file of data; JSON."""
    yield (
        "times",
        {
            camera.label: page.base64_of(camera.times_s[slice_of(ranges[camera.label])].astype("<f8").tobytes())
            for camera in view.cameras
        },
    )
    yield "tracks", [_raw(track, start_s, stop_s) for track in view.tracks]
    found = page.places_of(view)
    yield "places", {**found, "places": [each for each in found["places"] if _is_within(each, ranges)]}  # type: ignore[attr-defined]
    for label, (first, last) in ranges.items():
        if label in view.posed:
            yield f"keypoints-{label}", page.base64_of(page.keypoints_of(view, label, first, last))
        for start in range(first, last + 1, segments[label]):
            stop = min(last, start + segments[label] - 1)
            pictures = view.pictures(label).jpegs(start, stop)
            yield f"frames-{label}-{start}", [page.base64_of(picture) for picture in pictures]


def slice_of(frames: tuple[int, int]) -> slice:
    """Return first and last frame as a slice."""
    return slice(frames[0], frames[1] + 1)


def _raw(track: Track, start_s: float, stop_s: float) -> dict[str, object]:
    first = int(np.searchsorted(track.times_s, start_s, side="left"))
    stop = int(np.searchsorted(track.times_s, stop_s, side="right"))
    return {
        **page.about_track(track),
        "times": page.base64_of(track.times_s[first:stop].astype("<f8").tobytes()),
        "values": page.base64_of(track.values[first:stop].astype("<f4").tobytes()),
    }


def _is_within(place: dict[str, object], ranges: dict[str, tuple[int, int]]) -> bool:
    first, last = ranges[str(place["camera"])]
    return place["frame"] is None or first <= int(str(place["frame"])) <= last
