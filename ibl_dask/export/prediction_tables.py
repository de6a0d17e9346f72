"""Tables of predictions as DeepLabCut and Lightning Pose write them: columns by scorer, body part and coordinate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.export.content import PosedCamera, missing_package
from ibl_dask.store.atomic import writing_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

COORDS = ("x", "y", "likelihood")
_KEY = "df_with_missing"
"""Key of the table in HDF5 (`deeplabcut.pose_estimation_pytorch.apis.videos`)."""


def prediction_frame(camera: PosedCamera) -> pd.DataFrame:
    """Return the predictions as both programs hold them: frames from 0 on, and columns (scorer, bodyparts, coords).

    Medians and variances of an ensemble are left out: readers of the two programs, and movement, take three columns
    per body part for granted.
    """
    import pandas as pd

    keypoints = camera.keypoints
    columns = column_index(camera.scorer, keypoints.names, COORDS)
    values = keypoints.values.reshape(len(keypoints), len(keypoints.names) * len(COORDS))
    return pd.DataFrame(values, index=pd.RangeIndex(len(keypoints)), columns=columns)


def column_index(scorer: str, points: Sequence[str], coords: Sequence[str]) -> pd.MultiIndex:
    """Return columns by scorer, body part and coordinate, without strings of pandas 3, which pandas 2 does not read."""
    import pandas as pd

    levels = [pd.Index(list(level), dtype=object) for level in ([scorer], points, coords)]
    return pd.MultiIndex.from_product(levels, names=["scorer", "bodyparts", "coords"])


def write_hdf5(path: Path, table: pd.DataFrame) -> None:
    """Write a table under the key of DeepLabCut, so that pandas 2, which it needs, reads those of pandas 3.

    Of the two forms that pandas has, `table` is not read across these versions.

    Raises
    ------
    MissingEnvironment
        If PyTables is not installed.
    """
    try:
        import tables  # noqa: F401  # pandas imports it only once the file is open
    except ImportError as error:
        raise missing_package("HDF5 in the manner of DeepLabCut", "export", error) from error
    table.to_hdf(path, key=_KEY, format="fixed", mode="w")


def write_csv(path: Path, camera: PosedCamera) -> None:
    """Write CSV with three rows of headers, as `predictions.csv` of Lightning Pose and DeepLabCut's `save_as_csv`.

    Every number reads back as the same float; NaN is an empty field.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    with writing_path(path) as temporary:
        prediction_frame(camera).to_csv(temporary)


def write_h5(path: Path, camera: PosedCamera) -> None:
    """Write a table that `pandas.read_hdf` reads, as `deeplabcut.analyze_videos` does.

    Raises
    ------
    MissingEnvironment
        If PyTables is not installed.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    with writing_path(path) as temporary:
        write_hdf5(temporary, prediction_frame(camera))
