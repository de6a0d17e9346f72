"""Addresses of servers: what one may be made of, and as much of it as a message may show."""

from __future__ import annotations

from urllib.parse import urlsplit

from ibl_dask.errors import UsageError


def require_address(url: str, role: str, do: str) -> str:
    """Return the address of a server without a slash at its end.

    A user, a password, a query and a fragment are refused, and never shown: addresses are written to logs.

    Parameters
    ----------
    url : str
        The address.
    role : str
        Its role, for the message: `an Alyx`.
    do : str
        The remedy.

    Raises
    ------
    UsageError
        If it is no such address.

    Examples
    --------
    >>> require_address("https://alyx.example.org/", "an Alyx", "")
    'https://alyx.example.org'
    """
    why = _fault(url)
    if why is not None:
        raise UsageError(
            f"this is no address of {role}",
            expected="https://alyx.example.org, without user, password, query or fragment",
            got=f"{_shown(url)}: {why}",
            do=do,
        )
    return url.rstrip("/")


def _fault(url: str) -> str | None:
    if "@" in url:  # before it is taken apart: a `/` in a password moves the rest of it into the path
        return "a user or a password is in it"
    if "?" in url or "#" in url:
        return "a query or a fragment is in it"
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        return "a blank or a control character is in it"
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    return None if is_whole else "it is not of the form https://host"


def _shown(url: str) -> str:
    """Return scheme and host alone, which hold no secret."""
    if "@" in url:
        return "an address"
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        return repr(f"{parts.scheme}://{parts.hostname or ''}" if parts.scheme else parts.hostname or "")
    except ValueError:
        return "an address"
