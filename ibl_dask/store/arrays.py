"""Files of our own that hold a few arrays and some facts: chunk results, cached indexes, timing details."""

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
    path: Path, kind: str, version: int, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    """Write arrays and facts as one `.npz` file that NumPy reads.

    Parameters
    ----------
    path : Path
        Where; any older file is replaced.
    kind, version
        Name and version of the layout, checked on reading.
    arrays, facts
        What to keep; facts are anything that JSON holds.
    """
    header = json.dumps({"kind": kind, "version": version, "arrays": sorted(arrays), "facts": facts}, sort_keys=True)
    with writing(path, len(header) + sum(values.nbytes for values in arrays.values())) as file:
        np.savez(file, **{_FACTS: np.frombuffer(header.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]  # the stubs take one keyword for another


def read_arrays(path: Path, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CorruptOutput
        If the file is damaged or of another kind.
    FormatTooNew
        If it has another version.
    """
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
