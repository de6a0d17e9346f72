"""Near matches of unknown words, and errors that name them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from ibl_dask.errors import UsageError

CLOSE = 0.6
"""Likeness from which on one word may be meant by another, 0 to 1; see `difflib.SequenceMatcher.ratio`."""


def nearest(given: str, known: Iterable[str], at_least: float = CLOSE) -> str | None:
    """Return the known word that is most like a given one; None if none is like it.

    Parameters
    ----------
    given : str
        The unknown word.
    known : iterable of str
        Known words.
    at_least : float
        Likeness that is needed, 0 to 1.

    Examples
    --------
    >>> nearest("VideoCompess", ["VideoRegisterRaw", "VideoCompress"]), nearest("h265", ["ibl", "short_gop"])
    ('VideoCompress', None)
    """
    best, found = at_least, None
    for word in known:
        alike = SequenceMatcher(None, given.lower(), word.lower()).ratio()
        if alike >= best and (found is None or alike > best):
            best, found = alike, word
    return found


def advice(given: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown word."""
    meant = nearest(given, known)
    return "ask for one of these" if meant is None else f"write {meant}, if that was meant"


def unknown_keyword(owner: str, given: Iterable[str], known: Iterable[str], do: str = "") -> UsageError:
    """Return the error for unknown keyword arguments.

    Parameters
    ----------
    owner : str
        Function or class that was called.
    given : iterable of str
        Names that are not known.
    known : iterable of str
        Names that are known.
    do : str
        Another remedy.
    """
    names, known = list(given), sorted(known)
    meant = {name: nearest(name, known) for name in names}
    write = ", ".join(f"{near} in place of {name}" for name, near in meant.items() if near is not None)
    remedies = [f"write {write}" if write else "leave it out, or write one of these", *([do] if do else [])]
    return UsageError(
        f"{owner} takes no argument {' and no '.join(names)}",
        expected=", ".join(known),
        got=", ".join(names),
        do="; ".join(remedies),
    )
