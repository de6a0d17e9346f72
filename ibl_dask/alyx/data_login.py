"""Login of the server of files, which is another one than that of Alyx; sent to that server alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ibl_dask.alyx.credentials import read_private_text
from ibl_dask.model.web_address import require_address

SERVER_VARIABLE = "IBL_DASK_DATA_SERVER"
USER_VARIABLE = "IBL_DASK_DATA_USER"
PASSWORD_FILE_VARIABLE = "IBL_DASK_DATA_PASSWORD_FILE"
DEFAULT_SERVER = "https://ibl.flatironinstitute.org"
"""Server of the field's files, the default of ONE (`one.params`)."""


@dataclass(frozen=True, slots=True)
class DataLogin:
    """User and password of a server of files."""

    server: str = DEFAULT_SERVER
    """Address of the server; no other one gets the password."""
    user: str = ""
    """User; empty for none."""
    password: str = field(default="", repr=False, compare=False)
    """Password."""

    def for_url(self, url: str) -> tuple[str, str] | None:
        """Return user and password for an address; None for another server, or over a connection that others read."""
        own, parts = urlsplit(self.server), urlsplit(url, allow_fragments=False)
        return (
            (self.user, self.password)
            if self.user and (own.scheme, own.netloc) == (parts.scheme, parts.netloc)
            else None
        )


def read_data_login(environment: Mapping[str, str] | None = None) -> DataLogin:
    """Return the login that variables name; one without a user where they name none.

    Raises
    ------
    AlyxLoginFailed
        If the file of the password cannot be read, or others may read it.
    UsageError
        If the server is no address.
    """
    variables = os.environ if environment is None else environment
    file = variables.get(PASSWORD_FILE_VARIABLE, "")
    password = read_private_text(Path(file), "password") if file else ""
    server = variables.get(SERVER_VARIABLE) or DEFAULT_SERVER
    server = require_address(server, "a server of files", f"correct {SERVER_VARIABLE}; the password goes into a file")
    return DataLogin(server, variables.get(USER_VARIABLE, ""), password)
