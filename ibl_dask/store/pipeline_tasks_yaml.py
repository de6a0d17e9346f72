"""Reader and writer of `pipeline_tasks.yaml`, the list of a session's tasks that programs of the field share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from ibl_dask.errors import InputError, UnusableFile
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.model.text import read_text
from ibl_dask.store.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPECS_NAME = "pipeline_tasks.yaml"
_GRAPH = "Pipeline"
_MODULE = "ibllib.pipes.tasks.Pipeline"


class _Reader(yaml.SafeLoader):
    """Safe YAML loader that also accepts tuples, which the field's writer leaves in arguments, as lists."""


def _sequence(reader: _Reader, node: yaml.SequenceNode) -> list[object]:
    return reader.construct_sequence(node, deep=True)


_Reader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def read_specs(folder: Path) -> tuple[TaskSpec, ...]:
    """Read the tasks of a session, parents first.

    Parameters
    ----------
    folder : Path
        The session folder.

    Raises
    ------
    UnusableFile
        If the file is no list of tasks.
    FileNotFoundError
        If the file does not exist.
    """
    path = folder / SPECS_NAME
    try:
        rows = yaml.load(read_text(path), _Reader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unusable(path, " ".join(str(error).split())) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _unusable(path, f"a {type(rows).__name__}")
    try:
        return sort_specs(TaskSpec.from_dict(row) for row in rows)
    except (InputError, ValueError) as error:
        raise _unusable(path, str(error)) from error


def write_specs(folder: Path, specs: Iterable[TaskSpec]) -> Path:
    """Write the tasks of a session, and return the file.

    Parameters
    ----------
    folder : Path
        The session folder.
    specs : iterable of TaskSpec
        Its tasks.
    """
    path = folder / SPECS_NAME
    write_text(path, yaml.safe_dump([_row(spec) for spec in specs]))
    return path


def _row(spec: TaskSpec) -> dict[str, object]:
    """Return a task with the fields of Alyx; further fields of the spec are kept beside them."""
    extra = {"status": "Waiting", "log": None, "module": _MODULE, "session": None, "graph": _GRAPH}
    return {**spec.to_dict(), **extra}


def _unusable(path: Path, got: str) -> UnusableFile:
    return UnusableFile(
        "this file of tasks cannot be used",
        where=str(path),
        expected="a YAML list of tasks with name, executable, arguments and names of parents",
        got=got,
        do="remove it, and write it again from the session's description",
    )
