"""`.npz` files of arrays and JSON facts with a versioned header: chunk results, cached indexes, timing details."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.store.atomic import writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Array = NDArray[Any]
"""An array of any type: a file holds several."""
_FACTS = "facts.json"


def write_arrays(
    path: Path, kind: str, version: int, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, object]
) -> None:
    """Write arrays and facts as one `.npz` file that NumPy reads.

    Parameters
    ----------
    path : Path
        The file; any older one is replaced.
    kind : str
        Name of the layout, checked on reading.
    version : int
        Version of the layout, checked on reading.
    arrays : mapping of str to ndarray
        Arrays by name, of any shape; no objects.
    facts : mapping
        Values that JSON holds.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    header = json.dumps({"kind": kind, "version": version, "arrays": sorted(arrays), "facts": facts}, sort_keys=True)
    with writing(path, len(header) + sum(values.nbytes for values in arrays.values())) as file:
        np.savez(file, **{_FACTS: np.frombuffer(header.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]  # the stubs take one keyword for another


def read_arrays(path: Path, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays and facts of a file that `write_arrays` wrote.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Expected name of the layout.
    version : int
        Expected version of the layout.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    CorruptOutput
        If the file is damaged or of another kind.
    FormatTooNew
        If it has another version.
    """
    # Read whole first: NumPy would keep the file open, and a network disk would be asked for every array.
    data = io.BytesIO(path.read_bytes())
    try:
        with np.load(data, allow_pickle=False) as content:
            header = json.loads(content[_FACTS].tobytes())
            written_kind, written_version, facts = header["kind"], header["version"], header["facts"]
            arrays = {name: content[name] for name in header["arrays"]}
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise CorruptOutput(
            "this file is damaged",
            where=str(path),
            expected=f"a {kind} file",
            got=str(error),
            do="remove it and run again: it is made anew",
        ) from error
    if written_kind != kind:
        raise CorruptOutput("this file is of another kind", where=str(path), expected=kind, got=str(written_kind))
    if written_version != version:
        raise FormatTooNew(
            f"this {kind} file has another layout",
            where=str(path),
            expected=f"version {version}",
            got=f"version {written_version}",
            do="run again with --overwrite, or read it with the version of ibl_dask that wrote it",
        )
    return arrays, facts
