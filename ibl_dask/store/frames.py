"""Per-frame store of a camera: one Zarr group, which `xarray.open_zarr` opens without this package."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.store.atomic import read_folder, writing_folder

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

FRAMES_VERSION = 2
T = TypeVar("T")


Attribute = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Column:
    """One array of the store."""

    dims: tuple[str, ...]
    """Names of its dimensions, frames first."""
    values: NDArray[Any]  # element type known at run time only
    """The array; its shape has one size per dimension."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """CF attributes: units, long_name; of codes also flag_values and flag_meanings."""


@dataclass(frozen=True, slots=True)
class FramesStore:
    """Content of a per-frame store."""

    columns: Mapping[str, Column]
    """Data by name."""
    coordinates: Mapping[str, Column]
    """Coordinates by name: frame numbers, times."""
    fingerprints: Mapping[str, str]
    """Reducer -> its fingerprint when its columns were computed."""
    video: Mapping[str, object]
    """Identity of the video; see `FrameIndex.identity`."""


def write_frames(path: Path, content: FramesStore, session: str, camera: str) -> None:
    """Write a store, and replace the older one when it is complete.

    Parameters
    ----------
    path : Path
        The store, a folder.
    content : FramesStore
        Arrays and attributes.
    session : str
        Reference of the session.
    camera : str
        Label of the camera.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    ValueError
        If arrays differ in the size of a common dimension.
    """
    import zarr

    every = {**content.columns, **content.coordinates}
    _check_sizes(every)
    plain = [name for name, column in content.coordinates.items() if column.dims != (name,)]
    attributes = {
        "ibl_dask_frames_version": FRAMES_VERSION,
        "session": session,
        "camera": camera,
        "video": dict(content.video),
        "fingerprints": dict(content.fingerprints),
        # Zarr reads a missing chunk as zeros, so without digests a lost file would pass for data.
        "digests": {name: _digest(column.values) for name, column in every.items()},
        # Attribute by which xarray finds coordinates that are no dimension.
        **({"coordinates": " ".join(sorted(plain))} if plain else {}),
    }
    n_bytes = sum(column.values.nbytes for column in every.values())
    with writing_folder(path, n_bytes) as folder, warnings.catch_warnings():
        # Consolidated metadata make opening fast and silent, although Zarr v3 does not specify them yet.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", category=UserWarning)
        group = zarr.create_group(folder, zarr_format=3, attributes=attributes)
        for name, column in every.items():
            group.create_array(
                name,
                data=column.values,
                chunks=tuple(max(1, n) for n in column.values.shape),
                dimension_names=column.dims,
                attributes=dict(column.attributes),
            )
        zarr.consolidate_metadata(folder)


def _check_sizes(columns: Mapping[str, Column]) -> None:
    sizes: dict[str, int] = {}
    for name, column in columns.items():
        for dim, size in zip(column.dims, column.values.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"{name} has {size:,} along {dim}, where other arrays have {sizes[dim]:,}")


def _digest(values: NDArray[np.generic]) -> str:
    shape_and_type = f"{values.dtype.str}{values.shape}".encode()
    return hashlib.sha256(shape_and_type + np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def read_frames(path: Path) -> FramesStore | None:
    """Read a store; None if it does not exist.

    Raises
    ------
    FormatTooNew
        If it has another layout.
    CorruptOutput
        If it is damaged, or an array differs from its digest.
    """
    return _reading(path, _read)


def load_dataset(path: Path) -> xr.Dataset | None:
    """Return the arrays of a store in memory, each as it was written; None if it does not exist.

    Not lazily: of a store that is replaced meanwhile, or has lost a file, Zarr reads zeros.

    Raises
    ------
    FormatTooNew, CorruptOutput
        See `read_frames`.
    """
    import xarray as xr

    def read(folder: Path) -> xr.Dataset:
        _read(folder)  # compares the digests
        dataset: xr.Dataset = xr.open_zarr(folder, chunks=None).load()
        return dataset

    return _reading(path, read)


def _reading(path: Path, read: Callable[[Path], T]) -> T | None:
    """Call a function for the folder of a store; its errors become one that names the store."""
    try:
        return read_folder(path, read)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, FileNotFoundError) as error:
        raise CorruptOutput(
            "this per-frame store is damaged",
            where=str(path),
            expected="a Zarr group with every array whole",
            got=f"{type(error).__name__}: {error}",
            do="move it away and run again: it is made anew",
        ) from error


def _read(path: Path) -> FramesStore:
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: dict[str, Any] = dict(group.attrs.asdict())
    version = attributes.get("ibl_dask_frames_version")
    if version != FRAMES_VERSION:
        raise FormatTooNew(
            "this per-frame store has another layout",
            where=str(path),
            expected=f"version {FRAMES_VERSION}",
            got=f"version {version}",
            do="move it away and run again, or read it with the version of ibl_dask that wrote it",
        )
    arrays = dict(group.arrays())  # all at once: each look into the group waits for the library's thread
    columns = {name: _column(arrays[name]) for name in attributes["digests"]}
    lost = [name for name, column in columns.items() if _digest(column.values) != attributes["digests"][name]]
    if lost:
        raise ValueError(f"other values than were written in {', '.join(sorted(lost))}")
    plain = attributes.get("coordinates", "").split()
    coordinates = {name: columns.pop(name) for name in list(columns) if columns[name].dims == (name,) or name in plain}
    return FramesStore(columns, coordinates, dict(attributes["fingerprints"]), dict(attributes["video"]))


def _column(array: Any) -> Column:  # zarr.Array: the library has no usable types
    dims = tuple(map(str, array.metadata.dimension_names))
    return Column(dims, np.asarray(array[...]), dict(array.attrs.asdict()))


def read_column(path: Path, name: str, video: Mapping[str, object]) -> NDArray[Any] | None:
    """Return one array of a store; None where there is none of this video that is whole.

    Parameters
    ----------
    path : Path
        The store.
    name : str
        Name of the array.
    video : mapping
        Identity of the video.
    """
    import zarr

    def read(folder: Path) -> NDArray[Any] | None:
        stored = _stored(folder)
        if stored is None or stored[1] != dict(video):
            return None
        group = zarr.open_group(folder, mode="r")
        values = _column(group[name]).values
        attributes: dict[str, Any] = dict(group.attrs.asdict())
        return values if attributes["digests"][name] == _digest(values) else None

    try:
        return read_folder(path, read)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError):
        return None


def read_stored(path: Path) -> tuple[dict[str, str], dict[str, object]] | None:
    """Return the fingerprints of the reducers and the identity of the video of a store; None if it is missing.

    For plans: no array is read. A run verifies the store, and replaces a damaged one.
    """
    return read_folder(path, _stored)


def _stored(folder: Path) -> tuple[dict[str, str], dict[str, object]] | None:
    try:
        attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
        return dict(attributes["fingerprints"]), dict(attributes["video"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stored_fingerprints(path: Path, video: Mapping[str, object]) -> dict[str, str]:
    """Return the fingerprints of the reducers whose values a store holds for a video.

    Empty if the store is missing, damaged, or of another video: every array is read and compared with its digest.
    """
    try:
        store = read_frames(path)
    except (CorruptOutput, FormatTooNew):
        return {}
    return dict(store.fingerprints) if store is not None and store.video == dict(video) else {}
