"""Datasets of `movement`: position and confidence over time, space, keypoint and individual, in netCDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.export.content import INDIVIDUAL, SOFTWARE, PosedCamera
from ibl_dask.store.atomic import writing_path

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr


def movement_dataset(camera: PosedCamera, session: str) -> xr.Dataset:
    """Return the poses of a camera as movement 0.17 names them.

    Parameters
    ----------
    camera : PosedCamera
        The camera.
    session : str
        subject/date/number.

    Returns
    -------
    xarray.Dataset
        `position` (time, space, keypoint, individual), px; `confidence` (time, keypoint, individual), 0 to 1. `time` is
        in seconds on the main clock where there are frame times, and then `frame` numbers the frames beside it; else in
        frames. There is no `fps`: frames of a camera are not evenly spaced, and movement would compute times from it.
    """
    import xarray as xr

    keypoints = camera.keypoints
    frames = np.arange(len(keypoints), dtype=np.int32)
    is_timed = camera.times_s is not None
    values = keypoints.values
    attributes: dict[str, str] = {
        "ds_type": "poses",
        "source_software": SOFTWARE[camera.tracker],
        "source_file": camera.source,
        "time_unit": "seconds" if is_timed else "frames",
        "session": session,
        "camera": camera.label,
        "video": camera.video,
    }
    return xr.Dataset(
        {
            "position": (("time", "space", "keypoint", "individual"), values[:, :, :2].transpose(0, 2, 1)[..., None]),
            "confidence": (("time", "keypoint", "individual"), values[:, :, 2][..., None]),
        },
        coords={
            "time": camera.times_s if is_timed else frames,
            "space": ["x", "y"],
            "keypoint": list(keypoints.names),
            "individual": [INDIVIDUAL],
            "frame": ("time", frames),
        },
        attrs={name: text for name, text in attributes.items() if text},
    )


def write_movement(path: Path, camera: PosedCamera, session: str) -> None:
    """Write the poses of a camera as netCDF, which `xarray.open_dataset` and movement read; see `movement_dataset`.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    dataset = movement_dataset(camera, session)
    with writing_path(path) as temporary:
        # The classic format, which every reader knows, and which scipy writes.
        dataset.to_netcdf(temporary, engine="scipy", format="NETCDF3_64BIT")
