"""Engine without a network: the centroids of bright discs, exact, for tests of everything around a network.

A keypoint is the centroid of one bright disc, weighted by how much brighter its pixels are than the threshold; discs
are counted from left to right. With a halo, x and y are the mean over the frames around (2 halo + 1, fewer where the
video begins or ends), so that a missing or doubled frame of halo at a seam of two chunks shows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from typing import Any

    Array = Any


OPTIONS = {
    "threshold": "brightness above which a pixel belongs to a disc, 0 to 255, default 128",
    "halo": "frames of context to each side, default 0",
    "least_px": "pixels of the smallest disc, default 4",
    "batch": "frames at once to begin with, default 16",
    "ms_per_frame": "time that a frame takes beside that, as on a GPU, which leaves the cores alone; ms, default 0",
}
"""Name of an option -> its values."""


class SyntheticEngine:
    """Centroids of discs."""

    def __init__(self, options: dict[str, Any], keypoints: list[str]) -> None:
        self._threshold = float(options.get("threshold", 128))
        self._halo = int(options.get("halo", 0))
        self._least_px = int(options.get("least_px", 4))
        self._batch = int(options.get("batch", 16))
        self._wait_s = float(options.get("ms_per_frame", 0)) / 1000
        self._keypoints = list(keypoints) or ["disc"]

    def info(self) -> dict[str, Any]:
        """Return the declaration of the engine."""
        return {
            "keypoints": self._keypoints,
            "halo": self._halo,
            "colour": "gray",
            "batch_hint": self._batch,
            "tolerance_px": 0.0,
            "build": "synthetic 1",
        }

    def predict(self, frames: Array, before: int, after: int) -> Array:
        """Return the keypoints of the frames between the halos."""
        time.sleep(self._wait_s * (len(frames) - before - after))
        found = numpy.stack([self._of_frame(frame) for frame in frames]) if len(frames) else self._none()[None][:0]
        rows = found[before : len(frames) - after].copy()
        for row in range(len(rows)):
            at = before + row
            around = found[max(0, at - self._halo) : at + self._halo + 1, :, :2]
            for number in range(len(self._keypoints)):
                seen = around[:, number][~numpy.isnan(around[:, number, 0])]
                if len(seen):
                    rows[row, number, :2] = [sum(seen[:, 0].tolist()) / len(seen), sum(seen[:, 1].tolist()) / len(seen)]
        return rows.astype(numpy.float32)

    def _of_frame(self, frame: Array) -> Array:
        """Return the keypoints of one frame. (keypoint, 3)"""
        excess = numpy.maximum(frame.max(axis=2).astype(numpy.float64) - self._threshold, 0.0)
        discs = [box for box in parts(excess > 0) if numpy.count_nonzero(excess[box]) >= self._least_px]
        largest = sorted(discs, key=lambda box: -numpy.count_nonzero(excess[box]))[: len(self._keypoints)]
        rows = self._none()
        for number, (x, y) in enumerate(sorted(centroid(excess, box) for box in largest)):
            rows[number] = x, y, 1.0
        return rows

    def _none(self) -> Array:
        rows = numpy.full((len(self._keypoints), 3), numpy.nan)
        rows[:, 2] = 0.0
        return rows


def parts(mask: Array) -> list[Any]:
    """Return the boxes of a mask's parts that an empty row or column separates, again and again."""

    def split(rows: slice, columns: slice) -> list[Any]:
        box = mask[rows, columns]
        down = [slice(rows.start + first, rows.start + last) for first, last in runs(box.any(axis=1))]
        across = [slice(columns.start + first, columns.start + last) for first, last in runs(box.any(axis=0))]
        if down == [rows] and across == [columns]:
            return [(rows, columns)]
        return [found for row in down for column in across if mask[row, column].any() for found in split(row, column)]

    return split(slice(0, mask.shape[0]), slice(0, mask.shape[1]))


def runs(is_set: Array) -> list[Any]:
    """Return the first element of each run of True, and the one after its last."""
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate([[False], is_set, [False]]).astype(numpy.int8)))
    return edges.reshape(-1, 2).tolist()


def centroid(weights: Array, box: Any) -> Any:
    """Return x and y of the centroid of a box."""
    inside = weights[box]
    total = inside.sum()
    x = (inside.sum(axis=0) * numpy.arange(inside.shape[1])).sum() / total + box[1].start
    y = (inside.sum(axis=1) * numpy.arange(inside.shape[0])).sum() / total + box[0].start
    return float(x), float(y)


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> SyntheticEngine:
    """Return the engine; it runs on the CPU whatever the device."""
    return SyntheticEngine(options, keypoints)
