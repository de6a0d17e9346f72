"""Folders of frames to label, as Lightning Pose and DeepLabCut lay them out."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.errors import AlreadyThere, DecodeFailed, UnequalLengths
from ibl_dask.export.prediction_tables import column_index, write_hdf5
from ibl_dask.store.atomic import writing_folder
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import index_video

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.pose.worst_frames import WorstFrame

LIGHTNING_POSE, DEEPLABCUT = "lightning_pose", "deeplabcut"
"""Names of the folders of each program."""
CONTEXT_FRAMES = 2
"""Frames on each side that networks in context of Lightning Pose read beside a labelled one."""
_LABELED = "labeled-data"


def picture_name(number: int) -> str:
    """Return the file name of a frame, by which Lightning Pose finds its neighbours.

    >>> picture_name(42)
    'img00000042.png'
    """
    return f"img{number:08d}.png"


def write_labelling(
    folder: Path, name: str, video: Path, keypoints: Keypoints, frames: Sequence[WorstFrame], scorer: str
) -> tuple[int, ...]:
    """Write frames of a video to be labelled, and empty tables of labels.

    `lightning_pose/` has `CollectedData.csv` and `labeled-data/{name}/`, with two frames on each side of every frame
    beside it. `deeplabcut/` has `labeled-data/{name}/` with the frames and `CollectedData_{scorer}.csv`, and the same
    in HDF5 where PyTables is installed. `frames.csv` lists the frames with their scores and predictions.

    Parameters
    ----------
    folder : Path
        The folder, which must not exist: it may hold labels.
    name : str
        Name of the video in both layouts.
    video : Path
        The video.
    keypoints : Keypoints
        Its keypoints.
    frames : sequence of WorstFrame
        Frames to label.
    scorer : str
        Person who labels; DeepLabCut has the name in its configuration.

    Returns
    -------
    tuple of int
        Numbers of the frames that were written: those that decode.

    Raises
    ------
    AlreadyThere
        If the folder exists.
    UnequalLengths
        If there is not one row of keypoints per frame.
    DecodeFailed
        If none of the frames decodes.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    if folder.exists():
        raise AlreadyThere(
            "this folder of frames to label exists already, and may hold labels",
            where=str(folder),
            expected="a new folder",
            got="a folder",
            do="name another one with --out",
        )
    index = index_video(video)
    if len(index) != len(keypoints):
        raise UnequalLengths(
            "keypoints do not belong to this video",
            where=str(video),
            expected=f"one row for each of {len(index):,} frames",
            got=f"{len(keypoints):,} rows",
            do="estimate the keypoints of this video anew",
        )
    wanted = {frame.number for frame in frames}
    with writing_folder(folder, is_new=True) as temporary:
        for program in (LIGHTNING_POSE, DEEPLABCUT):
            (temporary / program / _LABELED / name).mkdir(parents=True)
        written: set[int] = set()
        for start, stop in _ranges(sorted(wanted), len(index)):
            for number, picture in rgb_frames(video, index, start, stop):
                if picture is not None:
                    written.add(number)
                    _write_picture(temporary, name, number, picture, number in wanted)
        chosen = [frame for frame in frames if frame.number in written]
        if not chosen:
            raise DecodeFailed("none of the frames to label decodes", str(video), "frames that decode", "none")
        names = [picture_name(frame.number) for frame in chosen]
        table = _empty_labels([(f"{_LABELED}/{name}/{picture}",) for picture in names], keypoints.names, scorer)
        (temporary / LIGHTNING_POSE / "CollectedData.csv").write_text(table)
        _write_deeplabcut(temporary / DEEPLABCUT / _LABELED / name, name, names, keypoints.names, scorer)
        (temporary / "frames.csv").write_text(_list_frames(chosen, keypoints))
    return tuple(frame.number for frame in chosen)


def _ranges(numbers: Sequence[int], n_frames: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of frames that hold some frames and their neighbours, each frame once."""
    start = stop = 0
    for number in numbers:
        first, last = max(0, number - CONTEXT_FRAMES), min(n_frames, number + CONTEXT_FRAMES + 1)
        if first > stop or stop == 0:
            if stop > start:
                yield start, stop
            start = first
        stop = last
    if stop > start:
        yield start, stop


def _write_picture(folder: Path, name: str, number: int, picture: NDArray[np.uint8], is_wanted: bool) -> None:
    content = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
    for program in (LIGHTNING_POSE, DEEPLABCUT) if is_wanted else (LIGHTNING_POSE,):
        (folder / program / _LABELED / name / picture_name(number)).write_bytes(content)


def _write_deeplabcut(folder: Path, name: str, pictures: Sequence[str], points: Sequence[str], scorer: str) -> None:
    """Write the empty table of labels of DeepLabCut, whose rows have three names."""
    rows = [(_LABELED, name, picture) for picture in pictures]
    (folder / f"CollectedData_{scorer}.csv").write_text(_empty_labels(rows, points, scorer))
    if find_spec("tables") is None:
        return
    import pandas as pd

    index = pd.MultiIndex.from_arrays([pd.Index(names, dtype=object) for names in zip(*rows, strict=True)])
    table = pd.DataFrame(np.nan, index=index, columns=column_index(scorer, points, ("x", "y")))
    write_hdf5(folder / f"CollectedData_{scorer}.h5", table)


def _empty_labels(rows: Sequence[tuple[str, ...]], points: Sequence[str], scorer: str) -> str:
    """Return a table of labels without any: three rows of headers, then a row for each picture."""
    blank = [""] * (len(rows[0]) - 1)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["scorer", *blank, *[scorer] * (2 * len(points))])
    table.writerow(["bodyparts", *blank, *(point for point in points for _ in "xy")])
    table.writerow(["coords", *blank, *("x", "y") * len(points)])
    table.writerows([*row, *[""] * (2 * len(points))] for row in rows)
    return out.getvalue()


def _list_frames(frames: Sequence[WorstFrame], keypoints: Keypoints) -> str:
    """Return the frames with their scores, the worst point of each, and the predictions."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    predicted = [f"{point}_{part}" for point in keypoints.names for part in ("x", "y", "likelihood")]
    table.writerow(["frame", "score", "worst_keypoint", *predicted])
    for frame in frames:
        values = keypoints.values[frame.number].reshape(-1).tolist()
        table.writerow([frame.number, f"{frame.score:.4f}", frame.keypoint, *("" if v != v else v for v in values)])
    return out.getvalue()
