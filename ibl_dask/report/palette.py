"""One look for outcomes and statuses, wherever they are shown.

Hues are those of Okabe and Ito, which people with any kind of colour vision can tell apart; a glyph and the word
always stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """How one word of judgement is shown."""

    ink: str
    """Colour of the text on the pill."""
    ground: str
    """Colour of the pill."""
    glyph: str
    """Sign that says the same without colour."""
    style: str
    """Style in a terminal, in the words of rich."""

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
    """Return how an outcome or a status is shown; neutral where the word is unknown."""
    return _LOOKS.get(str(word), NEUTRAL)
