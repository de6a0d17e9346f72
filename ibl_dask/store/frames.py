"""The per-frame store of a camera: one Zarr group that `xarray.open_zarr` opens without us."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.store.atomic import readable_folder, writing_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FRAMES_VERSION = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One array of the store."""

    dims: tuple[str, ...]
    """Names of its dimensions, frames first."""
    values: NDArray[Any]
    """The array."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """units, long_name and the like."""


@dataclass(frozen=True, slots=True)
class FramesStore:
    """Everything in a per-frame store."""

    columns: Mapping[str, Column]
    """Data by name."""
    coordinates: Mapping[str, Column]
    """Coordinates by name: frame numbers, times."""
    fingerprints: Mapping[str, str]
    """Reducer -> fingerprint of what its columns were made with."""
    video: Mapping[str, Any]
    """Identity of the video."""


def write_frames(path: Path, content: FramesStore, session: str, camera: str) -> None:
    """Write the store beside its place and swap it in."""
    import xarray as xr

    dataset = xr.Dataset(
        {name: (c.dims, c.values, dict(c.attributes)) for name, c in content.columns.items()},
        coords={name: (c.dims, c.values, dict(c.attributes)) for name, c in content.coordinates.items()},
        attrs={
            "ibl_dask_frames_version": FRAMES_VERSION,
            "session": session,
            "camera": camera,
            "video": dict(content.video),
            "fingerprints": dict(content.fingerprints),
        },
    )
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"chunks": variable.shape, "_FillValue": None}
        for name, variable in dataset.variables.items()
        if variable.size
    }
    with writing_folder(path) as folder, warnings.catch_warnings():
        # Consolidated metadata make opening fast and silent; that Zarr v3 does not specify them yet is known.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", category=UserWarning)
        dataset.to_zarr(folder, mode="w", zarr_format=3, consolidated=True, encoding=encoding)


def read_frames(path: Path) -> FramesStore | None:
    """Read a store; None where there is none.

    Raises
    ------
    FormatTooNew
        If it was written with another layout.
    CorruptOutput
        If it cannot be read.
    """
    found = readable_folder(path)
    if found is None:
        return None
    try:
        return _read(found)
    except (ValueError, KeyError, TypeError, RuntimeError, FileNotFoundError) as error:
        raise CorruptOutput(
            "this per-frame store is damaged",
            where=str(path),
            expected="a Zarr group with every array whole",
            got=f"{type(error).__name__}: {error}",
            do="move it away and run again: it is made anew",
        ) from error


def _read(path: Path) -> FramesStore:
    import xarray as xr

    with xr.open_zarr(path, chunks=None) as dataset:
        version = dataset.attrs.get("ibl_dask_frames_version")
        if version != FRAMES_VERSION:
            raise FormatTooNew(
                "this per-frame store has another layout",
                where=str(path),
                expected=f"version {FRAMES_VERSION}",
                got=f"version {version}",
                do="move it away and run again, or read it with the version of ibl_dask that wrote it",
            )
        columns = {
            str(name): Column(tuple(map(str, v.dims)), v.to_numpy(), {k: str(x) for k, x in v.attrs.items()})
            for name, v in dataset.variables.items()
        }
        coordinates = {name: columns.pop(name) for name in map(str, dataset.coords)}
        return FramesStore(columns, coordinates, dict(dataset.attrs["fingerprints"]), dict(dataset.attrs["video"]))


def stored_fingerprints(path: Path, video: Mapping[str, Any]) -> dict[str, str]:
    """Return which reducers' values a store holds for a video, and their fingerprints; empty where it holds none."""
    import zarr

    found = readable_folder(path)
    if found is None:
        return {}
    try:
        attributes = zarr.open_group(found, mode="r").attrs.asdict()
    except (FileNotFoundError, ValueError, TypeError, AttributeError):  # nothing, or nothing that Zarr can read
        return {}
    if attributes.get("ibl_dask_frames_version") != FRAMES_VERSION or attributes.get("video") != dict(video):
        return {}
    marks = attributes["fingerprints"]
    return {str(name): str(mark) for name, mark in marks.items()} if isinstance(marks, Mapping) else {}
