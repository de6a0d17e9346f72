"""Data repository and lab of this server, as Alyx lists them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.task_row import is_id
from ibl_dask.errors import UsageError
from ibl_dask.model.text import read_text

VARIABLE = "IBL_DASK_ALYX_REPOSITORY"
"""Variable that names the data repository of this server."""
_GLOBUS = Path("~/.globusonline/lta/client-id.txt")
"""File of Globus Connect Personal with the identifier of this machine."""
_NAME = re.compile(r"[\w.+-]{1,255}")


@dataclass(frozen=True, slots=True)
class Place:
    """A server, as Alyx lists it."""

    repository: str | None
    """Data repository whose tasks it runs; None for those of the lab, whatever their repository."""
    labs: tuple[str, ...]
    """Labs whose sessions it has."""
    takes_unassigned: bool = False
    """It runs tasks of these labs without a repository as well; of all servers of a lab, one may."""

    def __post_init__(self) -> None:
        for name in (self.repository, *self.labs):
            if name is not None and not _NAME.fullmatch(name):
                raise UsageError(
                    "this is no name of a repository or a lab", expected="letters, digits, . _ + -", got=repr(name)
                )

    def require_repository(self) -> str:
        """Return the data repository.

        Raises
        ------
        UsageError
            If it is not known.
        """
        if self.repository is None:
            raise UsageError(
                "the data repository is not named",
                expected=f"--repository, or the variable {VARIABLE}",
                got=f"the lab {', '.join(self.labs)} alone",
                do="name the repository that holds the files of this machine, as Alyx lists it under /data-repository",
            )
        return self.repository


def find_place(alyx: Alyx, repository: str | None = None, lab: str | None = None) -> Place:
    """Return data repository and labs of this server.

    Parameters
    ----------
    alyx : Alyx
        The database.
    repository : str, optional
        Data repository; by default that of `$IBL_DASK_ALYX_REPOSITORY`, else that of this machine's Globus identifier.
    lab : str, optional
        Lab; by default those with that repository.

    Raises
    ------
    UsageError
        If neither a repository nor a lab is known, or a name is none.
    """
    wanted = repository or os.environ.get(VARIABLE) or _of_globus(alyx)
    here = Place(wanted, () if lab is None else (lab,))
    if lab is not None:
        return here
    if wanted is None:
        raise UsageError(
            "neither a data repository nor a lab is named",
            expected=f"--repository, --lab, ${VARIABLE}, or Globus Connect Personal on this machine",
            got="none of them",
            do="name the data repository of this server, as Alyx lists it under /data-repository",
        )
    labs = tuple(str(row["name"]) for row in alyx.rows("labs") if wanted in (row.get("repositories") or ()))
    if not labs:
        raise UsageError(
            "no lab has this data repository",
            where=alyx.access.url,
            expected="a repository that a lab lists",
            got=wanted,
            do="check the name, or add the repository to its lab in Alyx",
        )
    return replace(here, labs=labs)


def _of_globus(alyx: Alyx) -> str | None:
    path = _GLOBUS.expanduser()
    if not path.is_file():
        return None
    identifier = read_text(path).strip()
    if not is_id(identifier):
        return None
    found = alyx.rows("data-repository", globus_endpoint_id=identifier)
    return str(found[0]["name"]) if found else None
