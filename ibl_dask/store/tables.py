"""Tables of the field: Parquet files (`.pqt`) with one row per frame, trial or event."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingEnvironment, MissingFile, UnequalLengths, UnusableFile
from ibl_dask.store.atomic import writing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_ROWS_PER_GROUP = 1 << 20
_FORMAT: dict[str, Any] = {
    "version": "2.6",
    "compression": "snappy",
    "use_dictionary": False,
    "write_statistics": True,
    "row_group_size": _ROWS_PER_GROUP,
}
"""Settings of the writer: one build of pyarrow writes the same table to the same bytes."""


def write_table(path: Path, columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write a table atomically; see `table_bytes`.

    Parameters
    ----------
    path : Path
        The file; any older one is replaced.
    columns : mapping of str to (row,) ndarray
        Columns in order.

    Raises
    ------
    UnequalLengths
        If columns differ in length.
    MissingEnvironment
        If pyarrow is not installed.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    content = table_bytes(columns, str(path))
    with writing(path, len(content)) as file:
        file.write(content)


def table_bytes(columns: Mapping[str, NDArray[np.generic]], where: str = "") -> bytes:
    """Return the content of the file of a table; NaN becomes a missing value, as pandas writes it.

    Parameters
    ----------
    columns : mapping of str to (row,) ndarray
        Columns in order.
    where : str
        The file, for messages.

    Raises
    ------
    UnequalLengths
        If columns differ in length.
    MissingEnvironment
        If pyarrow is not installed.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UnequalLengths("columns of a table differ in length", where, "one length", str(lengths))
    arrow, parquet = _pyarrow()
    arrays = [arrow.array(np.ascontiguousarray(column), from_pandas=True) for column in columns.values()]
    table = arrow.Table.from_arrays(arrays, names=list(columns))
    n_rows = next(iter(lengths.values()), 0)
    table = table.replace_schema_metadata({b"pandas": json.dumps(_pandas_notes(n_rows)).encode()})
    content = io.BytesIO()
    parquet.write_table(table, content, **_FORMAT)
    return content.getvalue()


def require_parquet() -> None:
    """Require the package that reads and writes tables.

    Raises
    ------
    MissingEnvironment
        If it is not installed.
    """
    _pyarrow()


def _pandas_notes(n_rows: int) -> dict[str, object]:
    """Return the notes by which pandas numbers the rows; the loader of ONE refuses a table without any notes."""
    index = {"kind": "range", "name": None, "start": 0, "stop": n_rows, "step": 1}
    return {"index_columns": [index], "column_indexes": [], "columns": [], "pandas_version": "2"}


def read_table(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the columns of a table; missing numbers become NaN.

    Parameters
    ----------
    path : Path
        The file.
    names : collection of str, optional
        Columns to read, where the table has them; all by default.

    Returns
    -------
    dict
        Name -> values, in the order of the table; an index that pandas stored is left out.

    Raises
    ------
    MissingFile
        If the file does not exist.
    UnusableFile
        If it is no Parquet table.
    MissingEnvironment
        If pyarrow is not installed.
    """
    with _opened(path) as table:
        wanted = [n for n in table.schema_arrow.names if not _is_index(n) and (names is None or n in names)]
        read = table.read(columns=wanted)
        return {name: read.column(name).to_numpy() for name in wanted}


def column_names(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a table, without reading these; errors are those of `read_table`."""
    with _opened(path) as table:
        return tuple(name for name in table.schema_arrow.names if not _is_index(name))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a table for the time of a block, and explain what goes wrong in it."""
    arrow, parquet = _pyarrow()
    try:
        with path.open("rb") as file:
            yield parquet.ParquetFile(file)
    except FileNotFoundError as error:
        raise MissingFile("a table is missing", str(path), "a Parquet file", "none") from error
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnusableFile(
            "this is no table",
            where=str(path),
            expected="a whole Parquet file",
            got=f"{type(error).__name__}: {error}".partition("\n")[0],
            do="make it anew, or copy it again",
        ) from error


def _is_index(name: str) -> bool:
    return name.startswith("__index_level_")


def _pyarrow() -> tuple[Any, Any]:  # pyarrow has no complete types
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingEnvironment(
            "tables need pyarrow",
            expected="the extra `pose` of ibl_dask",
            got=str(error),
            do="install it: pip install 'ibl_dask[pose]'",
        ) from error
    return pyarrow, pyarrow.parquet
