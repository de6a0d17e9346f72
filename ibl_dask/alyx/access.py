"""A client for whoever calls: from the environment, or from the field's own objects."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import Access, Token, read_access
from ibl_dask.errors import UsageError

_lock = threading.Lock()
_clients: dict[tuple[int, str, str, str], Alyx] = {}
"""Clients by process, address, user and digest of the token: one pace, and kept connections, for all calls."""


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
        return _client(read_access())
    theirs = getattr(one, "alyx", one)
    for known in (one, getattr(theirs, "_alyx", None)):  # ours, or that of `ibl_dask.alyx.one_client.OneClient`
        if isinstance(known, Alyx):
            return known
    url, user, token = (getattr(theirs, name, None) for name in ("base_url", "user", "_token"))
    text = token.get("token") if isinstance(token, dict) else token
    if not (isinstance(url, str) and isinstance(user, str) and isinstance(text, str)):
        raise UsageError(
            "this is no client of Alyx that is logged in",
            expected="ibl_dask.alyx.client.Alyx, or ONE or AlyxClient after a login",
            got=type(one).__name__,
            do="log in, or leave it out and set IBL_DASK_ALYX_URL, IBL_DASK_ALYX_USER and IBL_DASK_ALYX_TOKEN_FILE",
        )
    return _client(Access(url, user, Token(text)))


def _client(access: Access) -> Alyx:
    """Return the client of an access, the same at each call: another one would have a pace of its own."""
    digest = hashlib.sha256(access.token.reveal().encode()).hexdigest()  # the token itself is in no message of an error
    key = (os.getpid(), access.url, access.user, digest)
    with _lock:
        if key not in _clients:
            _clients[key] = Alyx(access)
        return _clients[key]
