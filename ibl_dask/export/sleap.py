"""Keypoints as an analysis file of SLEAP: HDF5 with one animal as its track."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.export.content import INDIVIDUAL, missing_package
from ibl_dask.store.atomic import writing_path

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.export.content import PosedCamera


def write_sleap(path: Path, camera: PosedCamera, session: str) -> None:
    """Write the arrays that SLEAP exports for analysis, with the axes in its default order, that of MATLAB.

    `tracks` is (track, xy, node, frame) and `point_scores` (track, node, frame), as float64. SLEAP has no times; it
    counts the frames of the video, so none is left out. Where no point has a place, the track is not there
    (`track_occupancy`). A score of the animal as a whole is not known: it is NaN.

    Parameters
    ----------
    path : Path
        The file.
    camera : PosedCamera
        The camera.
    session : str
        Its session, for the provenance.

    Raises
    ------
    MissingEnvironment
        If h5py is not installed.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing_package("HDF5 of SLEAP", "export", error) from error
    values = np.asarray(camera.keypoints.values, np.float64)
    tracks = values[:, :, :2].transpose(2, 1, 0)[np.newaxis]
    unknown = np.full((1, len(values)), np.nan)
    arrays = {
        "tracks": (tracks, ("track", "xy", "node", "frame")),
        "point_scores": (values[:, :, 2].T[np.newaxis], ("track", "node", "frame")),
        "instance_scores": (unknown, ("track", "frame")),
        "tracking_scores": (unknown, ("track", "frame")),
        "track_occupancy": (np.isfinite(tracks).any(axis=(1, 2)).T.astype(np.uint8), ("frame", "track")),
    }
    provenance = {"session": session, "source": camera.source, "ibl_dask": version("ibl_dask")}
    texts = {"labels_path": "", "video_path": camera.video, "provenance": json.dumps(provenance)}
    with writing_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, (array, dims) in arrays.items():
            file.create_dataset(name, data=array, compression="gzip").attrs["dims"] = json.dumps(dims)
        file["track_names"] = np.array([INDIVIDUAL.encode()])
        file["node_names"] = np.array([name.encode() for name in camera.keypoints.names])
        file["edge_names"] = np.zeros((0, 2), "S1")
        file["edge_inds"] = np.zeros((0, 2), np.int64)
        file["video_ind"] = 0
        for name, text in texts.items():
            file[name] = text
        file.attrs.update({"format": "analysis", "preset": "matlab"})
