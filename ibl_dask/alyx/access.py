"""A client for whoever calls: from the environment, or from the field's own objects."""

from __future__ import annotations

from typing import Any

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import Access, Token, read_access
from ibl_dask.errors import UsageError


def client_of(one: Any = None) -> Alyx:  # ONE has no types
    """Return a client of Alyx.

    Parameters
    ----------
    one : Alyx, ONE or AlyxClient, optional
        A client, or an object of the field that is logged in: its address, user and token are taken. By default those
        of the environment, see `read_access`.

    Raises
    ------
    UsageError
        If it is none of these, or is not logged in.
    """
    if one is None:
        return Alyx(read_access())
    if isinstance(one, Alyx):
        return one
    theirs = getattr(one, "alyx", one)
    url, user, token = (getattr(theirs, name, None) for name in ("base_url", "user", "_token"))
    text = token.get("token") if isinstance(token, dict) else token
    if not (isinstance(url, str) and isinstance(user, str) and isinstance(text, str)):
        raise UsageError(
            "this is no client of Alyx that is logged in",
            expected="ibl_dask.alyx.client.Alyx, or ONE or AlyxClient after a login",
            got=type(one).__name__,
            do="log in, or leave it out and set IBL_DASK_ALYX_URL, IBL_DASK_ALYX_USER and IBL_DASK_ALYX_TOKEN_FILE",
        )
    return Alyx(Access(url, user, Token(text)))
