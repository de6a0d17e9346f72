"""`ibl-dask clean`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from ibl_dask.cli.console import out, print_table, print_whole
from ibl_dask.cli.guard import Sessions, printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.pipeline.cleanable import (
    Wanted,
    find_in_session,
    find_in_work_folder,
    mark_held,
    sessions_of_work_folder,
)
from ibl_dask.pipeline.cleaning import remove_in_sessions, remove_in_work_folder
from ibl_dask.store.leftovers import Leftover
from ibl_dask.store.work_folder import nearest_work_folder
from ibl_dask.store.workspace import Workspace, default_work_dir

MOST_ROWS = 40
"""Rows of the table; the largest files come first, and `--json` has all."""
_UNITS_S = {"min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def clean(
    sessions: Sequence[str],
    work_dir: Path | None,
    output_root: Path | None,
    older_than: str,
    scratch: bool,
    logs: bool,
    trash: bool,
    journals: bool,
    is_meant: bool,
    as_json: bool,
) -> int:
    """Print what may be removed, and remove it if that is meant; return 1 if something of it failed.

    Parameters
    ----------
    sessions : sequence of str
        Sessions to look at; without any it is the work folder alone.
    work_dir, output_root : Path or None
        Folders of scratch and of results, as in the run.
    older_than : str
        Least age, such as `30d`.
    scratch, logs, trash, journals : bool
        See `Wanted`.
    is_meant : bool
        Remove, and do not only show.
    as_json : bool
        Print JSON instead of tables.
    """
    wanted = Wanted(parse_age_s(older_than), scratch, logs, trash, journals)
    if sessions and journals:
        raise UsageError(
            "journals belong to a work folder, not to sessions",
            expected="ibl-dask clean --journals, with --work-dir DIR or without",
            got="--journals beside sessions",
            do="leave the sessions out, or leave --journals out",
        )
    if not sessions and (trash or output_root is not None):
        raise UsageError(
            "the sessions must be named",
            expected="ibl-dask clean SESSION... --trash",
            got="no session",
            do="name the sessions, or the folder that holds them",
        )
    loop = Sessions()
    spaces: list[Workspace] = []
    of_work_folder: list[Leftover] = []
    if sessions:
        for path in find_sessions(sessions):
            with loop.one():
                session = Session(path, output_root)
                spaces.append(Workspace(session, work_dir.absolute() if work_dir else default_work_dir(session)))
    else:
        folder = (work_dir or nearest_work_folder()).absolute()
        spaces, of_work_folder = sessions_of_work_folder(folder)
        of_work_folder += find_in_work_folder(folder, wanted)
    alone = not sessions
    by_session = [(each, mark_held(each, find_in_session(each, wanted, scratch_alone=alone))) for each in spaces]
    found = [*(leftover for _, each in by_session for leftover in each), *of_work_folder]
    gone: list[Leftover] | None = None
    if is_meant:
        tried = [*remove_in_sessions(by_session, wanted, scratch_alone=alone), *remove_in_work_folder(of_work_folder)]
        gone = [each for each in tried if not each.keep]
        found = [*(each for each in found if each.keep), *tried]
    if as_json:
        print_whole(json.dumps({"removed": is_meant, "found": [_plain(each) for each in found]}, indent=1))
    else:
        _show(found, gone)
    return max(loop.code, int(is_meant and any(each.keep.startswith("it cannot be removed") for each in found)))


def parse_age_s(text: str) -> float:
    """Return an age in s.

    >>> parse_age_s("30d"), parse_age_s("12h")
    (2592000.0, 43200.0)

    Raises
    ------
    UsageError
        If it is none.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*(min|[hdw])", text.strip())
    if found is None:
        raise UsageError(
            "this is no age",
            where="--older-than",
            expected="a number with min, h, d or w for minutes, hours, days or weeks: 30d",
            got=text,
            do="write for instance --older-than 30d",
        )
    return float(found[1]) * _UNITS_S[found[2]]


def _plain(leftover: Leftover) -> dict[str, object]:
    content = leftover.to_json()
    return {**content, "path": printable(content["path"])}


def _show(found: Sequence[Leftover], gone: Sequence[Leftover] | None) -> None:
    """Print what goes, or went (`gone`), as a table, and what stays by its reasons."""
    going = [each for each in found if not each.keep]
    if going:
        print_table(_table(going))
    stays = Counter((each.kind, each.keep) for each in found if each.keep)
    for (kind, keep), n in stays.most_common(MOST_ROWS):
        out.print(f"kept: {n} x {kind}: {keep}", markup=False)
    total = f"{_size(sum(each.n_bytes for each in going))} in {len(going):,} {'place' if len(going) == 1 else 'places'}"
    if gone is not None:
        out.print(f"removed {total}" if going else "nothing was removed")
    elif going:
        out.print(f"{total} would be removed; nothing was: --yes removes it")
    else:
        out.print("nothing to remove")


def _table(going: Sequence[Leftover]) -> Table:
    right = (Column(name, justify="right", no_wrap=True) for name in ("bytes", "age"))
    table = Table(Column("what", no_wrap=True), *right, Column("why", overflow="fold"), box=None, padding=(0, 1))
    table.add_column("where", overflow="fold", min_width=12)
    rows = sorted(going, key=lambda each: -each.n_bytes)
    for each in rows[:MOST_ROWS]:
        table.add_row(each.kind, _size(each.n_bytes), _age(each.age_s), each.why, printable(each.path))
    if rest := rows[MOST_ROWS:]:
        table.add_row("more", _size(sum(each.n_bytes for each in rest)), "", f"{len(rest):,} more (--json)", "")
    return table


def _size(n_bytes: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} B"


def _age(age_s: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if age_s >= size:
            return f"{age_s / size:.0f} {unit}"
    return f"{max(0.0, age_s):.0f} s"
