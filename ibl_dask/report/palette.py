"""Colours and glyphs of outcomes and statuses, the same on pages and in the terminal.

Hues are those of Okabe and Ito, distinct for every kind of colour vision; a glyph and the word always accompany them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """Colours and glyph of one outcome or status."""

    ink: str
    """Colour of the text on the pill."""
    ground: str
    """Colour of the pill."""
    glyph: str
    """Sign with the same meaning without colour."""
    style: str
    """Style in a terminal, as a style of rich."""

    @property
    def css(self) -> str:
        """Return the colours as a style attribute."""
        return f"color:{self.ink};background:{self.ground}"


GOOD = Look("#ffffff", "#00704f", "✓", "green")
NOTICE = Look("#2b1d00", "#f0b429", "!", "yellow")
BAD = Look("#ffffff", "#b8460e", "✕", "bold red")
WORST = Look("#ffffff", "#7a1f5c", "✕✕", "bold white on magenta")
NEUTRAL = Look("#ffffff", "#6b7280", "–", "dim")  # noqa: RUF001  # a dash that is as wide as the other signs

_LOOKS = {
    "PASS": GOOD,
    "WARNING": NOTICE,
    "FAIL": BAD,
    "CRITICAL": WORST,
    "NOT_SET": NEUTRAL,
    "Complete": GOOD,
    "Empty": GOOD,
    "Incomplete": NOTICE,
    "Errored": BAD,
    "Abandoned": BAD,
    "failed": BAD,
    "ok": GOOD,
    "note": NEUTRAL,
    "warning": NOTICE,
    "problem": BAD,
}


def look_of(word: object) -> Look:
    """Return the look of an outcome or a status; neutral where the word is unknown."""
    return _LOOKS.get(str(word), NEUTRAL)
