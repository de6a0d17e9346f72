"""Parquet tables of per-frame columns, whose bytes follow from their content alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.errors import CorruptOutput, MissingEnvironment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[np.generic]]


def require_parquet() -> None:
    """Require the package that reads and writes Parquet.

    Raises
    ------
    MissingEnvironment
        If it is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingEnvironment(
            "tables of keypoints need the package pyarrow",
            expected="pyarrow in the environment of ibl_dask",
            got="no such package",
            do="pip install 'ibl_dask[pose]'",
        ) from error


def table_bytes(columns: Columns) -> bytes:
    """Return a table as the content of a Parquet file: one row per frame, no index, no time of writing.

    Parameters
    ----------
    columns : mapping
        Name -> values (frame,), in order.
    """
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: pyarrow.array(values, from_pandas=False) for name, values in columns.items()})
    content = io.BytesIO()
    parquet.write_table(table, content, compression="snappy")
    return content.getvalue()


def read_table(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the columns of a Parquet file.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    CorruptOutput
        If it cannot be read.
    """
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    content = path.read_bytes()
    try:
        table = parquet.read_table(io.BytesIO(content))
        return {name: table.column(name).to_numpy() for name in table.column_names}
    except (pyarrow.ArrowException, ValueError) as error:
        raise CorruptOutput(
            "this table cannot be read",
            where=str(path),
            expected="a Parquet file",
            got=str(error),
            do="remove it and run the task that makes it again",
        ) from error
