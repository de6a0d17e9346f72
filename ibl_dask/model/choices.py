"""Words that people type: which one was probably meant, and how to say that there is none of that name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from ibl_dask.errors import UsageError

CLOSE = 0.6
"""How alike two words must be for one to be taken for the other, 0 to 1; see `difflib.SequenceMatcher.ratio`."""


def nearest(given: str, known: Iterable[str], at_least: float = CLOSE) -> str | None:
    """Return the word that is most like the one that was given; None where none is.

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
    """Return what to do about a word that is not known."""
    meant = nearest(given, known)
    return "ask for one of these" if meant is None else f"write {meant}, if that was meant"


def unknown_keyword(owner: str, given: Iterable[str], known: Iterable[str], do: str = "") -> UsageError:
    """Return the error for keyword arguments that nobody takes.

    Parameters
    ----------
    owner : str
        What was called.
    given : iterable of str
        Names that it does not take.
    known : iterable of str
        Those that it takes.
    do : str
        What else there is to do.
    """
    names, known = list(given), sorted(known)
    meant = {name: nearest(name, known) for name in names}
    said = [f"{near} in place of {name}" for name, near in meant.items() if near is not None]
    return UsageError(
        f"{owner} takes no argument {' and no '.join(names)}",
        expected=", ".join(known),
        got=", ".join(names),
        do="; ".join(
            ["write " + ", ".join(said) if said else "leave it out, or write one of these", *filter(None, [do])]
        ),
    )
