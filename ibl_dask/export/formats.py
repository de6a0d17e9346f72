"""Formats of other programs by name, and the files that each leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ibl_dask.export.content import PosedCamera
    from ibl_dask.model.session import Session

Format = Literal["movement", "dlc", "csv", "sleap", "nwb"]
"""movement: netCDF; dlc: HDF5 and CSV of DeepLabCut; csv: CSV of Lightning Pose; sleap: analysis HDF5 of SLEAP; nwb:
NWB with ndx-pose."""
FORMATS: tuple[Format, ...] = get_args(Format)
TIMED: frozenset[Format] = frozenset({"movement", "nwb"})
"""Formats that hold frame times; nwb cannot do without."""


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    found = next((form for form in FORMATS if form == name), None)
    if found is None:
        raise UsageError("there is no such format", "--format", " or ".join(FORMATS), name, do=advice(name, FORMATS))
    return found


def write_format(form: Format, folder: Path, cameras: Sequence[PosedCamera], session: Session) -> list[Path]:
    """Write some cameras of a session in a format, and return the files.

    Parameters
    ----------
    form : str
        The format.
    folder : Path
        Folder of the files.
    cameras : sequence of PosedCamera
        The cameras.
    session : Session
        Their session.

    Raises
    ------
    MissingFile
        If the format needs frame times that are not there.
    MissingEnvironment
        If a package of the format is not installed.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    if form == "nwb":
        from ibl_dask.export.nwb import write_nwb

        path = folder / f"{session.reference.replace('/', '_')}_pose.nwb"
        write_nwb(path, cameras, session)
        return [path]
    return [path for camera in cameras for path in _write_camera(form, folder, camera, session.reference)]


def _write_camera(form: Format, folder: Path, camera: PosedCamera, session: str) -> list[Path]:
    if form == "movement":
        from ibl_dask.export.movement import write_movement

        path = folder / f"{camera.label}Camera-{camera.tracker}.nc"
        write_movement(path, camera, session)
        return [path]
    if form == "sleap":
        from ibl_dask.export.sleap import write_sleap

        path = folder / f"{camera.stem}{camera.scorer}.analysis.h5"
        write_sleap(path, camera, session)
        return [path]
    from ibl_dask.export.prediction_tables import write_csv, write_h5

    name = f"{camera.stem}{camera.scorer}"
    written = []
    if form == "dlc":
        write_h5(folder / f"{name}.h5", camera)
        written.append(folder / f"{name}.h5")
    write_csv(folder / f"{name}.csv", camera)
    return [*written, folder / f"{name}.csv"]
