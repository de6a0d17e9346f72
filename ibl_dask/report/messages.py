"""Messages taken apart, so that a reader sees at once what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"\s+(Where|Expected|Got|What to do): ")


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
    what, *rest = _PART.split(str(message or "").strip())
    parts: dict[str, str] = {}
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        parts[name] = f"{parts[name]} {name}: {text}" if name in parts else text
    return Told(what, tuple((name, text.removesuffix(".")) for name, text in parts.items()))


def say_briefly(messages: Iterable[object]) -> str:
    """Return what went wrong and what to do, one message a line, each once."""
    lines = []
    for told in map(take_apart, dict.fromkeys(messages)):
        lines.append(f"{told.what}\n  → {told.do}" if told.do else told.what)
    return "\n".join(lines)
