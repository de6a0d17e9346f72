"""Plain text on a run, for a script's `print` and a Python prompt."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console

from ibl_dask.report.failure_groups import group_failures
from ibl_dask.report.failure_lines import failure_lines, session_lines
from ibl_dask.report.lines import Line, count
from ibl_dask.report.session_rows import SessionRow, summarise_ends
from ibl_dask.report.terminal import outcome_table

WIDTH = 100
"""Width of the text, characters; only paths are longer."""
MOST_ROWS = 20
"""Number of sessions up to which each has a row."""
MOST_LINES = 48
"""Lines that failures take at most: two screens."""


def run_text(rows: Iterable[SessionRow]) -> str:
    """Return the outcome of a run: a table of its sessions, or of many those that need someone, and what failed.

    Parameters
    ----------
    rows : iterable of SessionRow
        Sessions.
    """
    rows = list(rows)
    groups = [group for group in group_failures(rows) if not group.is_wait]
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, color_system=None, highlight=False, markup=False)
    lines = failure_lines(groups, WIDTH, MOST_LINES, len(rows))
    if len(rows) <= MOST_ROWS:
        console.print(outcome_table(rows))
    else:
        head = Line(f"{count(len(rows), 'session')}, {summarise_ends(rows)}", indent=0)
        lines = [head, *session_lines(rows, groups, MOST_ROWS), *lines]
    for line in lines:
        console.print("\n".join(line.folded(WIDTH)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip()
