"""Predictions as DeepLabCut and Lightning Pose write them: CSV with rows for scorer, bodyparts and coords."""

from __future__ import annotations

import csv
import io

import numpy as np

from ibl_dask.errors import UnusableFile
from ibl_dask.pose.keypoints import Keypoints

_HEADER = ("scorer", "bodyparts", "coords")


def keypoints_from_csv(text: str, where: str = "") -> Keypoints:
    """Read predictions of one animal.

    Parameters
    ----------
    text : str
        Three header rows, then one row per frame whose first value is the number of the frame.
    where : str
        The file, for messages.

    Raises
    ------
    UnusableFile
        If the header is another one, a row does not parse, or frames are not numbered from 0 on without a gap: rows
        would belong to other frames.
    """
    rows = csv.reader(io.StringIO(text))
    header = [next(rows, []) for _ in _HEADER]
    if tuple(row[0] if row else "" for row in header) != _HEADER or len({len(row) for row in header}) != 1:
        got = "; ".join(",".join(row[:4]) for row in header)
        raise _unusable(where, f"header rows {', '.join(_HEADER)}, of one animal", got)
    names = [f"{part}_{coord}" for part, coord in zip(header[1][1:], header[2][1:], strict=True)]
    try:
        table = np.array([row for row in rows if row], np.float64).reshape(-1, len(names) + 1)
    except ValueError as error:
        raise _unusable(where, f"{len(names) + 1} numbers in each row", str(error)) from error
    wrong = np.flatnonzero(table[:, 0] != np.arange(len(table)))
    if wrong.size:
        raise _unusable(where, f"frame {wrong[0]:,} in row {wrong[0]:,}", f"frame {table[wrong[0], 0]:g}")
    return Keypoints.from_columns(dict(zip(names, table[:, 1:].T, strict=True)), where)


def _unusable(where: str, expected: str, got: str) -> UnusableFile:
    return UnusableFile("this is no table of predictions", where, expected, got, do="export the predictions again")
