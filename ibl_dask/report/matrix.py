"""Tables of sessions against cameras or tasks, with a sign in each cell, that fit a narrow terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from ibl_dask.report.lines import Line
from ibl_dask.report.palette import BAD, GOOD, NEUTRAL, WORST, look_of

MOST_ROWS = 40
"""Number of sessions up to which all have their row."""
_GAP = 2
_LONGEST_NAME = 36


@dataclass(frozen=True, slots=True)
class Mark:
    """Content of a cell."""

    glyph: str
    """Sign where there is no room for the word."""
    word: str
    """Meaning of the sign."""
    style: str = ""
    """Style in a terminal, as a style of rich."""

    def text(self, with_word: bool) -> Text:
        """Return the cell."""
        return Text(f"{self.glyph} {self.word}" if with_word else self.glyph, style=self.style)


RUNS = Mark("→", "runs", "cyan")
DONE = Mark("✓", "done", GOOD.style)
WAITS = Mark("…", "waits", NEUTRAL.style)
FAILS = Mark("✕", "fails", BAD.style)


def outcome_mark(outcome: object) -> Mark:
    """Return the mark of an outcome of checks."""
    look = look_of(outcome)
    return Mark("!!" if look is WORST else look.glyph, str(outcome), look.style)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One session."""

    session: str
    """subject/date/number."""
    marks: Mapping[str, Mark]
    """Column -> mark; empty cells are left out."""
    before: tuple[Text | str, ...] = ()
    """Cells between the name and the marks."""
    after: tuple[Text | str, ...] = ()
    """Cells after the marks."""


def matrix(
    rows: Sequence[MatrixRow],
    columns: Sequence[str],
    width: int,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> tuple[Table, list[Line]]:
    """Return a table of marks, and its legend.

    Columns have their names and the marks their words where there is room, then signs alone, then letters for names.

    Parameters
    ----------
    rows : sequence of MatrixRow
        Sessions.
    columns : sequence of str
        Columns of marks, in order; those that have no room at all are named in the legend.
    width : int
        Width of the terminal, characters.
    before, after : sequence of str
        Heads of the other cells.
    """
    room = width - _fixed_width(rows, before, after)
    words = {mark: None for row in rows for mark in row.marks.values()}
    longest = max((len(mark.word) + 2 for mark in words), default=0)
    with_words = sum(max(len(name), longest) + _GAP for name in columns) <= room
    with_names = with_words or sum(len(name) + _GAP for name in columns) <= room
    n = len(columns) if with_names else max(1, min(len(columns), room // (1 + _GAP), len(ascii_letters)))
    shown = columns[:n]
    heads = shown if with_names else list(ascii_letters[:n])
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    is_long = any(len(row.session) > _LONGEST_NAME for row in rows)
    table.add_column("session", no_wrap=not is_long, overflow="fold")
    for name in before:
        table.add_column(name, no_wrap=True)
    for name in heads:
        table.add_column(name, no_wrap=True)
    for name in after:
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (row.marks[name].text(with_words) if name in row.marks else "" for name in shown)
        table.add_row(Text(row.session), *row.before, *cells, *row.after)
    legend = []
    words = {mark: None for row in rows for name, mark in row.marks.items() if name in shown}
    if not with_words and words:
        legend.append(Line(", ".join(f"{mark.glyph} {mark.word}" for mark in words), "dim", indent=2))
    if not with_names:
        legend.append(
            Line(", ".join(f"{head} {name}" for head, name in zip(heads, shown, strict=True)), "dim", indent=2)
        )
    if n < len(columns):
        legend.append(Line(f"not shown: {', '.join(columns[n:])}", "dim", indent=2))
    return table, legend


def _fixed_width(rows: Sequence[MatrixRow], before: Sequence[str], after: Sequence[str]) -> int:
    """Return the width of the cells that are no marks, characters."""
    widths = [max((len(row.session) for row in rows), default=0)]
    for place, heads in enumerate((before, after)):
        for number, head in enumerate(heads):
            cells = [(row.before, row.after)[place][number] for row in rows]
            widths.append(max([len(head), *(len(str(cell)) for cell in cells)]))
    return sum(min(each, _LONGEST_NAME) + _GAP for each in widths)


_Item = TypeVar("_Item")


def choose_rows(
    items: Sequence[_Item], urgency: Callable[[_Item], int], most: int = MOST_ROWS
) -> tuple[list[_Item], list[_Item]]:
    """Return the items that are shown and those that are only counted: all in their order, or the most urgent ones.

    Parameters
    ----------
    items : sequence
        Sessions.
    urgency : callable
        Returns 0 for the most urgent.
    most : int
        Number of items that are shown.
    """
    if len(items) <= most:
        return list(items), []
    ordered = sorted(items, key=urgency)
    return ordered[:most], ordered[most:]


def count_words(words: Iterable[str]) -> str:
    """Return how often each word occurs.

    >>> count_words(["runs", "done", "runs"])
    '2 runs, 1 done'
    """
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{n:,} {word}" for word, n in counts.items())
