"""The terminal: where lines go, and how an error reads."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table

from ibl_dask.errors import IblDaskError
from ibl_dask.report.messages import take_apart

_FILE_WIDTH = 160
out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def show_error(error: IblDaskError) -> None:
    """Print an error, its five parts on lines of their own."""
    err.print(f"error: {error.what}", style="bold red", markup=False)
    for name, text in (
        ("where", error.where),
        ("expected", error.expected),
        ("got", error.got),
        ("what to do", error.do),
    ):
        if text:
            err.print(f"  {name}: {text}", markup=False)


def show_failure(session: str, message: str) -> None:
    """Print a failure that a run reports, its parts on lines of their own."""
    told = take_apart(message)
    out.print(f"{session}: {told.what}", style="bold", markup=False)
    for name, text in told.parts:
        out.print(f"  {name.lower()}: {text}", markup=False)


def print_table(table: Table) -> None:
    """Print a table; where no terminal is too narrow for it, in a file or a pipe, nothing of it is folded or cut."""
    if out.is_terminal or "COLUMNS" in os.environ:
        out.print(table)
    else:
        Console(file=out.file, width=_FILE_WIDTH, highlight=False).print(table)
