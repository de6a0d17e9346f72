"""Data repository of this server, for rows that name none."""

from __future__ import annotations

import re

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.repository import find_place
from ibl_dask.errors import UsageError

_NAME = re.compile(r"[\w.+-]{1,255}")


def own_repository(alyx: Alyx) -> str:
    """Return the data repository of this server, see `find_place`; empty where none is known.

    Without one Alyx takes rows and files all the same, but no server lists them.
    """
    try:
        return find_place(alyx).repository or ""
    except UsageError:
        return ""


def require_name(repository: str) -> str:
    """Return the name of a data repository, which becomes part of the name of a lock file.

    Raises
    ------
    UsageError
        If it is none.
    """
    if repository and not _NAME.fullmatch(repository):
        raise UsageError(
            "this is no name of a data repository",
            expected="letters, digits, . _ + -",
            got=repr(repository),
            do="mend the repository of this row in Alyx",
        )
    return repository
