"""Access to Alyx for tasks that work on it themselves, where the caller has logged in and no file holds the token."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.tasks.external.environments import Database, Environments, as_environments


@contextlib.contextmanager
def with_database(environments: Environments | Mapping[str, str] | None, alyx: Alyx) -> Iterator[Environments]:
    """Give tasks of this machine the access of a client, for the time of a block.

    The token is in a file for its owner alone meanwhile, in a folder of the system for temporary files.

    Parameters
    ----------
    environments : Environments or mapping, optional
        Environments; a database that they name stays.
    alyx : Alyx
        The client.
    """
    given = as_environments(environments)
    if given.database is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ibl_dask-") as folder:
        file = Path(folder) / "token"
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as writer:
            writer.write(alyx.access.token.reveal())
        yield replace(given, database=Database(alyx.access.url, alyx.user, str(file)))
