"""Messages taken apart, so that a reader sees at once what to do."""

from __future__ import annotations

from dataclasses import dataclass

_PARTS = ("Where", "Expected", "Got", "What to do")
"""In the order in which an error of ours says them."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says, part by part."""

    what: str
    """What went wrong."""
    parts: tuple[tuple[str, str], ...] = ()
    """(Where, Expected, Got, What to do) as far as they were given, each with its text."""

    @property
    def do(self) -> str:
        """Return the next step for the person reading; empty where none is given."""
        return dict(self.parts).get("What to do", "")


def take_apart(message: object) -> Told:
    """Split the message of an error of ours into its parts; another message is all `what`.

    >>> take_apart("no pulses. Where: left camera. What to do: check the cable.")
    Told(what='no pulses.', parts=(('Where', 'left camera'), ('What to do', 'check the cable')))
    """
    text, found = str(message or "").strip(), []
    start = 0
    for name in _PARTS:
        at = text.find(f" {name}: ", start)
        if at >= 0:
            start = at + len(name) + 3
            found.append((name, at, start))
    if not found:
        return Told(text)
    ends = [at for _, at, _ in found[1:]] + [len(text)]
    parts = tuple((name, text[a:end].strip().removesuffix(".")) for (name, _, a), end in zip(found, ends, strict=True))
    return Told(text[: found[0][1]].strip(), parts)
