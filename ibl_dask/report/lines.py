"""Lines of plain text for a terminal or a file, and how they are folded."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, whole; a narrow terminal folds it."""

    text: str
    """The text."""
    style: str = ""
    """Style in a terminal, as a style of rich."""
    indent: int = 4
    """Indentation of the folded rest, characters."""
    is_cut: bool = False
    """Whether a narrow terminal cuts it instead, since all of it is found elsewhere."""

    def folded(self, width: int) -> list[str]:
        """Return the text in lines of at most `width` characters.

        A longer word, such as a path, has a line of its own and stays whole, so that it can be copied.
        """
        if self.is_cut:
            return [cut(" ".join(self.text.splitlines()), width)]
        rest = " " * min(self.indent, width // 2)
        folded: list[str] = []
        for number, part in enumerate(self.text.splitlines() or [""]):
            fold = textwrap.TextWrapper(
                max(width, 20),
                initial_indent=rest if number else "",
                subsequent_indent=rest,
                break_on_hyphens=False,
                break_long_words=False,
                drop_whitespace=True,
                replace_whitespace=False,
            )
            folded += fold.wrap(part) or [""]
        return folded


def height(lines: Iterable[Line], width: int) -> int:
    """Return the number of lines of a terminal of some width."""
    return sum(max(1, -(-len(part) // width)) for line in lines for part in line.folded(width))


def cut(text: str, width: int) -> str:
    """Return a text of at most `width` characters, with a mark where its end is cut off."""
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first few of some names, and the number of the others.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    named = ", ".join(names[:most])
    return named if len(names) <= most else f"{named} and {len(names) - most:,} more"


def count(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "session"), count(2000, "session")
    ('1 session', '2,000 sessions')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
